"""Data sets read from plain files in a data directory.

* ``mnist10k/t10k-images-idx3-ubyte.gz`` and ``t10k-labels-idx1-ubyte.gz``: MNIST's test set.
* ``covtype-balanced.npz``: arrays ``x_train`` (5460, 12), ``y_train``, ``x_test`` (840, 12),
  ``y_test``; 780 training and 120 test rows of each class 0 … 6 of UCI's Covertype
  (``sklearn.datasets.fetch_covtype``), int16. Columns 0–9 are its first ten, column 10 is the
  wilderness area 0 … 3 and column 11 the soil type 0 … 39 (its one-hot columns, as numbers).
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from byzflower.registry import register

from ..errors import ExperimentError
from .data import Dataset, DatasetLoader
from .vision import MNIST_MEAN, MNIST_STD

__all__ = ["Covtype", "MNIST10k"]

_MNIST_SOURCE = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_UBYTE = 8
_TRAIN_ROWS = 8000


@register("dataset")
@dataclass(frozen=True)
class MNIST10k(DatasetLoader):
    """MNIST's official test set alone: first 8,000 rows train, last 2,000 test (IDX files).

    Normalised as :class:`~byzflower.simulations.datasets.vision.MNIST`. Nothing is downloaded.
    """

    name: ClassVar[str] = "mnist10k"

    def load(self, folder: Path, download: bool) -> Dataset:
        """Read the data set; see :meth:`DatasetLoader.load`."""
        images = _idx(_mnist_file(folder, "t10k-images-idx3-ubyte.gz"), 3)
        labels = _idx(_mnist_file(folder, "t10k-labels-idx1-ubyte.gz"), 1)
        if len(images) != len(labels) or len(labels) <= _TRAIN_ROWS or labels.max() > 9:
            raise ExperimentError(
                f"`data-dir` needs 10,000 labelled MNIST digits in {folder / 'mnist10k'}; found "
                f"{len(images)} images and {len(labels)} labels"
            )
        scaled = (torch.from_numpy(images.astype(np.float32)) / 255 - MNIST_MEAN) / MNIST_STD
        x, y = scaled.unsqueeze(1), torch.from_numpy(labels.astype(np.int64))
        cut = _TRAIN_ROWS
        return Dataset("mnist10k", x[:cut], y[:cut], x[cut:], y[cut:], 10)


@register("dataset")
@dataclass(frozen=True)
class Covtype(DatasetLoader):
    """COVTYPE, balanced: 780 training and 120 test rows of 54 features in each of 7 classes.

    Columns 10 and 11 (wilderness area, soil type) are expanded one-hot; every feature is
    standardised with the training rows' mean and standard deviation. Nothing is downloaded.
    """

    name: ClassVar[str] = "covtype"

    def load(self, folder: Path, download: bool) -> Dataset:
        """Read the data set; see :meth:`DatasetLoader.load`."""
        path = _existing(
            folder / "covtype-balanced.npz",
            "make it from scikit-learn's fetch_covtype, as "
            "help(byzflower.simulations.datasets.files) says",
        )
        try:
            with np.load(path, allow_pickle=False) as arrays:
                parts = [arrays[key] for key in ("x_train", "y_train", "x_test", "y_test")]
        except (KeyError, TypeError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise _malformed(path, "arrays x_train, y_train, x_test, y_test") from error
        x, y, x_test, y_test = parts
        for rows, classes in ((x, y), (x_test, y_test)):
            if rows.ndim != 2 or rows.shape[1] != 12 or classes.shape != rows.shape[:1]:
                raise _malformed(path, "rows of 12 columns, each with a label")
            areas, soils = rows[:, 10], rows[:, 11]
            if not (_below(areas, 4) and _below(soils, 40) and _below(classes, 7)):
                raise _malformed(path, "areas 0 … 3, soil types 0 … 39 and labels 0 … 6")
        x, x_test = _one_hot(x), _one_hot(x_test)
        mean, std = x.mean(axis=0), x.std(axis=0)
        std[std == 0] = 1.0
        tensors = [
            torch.from_numpy(((part - mean) / std).astype(np.float32)) for part in (x, x_test)
        ]
        labels = [torch.from_numpy(part.astype(np.int64)) for part in (y, y_test)]
        return Dataset("covtype", tensors[0], labels[0], tensors[1], labels[1], 7)


def _below(values: npt.NDArray[np.integer], bound: int) -> bool:
    whole = np.issubdtype(values.dtype, np.integer)
    return bool(whole and values.size and values.min() >= 0 and values.max() < bound)


def _one_hot(rows: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    return np.hstack([rows[:, :10], np.eye(4)[rows[:, 10]], np.eye(40)[rows[:, 11]]])


def _idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """Read a gzipped IDX file of unsigned bytes."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _malformed(path, "a gzipped IDX file") from error
    if content[:4] != bytes([0, 0, _UBYTE, dimensions]):
        raise _malformed(path, f"an IDX file of bytes in {dimensions} dimensions")
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise _malformed(path, f"a header of {header} bytes")
    shape = tuple(int(v) for v in np.frombuffer(content[4:header], ">u4"))
    body = np.frombuffer(content[header:], np.uint8)
    if len(body) != np.prod(shape, dtype=np.int64):
        raise _malformed(path, f"{shape} bytes")
    return body.reshape(shape)


def _mnist_file(folder: Path, name: str) -> Path:
    return _existing(folder / "mnist10k" / name, f"download it from {_MNIST_SOURCE}{name}")


def _existing(path: Path, how_to_get: str) -> Path:
    if not path.is_file():
        raise ExperimentError(f"`data-dir` needs {path}; found no such file: {how_to_get}")
    return path


def _malformed(path: Path, requirement: str) -> ExperimentError:
    return ExperimentError(f"`data-dir` needs {requirement} in {path}; found something else")
