"""torchvision's MNIST, Fashion-MNIST and CIFAR-10, preprocessed as in the ARC paper (D.1)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from byzflower.registry import register

from ..errors import ExperimentError
from .data import Dataset, DatasetLoader

__all__ = ["CIFAR10", "MNIST", "MNIST_MEAN", "MNIST_STD", "FashionMNIST"]

MNIST_MEAN, MNIST_STD = 0.1307, 0.3081
_CIFAR_MEANS = (0.4914, 0.4822, 0.4465)
_CIFAR_STDS = (0.2023, 0.1994, 0.2010)


@register("dataset")
@dataclass(frozen=True)
class MNIST(DatasetLoader):
    """MNIST: 60,000 + 10,000 digits of 28×28 pixels (torchvision).

    Normalised with mean 0.1307 and standard deviation 0.3081.
    """

    name: ClassVar[str] = "mnist"
    downloads: ClassVar[bool] = True

    def load(self, folder: Path, download: bool) -> Dataset:
        """Read the data set; see :meth:`DatasetLoader.load`."""
        (x, y), (x_test, y_test) = (
            _grey("MNIST", folder, train, download) for train in (True, False)
        )
        x, x_test = ((images - MNIST_MEAN) / MNIST_STD for images in (x, x_test))
        return Dataset("mnist", x, y, x_test, y_test, 10)


@register("dataset")
@dataclass(frozen=True)
class FashionMNIST(DatasetLoader):
    """Fashion-MNIST: 60,000 + 10,000 garments of 28×28 pixels (torchvision).

    Scaled to [0, 1].

    Parameters
    ----------
    flip
        ``"random"``: clients mirror each training image of a batch with probability ½; ``"none"``.
    """

    name: ClassVar[str] = "fashion_mnist"
    downloads: ClassVar[bool] = True

    flip: str = "random"

    def __post_init__(self) -> None:
        _check_flip(self.name, self.flip, ("random", "none"))

    def load(self, folder: Path, download: bool) -> Dataset:
        """Read the data set; see :meth:`DatasetLoader.load`."""
        (x, y), (x_test, y_test) = (
            _grey("FashionMNIST", folder, train, download) for train in (True, False)
        )
        return Dataset(self.name, x, y, x_test, y_test, 10, flips=self.flip == "random")


@register("dataset")
@dataclass(frozen=True)
class CIFAR10(DatasetLoader):
    """CIFAR-10: 50,000 + 10,000 colour images of 32×32 pixels (torchvision).

    Normalised per channel.

    Parameters
    ----------
    flip
        ``"random"``: clients mirror each training image of a batch with probability ½.
        ``"expand"``: the training images and their mirror images, 100,000 rows (ARC D.1).
        ``"none"``.
    """

    name: ClassVar[str] = "cifar10"
    downloads: ClassVar[bool] = True

    flip: str = "random"

    def __post_init__(self) -> None:
        _check_flip(self.name, self.flip, ("random", "expand", "none"))

    def load(self, folder: Path, download: bool) -> Dataset:
        """Read the data set; see :meth:`DatasetLoader.load`."""
        x, y = _colour(folder, True, download)
        x_test, y_test = _colour(folder, False, download)
        if self.flip == "expand":
            x, y = torch.cat([x, x.flip(-1)]), y.repeat(2)
        return Dataset(self.name, x, y, x_test, y_test, 10, flips=self.flip == "random")


def _check_flip(name: str, flip: object, known: tuple[str, ...]) -> None:
    if flip not in known:
        raise ValueError(f"`{name}` needs flip to be one of {', '.join(known)}; found {flip!r}")


def _grey(name: str, folder: Path, train: bool, download: bool) -> tuple[Any, Any]:
    source = _read(name, folder, train, download)
    return source.data.unsqueeze(1).float() / 255, source.targets.long()


def _colour(folder: Path, train: bool, download: bool) -> tuple[Any, Any]:
    source = _read("CIFAR10", folder, train, download)
    images = torch.from_numpy(source.data).permute(0, 3, 1, 2).float() / 255
    means, stds = (torch.tensor(v).view(3, 1, 1) for v in (_CIFAR_MEANS, _CIFAR_STDS))
    return (images - means) / stds, torch.tensor(source.targets)


def _read(name: str, folder: Path, train: bool, download: bool) -> Any:
    try:
        return getattr(_torchvision(), name)(str(folder), train=train, download=download)
    except (RuntimeError, OSError) as error:
        cause = str(error).partition("\n")[0]
        hint = "check the network" if download else "pass --download to fetch it"
        raise ExperimentError(
            f"`data-dir` needs torchvision's {name} files; found none usable in {folder}: {hint} "
            f"({cause})"
        ) from error


def _torchvision() -> Any:
    try:
        from torchvision import datasets  # type: ignore[import-untyped]  # noqa: PLC0415
    except (ImportError, RuntimeError) as error:
        # A torchvision built for another torch fails with "operator torchvision::nms does not
        # exist", which tells the user nothing.
        cause = str(error).partition("\n")[0]
        raise ExperimentError(
            f"`dataset` needs a torchvision that matches torch {torch.__version__}: install both "
            f"from the same index (pip install torch torchvision); found: {cause}"
        ) from error
    return datasets
