"""Data sets by name, as tensors in memory.

``digits`` comes with scikit-learn; the others are read from a data directory.

>>> data = load_dataset("digits")
>>> tuple(data.x_train.shape), tuple(data.x_test.shape), data.num_classes
((1442, 1, 8, 8), (355, 1, 8, 8), 10)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from byzflower.simulations.datasets.data import Dataset
from byzflower.simulations.datasets.embedded import digits
from byzflower.simulations.datasets.files import covtype, mnist10k
from byzflower.simulations.datasets.vision import cifar10, fashion_mnist, mnist
from byzflower.simulations.errors import ExperimentError, unknown

__all__ = ["DATASETS", "DATA_DIRECTORY", "Dataset", "load_dataset"]

DATA_DIRECTORY = "BYZFLOWER_DATA"

_FROM_DIRECTORY: dict[str, Callable[[Path, bool], Dataset]] = {
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "cifar10": cifar10,
    "mnist10k": mnist10k,
    "covtype": covtype,
}

DATASETS: Mapping[str, str] = MappingProxyType(
    {"digits": "1,797 handwritten digits of 8×8 pixels, part of scikit-learn"}
    | {name: (load.__doc__ or "").partition("\n")[0] for name, load in _FROM_DIRECTORY.items()}
)
"""Name → one line about the data set."""


def load_dataset(
    name: str, data_dir: str | Path | None = None, *, download: bool = False
) -> Dataset:
    """Load a data set, ready for training.

    Parameters
    ----------
    name
        A key of :data:`DATASETS`.
    data_dir
        Folder of the data sets that are not embedded; the environment's ``BYZFLOWER_DATA`` by
        default.
    download
        Let torchvision download ``mnist``, ``fashion_mnist`` and ``cifar10`` into ``data_dir``.

    Raises
    ------
    ExperimentError
        If the name is unknown or a file is missing or malformed; the message names the file and
        how to get it.
    """
    if name not in DATASETS:
        raise unknown("dataset", name, DATASETS)
    if name == "digits":
        return digits()
    folder = data_dir or os.environ.get(DATA_DIRECTORY)
    if not folder:
        raise ExperimentError(
            f"`dataset` {name} needs a data directory: pass --data-dir or set {DATA_DIRECTORY}; "
            "found neither"
        )
    return _FROM_DIRECTORY[name](Path(folder), download)
