"""A robust run with a journal, checkpoints, a schedule and the best model kept."""
