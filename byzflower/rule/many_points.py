"""Geometric medians of many points, in O(n²) memory, by matrix products and conjugate gradients."""

from __future__ import annotations

from typing import Self

import numpy as np

from byzflower.geometry import Array
from byzflower.rule.coordinates import coordinates_of_many
from byzflower.rule.descent import COINCIDE, Flags, Index, Points, lengths, upper_median

__all__ = ["ManyPoints", "pair_distances", "prepared"]

_DIRECT = 192  # dimensions up to which Newton's equations are solved by elimination
_STEPS = 200
_SOLVES = 100  # products with the Hessian for one step of Newton's
_CANCELLED = 1e-6  # squares this small against their terms are taken from the differences
_CERTAIN = 1e4  # squared distances this far above their noise have four digits
_NOTABLE = 64  # rows that are tried as medians themselves
_EPS = np.finfo(np.float64).eps


class ManyPoints(Points):
    """The iterate of one problem of many points, without (n, n, r) or (r, r) arrays."""

    def settled(self, gap: float) -> Self:
        """Step down until the gap is small enough; of all iterates return the best.

        On a line begin in the middle, which is the end.
        """
        at = best = self
        if self.points.shape[2] == 1:
            middle = np.median(self.points[0], axis=0) - self.points[0, 0]
            at = best = self.at(self.points, np.zeros(1, dtype=np.intp), middle[None])
        for _ in range(_STEPS):
            if best.gaps[0] <= gap:
                break
            at = at.next()
            best = at if at.gaps[0] < best.gaps[0] else best
        return best

    def without(self, row: int) -> Self:
        """Return z among the other points; the last one takes the row's place."""
        last = self.points.shape[1] - 1
        others = self.distances[0].copy()
        others[row] = np.inf
        nearest = int(others.argmin())
        offset = self.apart[:, nearest]
        self.points[:, row] = self.points[:, last]
        place = np.array([row if nearest == last else nearest])
        return type(self)(self.points[:, :last], place, offset)

    def _newton(self) -> Array:
        """Newton's steps; for large r by conjugate gradients on v ↦ Σ (v − u_i u_iᵀ v)/‖z − x_i‖.

        In many dimensions the u_i are nearly orthogonal and a few products are enough. An
        unfinished solution is still a direction of descent.
        """
        if self.offset.shape[1] <= _DIRECT:
            return super()._newton()
        apart, gradient = self.apart[0], self.gradient[0]
        cubes, total = self.inverse[0] ** 3, float(self.inverse.sum())
        total *= 1 + 4 * len(apart) * _EPS
        step, rest = np.zeros_like(gradient), -gradient
        ahead, square = rest.copy(), float(rest @ rest)
        # As exact as the gradient is small: the last steps then square the error.
        enough = square * min(0.1, np.sqrt(square) / len(apart)) ** 2
        for _ in range(_SOLVES):
            image = total * ahead - (cubes * (apart @ ahead)) @ apart
            curvature = float(ahead @ image)
            if not curvature > 0:
                break
            step += square / curvature * ahead
            rest = rest - square / curvature * image
            before, square = square, float(rest @ rest)
            if square <= enough:
                break
            ahead = rest + square / before * ahead
        return step[None] if step @ gradient < 0 else np.zeros_like(self.offset)

    def changes(self, steps: Array) -> Array:
        """F(z + step) − F(z) for steps (1, k, r); distances after the step from products."""
        apart, distances = self.apart[0], self.distances[0]
        squares = np.einsum("ki,ki->k", steps[0], steps[0])[:, None]
        gained = 2 * (steps[0] @ apart.T) + squares
        after = distances**2 + gained
        for k, rows in enumerate(after < _CANCELLED * (distances**2 + squares)):
            after[k, rows] = lengths(apart[rows] + steps[0, k]) ** 2
        both = np.sqrt(np.maximum(after, 0.0)) + distances
        changes: Array = (gained / np.where(both > 0, both, 1.0)).sum(axis=1)
        return changes[None]


def pair_distances(gram: Array, noise: Array, points: Array) -> Array:
    """Distances between all points, (n, n), each to four digits at least.

    From the Gram matrix; rows too near each other for that are measured about one of them, from
    their coordinates (n, r), a group at a time.
    """
    diagonal = np.diag(gram)
    squared = -2 * gram
    squared += diagonal
    squared += diagonal[:, None]
    uncertain = squared <= _CERTAIN * (noise[:, None] + noise)
    np.fill_diagonal(squared, 0.0)
    np.fill_diagonal(uncertain, False)
    for row in np.flatnonzero(uncertain.any(axis=1)):
        group = np.flatnonzero(uncertain[row])
        if not group.size:
            continue
        group = np.append(group, row)
        about = points[group] - points[row]
        norms = np.einsum("ij,ij->i", about, about)
        near = about @ about.T
        near *= -2
        near += norms
        near += norms[:, None]
        places = np.ix_(group, group)
        unsure, known = uncertain[places], squared[places]
        np.copyto(known, near, where=unsure)
        squared[places] = known
        unsure &= near < _CANCELLED * (norms[:, None] + norms)
        uncertain[places] = unsure
        uncertain[row] = uncertain[:, row] = False
    np.maximum(squared, 0.0, out=squared)
    distances: Array = np.sqrt(squared, out=squared)
    return distances


def prepared(gram: Array, noise: Array, gap: float) -> tuple[ManyPoints, Array, Array]:
    """Return where to start, and the rows that are medians themselves: weights (1, n), gap (1,).

    Where no row is, its weights are 0 and the gap is infinite.
    """
    points = coordinates_of_many(gram, noise)
    distances = pair_distances(gram, noise, points)
    middle = upper_median(distances)
    # Distances are capped so that an outlier's drown no digits of the others'.
    cap = 1e6 * float(np.median(middle))
    sums = np.minimum(distances, cap).sum(axis=1)
    least = int(sums.argmin())
    rows = _candidates(distances, sums, least, int(np.count_nonzero(distances[least] > cap)))
    rows = _pulled_less(points, distances, middle, rows)
    weights, gaps = np.zeros((1, len(gram))), np.full(1, np.inf)
    if rows.size > 0:
        gaps_of = _gaps_at(points, rows)
        optimal = rows[gaps_of <= gap]
        if optimal.size:
            weights[0, optimal] = 1 / optimal.size
            gaps[0] = gaps_of[gaps_of <= gap].max()
    return _start(points, distances, least), weights, gaps


def _candidates(distances: Array, sums: Array, least: int, beyond: int) -> Index:
    """Rows whose F may be the least: a row ``beyond`` the cap adds at most the way between two."""
    margin = beyond * distances[least] + 1e-6 * sums[least]
    rows: Index = np.flatnonzero(sums <= sums[least] + margin)
    return rows


def _pulled_less(points: Array, distances: Array, middle: Array, rows: Index) -> Index:
    """Rows that the others pull on no more than their multiplicity, up to a part in a thousand."""
    away = distances[rows]
    near = away <= COINCIDE * middle[rows, None]
    inverse = np.where(near, 0.0, 1 / np.where(near, 1.0, away))
    total = inverse.sum(axis=1, keepdims=True)
    pull = lengths(inverse @ points - total * points[rows])
    sizes = lengths(points)
    noise = 1e-10 * (inverse @ sizes + total[:, 0] * sizes[rows])
    least: Index = rows[pull - noise <= near.sum(axis=1) + 1e-3 * np.maximum(1, pull)]
    return least


def _gaps_at(points: Array, rows: Index) -> Array:
    """Exact gaps of some rows; of those at one place only the first's, which is everybody's."""
    gaps = np.full(len(rows), np.inf)
    tried = 0
    for i, row in enumerate(rows):
        if np.isfinite(gaps[i]) or tried == _NOTABLE:
            continue
        tried += 1
        at = ManyPoints.at(points[None], np.array([row]), np.zeros((1, points.shape[1])))
        same: Flags = at.near[0, rows]
        same[i] = True
        gaps[same] = at.gaps[0]
    return gaps


def _start(points: Array, distances: Array, least: int) -> ManyPoints:
    """Mean of the tightest majority, or the row of least F: starts that no outlier moves."""
    majority = len(points) // 2 + 1
    radii = np.partition(distances, majority - 1, axis=1)[:, :majority]
    tightest = int(np.einsum("ij,ij->i", radii, radii).argmin())
    nearest = np.argpartition(distances[tightest], majority - 1)[:majority]
    mean = points[nearest].mean(axis=0) - points[tightest]
    centre = ManyPoints.at(points[None], np.array([tightest]), mean[None])
    row = ManyPoints.at(points[None], np.array([least]), np.zeros((1, points.shape[1])))
    way = points[row.nearest] - points[tightest] - mean
    return row if centre.changes(way[None])[0, 0] < 0 else centre
