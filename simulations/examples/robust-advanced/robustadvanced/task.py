"""The task: handwritten digits by a small network."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


def make_model() -> nn.Module:
    """Return the network, the same for every caller: 64 → 64 → 10."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def load(partition: int | None, partitions: int = 1) -> tuple[Tensor, Tensor]:
    """Return one client's share of the training digits; the test digits for ``None``."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  # takes a second to import

    pixels, labels = load_digits(return_X_y=True)
    testing = np.arange(len(labels)) % 5 == 4
    chosen = np.flatnonzero(testing if partition is None else ~testing)
    chosen = chosen[(partition or 0) :: partitions]
    return torch.tensor(pixels[chosen] / 16, dtype=torch.float32), torch.tensor(labels[chosen])


def train(model: nn.Module, data: tuple[Tensor, Tensor], epochs: int, lr: float) -> float:
    """Train by SGD on batches of 32; return the last loss."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    x, y = data
    loss = torch.zeros(())
    for _ in range(epochs):
        for batch in torch.randperm(len(y)).split(32):
            optimizer.zero_grad()
            loss = cross_entropy(model(x[batch]), y[batch])
            loss.backward()
            optimizer.step()
    return loss.item()


@torch.no_grad()
def test(model: nn.Module, data: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Return loss and accuracy."""
    x, y = data
    logits = model(x)
    return cross_entropy(logits, y).item(), (logits.argmax(1) == y).float().mean().item()
