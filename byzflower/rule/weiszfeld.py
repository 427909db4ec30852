"""Geometric medians of points given by their Gram matrices, to a certified optimality gap."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from byzflower.geometry import Array

__all__ = ["coordinates", "weiszfeld", "weiszfeld_each"]

_GAP = 1e-9
_STEPS = 200
_DAMPING = np.array([1.0, 0.5, 0.25, 0.125, 0.0625])
_COINCIDE = 1e-13  # of the distance to the median row: closer is the same point
_ELEMENTS = 1 << 20  # of differences between points that exist at a time
_EPS, _TINY = np.finfo(np.float64).eps, np.finfo(np.float64).tiny

Flags = npt.NDArray[np.bool_]
Index = npt.NDArray[np.intp]


def weiszfeld(
    gram: Array, noise: Array | None = None, gap: float = _GAP
) -> tuple[Array, float, int]:
    """Weights of the geometric median of n points given by their Gram matrix.

    The points get coordinates in at most n dimensions. Rows that are optimal themselves are found
    first (Vardi–Zhang: the others' pull on such a row is at most its multiplicity); several, as
    on a line, are averaged, for optima form a convex set. Elsewhere F(z) = Σ‖z − x_i‖ is smooth
    and z takes the step that lowers F the most: Newton's, damped until F falls, Weiszfeld's, or
    the one to the nearest row, which Vardi and Zhang's step then leaves. A last step of
    Weiszfeld's, which lowers F, turns the point into weights.

    At z the gradient's norm times a bound on the distance from z to the median bounds how far
    F(z) is from its minimum. Half of the points, the nearest, give both that bound and the scale
    it is compared with, so a row at 1e30 does not pass for convergence. It is the gap of the exact
    weights: rounded ones place the point to 1e-16 of its distance from the rows that carry weight.

    Parameters
    ----------
    gram
        Inner products of the points about any origin near most of them, shape (n, n).
    noise
        Squared lengths (n,) that rounding may have made up, row by row; by default those of float64
        products.
    gap
        Certified relative optimality gap at which to stop.

    Returns
    -------
    weights, certified gap, iterations

    >>> points = np.array([[0.0], [1.0], [9.0]])
    >>> weights, gap, _ = weiszfeld(points @ points.T)
    >>> weights @ points, gap <= 1e-9
    (array([1.]), True)
    """
    noises = None if noise is None else noise[None]
    weights, gaps, iterations = weiszfeld_each(gram[None], noises, gap)
    return weights[0], float(gaps[0]), int(iterations[0])


def weiszfeld_each(
    grams: Array, noises: Array | None = None, gap: float = _GAP
) -> tuple[Array, Array, Index]:
    """Do what :func:`weiszfeld` does for T Gram matrices at once, (T, n, n).

    On few points nearly all of a solution's time is what an array operation costs however short
    the array, so fifty take little longer than one.

    Returns
    -------
    weights (T, n), certified gaps (T,), iterations (T,)
    """
    n = grams.shape[1]
    if noises is None:
        noises = n * _EPS * np.maximum(np.einsum("tii->ti", grams), 0.0)
    size = max(1, _ELEMENTS // n**3)
    parts = [
        _solved(grams[low : low + size], noises[low : low + size], gap)
        for low in range(0, len(grams), size)
    ]
    weights, gaps, iterations = (np.concatenate(part) for part in zip(*parts, strict=True))
    return weights, gaps, iterations


def _solved(grams: Array, noises: Array, gap: float) -> tuple[Array, Array, Index]:
    points = coordinates(grams, noises)
    distances = _lengths(points[:, :, None] - points[:, None])
    weights, gaps = _optimal_rows(points, distances, gap)
    iterations = np.zeros(len(grams), dtype=np.intp)
    rest = np.flatnonzero(~np.isfinite(gaps))
    if not rest.size:
        return weights, gaps, iterations
    at = _start(points[rest], distances[rest])
    for iteration in range(1, _STEPS + 1):
        better = at.gaps < gaps[rest]
        gaps[rest[better]], weights[rest[better]] = at.gaps[better], at.weights[better]
        iterations[rest] = iteration
        unfinished = gaps[rest] > gap
        if not unfinished.any():
            break
        rest, at = rest[unfinished], at.of(unfinished).next()
    return weights, gaps, iterations


def _lengths(vectors: Array) -> Array:
    """Euclidean lengths along the last axis; several times faster than numpy's norm if short."""
    lengths: Array = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))
    return lengths


def coordinates(grams: Array, noises: Array) -> Array:
    """Points (T, n, r) with these inner products (T, n, n), by Cholesky's method with pivots.

    The next pivot is the row with the most left above its noise (T, n), so errors are relative to
    each pair's own lengths and a point at 1e30 costs the others nothing. What is left below the
    noise is dropped, and no coordinate is longer than what is left of its row: what rounding made
    indefinite comes out as a Gram matrix again.

    >>> coordinates(np.array([[[4.0, 2.0], [2.0, 1.0]]]), np.full((1, 2), 1e-15))
    array([[[2.],
            [1.]]])
    """
    rest = np.array(grams, order="C")
    each, n = np.arange(len(grams)), grams.shape[1]
    diagonals = rest.reshape(len(grams), -1)[:, :: n + 1]  # a view
    scale = 1 / np.where(noises > 0, noises, _TINY)
    columns = []
    for _ in range(n):
        significant = diagonals * scale
        pivots = significant.argmax(axis=1)
        squares = np.where(significant[each, pivots] > 1, diagonals[each, pivots], np.inf)
        if np.isinf(squares).all():
            break
        column = rest[each, :, pivots] / np.sqrt(squares)[:, None]
        longest = np.sqrt(np.maximum(diagonals, 0.0))
        column = np.clip(column, -longest, longest)
        rest -= column[:, :, None] * column[:, None]
        rest[each, pivots] = 0.0
        columns.append(column)
    return np.array(columns).reshape(len(columns), len(grams), n).transpose(1, 2, 0).copy()


def _middle(values: Array) -> Array:
    """Upper median along the last axis; several times faster than numpy's if short."""
    half = values.shape[-1] // 2
    middle: Array = np.partition(values, half, axis=-1)[..., half]
    return middle


@lru_cache(maxsize=64)
def _reach(n: int) -> Array:
    """If m > n/2 points lie within ρ of z, the median lies within 2mρ/(2m − n) of it: by m."""
    counts = np.arange(n // 2 + 1, n + 1)
    return 2 * counts / (2 * counts - n)


def _start(points: Array, distances: Array) -> _Points:
    """Mean of the tightest majority, or the row of least F: starts that no outlier moves."""
    count, n = points.shape[:2]
    each, majority = np.arange(count), n // 2 + 1
    nearest = np.argsort(distances, axis=2, kind="stable")[:, :, :majority]
    radii = np.take_along_axis(distances, nearest, axis=2)
    tightest = (radii**2).sum(axis=2).argmin(axis=1)
    means = points[each[:, None], nearest[each, tightest]].mean(axis=1) - points[each, tightest]
    centre = _Points.at(points, tightest, means)
    # Distances are capped so that an outlier's drown no digits of the others'.
    cap = 1e6 * _middle(distances.reshape(count, -1))
    least = np.minimum(distances, cap[:, None, None]).sum(axis=2).argmin(axis=1)
    row = _Points.at(points, least, np.zeros_like(means))
    way = points[each, row.nearest] - points[each, tightest] - means
    worse = centre.changes(way[:, None])[:, 0] < 0
    return _Points(
        points,
        np.where(worse, row.nearest, centre.nearest),
        np.where(worse[:, None], row.offset, centre.offset),
    )


def _optimal_rows(points: Array, distances: Array, gap: float) -> tuple[Array, Array]:
    """Weights (T, n) of the rows that are geometric medians themselves, with the gaps (T,).

    Where no row is, the weights are 0 and the gap is infinite.
    """
    near = distances <= _COINCIDE * _middle(distances)[:, :, None]
    inverse = np.where(near, 0.0, 1 / np.where(near, 1.0, distances))
    # The others' pull on row k is Σ_i (x_i − x_k)/d_ik; here up to rounding, below exactly.
    total = inverse.sum(axis=2)[:, :, None]
    pull = _lengths(inverse @ points - total * points)
    noise = 1e-12 * (inverse @ np.abs(points) + total * np.abs(points)).sum(axis=2)
    which, rows = np.nonzero(pull - noise <= near.sum(axis=2) + 1e-3)
    if not rows.size:
        return np.zeros(distances.shape[:2]), np.full(len(points), np.inf)
    found = _Points.at(points[which], rows, np.zeros((len(rows), points.shape[2]))).gaps
    gaps = np.full(distances.shape[:2], -np.inf)
    gaps[which, rows] = np.where(found <= gap, found, -np.inf)
    optimal = gaps >= 0
    counts = optimal.sum(axis=1)
    weights = optimal / np.maximum(counts, 1)[:, None]
    return weights, np.where(counts > 0, gaps.max(axis=1), np.inf)


@dataclass(frozen=True)
class _Points:
    """Of each of T problems a point z = x_k + offset for the row x_k nearest to it.

    So z can come as close to that row as it likes. ``points`` has shape (T, n, r), ``nearest``
    holds the k (T,), ``offset`` has shape (T, r).
    """

    points: Array
    nearest: Index
    offset: Array

    @classmethod
    def at(cls, points: Array, rows: Index, offset: Array) -> _Points:
        """Return the points x_row + offset."""
        each = np.arange(len(points))
        start = points[each, rows]
        nearest = _lengths(start[:, None] - points + offset[:, None]).argmin(axis=1)
        return cls(points, nearest, start - points[each, nearest] + offset)

    def of(self, which: Flags) -> _Points:
        """Return the points of some of the problems."""
        if which.all():
            return self
        return _Points(self.points[which], self.nearest[which], self.offset[which])

    @cached_property
    def apart(self) -> Array:
        """Differences z − x_i, shape (T, n, r)."""
        start = self.points[np.arange(len(self.points)), self.nearest]
        apart: Array = start[:, None] - self.points + self.offset[:, None]
        return apart

    @cached_property
    def distances(self) -> Array:
        """‖z − x_i‖, shape (T, n)."""
        return _lengths(self.apart)

    @cached_property
    def sorted(self) -> Array:
        """The distances in order."""
        return np.sort(self.distances, axis=1)

    @cached_property
    def near(self) -> Flags:
        """Rows that z coincides with, shape (T, n)."""
        middle = self.sorted[:, self.points.shape[1] // 2]
        coincide: Flags = self.distances <= _COINCIDE * middle[:, None]
        return coincide

    @cached_property
    def inverse(self) -> Array:
        """1/d_i of the rows away from z, shape (T, n)."""
        inverse: Array = np.where(self.near, 0.0, 1 / np.where(self.near, 1.0, self.distances))
        return inverse

    @cached_property
    def gradient(self) -> Array:
        """∇F = Σ (z − x_i)/d_i over the rows away from z, shape (T, r)."""
        gradient: Array = (self.inverse[:, None] @ self.apart)[:, 0]
        return gradient

    @cached_property
    def gaps(self) -> Array:
        """Certified bounds on (F(z) − min F) / Σ of the majority's distances, shape (T,)."""
        n, order = self.points.shape[1], self.sorted
        majority = n // 2 + 1
        scale = order[:, :majority].sum(axis=1)
        radius = (_reach(n) * order[:, majority - 1 :]).min(axis=1)
        excess = np.maximum(_lengths(self.gradient) - self.near.sum(axis=1), 0.0)
        bound = excess * radius + 2 * (self.distances * self.near).sum(axis=1)
        # A majority that coincides (scale 0) is the median.
        gaps: Array = np.where(scale > 0, bound / np.where(scale > 0, scale, 1.0), 0.0)
        return gaps

    @property
    def weights(self) -> Array:
        """Weights of z where it coincides with rows, else of one step of Weiszfeld's further."""
        coincides = self.near.sum(axis=1)[:, None] > 0
        shares = np.where(coincides, self.near, self.inverse)
        weights: Array = shares / shares.sum(axis=1)[:, None]
        return weights

    def next(self) -> _Points:
        """Return points of lower F."""
        plain = -self.gradient / self.inverse.sum(axis=1)[:, None]
        # The nearest row is the way into a tight cluster.
        newton = self._newton()[:, None] * _DAMPING[:, None]
        steps = np.concatenate([newton, -self.offset[:, None], plain[:, None]], axis=1)
        changes = self.changes(steps)
        falls = changes < 0
        # Of Newton's steps the least damped one that lowers F.
        damped = len(_DAMPING)
        falls[:, 1:damped] &= ~np.logical_or.accumulate(falls[:, : damped - 1], axis=1)
        falls[:, damped:] = True
        choice = np.where(falls, changes, np.inf).argmin(axis=1)
        step = steps[np.arange(len(steps)), choice]
        on_row = self.near.any(axis=1)
        if on_row.any():
            pull = _lengths(self.gradient[on_row])
            beyond = np.maximum(0.0, 1 - self.near[on_row].sum(axis=1) / pull)
            step[on_row] = plain[on_row] * beyond[:, None]
        return _Points.at(self.points, self.nearest, self.offset + step)

    def _newton(self) -> Array:
        """Newton's steps −H⁻¹∇F, for H = Σ (I − u_i u_iᵀ)/d_i with u_i = (z − x_i)/d_i; or 0."""
        scaled = self.apart * self.inverse[:, :, None] ** 1.5
        total = self.inverse.sum(axis=1)[:, None, None]
        hessian = total * np.eye(self.offset.shape[1]) - scaled.transpose(0, 2, 1) @ scaled
        # Rows on a line through z leave no curvature along it but what rounding makes of it.
        hessian += 4 * self.points.shape[1] * _EPS * total * np.eye(self.offset.shape[1])
        step: Array = np.linalg.solve(hessian, -self.gradient[:, :, None])[:, :, 0]
        falls = (step * self.gradient).sum(axis=1) < 0  # false for NaN as well
        return np.where(falls[:, None], step, 0.0)

    def changes(self, steps: Array) -> Array:
        """F(z + step) − F(z) for steps (T, k, r), without the cancellation of two sums."""
        squares = np.einsum("tki,tki->tk", steps, steps)
        gained = 2 * (steps @ self.apart.transpose(0, 2, 1)) + squares[:, :, None]
        both = _lengths(self.apart[:, None] + steps[:, :, None]) + self.distances[:, None]
        changes: Array = (gained / np.where(both > 0, both, 1.0)).sum(axis=2)
        return changes
