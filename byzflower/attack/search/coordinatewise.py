"""Coordinate-wise rules under many candidates at once: one pass over d, tile by tile.

Candidates share almost everything. A row that reaches the reduction is a + b v: a combination a
of honest updates, plus b times the candidate v. Rows of equal b move together, so their order is
sorted once for all candidates that have them; and copies of one value inserted among sorted ones
have order statistics in closed form (:mod:`byzflower.attack.search.insertion`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from byzflower.attack.search.tile import Line, Member, Pattern, Tile, tile_width
from byzflower.geometry import Array
from byzflower.kernels import Reduction, reduce
from byzflower.threads import on_threads

__all__ = ["Column", "reduce_columns"]

_PART = 1 << 16
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Column:
    """A reduction of m rows under candidate t: row i is ``honest[i] @ honest + faulty[i] v_t``."""

    candidate: int
    reduction: Reduction
    honest: Array
    faulty: Array


@dataclass(frozen=True)
class Arrangement:
    """Columns arranged by what they share, over the distinct combinations ``bases`` (U, h)."""

    bases: Array
    families: dict[Pattern, list[Member]]
    single: list[Column]

    @classmethod
    def of(cls, columns: Sequence[Column]) -> Arrangement:
        """Find the distinct combinations of honest updates and the families."""
        index: dict[bytes, int] = {}
        bases: list[Array] = []
        families: dict[Pattern, list[Member]] = defaultdict(list)
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
                single.append(column)
            else:
                families[family[0]].append(family[1])
        return cls(np.array(bases), dict(families), single)


def _family(column: Column, rows: list[int]) -> tuple[Pattern, Member] | None:
    """Return the family of rows with one share of v, save copies of a single other row."""
    groups: dict[float, list[int]] = defaultdict(list)
    for row, share in zip(rows, column.faulty, strict=True):
        groups[float(share)].append(row)
    reduction, candidate = column.reduction, column.candidate
    if len(groups) == 1:
        (shift,) = groups
        pattern = Pattern(reduction, tuple(sorted(rows)), -1, 0)
        return (pattern, Member(candidate, shift, 0.0)) if pattern.is_closed else None
    if len(groups) == 2:
        for other, shift in (tuple(groups), tuple(groups)[::-1]):
            copied, main = groups[other], tuple(sorted(groups[shift]))
            pattern = Pattern(reduction, main, copied[0], len(copied))
            if len(set(copied)) == 1 and pattern.is_closed:
                return pattern, Member(candidate, shift, other - shift)
    return None


def reduce_columns(line: Line, columns: Sequence[Column]) -> tuple[Array, Array]:
    """Sum of ‖R − mean‖² and of ⟨R, mean⟩ over the columns of each candidate, shape (T,) each."""
    arrangement = Arrangement.of(columns)
    total = torch.zeros((len(line.along_mean), 2), dtype=torch.float64, device=line.mean.device)
    if arrangement.families:
        longest = max(len(pattern.rows) for pattern in arrangement.families)
        width = tile_width(line, len(arrangement.bases) + longest)
        families = [
            (pattern, *_scalars(line, family, total.device))
            for pattern, family in arrangement.families.items()
        ]

        def of_tile(start: int) -> list[torch.Tensor]:
            tile = Tile(line, slice(start, start + width), arrangement.bases)
            return [tile.sums(pattern, scalars) for pattern, _, scalars in families]

        # A tile is many short operations: torch's threads would wait for each other after each.
        for sums in _shared(of_tile, range(0, line.honest.shape[1], width), total.device):
            for (_, chosen, _), of_family in zip(families, sums, strict=True):
                total.index_add_(0, chosen, of_family)
    for column in arrangement.single:
        total[column.candidate] += _alone(line, column)
    squared, inner = total.T.cpu().numpy()
    return squared, inner


def _scalars(
    line: Line, family: list[Member], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the members' candidates (T,) and each one's a, b, lift and shift, (T, 4)."""
    chosen = [member.candidate for member in family]
    shares = [(member.lift, member.shift) for member in family]
    along = np.stack([line.along_mean[chosen], line.along[chosen]], axis=1)
    scalars = torch.from_numpy(np.hstack([along, shares]))
    return torch.tensor(chosen, device=device), scalars.to(device)


def _alone(line: Line, column: Column) -> torch.Tensor:
    """‖R − mean‖² and ⟨R, mean⟩ of a column that shares nothing: an aggregation of its own."""
    t, faulty = column.candidate, column.faulty[:, None]
    rows = [*line.honest.to(line.mean.dtype), line.mean, *line.directions]
    along = [faulty * line.along[t]] * len(line.directions)
    mixing = np.hstack([column.honest, faulty * line.along_mean[t], *along])
    reduced = torch.empty_like(line.mean)
    reduce([rows], column.reduction, out=reduced, mixing=mixing)

    def of_part(start: int) -> torch.Tensor:
        part = reduced[start : start + _PART].double()
        mean = line.mean[start : start + _PART].double()
        return torch.stack([(part - mean).square_().sum(), part @ mean])

    return torch.stack(list(_shared(of_part, range(0, len(reduced), _PART), reduced.device))).sum(0)


def _shared(
    work: Callable[[int], _Result], starts: Sequence[int], device: torch.device
) -> Iterable[_Result]:
    """Do a work for each start: on a CPU by several threads, each of which has whole starts."""
    return on_threads(work, starts) if device.type == "cpu" else map(work, starts)
