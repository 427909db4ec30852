"""Lay a data set out as on the Hugging Face Hub, for machines without a network.

``python offline.py digits FOLDER``: scikit-learn's digits, 28×28, in the place of MNIST.
``python offline.py mnist10k FOLDER``: MNIST's test set, from the folder BYZFLOWER_DATA.

The baselines read FOLDER by ``--run-config "data-folder='FOLDER'"``.
"""

from __future__ import annotations

import gzip
import os
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from datasets import ClassLabel, Dataset, Features, Image
from PIL.Image import fromarray

Rows = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


def write(name: str, folder: Path) -> None:
    """Write the splits of ``digits`` or ``mnist10k`` as Parquet files, with MNIST's columns."""
    splits = {"digits": digits, "mnist10k": mnist10k}[name]()
    features = Features({"image": Image(), "label": ClassLabel(num_classes=10)})
    folder.mkdir(parents=True, exist_ok=True)
    for split, (images, labels) in splits.items():
        columns = {"image": [fromarray(image) for image in images], "label": labels}
        rows = Dataset.from_dict(columns, features=features)
        rows.to_parquet(folder / f"{split}-00000-of-00001.parquet")


def digits() -> dict[str, Rows]:
    """Return digits of 8×8 pixels, each pixel a square of three, within a margin of two."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  # takes a second to import

    pixels, labels = load_digits(return_X_y=True)
    small = (pixels * 15.9).astype(np.uint8).reshape(-1, 8, 8)
    images = np.pad(small.repeat(3, axis=1).repeat(3, axis=2), [(0, 0), (2, 2), (2, 2)])
    testing = np.arange(len(labels)) % 5 == 4
    return {
        split: (images[chosen], labels[chosen].astype(np.uint8))
        for split, chosen in (("train", ~testing), ("test", testing))
    }


def mnist10k() -> dict[str, Rows]:
    """Return MNIST's 10,000 test images, the only split."""
    folder = Path(os.environ["BYZFLOWER_DATA"]) / "mnist10k"

    def read(kind: str, header: int) -> npt.NDArray[np.uint8]:
        content = gzip.decompress((folder / f"t10k-{kind}-ubyte.gz").read_bytes())
        return np.frombuffer(content, np.uint8, offset=header)

    return {"test": (read("images-idx3", 16).reshape(-1, 28, 28), read("labels-idx1", 8))}


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
