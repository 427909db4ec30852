"""Geometric median of points given by their Gram matrix, to a certified optimality gap."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from byzflower.geometry import Array

__all__ = ["coordinates", "weiszfeld"]

_GAP = 1e-9
_STEPS = 200
_DAMPING = (1.0, 0.5, 0.25, 0.125, 0.0625)
_COINCIDE = 1e-13  # of the distance to the median row: closer is the same point


def weiszfeld(gram: Array, gap: float = _GAP) -> tuple[Array, float, int]:
    """Weights of the geometric median of n points given by their Gram matrix.

    The points get coordinates in at most n dimensions. Rows that are optimal themselves are found
    first (Vardi–Zhang: the others' pull on such a row is at most its multiplicity); several, as
    on a line, are averaged, for optima form a convex set. Elsewhere F(z) = Σ‖z − x_i‖ is smooth
    and z takes the step that lowers F the most: Newton's, damped until F falls, Weiszfeld's, or
    the one to the nearest row, which Vardi and Zhang's step then leaves. A last step of
    Weiszfeld's, which lowers F, turns the point into weights.

    At z the gradient's norm times a bound on the distance from z to the median bounds how far
    F(z) is from its minimum. Half of the points, the nearest, give both that bound and the scale
    it is compared with, so a row at 1e30 does not pass for convergence.

    Parameters
    ----------
    gram
        Inner products of the points about any origin near most of them, shape (n, n).
    gap
        Certified relative optimality gap at which to stop.

    Returns
    -------
    weights, certified gap, iterations
    """
    points = coordinates(gram)
    distances = _lengths(points[:, None] - points)
    optimal = _optimal_rows(points, distances, gap)
    if optimal:
        weights = np.zeros(len(gram))
        weights[list(optimal)] = 1 / len(optimal)
        return weights, max(optimal.values()), 0
    best = point = _start(points, distances)
    for iteration in range(1, _STEPS + 1):
        if best.gap <= gap:
            return best.weights, best.gap, iteration
        point = point.next()
        best = point if point.gap < best.gap else best
    return best.weights, best.gap, _STEPS


def _lengths(vectors: Array) -> Array:
    """Euclidean lengths along the last axis; several times faster than numpy's norm if short."""
    lengths: Array = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))
    return lengths


def coordinates(gram: Array) -> Array:
    """Points (n, r) with these inner products, by Cholesky's method with pivots.

    Its errors are relative to each pair's own lengths, so a point at 1e30 costs the others
    nothing, and what rounding made indefinite comes out as a Gram matrix again.

    >>> coordinates(np.array([[4.0, 2.0], [2.0, 1.0]]))
    array([[2.],
           [1.]])
    """
    rest = np.array(gram, order="C")
    diagonal = rest.reshape(-1)[:: len(gram) + 1]  # a view
    columns = []
    noise = len(gram) * np.finfo(np.float64).eps * np.maximum(np.diag(gram), 0.0)
    for _ in range(len(gram)):
        pivot = int(np.argmax(np.where(diagonal > noise, diagonal, 0.0)))
        if not diagonal[pivot] > noise[pivot]:
            break
        column = rest[:, pivot] / np.sqrt(diagonal[pivot])
        rest -= column[:, None] * column
        rest[pivot] = rest[:, pivot] = 0.0
        columns.append(column)
    return np.array(columns).reshape(len(columns), len(gram)).T.copy()


@lru_cache(maxsize=64)
def _reach(n: int) -> Array:
    """If m > n/2 points lie within ρ of z, the median lies within 2mρ/(2m − n) of it: by m."""
    counts = np.arange(n // 2 + 1, n + 1)
    return 2 * counts / (2 * counts - n)


def _start(points: Array, distances: Array) -> _Point:
    """Mean of the tightest majority, or the row of least F: starts that no outlier moves."""
    majority = len(points) // 2 + 1
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :majority]
    tightest = int(np.argmin((np.take_along_axis(distances, nearest, axis=1) ** 2).sum(axis=1)))
    mean = points[nearest[tightest]].mean(axis=0) - points[tightest]
    centre = _Point.at(points, tightest, mean)
    # Distances are capped so that an outlier's drown no digits of the others'.
    capped = np.minimum(distances, 1e6 * np.median(distances)).sum(axis=1)
    row = _Point.at(points, int(np.argmin(capped)), np.zeros_like(mean))
    way = points[row.nearest] - points[tightest] - mean
    return row if centre.changes(way[None])[0] < 0 else centre


def _optimal_rows(points: Array, distances: Array, gap: float) -> dict[int, float]:
    """Rows that are geometric medians themselves, with the gap of each."""
    near = distances <= _COINCIDE * np.median(distances, axis=0)
    inverse = np.where(near, 0.0, 1 / np.where(near, 1.0, distances))
    # The others' pull on row k is Σ_i (x_i − x_k)/d_ik; here up to rounding, below exactly.
    pull = np.linalg.norm(inverse @ points - inverse.sum(axis=1)[:, None] * points, axis=1)
    noise = 1e-12 * (inverse @ np.abs(points) + inverse.sum(axis=1)[:, None] * np.abs(points))
    candidates = np.flatnonzero(pull - noise.sum(axis=1) <= near.sum(axis=1) + 1e-3)
    origin = np.zeros(points.shape[1])
    gaps = {int(row): _Point.at(points, int(row), origin).gap for row in candidates}
    return {row: found for row, found in gaps.items() if found <= gap}


@dataclass(frozen=True)
class _Point:
    """z = x_k + offset for the row x_k nearest to it, so that it can come as close as it likes."""

    points: Array
    nearest: int
    offset: Array

    @classmethod
    def at(cls, points: Array, row: int, offset: Array) -> _Point:
        nearest = int(np.argmin(_lengths(points[row] - points + offset)))
        return cls(points, nearest, points[row] - points[nearest] + offset)

    @cached_property
    def apart(self) -> Array:
        """Differences z − x_i, shape (n, r)."""
        apart: Array = self.points[self.nearest] - self.points + self.offset
        return apart

    @cached_property
    def distances(self) -> Array:
        """‖z − x_i‖."""
        return _lengths(self.apart)

    @cached_property
    def sorted(self) -> Array:
        """The distances in order."""
        return np.sort(self.distances)

    @cached_property
    def near(self) -> npt.NDArray[np.bool_]:
        """Rows that z coincides with."""
        middle = self.sorted[len(self.distances) // 2]
        coincide: npt.NDArray[np.bool_] = self.distances <= _COINCIDE * middle
        return coincide

    @cached_property
    def inverse(self) -> Array:
        """1/d_i of the rows away from z."""
        inverse: Array = np.where(self.near, 0.0, 1 / np.where(self.near, 1.0, self.distances))
        return inverse

    @cached_property
    def gradient(self) -> Array:
        """∇F = Σ (z − x_i)/d_i over the rows away from z."""
        gradient: Array = self.inverse @ self.apart
        return gradient

    @cached_property
    def gap(self) -> float:
        """Certified bound on (F(z) − min F) / Σ of the majority's distances."""
        n, order = len(self.distances), self.sorted
        majority = n // 2 + 1
        scale = order[:majority].sum()
        if scale == 0.0:  # a majority coincides: that point is the median
            return 0.0
        radius = (_reach(n) * order[majority - 1 :]).min()
        excess = max(float(np.linalg.norm(self.gradient)) - np.count_nonzero(self.near), 0.0)
        return float((excess * radius + 2 * self.distances[self.near].sum()) / scale)

    @property
    def weights(self) -> Array:
        """Weights of the point that one step of Weiszfeld's from z leads to."""
        weights: Array = self.inverse / self.inverse.sum()
        return weights

    def next(self) -> _Point:
        """Return a point of lower F."""
        plain = -self.gradient / self.inverse.sum()
        if self.near.any():
            beyond = 1 - np.count_nonzero(self.near) / np.linalg.norm(self.gradient)
            return self._moved(plain * max(0.0, beyond))
        # The nearest row is the way into a tight cluster.
        steps = [plain, -self.offset]
        newton = self._newton()
        if newton is not None:
            steps += [length * newton for length in _DAMPING]
        changes = self.changes(np.array(steps))
        undamped = 2 + np.flatnonzero(changes[2:] < 0.0)[:1]  # damped no more than needed
        choice = min([*undamped, 1, 0], key=lambda i: changes[i])
        return self._moved(steps[choice])

    def _moved(self, step: Array) -> _Point:
        return _Point.at(self.points, self.nearest, self.offset + step)

    def _newton(self) -> Array | None:
        """Newton's step −H⁻¹∇F, for H = Σ (I − u_i u_iᵀ)/d_i with u_i = (z − x_i)/d_i."""
        scaled = self.apart * self.inverse[:, None] ** 1.5
        hessian = self.inverse.sum() * np.eye(len(self.offset)) - scaled.T @ scaled
        try:
            step: Array = np.linalg.solve(hessian, -self.gradient)
        except np.linalg.LinAlgError:  # all rows on a line through z: no curvature along it
            return None
        return step if np.isfinite(step).all() and step @ self.gradient < 0 else None

    def changes(self, steps: Array) -> Array:
        """F(z + step) − F(z) for steps (k, r), without the cancellation of two sums."""
        squares = np.einsum("ki,ki->k", steps, steps)
        gained = 2 * (steps @ self.apart.T) + squares[:, None]
        both = _lengths(self.apart + steps[:, None]) + self.distances
        changes: Array = (gained / np.where(both > 0, both, 1.0)).sum(axis=1)
        return changes
