"""mixtailor: a Flower baseline."""
