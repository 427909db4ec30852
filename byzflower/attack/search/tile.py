"""The part of ‖R − ḡ‖² and ⟨R, ḡ⟩ that a range of columns contributes, for many candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from byzflower.attack.search.insertion import inserted, sort_rows
from byzflower.attack.search.observation import has_squares
from byzflower.geometry import Array
from byzflower.kernels import Reduction
from byzflower.kernels.cpu.effects import WIDTH, fused

__all__ = ["Line", "Member", "Pattern", "Tile", "tile_width"]

_ELEMENTS = {"cpu": 1 << 20, "cuda": 1 << 26}  # of a tile's rows
_BATCH = {"cpu": 1 << 16, "cuda": 1 << 24}  # of a temporary in tensor operations


@dataclass(frozen=True)
class Line:
    """Candidates v_t = a_t · mean + b_t · direction, against honest updates (h, d)."""

    honest: torch.Tensor
    mean: torch.Tensor
    along_mean: Array
    along: Array
    direction: torch.Tensor | None

    @property
    def directions(self) -> tuple[torch.Tensor, ...]:
        """The direction, if there is one."""
        return () if self.direction is None else (self.direction,)


@dataclass(frozen=True)
class Pattern:
    """What a family shares: base rows whose order is sorted once, and copies of one more row."""

    reduction: Reduction
    rows: tuple[int, ...]
    row: int
    copies: int

    @property
    def is_closed(self) -> bool:
        """Whether the closed form holds.

        The copies must be too few to decide the reduction alone, and no two values may always be
        equally near the median: the closed form does not share a place between two.
        """
        p, copies, count = len(self.rows), self.copies, self.reduction.count
        if self.reduction.kind == "trimmed_mean":
            return copies <= count
        tied = len(set(self.rows)) < p or ((p + copies) % 2 == 0 and max(copies, 1) >= count)
        return count <= p and copies <= (p + copies - 1) // 2 and not tied


class Member(NamedTuple):
    """A candidate t of a family: all rows move by shift · v_t, the copies by lift · v_t more."""

    candidate: int
    shift: float
    lift: float


def tile_width(line: Line, rows: int) -> int:
    """Columns of a tile with so many rows beside the honest ones."""
    elements = _ELEMENTS.get(line.mean.device.type, 1 << 20)
    return max(1, elements // (rows + len(line.honest) + 3) // WIDTH) * WIDTH


class Tile:
    """A range of columns of everything, in a dtype whose squares neither vanish nor overflow.

    Rows are read in place where that dtype is theirs and their number a multiple of ``WIDTH``;
    else they are copied and padded with zeros, whose aggregates equal their mean.
    """

    def __init__(self, line: Line, part: slice, bases: Array) -> None:
        honest = line.honest[:, part]
        self.dtype = line.mean.dtype if has_squares(honest) else torch.float64
        rows = self._widened(honest)
        self.mean = self._widened(line.mean[part])
        self.zero = torch.zeros_like(self.mean)
        direction = line.direction
        self.direction = self.zero if direction is None else self._widened(direction[part])
        self.base = _combined(bases, rows)

    def _widened(self, rows: torch.Tensor) -> torch.Tensor:
        padding = -rows.shape[-1] % WIDTH
        rows = rows.to(self.dtype)
        if padding or rows.stride(-1) != 1:
            rows = torch.nn.functional.pad(rows, (0, padding))
        return rows

    def sums(self, pattern: Pattern, scalars: torch.Tensor) -> torch.Tensor:
        """‖R − mean‖² and ⟨R, mean⟩ on this tile for each member, float64 (T, 2).

        ``scalars`` holds a, b, lift and shift of each member, float64 (T, 4).
        """
        scalars = scalars.to(self.mean)
        rows = [self.base[row] for row in pattern.rows]
        row = self.base[pattern.row] if pattern.copies else self.zero
        if self.mean.device.type == "cpu":
            code = fused(pattern.reduction, len(rows), pattern.copies, self.dtype)
            if code is not None:
                return code(rows, row, self.mean, self.direction, scalars)
        ordered = sort_rows([row.clone() for row in rows])
        batch = max(1, _BATCH.get(self.mean.device.type, 1 << 16) // len(self.mean))
        parts = [
            self._sums(pattern, ordered, row, scalars[low : low + batch, :, None])
            for low in range(0, len(scalars), batch)
        ]
        return torch.cat(parts)

    def _sums(
        self,
        pattern: Pattern,
        ordered: list[torch.Tensor],
        row: torch.Tensor,
        scalars: torch.Tensor,
    ) -> torch.Tensor:
        """Do in tensor operations what :class:`~byzflower.kernels.cpu.effects.Fused` does."""
        a, b, lift, shift = scalars.unbind(dim=1)
        v = (a * self.mean).addcmul_(b, self.direction)
        reduced = inserted(ordered, torch.addcmul(row, lift, v), pattern.copies, pattern.reduction)
        value = torch.addcmul(reduced, shift, v)
        inner = value @ self.mean
        squared = value.sub_(self.mean).square_().sum(dim=1)
        return torch.stack([squared, inner], dim=1).double()


def _combined(bases: Array, rows: torch.Tensor) -> list[torch.Tensor]:
    """Return ``bases`` @ ``rows``; a base that is a row costs nothing."""
    single = (np.count_nonzero(bases, axis=1) == 1) & (bases.max(axis=1) == 1.0)
    computed = iter(torch.from_numpy(bases[~single]).to(rows) @ rows)
    which = bases.argmax(axis=1)
    return [rows[int(k)] if one else next(computed) for one, k in zip(single, which, strict=True)]
