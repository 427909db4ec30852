"""The papers' models, with exactly their parameter counts.

A name stands for a family; the data set's shape decides the member. Models return logits, and
the loss is their cross-entropy, which is the papers' negative log likelihood of a log-softmax.
One of your own is a :class:`ModelFamily` under ``@register("model")``.

>>> count_parameters(build_model("cnn", (1, 28, 28), 10, seed=1))
431080
>>> build_model("mlp(width=20)", (1, 8, 8), 10, seed=1)[1]
Linear(in_features=64, out_features=20, bias=True)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from byzflower.configured import Configured
from byzflower.registry import register
from byzflower.specs import parse_one
from byzflower.validation import integer_at_least

from .errors import ExperimentError

__all__ = [
    "CNN",
    "MLP",
    "DropoutCNN",
    "ModelFamily",
    "ResNet18",
    "Softmax",
    "TanhMLP",
    "build_model",
    "count_parameters",
    "parse_model",
]

Shape = tuple[int, ...]


class ModelFamily(Configured, ABC):
    """Models of one architecture; what ``model`` names, a frozen dataclass."""

    @abstractmethod
    def build(self, shape: Shape, num_classes: int) -> nn.Module:
        """Return the member for inputs (b, *shape) and logits (b, num_classes).

        Its initial values may come from torch's global generator, which is seeded before.

        Raises
        ------
        ExperimentError
            If no member fits the shape.
        """


def parse_model(spec: str | ModelFamily) -> ModelFamily:
    """Build the family that a spec such as ``"mlp(width=200)"`` describes.

    Raises
    ------
    SpecError
        For an unknown name or parameter, or a value out of range.
    """
    return parse_one(spec, "model", ModelFamily)


def build_model(
    spec: str | ModelFamily, shape: Shape, num_classes: int, seed: int, scale: float = 1.0
) -> nn.Module:
    """Build a model for inputs of ``shape``, initialised from ``seed`` alone.

    ``scale`` multiplies all initial parameters: ARC's μ, the worse an initialisation the larger
    (Section 5.2).

    Raises
    ------
    SpecError
        If there is no such model.
    ExperimentError
        If the model does not fit the shape.
    """
    family = parse_model(spec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = family.build(shape, num_classes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    return model


def count_parameters(model: nn.Module) -> int:
    """Return d, the number of trained numbers."""
    return sum(parameter.numel() for parameter in model.parameters())


@register("model")
@dataclass(frozen=True)
class Softmax(ModelFamily):
    """Softmax regression (RS-Byrd-SAGA)."""

    name: ClassVar[str] = "softmax"

    def build(self, shape: Shape, num_classes: int) -> nn.Module:
        """Return one linear layer."""
        return nn.Sequential(nn.Flatten(), nn.Linear(_size(shape), num_classes))


@register("model")
@dataclass(frozen=True)
class MLP(ModelFamily):
    """One hidden ReLU layer: 784-100-10, 79,510 parameters (RESAM D.3); digits 64-64-10, 4,810.

    Parameters
    ----------
    width
        Neurons of the hidden layer; by default 64 for inputs of 64 numbers and 100 for others.
    """

    width: int | None = None

    name: ClassVar[str] = "mlp"

    def __post_init__(self) -> None:
        if self.width is not None:
            integer_at_least(self.width, 1, self.name, "width")

    def build(self, shape: Shape, num_classes: int) -> nn.Module:
        """Return the two layers."""
        width = self.width or (64 if _size(shape) == 64 else 100)
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(_size(shape), width),
            nn.ReLU(),
            nn.Linear(width, num_classes),
        )


@register("model")
@dataclass(frozen=True)
class TanhMLP(ModelFamily):
    """Two hidden layers of 50 neurons, tanh (RS-Byrd-SAGA).

    Parameters
    ----------
    width
        Neurons of each hidden layer.
    """

    width: int = 50

    name: ClassVar[str] = "tanh_mlp"

    def __post_init__(self) -> None:
        integer_at_least(self.width, 1, self.name, "width")

    def build(self, shape: Shape, num_classes: int) -> nn.Module:
        """Return the three layers."""
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(_size(shape), self.width),
            nn.Tanh(),
            nn.Linear(self.width, self.width),
            nn.Tanh(),
            nn.Linear(self.width, num_classes),
        )


@register("model")
@dataclass(frozen=True)
class CNN(ModelFamily):
    """28×28: 431,080 parameters, 3×32×32: 1,310,922 (ARC table 2); digits: 13,706."""

    name: ClassVar[str] = "cnn"

    def build(self, shape: Shape, num_classes: int) -> nn.Module:
        """Return the network of ARC's table 2, or a small one for digits."""
        if shape not in _CNNS:
            fitting = ", ".join("×".join(map(str, known)) for known in _CNNS)
            found = "×".join(map(str, shape))
            raise ExperimentError(
                f"`model` cnn needs inputs of {fitting}; the data set has {found}"
            )
        return _CNNS[shape](num_classes)


@register("model")
@dataclass(frozen=True)
class DropoutCNN(ModelFamily):
    """Two convolutions and two linear layers with dropout (MixTailor A.8); 28×28: 21,840.

    The paper gives no widths: these, 10 and 20 channels and 50 neurons, are its code's for MNIST,
    with Dropout2d after the second convolution and dropout before the last layer. 3×32×32: 31,340.
    """

    name: ClassVar[str] = "dropout_cnn"

    def build(self, shape: Shape, num_classes: int) -> nn.Module:
        """Return the network for square images of at least 16×16."""
        if len(shape) != 3 or shape[1] != shape[2] or shape[1] < 16:
            found = "×".join(map(str, shape))
            raise ExperimentError(
                f"`model` {self.name} needs square images of at least 16×16; "
                f"the data set has {found}"
            )
        side = ((shape[1] - 4) // 2 - 4) // 2
        return nn.Sequential(
            nn.Conv2d(shape[0], 10, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(10, 20, 5),
            nn.Dropout2d(0.5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(20 * side**2, 50),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(50, num_classes),
        )


@register("model")
@dataclass(frozen=True)
class ResNet18(ModelFamily):
    """torchvision's ResNet-18 for small images (ARC, appendix on CIFAR-10): 11,173,962 parameters.

    The first convolution is 3×3 without stride, and the first pooling is left out.
    """

    name: ClassVar[str] = "resnet18"

    def build(self, shape: Shape, num_classes: int) -> nn.Module:
        """Return the network for images of any size."""
        if len(shape) != 3:
            found = "×".join(map(str, shape))
            raise ExperimentError(f"`model` {self.name} needs images; the data set has {found}")
        try:
            # Takes a while to import.
            from torchvision.models import (  # type: ignore[import-untyped]  # noqa: PLC0415
                resnet18,
            )
        except (ImportError, RuntimeError) as error:
            raise ExperimentError(
                f"`model` {self.name} needs a torchvision that matches torch {torch.__version__}; "
                f"found: {str(error).partition(chr(10))[0]}"
            ) from error
        model: nn.Module = resnet18(num_classes=num_classes)
        # The usual variant for 32×32: no pixel is skipped before the blocks.
        model.conv1 = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
        model.maxpool = nn.Identity()
        return model


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
