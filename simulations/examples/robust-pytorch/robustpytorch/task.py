"""The task: handwritten digits, 8 × 8 pixels, by a small convolutional network."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # as everybody writes it
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    """Two convolutions and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.out = nn.Linear(32 * 2 * 2, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (m, 10) of images (m, 1, 8, 8)."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.out(x.flatten(1))


def load(partition: int | None, partitions: int = 1) -> TensorDataset:
    """Return one client's share of the training digits; the test digits for ``None``."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  # takes a second to import

    pixels, labels = load_digits(return_X_y=True)
    testing = np.arange(len(labels)) % 5 == 4
    chosen = np.flatnonzero(testing if partition is None else ~testing)
    chosen = chosen[(partition or 0) :: partitions]
    images = torch.tensor(pixels[chosen] / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    return TensorDataset(images, torch.tensor(labels[chosen]))


def train(model: nn.Module, data: TensorDataset, epochs: int, lr: float, batch_size: int) -> float:
    """Train by SGD; return the mean loss of the last epoch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    mean = 0.0
    for _ in range(epochs):
        losses = []
        for x, y in DataLoader(data, batch_size, shuffle=True):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        mean = sum(losses) / len(losses)
    return mean


@torch.no_grad()
def test(model: nn.Module, data: TensorDataset) -> tuple[float, float]:
    """Return loss and accuracy."""
    x, y = data.tensors
    logits = model(x)
    return F.cross_entropy(logits, y).item(), (logits.argmax(1) == y).float().mean().item()
