"""What a step decides about the rows, as data, and the code that carries a decision out.

A pre-aggregator returns a :class:`Mixing`. A rule returns a plan: :class:`Weighted`,
:class:`Reduced` or :class:`Voted`. Deciding costs no pass over the d coordinates;
:func:`carry_out` makes the one pass that a plan needs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from byzflower.geometry import Array, Geometry
from byzflower.kernels import Gaps, Reduction, reduce
from byzflower.updates import Updates

__all__ = [
    "Mixing",
    "Outcome",
    "Plan",
    "Reduced",
    "Voted",
    "Weighted",
    "average_of",
    "carry_out",
    "length_of",
    "original_weights",
    "over_originals",
    "reordered",
    "shortening",
    "within",
]

_ROUNDING = 1e-6  # of a length, as float32 measures it


@dataclass(frozen=True)
class Mixing:
    """A pre-aggregator's output: m new rows ``matrix @ rows``, of which ``f`` may be faulty.

    ``matrix`` has shape (m, n); ``note`` is what ``explain`` reports of the step. What the steps
    after it return is clipped to the norm ``longest``, in the geometry's unit.
    """

    matrix: Array
    f: int
    note: Mapping[str, object] = field(default_factory=dict)
    longest: float = math.inf


@dataclass(frozen=True)
class Weighted:
    """Aggregate = Σ weights_i · row_i + center · v_0, with ``weights`` of shape (n,).

    v_0 is the vector that the caller passed as ``center``.
    """

    weights: Array
    center: float = 0.0
    note: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Reduced:
    """Aggregate = a coordinate-wise reduction of the m rows ``selection @ rows``.

    ``selection`` has shape (m, n); ``None`` means all rows. The aggregate is clipped to the norm
    ``longest``.
    """

    reduction: Reduction
    selection: Array | None = None
    note: Mapping[str, object] = field(default_factory=dict)
    longest: float = math.inf


@dataclass(frozen=True)
class Voted:
    """Aggregate = step × the sum of the signs of the m rows ``selection @ rows``.

    ``selection`` has shape (m, n); ``None`` means all rows. The aggregate is clipped to the norm
    ``longest``.
    """

    step: float
    selection: Array | None = None
    note: Mapping[str, object] = field(default_factory=dict)
    longest: float = math.inf


Plan = Weighted | Reduced | Voted


def average_of(rows: Sequence[int] | npt.NDArray[np.intp], n: int, **note: object) -> Weighted:
    """Return the plan that averages some of n rows; ``explain`` reports them as ``selected``.

    >>> average_of([0, 2], 3).weights
    array([0.5, 0. , 0.5])
    """
    picked = tuple(int(i) for i in rows)
    weights = np.zeros(n)
    weights[list(picked)] = 1 / len(picked)
    return Weighted(weights, note={"selected": picked, **note})


def over_originals(plan: Plan, matrix: Array) -> Plan:
    """Turn a plan over the rows ``matrix @ rows`` into one over ``rows``."""
    if isinstance(plan, Weighted):
        return dataclasses.replace(plan, weights=plan.weights @ matrix)
    rows = matrix if plan.selection is None else plan.selection @ matrix
    return dataclasses.replace(plan, selection=rows)


def reordered(plan: Plan, order: npt.NDArray[np.intp]) -> Plan:
    """Restate a plan for the same rows in another order."""
    if isinstance(plan, Weighted):
        return dataclasses.replace(plan, weights=plan.weights[order])
    if plan.selection is None:
        return plan
    return dataclasses.replace(plan, selection=plan.selection[:, order])


def within(plan: Plan, geometry: Geometry, longest: float) -> Plan:
    """Clip what a plan over the geometry's rows returns to a norm, in the geometry's unit.

    Weights are scaled at once; of a reduction only :func:`carry_out` learns the norm.
    """
    if not isinstance(plan, Weighted):
        return dataclasses.replace(plan, longest=longest * geometry.unit)
    factor = shortening(geometry.length(plan.weights, plan.center), longest)
    if factor == 1.0:
        return plan
    return dataclasses.replace(plan, weights=plan.weights * factor, center=plan.center * factor)


def shortening(length: float, longest: float) -> float:
    """Factor that clips a vector of this length; 1 where rounding may have made it too long.

    >>> shortening(3.0, 1.5), shortening(1.0, 1.5), shortening(1.00000001, 1.0)
    (0.5, 1.0, 1.0)
    """
    return longest / length if length > longest * (1 + _ROUNDING) else 1.0


def original_weights(plan: Plan, geometry: Geometry, n: int) -> torch.Tensor | None:
    """Return the weights of all n original rows, shape (n,), or ``None`` if the plan has none.

    Rows that were removed because they are not finite have weight 0.
    """
    if not isinstance(plan, Weighted):
        return None
    weights = torch.zeros(n, dtype=torch.float64)
    weights[torch.from_numpy(geometry.kept)] = torch.from_numpy(plan.weights)
    return weights


class Outcome(NamedTuple):
    """An aggregate (d,), the backend of its reduction's kernel, and, if asked for, distances.

    The distances (n,) are those of all rows to the aggregate; of rows that are not finite they say
    nothing.
    """

    value: torch.Tensor
    backend: str | None = None
    distances: Array | None = None


def carry_out(
    plan: Plan,
    geometry: Geometry,
    updates: Updates,
    center: torch.Tensor | None,
    *,
    distances: bool = False,
) -> Outcome:
    """Compute the aggregate.

    Distances to it follow from the Gram matrix if the plan has weights, else they are measured
    while it is made; only where nothing was measured before, or where it is clipped or made of
    votes, are the rows read for them.
    """
    if isinstance(plan, Weighted):
        outcome = Outcome(_weigh(plan, geometry, updates, center))
        if distances and geometry.is_measured:
            found = np.full(updates.n, np.nan)
            found[geometry.kept] = geometry.distances_to(plan.weights, plan.center)
            return outcome._replace(distances=found * geometry.unit)
    else:
        outcome = _reduce(plan, geometry, updates, distances=distances)
        factor = 1.0
        if plan.longest < math.inf:
            factor = shortening(length_of(outcome.value, geometry.unit), plan.longest)
        if factor < 1.0:
            outcome.value.mul_(factor)
            outcome = outcome._replace(distances=None)
    if distances and outcome.distances is None:
        gaps = Gaps.to(outcome.value, updates.blocks, updates.bases)
        return outcome._replace(distances=np.sqrt(gaps.squares()))
    return outcome


def _weigh(
    plan: Weighted, geometry: Geometry, updates: Updates, center: torch.Tensor | None
) -> torch.Tensor:
    weights = np.zeros(updates.n)
    weights[geometry.kept] = plan.weights
    extra = None if center is None or plan.center == 0 else center * plan.center
    return updates.combine(weights, extra, finite=len(geometry.kept) == updates.n)


def _reduce(
    plan: Reduced | Voted, geometry: Geometry, updates: Updates, *, distances: bool
) -> Outcome:
    out = torch.empty(updates.d, dtype=updates.dtype, device=updates.device)
    if isinstance(plan, Voted):
        _vote(plan, geometry, updates, out)
        return Outcome(out)
    squares = np.zeros(updates.n) if distances else None
    backend = reduce(
        updates.blocks,
        plan.reduction,
        out=out,
        mixing=plan.selection,
        rows=geometry.kept.tolist(),
        bases=updates.bases,
        squares=squares,
    )
    return Outcome(out, backend, None if squares is None else np.sqrt(squares))


def length_of(vector: torch.Tensor, unit: float = 1.0) -> float:
    """‖vector‖, by squares in the given unit."""
    measured = vector if unit == 1.0 else vector / unit
    return float(torch.linalg.vector_norm(measured, dtype=torch.float64)) * unit


def _vote(plan: Voted, geometry: Geometry, updates: Updates, out: torch.Tensor) -> None:
    kept = torch.from_numpy(geometry.kept).to(updates.device)
    mixing = None if plan.selection is None else torch.from_numpy(plan.selection).to(kept.device)
    for columns, chunk in updates.chunks():
        rows = chunk.index_select(0, kept)
        if mixing is not None:
            rows = mixing @ rows.double()
        out[columns] = rows.sign().sum(dim=0, dtype=torch.float64) * plan.step
