"""An iterate of the geometric median: its certified gap, its weights, and the next iterate.

Notation: T problems of n points x_i in r dimensions, F(z) = Σ‖z − x_i‖.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Self

import numpy as np
import numpy.typing as npt

from byzflower.geometry import Array

__all__ = ["COINCIDE", "Flags", "Index", "Points", "certified_gaps", "lengths", "upper_median"]

COINCIDE = 1e-13  # of the median distance: nearer points count as the same
_DAMPING = np.array([1.0, 0.5, 0.25, 0.125, 0.0625])
_EPS = np.finfo(np.float64).eps

Flags = npt.NDArray[np.bool_]
Index = npt.NDArray[np.intp]


def lengths(vectors: Array) -> Array:
    """Euclidean lengths along the last axis; several times faster than numpy's norm if short."""
    result: Array = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))
    return result


def upper_median(values: Array) -> Array:
    """Upper median along the last axis; several times faster than numpy's if short."""
    half = values.shape[-1] // 2
    middle: Array = np.partition(values, half, axis=-1)[..., half]
    return middle


@lru_cache(maxsize=64)
def _reach(n: int) -> Array:
    """Return 2m/(2m − n) for m = ⌊n/2⌋ + 1 … n.

    If m points lie within ρ of z, the geometric median lies within 2mρ/(2m − n) of z.
    """
    counts = np.arange(n // 2 + 1, n + 1)
    return 2 * counts / (2 * counts - n)


def certified_gaps(order: Array, excess: Array, at_rows: Array | float = 0.0) -> Array:
    """Bounds on (F(z) − min F) / Σ of the distances to the nearest half, shape (T,).

    Parameters
    ----------
    order
        Distances from each z to its points, sorted, (T, n).
    excess
        Lengths (T,) of ∇F beyond what points at z hold back.
    at_rows
        What is to be added for points that z only nearly coincides with.
    """
    n = order.shape[1]
    majority = n // 2 + 1
    scale = order[:, :majority].sum(axis=1)
    radius = (_reach(n) * order[:, majority - 1 :]).min(axis=1)
    bound = excess * radius + at_rows
    # A majority that coincides (scale 0) is the median.
    gaps: Array = np.where(scale > 0, bound / np.where(scale > 0, scale, 1.0), 0.0)
    return gaps


@dataclass(frozen=True)
class Points:
    """An iterate z = x_k + offset of each of T problems, x_k being the point nearest to z.

    Keeping the offset, instead of z, is exact for a z arbitrarily near x_k.

    Attributes
    ----------
    points : numpy.ndarray
        x, shape (T, n, r).
    nearest : numpy.ndarray
        k, shape (T,).
    offset : numpy.ndarray
        z − x_k, shape (T, r).
    """

    points: Array
    nearest: Index
    offset: Array

    @classmethod
    def at(cls, points: Array, rows: Index, offset: Array) -> Self:
        """Return the iterates x_row + offset."""
        each = np.arange(len(points))
        start = points[each, rows]
        nearest = lengths(start[:, None] - points + offset[:, None]).argmin(axis=1)
        return cls(points, nearest, start - points[each, nearest] + offset)

    def of(self, which: Flags) -> Self:
        """Return the iterates of some of the problems."""
        if which.all():
            return self
        return type(self)(self.points[which], self.nearest[which], self.offset[which])

    @cached_property
    def apart(self) -> Array:
        """Differences z − x_i, shape (T, n, r)."""
        start = self.points[np.arange(len(self.points)), self.nearest]
        apart: Array = start[:, None] - self.points + self.offset[:, None]
        return apart

    @cached_property
    def distances(self) -> Array:
        """‖z − x_i‖, shape (T, n)."""
        return lengths(self.apart)

    @cached_property
    def sorted(self) -> Array:
        """The distances in order."""
        return np.sort(self.distances, axis=1)

    @cached_property
    def near(self) -> Flags:
        """Which points z coincides with, shape (T, n)."""
        middle = self.sorted[:, self.points.shape[1] // 2]
        coincide: Flags = self.distances <= COINCIDE * middle[:, None]
        return coincide

    @cached_property
    def inverse(self) -> Array:
        """1/‖z − x_i‖, or 0 where z coincides with x_i, shape (T, n)."""
        inverse: Array = np.where(self.near, 0.0, 1 / np.where(self.near, 1.0, self.distances))
        return inverse

    @cached_property
    def gradient(self) -> Array:
        """∇F = Σ (z − x_i)/‖z − x_i‖ over the points that z does not coincide with, (T, r)."""
        gradient: Array = (self.inverse[:, None] @ self.apart)[:, 0]
        return gradient

    @cached_property
    def gaps(self) -> Array:
        """Certified bounds on (F(z) − min F) / Σ of the nearest half's distances, shape (T,)."""
        excess = np.maximum(lengths(self.gradient) - self.near.sum(axis=1), 0.0)
        at_rows: Array = 2 * (self.distances * self.near).sum(axis=1)
        return certified_gaps(self.sorted, excess, at_rows)

    @property
    def weights(self) -> Array:
        """Weights (T, n) of z where it coincides with points, else of Weiszfeld's next iterate."""
        coincides = self.near.sum(axis=1)[:, None] > 0
        shares = np.where(coincides, self.near, self.inverse)
        weights: Array = shares / shares.sum(axis=1)[:, None]
        return weights

    def next(self) -> Self:
        """Return iterates of lower F."""
        plain = -self.gradient / self.inverse.sum(axis=1)[:, None]
        # The step to the nearest row is the way into a tight cluster.
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
            pull = lengths(self.gradient[on_row])
            beyond = np.maximum(0.0, 1 - self.near[on_row].sum(axis=1) / pull)
            step[on_row] = plain[on_row] * beyond[:, None]
        return self.at(self.points, self.nearest, self.offset + step)

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
        both = lengths(self.apart[:, None] + steps[:, :, None]) + self.distances[:, None]
        changes: Array = (gained / np.where(both > 0, both, 1.0)).sum(axis=2)
        return changes
