"""arc: a Flower baseline."""
