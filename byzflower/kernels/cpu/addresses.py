"""Where rows lie in memory, as compiled code is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from byzflower.kernels.reduction import Block

__all__ = ["Addresses", "addresses", "of_vectors", "stacked"]

# Not an array of ctypes: making its type, again in every round, takes longer than small kernels.
Addresses: TypeAlias = npt.NDArray[np.uintp]
Rows: TypeAlias = Sequence[int] | npt.NDArray[np.intp]


def addresses(block: Block, rows: Rows) -> Addresses | None:
    """Return the rows' addresses, or None where a row's elements are not adjacent."""
    if isinstance(block, Tensor):
        return stacked(block, rows) if block.stride(1) == 1 else None
    vectors = [block[row] for row in rows]
    return of_vectors(vectors) if all(vector.stride(0) == 1 for vector in vectors) else None


def of_vectors(vectors: Iterable[Tensor]) -> Addresses:
    """Return the addresses of vectors whose elements are adjacent."""
    return np.array([vector.data_ptr() for vector in vectors], dtype=np.uintp)


def stacked(block: Tensor, rows: Rows) -> Addresses:
    """Return the addresses of rows of one tensor whose rows' elements are adjacent."""
    first, step = block.data_ptr(), block.stride(0) * block.element_size()
    return np.asarray(rows, dtype=np.uintp) * step + first
