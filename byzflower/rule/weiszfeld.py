"""Geometric medians of points given by their Gram matrices, to a certified optimality gap."""

from __future__ import annotations

import numpy as np

from byzflower.geometry import Array
from byzflower.rule import many_points
from byzflower.rule.coordinates import coordinates
from byzflower.rule.descent import COINCIDE, Index, Points, lengths, upper_median
from byzflower.rule.spread_points import are_spread, median_of_spread, tightest_majority

__all__ = ["weiszfeld", "weiszfeld_each"]

_GAP = 1e-9
_STEPS = 200
_ELEMENTS = 1 << 20  # of differences between points that exist at a time
_MANY = 48  # points from which one problem's matrix products are worth more than sharing calls
_EPS = np.finfo(np.float64).eps


def weiszfeld(
    gram: Array, noise: Array | None = None, gap: float = _GAP
) -> tuple[Array, float, int]:
    """Weights of the geometric median of n points given by their Gram matrix.

    From 48 points on, where the median lies apart from all of them and they lie around it, products
    of the matrix with vectors find it, some dozen of them in all
    (:mod:`byzflower.rule.spread_points`).

    Else the points get coordinates in r dimensions, where r ≤ n is the numerical rank of the
    matrix; this costs n²r/3 to n²r products, an iteration O(nr). Rows that are optimal themselves
    are found first: by Vardi and Zhang's criterion, the sum of unit vectors towards the other rows
    is no longer than the row's multiplicity. If several are optimal, as can happen on a line, they
    are averaged. Elsewhere F(z) = Σ‖z − x_i‖ is smooth, and z takes the one of three steps that
    lowers F the most: Newton's, damped until F falls; Weiszfeld's; or the one to the nearest row,
    which Vardi and Zhang's step can leave again. A last step of Weiszfeld's turns the point into
    weights.

    The gradient's norm at z, times a bound on the distance from z to the median, bounds F(z) − min
    F. Both that bound and the scale it is compared with come from the nearest half of the points,
    so a row at 1e30 cannot make the gap look small. The gap is that of the exact weights; rounding
    them moves the point by 1e-16 of its distance from the rows of positive weight.

    Parameters
    ----------
    gram
        Inner products of the points about any origin near most of them, shape (n, n).
    noise
        Bounds (n,) on the rounding errors of the squared lengths; by default those of float64
        products.
    gap
        Certified relative optimality gap at which to stop.

    Returns
    -------
    weights : numpy.ndarray
        (n,), non-negative, adding up to one.
    gap : float
        Certified (F(z) − min F) / Σ of the distances to the nearest half.
    iterations : int

    Examples
    --------
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

    For few points nearly all time is the fixed cost of array operations, so fifty problems take
    little longer than one.

    Returns
    -------
    weights (T, n), certified gaps (T,), iterations (T,)
    """
    n = grams.shape[1]
    if noises is None:
        noises = n * _EPS * np.maximum(np.einsum("tii->ti", grams), 0.0)
    if n >= _MANY:
        parts = [_solved_alone(*given, gap) for given in zip(grams, noises, strict=True)]
    else:
        size = max(1, _ELEMENTS // n**3)
        parts = [
            _solved(grams[low : low + size], noises[low : low + size], gap)
            for low in range(0, len(grams), size)
        ]
    weights, gaps, iterations = (np.concatenate(part) for part in zip(*parts, strict=True))
    return weights, gaps, iterations


def _solved(grams: Array, noises: Array, gap: float) -> tuple[Array, Array, Index]:
    points = coordinates(grams, noises)
    distances = lengths(points[:, :, None] - points[:, None])
    weights, gaps = _optimal_rows(points, distances, gap)
    iterations = np.zeros(len(grams), dtype=np.intp)
    rest = np.flatnonzero(~np.isfinite(gaps))
    if rest.size:
        found = _descended(_start(points[rest], distances[rest]), gap)
        weights[rest], gaps[rest], iterations[rest] = found
    return weights, gaps, iterations


def _solved_alone(gram: Array, noise: Array, gap: float) -> tuple[Array, Array, Index]:
    """Solve one problem of many points; O(n²) numbers exist at a time."""
    at_origin = np.diag(gram) <= noise
    if 2 * np.count_nonzero(at_origin) > len(gram):
        return at_origin[None] / at_origin.sum(), np.zeros(1), np.zeros(1, dtype=np.intp)
    majority = tightest_majority(gram)
    if are_spread(gram, majority) and (found := median_of_spread(gram, noise, majority, gap)):
        return found[0][None], np.array([found[2]]), np.array([found[3]])
    start, weights, gaps = many_points.prepared(gram, noise, gap)
    if np.isfinite(gaps).all():
        return weights, gaps, np.zeros(1, dtype=np.intp)
    return _descended(start, gap)


def _descended(at: Points, gap: float) -> tuple[Array, Array, Index]:
    """Step down until every gap is small enough; keep the best of each problem."""
    count = len(at.points)
    weights, gaps = np.zeros(at.points.shape[:2]), np.full(count, np.inf)
    iterations, rest = np.zeros(count, dtype=np.intp), np.arange(count)
    for iteration in range(1, _STEPS + 1):
        better = at.gaps < gaps[rest]
        gaps[rest[better]], weights[rest[better]] = at.gaps[better], at.weights[better]
        iterations[rest] = iteration
        unfinished = gaps[rest] > gap
        if not unfinished.any():
            break
        rest, at = rest[unfinished], at.of(unfinished).next()
    return weights, gaps, iterations


def _start(points: Array, distances: Array) -> Points:
    """Mean of the tightest majority, or the row of least F: starts that no outlier moves."""
    count, n = points.shape[:2]
    each, majority = np.arange(count), n // 2 + 1
    nearest = np.argsort(distances, axis=2, kind="stable")[:, :, :majority]
    radii = np.take_along_axis(distances, nearest, axis=2)
    tightest = (radii**2).sum(axis=2).argmin(axis=1)
    means = points[each[:, None], nearest[each, tightest]].mean(axis=1) - points[each, tightest]
    centre = Points.at(points, tightest, means)
    # Distances are capped so that an outlier's drown no digits of the others'.
    cap = 1e6 * upper_median(distances.reshape(count, -1))
    least = np.minimum(distances, cap[:, None, None]).sum(axis=2).argmin(axis=1)
    row = Points.at(points, least, np.zeros_like(means))
    way = points[each, row.nearest] - points[each, tightest] - means
    worse = centre.changes(way[:, None])[:, 0] < 0
    return Points(
        points,
        np.where(worse, row.nearest, centre.nearest),
        np.where(worse[:, None], row.offset, centre.offset),
    )


def _optimal_rows(points: Array, distances: Array, gap: float) -> tuple[Array, Array]:
    """Weights (T, n) of the rows that are geometric medians themselves, with the gaps (T,).

    Where no row is, the weights are 0 and the gap is infinite.
    """
    near = distances <= COINCIDE * upper_median(distances)[:, :, None]
    inverse = np.where(near, 0.0, 1 / np.where(near, 1.0, distances))
    # The others' pull on row k is Σ_i (x_i − x_k)/d_ik; here up to rounding, below exactly.
    total = inverse.sum(axis=2)[:, :, None]
    pull = lengths(inverse @ points - total * points)
    noise = 1e-12 * (inverse @ np.abs(points) + total * np.abs(points)).sum(axis=2)
    which, rows = np.nonzero(pull - noise <= near.sum(axis=2) + 1e-3)
    if not rows.size:
        return np.zeros(distances.shape[:2]), np.full(len(points), np.inf)
    found = Points.at(points[which], rows, np.zeros((len(rows), points.shape[2]))).gaps
    gaps = np.full(distances.shape[:2], -np.inf)
    gaps[which, rows] = np.where(found <= gap, found, -np.inf)
    optimal = gaps >= 0
    counts = optimal.sum(axis=1)
    weights = optimal / np.maximum(counts, 1)[:, None]
    return weights, np.where(counts > 0, gaps.max(axis=1), np.inf)
