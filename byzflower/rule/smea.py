"""Smallest maximum eigenvalue averaging (SMEA), exact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, combinations, islice
from math import comb
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from byzflower.budget import at_once
from byzflower.errors import BudgetError
from byzflower.geometry import Array, Geometry
from byzflower.plans import Weighted, average_of
from byzflower.registry import register
from byzflower.rule.lanczos import top_eigenpair
from byzflower.steps import Rule

__all__ = ["SMEA", "smallest_eigenvalue"]

_SUBSETS = 2_000_000
_PRODUCTS = _SUBSETS * 64**2  # of a subset's n × n matrix with a vector
_BATCH = 4096
_MANY = 256  # rows from which Lanczos' method finds a top eigenvector faster
_ROUNDS = 32  # in which the greedy subset is left
_TIE = 1e-12
_EPS = np.finfo(np.float64).eps
_POWER_STEPS = 8


def smallest_eigenvalue(gram: Array, size: int) -> tuple[list[int], float]:
    """Find the ``size`` rows whose covariance has the least top eigenvalue, and that eigenvalue.

    A greedy subset gives an upper bound. It excludes rows that are too far from too many others;
    subsets of the remaining rows are excluded by lower bounds on their top eigenvalue, and the
    eigenvalues of the others' centred Gram matrices decide. Among subsets that tie to 1e-12 the one
    whose rows come first is taken.

    Raises
    ------
    BudgetError
        If more than two million subsets remain after the first exclusion, or fewer of more than
        64 rows.

    >>> smallest_eigenvalue(np.diag([4.0, 1.0, 1.0]), 2)
    ([1, 2], 0.5)
    """
    chosen = _greedy(gram, size)
    best = _top_axis(gram[np.ix_(chosen, chosen)], 1e-11)[0] * (1 + _TIE)
    bound = best * (1 + _TIE)
    # Rounding may rule out rows of the greedy subset where the rows nearly coincide.
    rows = np.union1d(_possible(gram, size, bound), chosen)
    drop = len(rows) - size
    count, most = comb(len(rows), drop), min(_SUBSETS, _PRODUCTS // len(rows) ** 2)
    if count > most and best <= _EPS * np.trace(gram[np.ix_(chosen, chosen)]):
        return [int(i) for i in chosen], best / size  # rows that coincide: none is better
    if count > most:
        found = count if count < 10**9 else f"10^{len(str(count)) - 1}"
        raise BudgetError(
            f"`smea` needs at most {most} subsets to search; "
            f"found {found} ({size} of {len(rows)} rows)"
        )
    inner = gram[np.ix_(rows, rows)]
    along = _axes(inner)
    for dropped in _batches(len(rows), drop):
        keep = np.ones((len(dropped), len(rows)))
        np.put_along_axis(keep, dropped, 0.0, axis=1)
        keep = _screened(keep, inner, along, bound * (1 + 1e-9))
        if not len(keep):
            continue
        subsets = rows[np.nonzero(keep)[1].reshape(-1, size)]
        tops = _top(gram, subsets)
        best = min(best, float(tops.min()))
        bound = min(bound, best * (1 + _TIE))
        tied = np.flatnonzero(tops <= best * (1 + _TIE))
        if len(tied):  # dropped sets come in order, so the last leaves the first rows
            chosen = subsets[tied[-1]]
    return [int(i) for i in chosen], best / size


def _screened(keep: Array, gram: Array, along: Array, bound: float) -> Array:
    """Return the masks of subsets that a lower bound on the top eigenvalue does not exclude.

    The bounds are the scatter along the principal axes of all rows, then Rayleigh quotients in a
    few steps of the power method from the best of these axes.
    """
    size = keep[:1].sum()
    spread = keep @ along**2 - (keep @ along) ** 2 / size
    axis = spread.argmax(axis=1)
    passed = spread[np.arange(len(keep)), axis] <= bound
    keep, vector = keep[passed], along.T[axis[passed]]
    for _ in range(_POWER_STEPS):
        vector = keep * (vector - (keep * vector).sum(axis=1, keepdims=True) / size)
        length = np.sqrt((vector**2).sum(axis=1, keepdims=True))
        vector = vector / np.where(length > 0, length, 1.0)
        image = vector @ gram
        passed = (vector * image).sum(axis=1) <= bound
        keep, vector = keep[passed], image[passed]
    return keep


def _batches(n: int, drop: int) -> Iterator[npt.NDArray[np.intp]]:
    subsets = combinations(range(n), drop)
    while batch := list(islice(subsets, min(_BATCH, at_once(8 * 8 * n)))):
        flat = np.fromiter(chain.from_iterable(batch), dtype=np.intp, count=len(batch) * drop)
        yield flat.reshape(len(batch), drop)


def _top(gram: Array, subsets: npt.NDArray[np.intp]) -> Array:
    """Top eigenvalue of each subset's scatter Σ (x − μ)(x − μ)ᵀ, shape (number of subsets,)."""
    step, tops = at_once(4 * 8 * subsets.shape[1] ** 2), np.zeros(len(subsets))
    for low in range(0, len(subsets), step):
        rows = subsets[low : low + step]
        inner = gram[rows[:, :, None], rows[:, None, :]]
        inner = inner - inner.mean(axis=1, keepdims=True)
        inner = inner - inner.mean(axis=2, keepdims=True)
        tops[low : low + step] = np.linalg.eigvalsh(inner)[:, -1]
    return np.maximum(tops, 0.0)


def _axes(gram: Array) -> Array:
    """Coordinates of the rows along their principal axes, shape (n, n)."""
    centred = gram - gram.mean(axis=0)
    centred = centred - centred.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh((centred + centred.T) / 2)
    axes: Array = vectors * np.sqrt(np.maximum(values, 0.0))
    return axes


def _greedy(gram: Array, size: int) -> npt.NDArray[np.intp]:
    """Drop the rows that lie farthest along the top eigenvector, one at a time where f ≤ 32."""
    rows, step = np.arange(len(gram)), -(-(len(gram) - size) // _ROUNDS)
    while len(rows) > size:
        along = np.abs(_top_axis(gram[np.ix_(rows, rows)], 1e-2)[1])
        dropped = np.argsort(-along, kind="stable")[: min(step, len(rows) - size)]
        rows = np.delete(rows, dropped)
    return rows


def _top_axis(gram: Array, tolerance: float) -> tuple[float, Array]:
    """Top eigenvalue of the rows' scatter, and an eigenvector of their centred Gram matrix."""

    def product(vector: Array) -> Array:
        image = gram @ (vector - vector.mean())
        centred: Array = image - image.mean()
        return centred

    if len(gram) >= _MANY:
        start = np.random.default_rng(0).standard_normal(len(gram))
        found = top_eigenpair(product, start, tolerance)
        if found is not None:
            return max(found[0], 0.0), found[1]
    centred = gram - gram.mean(axis=0)
    centred = centred - centred.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh((centred + centred.T) / 2)
    return max(float(values[-1]), 0.0), vectors[:, -1]


def _possible(gram: Array, size: int, bound: float) -> npt.NDArray[np.intp]:
    """Rows that a subset as good as ``bound`` may hold: two rows alone scatter by ‖x − y‖²/2."""
    rows = np.arange(len(gram))
    diagonal = np.diag(gram)
    compatible = (diagonal[:, None] + diagonal[None, :] - 2 * gram) / 2 <= bound * (1 + 1e-9)
    np.fill_diagonal(compatible, True)
    while True:
        enough = compatible[np.ix_(rows, rows)].sum(axis=1) >= size
        if enough.all():
            return rows
        rows = rows[enough]


@register("rule")
@dataclass(frozen=True)
class SMEA(Rule):
    """Average of the n − f rows whose covariance has the least maximum eigenvalue, exact.

    ``explain`` reports the ``eigenvalue`` of (1/(n−f)) Σ (x_i − μ)(x_i − μ)ᵀ. Eigenvalues are
    exact, of n × n matrices; ByzFL takes one step of the power method in d dimensions from a random
    start.

    Costs n²d/2 products for the Gram matrix, O(n²) to O(n³) for a first subset that excludes others
    and says whether the search can be done, and as much for each subset that cannot be excluded.
    O(n²) memory.

    Raises
    ------
    BudgetError
        If more than two million subsets cannot be excluded (n = 25, f = 8 has half of that at
        most), or fewer of more than 64 rows; nothing approximate is returned.

    Examples
    --------
    >>> import torch
    >>> SMEA()(torch.tensor([[1.0], [2.0], [3.0], [90.0]]), f=1)
    tensor([2.])
    """

    name: ClassVar[str] = "smea"
    reference: ClassVar[str] = "Allouah et al. 2023b"
    rows_needed: ClassVar[tuple[int, int]] = (2, 1)

    def plan(self, geometry: Geometry, f: int) -> Weighted:
        """Average the rows of the subset."""
        rows, eigenvalue = smallest_eigenvalue(geometry.centred_gram, geometry.n - f)
        return average_of(rows, geometry.n, eigenvalue=eigenvalue * geometry.unit * geometry.unit)
