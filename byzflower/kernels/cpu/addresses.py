"""Where rows lie in memory, as compiled code is told."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TypeAlias

from torch import Tensor

from byzflower.kernels.reduction import Block

__all__ = ["Addresses", "addresses", "stacked"]

Addresses: TypeAlias = "ctypes.Array[ctypes.c_void_p]"


def addresses(block: Block, rows: Sequence[int]) -> Addresses | None:
    """Return the rows' addresses, or None where a row's elements are not adjacent."""
    if isinstance(block, Tensor):
        return stacked(block, rows) if block.stride(1) == 1 else None
    if any(block[row].stride(0) != 1 for row in rows):
        return None
    return (ctypes.c_void_p * len(rows))(*(block[row].data_ptr() for row in rows))


def stacked(block: Tensor, rows: Sequence[int]) -> Addresses:
    """Return the addresses of rows of one tensor whose rows' elements are adjacent."""
    first, step = block.data_ptr(), block.stride(0) * block.element_size()
    return (ctypes.c_void_p * len(rows))(*(first + row * step for row in rows))
