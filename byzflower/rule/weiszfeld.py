"""Geometric median of points given by their Gram matrix, to a certified optimality gap."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from byzflower.geometry import Array

__all__ = ["weiszfeld"]

_GAP = 1e-9
_STEPS = 500
_DAMPING = (1.0, 0.5, 0.25, 0.125, 0.0625)
_COINCIDE = 1e-13  # of the distance to the median row: closer is the same point


def weiszfeld(gram: Array, gap: float = _GAP) -> tuple[Array, float, int]:
    """Weights of the geometric median of n points given by their Gram matrix.

    Rows that are optimal themselves are found first (Vardi–Zhang: the others' pull on such a row
    is at most its multiplicity); several, as on a line, are averaged, for optima form a convex
    set. Elsewhere F(z) = Σ‖z − x_i‖ is smooth and takes Newton steps on n weights, damped until F
    falls, and Weiszfeld's step where they do not help; a step that lands on a row leaves it as
    Vardi and Zhang prescribe.

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
    diagonal = np.diag(gram)
    squared = np.maximum(diagonal[:, None] + diagonal[None, :] - 2 * gram, 0.0)
    np.fill_diagonal(squared, 0.0)
    optimal = _optimal_rows(squared, gap)
    if optimal:
        weights = np.zeros(len(gram))
        weights[list(optimal)] = 1 / len(optimal)
        return weights, max(optimal.values()), 0
    best = point = _Point.at(squared, _tightest_majority(squared))
    for iteration in range(1, _STEPS + 1):
        if best.gap <= gap:
            return best.weights, best.gap, iteration
        point = _Point.at(squared, point.next_weights())
        best = point if point.gap < best.gap else best
    return best.weights, best.gap, _STEPS


def _tightest_majority(squared: Array) -> Array:
    """Mean of the row with the nearest majority about it: a start that no outlier moves."""
    majority = len(squared) // 2 + 1
    nearest = np.argsort(squared, axis=1, kind="stable")[:, :majority]
    start = int(np.argmin(np.take_along_axis(squared, nearest, axis=1).sum(axis=1)))
    weights = np.zeros(len(squared))
    weights[nearest[start]] = 1 / majority
    return weights


def _optimal_rows(squared: Array, gap: float) -> dict[int, float]:
    """Rows that are geometric medians themselves, with the gap of each."""
    distances = np.sqrt(squared)
    middle = int(np.argmin(np.sort(distances, axis=1)[:, len(squared) // 2]))
    gram = (squared[middle][:, None] + squared[middle] - squared) / 2
    near = distances <= _COINCIDE * np.median(distances, axis=0)
    inverse = np.where(near, 0.0, 1 / np.where(near, 1.0, distances))
    # Column k holds the coefficients of Σ_i (x_i − x_k)/d_ik: the pull of the others on row k.
    pull = inverse - np.diag(inverse.sum(axis=0))
    length = (pull * (gram @ pull)).sum(axis=0)
    noise = 1e-13 * (np.abs(pull) * (np.abs(gram) @ np.abs(pull))).sum(axis=0)
    candidate = np.sqrt(np.maximum(length - noise, 0.0)) <= near.sum(axis=0) + 1e-3
    unit = np.eye(len(squared))
    gaps = {int(row): _Point.at(squared, unit[row]).gap for row in np.flatnonzero(candidate)}
    return {row: found for row, found in gaps.items() if found <= gap}


@dataclass(frozen=True)
class _Point:
    """z = Σ w_i x_i seen from its nearest row k, about which all inner products are taken.

    There d_k² = wᵀ G w needs no subtraction, so z can come as close to x_k as it likes.
    """

    inner: Array
    weights: Array
    distances: Array

    @classmethod
    def at(cls, squared: Array, weights: Array) -> _Point:
        nearest = int(np.argmax(weights))
        for _ in range(len(weights)):
            to = squared[nearest]
            inner = (to[:, None] + to - squared) / 2
            product = inner @ weights
            rest = max(float(weights @ product), 0.0)
            lengths = np.maximum(to - 2 * product + rest, 0.0)
            closest = int(np.argmin(lengths))
            if lengths[closest] >= lengths[nearest]:
                break
            nearest = closest
        return cls(inner, weights, np.sqrt(lengths))

    @cached_property
    def near(self) -> npt.NDArray[np.bool_]:
        """Rows that z coincides with."""
        half = len(self.distances) // 2
        middle = float(np.partition(self.distances, half)[half])
        coincide: npt.NDArray[np.bool_] = self.distances <= _COINCIDE * middle
        return coincide

    @cached_property
    def inverse(self) -> Array:
        """1/d_i of the rows away from z."""
        inverse: Array = np.where(self.near, 0.0, 1 / np.where(self.near, 1.0, self.distances))
        return inverse

    @cached_property
    def descent(self) -> Array:
        """Coefficients of −∇F = Σ (x_i − z)/d_i over the rows away from z."""
        descent: Array = self.inverse - self.inverse.sum() * self.weights
        return descent

    @cached_property
    def slope(self) -> float:
        """‖∇F‖."""
        return math.sqrt(max(float(self.descent @ self.inner @ self.descent), 0.0))

    @cached_property
    def gap(self) -> float:
        """Certified bound on (F(z) − min F) / Σ of the majority's distances."""
        n = len(self.distances)
        order = np.sort(self.distances)
        majority = n // 2 + 1
        scale = order[:majority].sum()
        if scale == 0.0:  # a majority coincides: that point is the median
            return 0.0
        counts = np.arange(majority, n + 1)
        # If m > n/2 points lie within ρ of z, the median lies within 2mρ/(2m − n) of it.
        radius = np.min(2 * counts / (2 * counts - n) * order[majority - 1 :])
        excess = max(self.slope - np.count_nonzero(self.near), 0.0)
        return float((excess * radius + 2 * self.distances[self.near].sum()) / scale)

    def next_weights(self) -> Array:
        """Weights of a better point: from a row by Vardi–Zhang, by Newton, or by Weiszfeld."""
        plain: Array = self.descent / self.inverse.sum()
        if self.near.any():
            return self.weights + plain * max(0.0, 1 - np.count_nonzero(self.near) / self.slope)
        newton = self._newton()
        if newton is not None:
            for length in _DAMPING:
                if self._change(length * newton) < 0.0:
                    return self.weights + length * newton
        return self.weights + plain

    def _newton(self) -> Array | None:
        """Newton's step −H⁻¹∇F, for H = Σ (I − u_i u_iᵀ)/d_i with u_i = (z − x_i)/d_i."""
        units = (self.weights[:, None] - np.eye(len(self.weights))) * self.inverse
        cosines = units.T @ self.inner @ units
        # H = T·I − U D Uᵀ maps the span of the u_i to itself, so the step is U α.
        scaled = np.eye(len(units)) - (self.inverse / self.inverse.sum())[:, None] * cosines
        try:
            alpha = np.linalg.solve(scaled, -np.ones(len(units))) / self.inverse.sum()
        except np.linalg.LinAlgError:  # all rows on a line through z: no curvature along it
            return None
        step: Array = units @ alpha
        uphill = self.descent @ self.inner @ step <= 0
        return None if uphill or not np.isfinite(step).all() else step

    def _change(self, step: Array) -> float:
        """F(z + step) − F(z), without the cancellation of two sums."""
        along = self.inner @ step
        dots = along @ self.weights - along  # ⟨step, z − x_i⟩
        gained = 2 * dots + max(float(step @ along), 0.0)
        after = np.sqrt(np.maximum(self.distances**2 + gained, 0.0))
        return float((gained / (after + self.distances)).sum())
