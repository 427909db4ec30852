"""scikit-learn's handwritten digits, embedded in the package's dependencies."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from byzflower.registry import register

from .data import Dataset, DatasetLoader

__all__ = ["Digits"]


@register("dataset")
@dataclass(frozen=True)
class Digits(DatasetLoader):
    """1,797 handwritten digits of 8×8 pixels, part of scikit-learn; nothing to download.

    Every fifth row of each class is a test row, whatever the seed. Pixels 0 … 16 are scaled to
    [0, 1].
    """

    name: ClassVar[str] = "digits"
    needs_folder: ClassVar[bool] = False

    def load(self, folder: Path, download: bool) -> Dataset:
        """Read the data set; see :meth:`DatasetLoader.load`."""
        pixels, labels = _pixels_and_labels()
        x = torch.from_numpy((pixels / 16).astype(np.float32)).reshape(-1, 1, 8, 8)
        y = torch.from_numpy(labels.astype(np.int64))
        test = np.zeros(len(labels), dtype=bool)
        for label in range(10):
            test[np.flatnonzero(labels == label)[4::5]] = True
        held_out = torch.from_numpy(test)
        return Dataset("digits", x[~held_out], y[~held_out], x[held_out], y[held_out], 10)


def _pixels_and_labels() -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Read scikit-learn's file; importing scikit-learn, with SciPy, takes two seconds more."""
    package = find_spec("sklearn")  # finds a package without importing it
    for folder in (package and package.submodule_search_locations) or ():
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            with gzip.open(path, "rt", encoding="ascii") as file:
                table = np.loadtxt(file, delimiter=",", dtype=np.int64)
            return table[:, :-1], table[:, -1]
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # noqa: PLC0415

    pixels, labels = load_digits(return_X_y=True)
    return pixels, labels
