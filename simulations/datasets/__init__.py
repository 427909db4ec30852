"""Data sets by name, as tensors in memory.

``digits`` comes with scikit-learn; the others are read from a data directory. One of your own is a
:class:`DatasetLoader` under ``@register("dataset")``.

>>> data = load_dataset("digits")
>>> tuple(data.x_train.shape), tuple(data.x_test.shape), data.num_classes
((1442, 1, 8, 8), (355, 1, 8, 8), 10)
"""

from __future__ import annotations

import os
from pathlib import Path

from byzflower.specs import parse_one

from ..errors import ExperimentError
from .data import Dataset, DatasetLoader
from .embedded import Digits
from .files import Covtype, MNIST10k
from .vision import CIFAR10, MNIST, FashionMNIST

__all__ = [
    "CIFAR10",
    "DATA_DIRECTORY",
    "MNIST",
    "Covtype",
    "Dataset",
    "DatasetLoader",
    "Digits",
    "FashionMNIST",
    "MNIST10k",
    "load_dataset",
    "parse_dataset",
]

DATA_DIRECTORY = "BYZFLOWER_DATA"


def parse_dataset(spec: str | DatasetLoader) -> DatasetLoader:
    """Build what reads the data set that a spec such as ``"mnist10k"`` names.

    Raises
    ------
    SpecError
        For an unknown name or parameter, or a value out of range.
    """
    return parse_one(spec, "dataset", DatasetLoader)


def load_dataset(
    spec: str | DatasetLoader, data_dir: str | Path | None = None, *, download: bool = False
) -> Dataset:
    """Load a data set, ready for training.

    Parameters
    ----------
    spec
        A data set's name, with parameters if it has any.
    data_dir
        Folder of the data sets that are not embedded; the environment's ``BYZFLOWER_DATA`` by
        default.
    download
        Let torchvision download ``mnist``, ``fashion_mnist`` and ``cifar10`` into ``data_dir``.

    Raises
    ------
    SpecError
        If there is no such data set.
    ExperimentError
        If a file is missing or malformed; the message names the file and how to get it.
    """
    loader = parse_dataset(spec)
    folder = data_dir or os.environ.get(DATA_DIRECTORY)
    if loader.needs_folder and not folder:
        fetched = "; with --download it is filled" if loader.downloads and not download else ""
        raise ExperimentError(
            f"`dataset` {loader.name} needs a data directory: pass --data-dir or set "
            f"{DATA_DIRECTORY}{fetched}; found neither"
        )
    return loader.load(Path(folder or "."), download)
