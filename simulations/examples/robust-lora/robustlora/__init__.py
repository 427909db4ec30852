"""Fine-tune a frozen transformer by LoRA adapters although some clients lie."""
