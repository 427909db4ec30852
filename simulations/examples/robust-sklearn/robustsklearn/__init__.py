"""Logistic regression in scikit-learn, without PyTorch, although some clients lie."""
