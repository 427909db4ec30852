"""Coordinate-wise rules under many candidates at once: one pass over d, tile by tile.

Candidates share almost everything. A row that reaches the reduction is a + b v: a combination a
of honest updates, plus b times the candidate v. Rows of equal b move together, so their order is
sorted once for all candidates that have them; and f equal values inserted among p sorted ones
have order statistics in closed form: the i-th is the clamp of the inserted value to
[s_{i−f}, s_i].
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from byzflower.attack.order import inserted, sort_rows
from byzflower.geometry import Array
from byzflower.kernels import Reduction

__all__ = ["Column", "Line", "reduce_columns"]

_TILE = {"cpu": 1 << 19, "cuda": 1 << 26}  # elements in all buffers of a tile
_SAFE = (1e-15, 1e15)  # entries whose squares float32 holds


@dataclass(frozen=True)
class Line:
    """Candidates a_t × mean + b_t × direction, t = 0 … T−1, against honest updates (h, d)."""

    honest: torch.Tensor
    mean: torch.Tensor
    along_mean: Array
    along: Array
    direction: torch.Tensor | None


@dataclass(frozen=True)
class Column:
    """A reduction of m rows under candidate t: row i is ``honest[i] @ honest + faulty[i] v_t``."""

    candidate: int
    reduction: Reduction
    honest: Array
    faulty: Array


@dataclass(frozen=True)
class Pattern:
    """What a family of columns shares: sorted rows, and copies of one more row inserted."""

    reduction: Reduction
    rows: tuple[int, ...]
    row: int
    copies: int


@dataclass
class Schedule:
    """Columns arranged by what they share, over the distinct combinations ``bases`` (U, h)."""

    bases: Array
    shared: dict[Pattern, list[tuple[int, float, float]]] = field(default_factory=dict)
    single: list[tuple[int, Reduction, list[int], Array]] = field(default_factory=list)

    @classmethod
    def of(cls, columns: Sequence[Column]) -> Schedule:
        """Find the distinct combinations of honest updates and the families."""
        index: dict[bytes, int] = {}
        bases: list[Array] = []
        shared = defaultdict(list)
        single = []
        for column in columns:
            rows = []
            for combination in column.honest:
                key = (combination + 0.0).tobytes()  # −0.0 is 0.0
                if key not in index:
                    index[key] = len(bases)
                    bases.append(combination)
                rows.append(index[key])
            family = _family(column, rows)
            if family is None:
                single.append((column.candidate, column.reduction, rows, column.faulty))
            else:
                pattern, shift, lift = family
                shared[pattern].append((column.candidate, shift, lift))
        return cls(np.array(bases), dict(shared), single)


def _family(column: Column, rows: list[int]) -> tuple[Pattern, float, float] | None:
    """Return the pattern, the rows' common share of v, and the inserted row's share beyond it."""
    groups: dict[float, list[int]] = defaultdict(list)
    for row, share in zip(rows, column.faulty, strict=True):
        groups[float(share)].append(row)
    if len(groups) == 1:
        (shift,) = groups
        return Pattern(column.reduction, tuple(sorted(rows)), -1, 0), shift, 0.0
    if len(groups) == 2:
        for other, shift in (tuple(groups), tuple(groups)[::-1]):
            insertion, main = groups[other], tuple(sorted(groups[shift]))
            if len(set(insertion)) == 1 and _closed_form(
                column.reduction, len(main), len(insertion)
            ):
                pattern = Pattern(column.reduction, main, insertion[0], len(insertion))
                return pattern, shift, other - shift
    return None


def _closed_form(reduction: Reduction, p: int, copies: int) -> bool:
    """Whether the inserted values, however far, leave the reduction within reach of the others."""
    if reduction.kind == "trimmed_mean":
        return copies <= reduction.count
    return reduction.count <= p and copies <= (p + copies - 1) // 2


def reduce_columns(line: Line, columns: Sequence[Column]) -> tuple[Array, Array]:
    """Sum of ‖R − mean‖² and of ⟨R, mean⟩ over the columns of each candidate, shape (T,) each.

    R, the reduced vector of d coordinates, never exists as a whole.
    """
    schedule = Schedule.of(columns)
    device, T = line.honest.device, len(line.along_mean)
    total = torch.zeros((2, T), dtype=torch.float64, device=device)
    widest = max(len(column.faulty) for column in columns)
    budget = _TILE.get(device.type, 1 << 19)
    width = max(256, budget // (len(schedule.bases) + widest + line.honest.shape[0]))
    batch = max(1, budget // (8 * width))
    for start in range(0, line.honest.shape[1], width):
        tile = _Tile(line, slice(start, start + width), schedule.bases)
        for pattern, family in schedule.shared.items():
            ordered = sort_rows([tile.base[row].clone() for row in pattern.rows])
            for low in range(0, len(family), batch):
                part = family[low : low + batch]
                index = torch.tensor([t for t, _, _ in part], device=device)
                shift, lift = (
                    tile.column([s for _, s, _ in part]),
                    tile.column([k for *_, k in part]),
                )
                v = tile.candidates(index)
                other = torch.addcmul(tile.base[pattern.row], lift, v) if pattern.copies else v
                reduced = inserted(ordered, other, pattern.copies, pattern.reduction)
                tile.account(total, index, torch.addcmul(reduced, shift, v))
        for t, reduction, rows, shares in schedule.single:
            index = torch.tensor([t], device=device)
            v = tile.candidates(index)
            mixed = torch.addcmul(tile.base[rows], tile.column(shares), v)
            ordered = sort_rows(list(mixed.unbind()))
            tile.account(total, index, inserted(ordered, v, 0, reduction))
    squared, inner = total.cpu().numpy()
    return squared, inner


class _Tile:
    """A range of columns of everything: base rows, mean and direction, in a safe dtype."""

    def __init__(self, line: Line, part: slice, bases: Array) -> None:
        rows, self.mean = line.honest[:, part].to(line.mean.dtype), line.mean[part]
        self.direction = None if line.direction is None else line.direction[part]
        largest = float(torch.stack(torch.aminmax(rows)).abs().max())
        if largest != 0 and not _SAFE[0] < largest < _SAFE[1]:
            rows, self.mean = rows.double(), self.mean.double()
            self.direction = None if self.direction is None else self.direction.double()
        self.line, self.dtype = line, rows.dtype
        self.base = torch.from_numpy(bases).to(rows) @ rows

    def column(self, values: Sequence[float] | Array) -> torch.Tensor:
        return torch.as_tensor(values, dtype=self.dtype, device=self.mean.device)[:, None]

    def candidates(self, index: torch.Tensor) -> torch.Tensor:
        """v_t on this tile for the given t, (len(index), c)."""
        chosen = index.cpu().numpy()
        v = self.column(self.line.along_mean[chosen]) * self.mean
        if self.direction is None:
            return v
        return v.addcmul_(self.column(self.line.along[chosen]), self.direction)

    def account(self, total: torch.Tensor, index: torch.Tensor, reduced: torch.Tensor) -> None:
        total[1].index_add_(0, index, (reduced @ self.mean).double())
        off = reduced.sub_(self.mean)
        total[0].index_add_(0, index, off.square_().sum(dim=1).double())
