"""Squared distances of rows from a vector, of any columns, such as those just made of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from byzflower.kernels.cpu.addresses import Addresses, addresses
from byzflower.kernels.cpu.compiler import available
from byzflower.kernels.cpu.element import name_of
from byzflower.kernels.cpu.gaps import STEP, add_squares
from byzflower.kernels.reduction import Block
from byzflower.kernels.source import differences
from byzflower.threads import on_threads

__all__ = ["Gaps"]

Array = npt.NDArray[np.float64]
_AT_ONCE = {"cpu": 1 << 17, "cuda": 1 << 25}  # elements; on CPUs what a core's cache can hold


@dataclass(frozen=True)
class Gaps:
    """Rows, less a base where a block has one, and the vectors that they are measured from.

    Squares are formed in at least float32; numbers whose squares it does not hold give Inf or NaN.

    >>> Gaps([torch.tensor([[3.0, 5.0], [0.0, 1.0]])], [None], [torch.tensor([0.0, 1.0])]).squares()
    array([25.,  0.])
    """

    blocks: Sequence[Block]
    bases: Sequence[Tensor | None]
    points: Sequence[Tensor]

    @classmethod
    def to(cls, vector: Tensor, blocks: Sequence[Block], bases: Sequence[Tensor | None]) -> Gaps:
        """Measure from one vector (d,), of which each block has its part."""
        sizes = [block[0].numel() for block in blocks]
        return cls(blocks, bases, torch.split(vector, sizes))

    @property
    def nothing(self) -> Array:
        """What no columns add: zeros, shape (n,)."""
        return np.zeros(len(self.blocks[0]))

    @property
    def columns(self) -> int:
        """How many columns to measure at a time."""
        elements = _AT_ONCE.get(self.points[0].device.type, 1 << 17)
        return max(STEP, elements // len(self.blocks[0]) // STEP * STEP)

    @cached_property
    def _addresses(self) -> list[Addresses | None]:
        return [
            addresses(block, range(len(block)))
            if block[0].device.type == "cpu"
            and available(name_of(block[0].dtype))
            and point.is_contiguous()
            else None
            for block, point in zip(self.blocks, self.points, strict=True)
        ]

    def squares(self) -> Array:
        """Return ‖x_i − base − point‖² for every row, shape (n,)."""
        spans = [
            (index, start, min(start + self.columns, point.numel()))
            for index, point in enumerate(self.points)
            for start in range(0, point.numel(), self.columns)
        ]
        return sum(on_threads(lambda span: self.of(*span), spans), self.nothing)

    def of(self, index: int, start: int, stop: int) -> Array:
        """Return the same over some columns of a block."""
        out, rows = self.nothing, self._addresses[index]
        if rows is not None:
            whole = start + (stop - start) // STEP * STEP
            if start < whole:
                row, base = self.blocks[index][0], self.bases[index]
                point = self.points[index][start:whole]
                add_squares(out, rows, row, base, point, columns=(start, whole))
            start = whole
        if start < stop:
            out += self._rest(index, start, stop)
        return out

    def _rest(self, index: int, start: int, stop: int) -> Array:
        rows, base = [row[start:stop] for row in self.blocks[index]], self.bases[index]
        point = self.points[index][start:stop]
        based = point if base is None else base[start:stop]
        gaps = differences(rows, based)
        if base is not None:
            gaps -= point
        return np.asarray(torch.linalg.vector_norm(gaps, dim=1).double().square().cpu())
