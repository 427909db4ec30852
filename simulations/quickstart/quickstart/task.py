"""What is learned: handwritten digits, by a small network."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["accuracy", "make_model", "share", "test_set"]


def make_model() -> nn.Module:
    """Return the network, the same for every caller: 64 → 64 → 10, with fixed first weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def share(partition: int, partitions: int) -> tuple[Tensor, Tensor]:
    """Return one client's share of the training digits: pixels (m, 64) and labels (m,)."""
    x, y = _digits(test=False)
    return x[partition::partitions], y[partition::partitions]


def test_set() -> tuple[Tensor, Tensor]:
    """Return the digits that no client has, a fifth of all."""
    return _digits(test=True)


def accuracy(model: nn.Module) -> float:
    """Return the share of test digits that the model recognises."""
    x, y = test_set()
    with torch.no_grad():
        return float((model(x).argmax(dim=1) == y).float().mean())


def _digits(*, test: bool) -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits  # noqa: PLC0415  # takes a second to import

    pixels, labels = load_digits(return_X_y=True)
    chosen = (np.arange(len(labels)) % 5 == 4) == test
    x, y = pixels[chosen] / 16, labels[chosen]
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.int64))
