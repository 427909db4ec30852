"""Train a small CNN on handwritten digits although some clients lie."""
