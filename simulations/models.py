"""The papers' models, with exactly their parameter counts.

A name stands for a family; the data set's shape decides the member. Models return logits, and
the loss is their cross-entropy, which is the papers' negative log likelihood of a log-softmax.

>>> count_parameters(build_model("cnn", (1, 28, 28), 10, seed=1))
431080
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import nn

from byzflower.simulations.errors import ExperimentError, unknown

__all__ = ["MODELS", "build_model", "count_parameters"]

Shape = tuple[int, ...]


def build_model(name: str, shape: Shape, num_classes: int, seed: int) -> nn.Module:
    """Build a model for inputs of ``shape``, initialised from ``seed`` alone.

    Raises
    ------
    ExperimentError
        If the name is unknown or the model does not fit the shape.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MODELS[name](shape, num_classes)


def count_parameters(model: nn.Module) -> int:
    """Return d, the number of trained numbers."""
    return sum(parameter.numel() for parameter in model.parameters())


def softmax(shape: Shape, num_classes: int) -> nn.Module:
    """Softmax regression (RS-Byrd-SAGA)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(_size(shape), num_classes))


def mlp(shape: Shape, num_classes: int) -> nn.Module:
    """One hidden ReLU layer: 784-100-10, 79,510 parameters (RESAM D.3); digits 64-64-10, 4,810."""
    width = 64 if _size(shape) == 64 else 100
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(_size(shape), width),
        nn.ReLU(),
        nn.Linear(width, num_classes),
    )


def tanh_mlp(shape: Shape, num_classes: int) -> nn.Module:
    """Two hidden layers of 50 neurons, tanh (RS-Byrd-SAGA)."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(_size(shape), 50),
        nn.Tanh(),
        nn.Linear(50, 50),
        nn.Tanh(),
        nn.Linear(50, num_classes),
    )


def cnn(shape: Shape, num_classes: int) -> nn.Module:
    """28×28: 431,080 parameters, 3×32×32: 1,310,922 (ARC table 2); digits: 13,706."""
    if shape not in _CNNS:
        fitting = ", ".join("×".join(map(str, known)) for known in _CNNS)
        found = "×".join(map(str, shape))
        raise ExperimentError(f"`model` cnn needs inputs of {fitting}; the data set has {found}")
    return _CNNS[shape](num_classes)


def _digits_cnn(num_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, num_classes),
    )


def _mnist_cnn(num_classes: int) -> nn.Module:
    # Table 2 prints 20 channels twice; only 50 in the second convolution gives its 431,080.
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(800, 500),
        nn.ReLU(),
        nn.Linear(500, num_classes),
    )


def _cifar_cnn(num_classes: int) -> nn.Module:
    def convolution(channels_in: int, channels: int) -> list[nn.Module]:
        return [
            nn.Conv2d(channels_in, channels, 3, padding=1),
            nn.ReLU(),
            nn.BatchNorm2d(channels),
        ]

    return nn.Sequential(
        *convolution(3, 64),
        *convolution(64, 64),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        *convolution(64, 128),
        *convolution(128, 128),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(8192, 128),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Linear(128, num_classes),
    )


def _size(shape: Shape) -> int:
    return int(torch.Size(shape).numel())


_CNNS: dict[Shape, Callable[[int], nn.Module]] = {
    (1, 8, 8): _digits_cnn,
    (1, 28, 28): _mnist_cnn,
    (3, 32, 32): _cifar_cnn,
}

MODELS: Mapping[str, Callable[[Shape, int], nn.Module]] = MappingProxyType(
    {"softmax": softmax, "mlp": mlp, "tanh_mlp": tanh_mlp, "cnn": cnn}
)
"""Name → constructor from the input shape and the number of classes."""
