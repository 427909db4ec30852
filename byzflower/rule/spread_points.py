"""Geometric medians of points that lie well around them, in O(n²) an iteration.

Many points in many dimensions are all about as far from their median, which no line comes near.
Then a few products of the Gram matrix with vectors find it: z = Σ w_i x_i stays a vector of
weights, and lengths and Newton's equations follow from G w, so no coordinates are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from byzflower.geometry import Array
from byzflower.rule.descent import certified_gaps

__all__ = ["are_spread", "median_of_spread", "tightest_majority"]

_STEPS = 30
_SOLVES = 30  # products with the Hessian for one step of Newton's
_CERTAIN = 256.0  # squared distances this far above bounds on their noise have digits to spare
_CANCELLED = 1e-6  # and so have squares this far above the rounding of their terms
_ALIGNED = 0.5  # mean squared cosine between directions from which on they are nearly on a line
_DAMPING = (1.0, 0.5, 0.25, 0.125)
_ROWS = 256  # of the matrix, looked at at a time


def median_of_spread(
    gram: Array, noise: Array, weights: Array, gap: float
) -> tuple[Array, Array, float, int] | None:
    """Descend from z = Σ w_i x_i to the geometric median, if that lies apart from all points.

    Each iteration is a step of Newton's, solved by conjugate gradients, and one of Weiszfeld's.

    Parameters
    ----------
    gram
        Inner products (n, n) about an origin near most of the points.
    noise
        Bounds (n,) on the rounding errors of its diagonal.
    weights
        Where to start, (n,).
    gap
        Certified relative optimality gap at which to stop.

    Returns
    -------
    weights (n,), distances (n,), gap, iterations; or None where the median comes too near to a
    point for products to tell

    >>> corners = np.eye(3)
    >>> median_of_spread(corners, np.full(3, 1e-15), np.array([0.2, 0.3, 0.5]), 1e-9)[0].round(9)
    array([0.33333333, 0.33333333, 0.33333333])
    """
    at = _Iterate(gram, np.sqrt(noise), weights)
    if at.too_near:
        return None
    for iteration in range(1, _STEPS + 1):
        found = at.gap
        if found <= gap:
            return at.shares, at.distances, found, iteration
        at = _Iterate(gram, at.errors, at.next())
        if at.too_near:
            return None
    return None


def are_spread(gram: Array, weights: Array) -> bool:
    """Whether the directions from z = Σ w_i x_i to the points are far from those of a line.

    On a line every point between the two in the middle is a median.

    >>> line = np.array([[0.0], [1.0], [2.0]])
    >>> are_spread(np.eye(3), np.full(3, 1 / 3)), are_spread(line @ line.T, np.array([0.5, 0.5, 0]))
    (True, False)
    """
    n, products, squared_cosines = len(gram), gram @ weights, 0.0
    length = float(weights @ products)
    lengths = np.diag(gram) - 2 * products + length
    if not lengths.min() > 0:
        return False
    for low in range(0, n, _ROWS):
        part = slice(low, low + _ROWS)
        inner = gram[part] - products
        inner -= products[part, None] - length
        squared_cosines += float((np.square(inner) @ (1 / lengths)) @ (1 / lengths[part]))
    return squared_cosines <= _ALIGNED * n * n


def tightest_majority(gram: Array) -> Array:
    """Weights (n,) of the mean of the majority that lies nearest about one of its rows."""
    n, lengths = len(gram), np.diag(gram)
    majority = n // 2 + 1
    spread = np.empty(n)
    for low in range(0, n, _ROWS):
        away = lengths - 2 * gram[low : low + _ROWS]
        near = np.partition(away, majority - 1, axis=1)[:, :majority]
        spread[low : low + _ROWS] = near.sum(axis=1) + majority * lengths[low : low + _ROWS]
    row = int(spread.argmin())
    weights = np.zeros(n)
    weights[np.argpartition(lengths - 2 * gram[row], majority - 1)[:majority]] = 1 / majority
    return weights


@dataclass(frozen=True)
class _Iterate:
    """A point z = Σ w_i x_i; vectors are given by coefficients v and the products G v.

    ``errors`` are those of the points' lengths.
    """

    gram: Array
    errors: Array
    weights: Array

    @cached_property
    def products(self) -> Array:
        """⟨x_i, z⟩."""
        products: Array = self.gram @ self.weights
        return products

    @cached_property
    def squares(self) -> Array:
        """‖z − x_i‖²."""
        lengths = np.diag(self.gram)
        squares: Array = lengths - 2 * self.products + float(self.weights @ self.products)
        return squares

    @property
    def too_near(self) -> bool:
        """Whether z is too near to a point to tell their distance."""
        terms = np.diag(self.gram) + abs(float(self.weights @ self.products))
        blur = (self.errors + float(np.abs(self.weights) @ self.errors)) ** 2
        far = (self.squares > _CERTAIN * blur) & (self.squares > _CANCELLED * terms)
        return not bool(far.all())  # true for NaN as well

    @cached_property
    def distances(self) -> Array:
        """‖z − x_i‖."""
        distances: Array = np.sqrt(self.squares)
        return distances

    @cached_property
    def inverse(self) -> Array:
        """1/‖z − x_i‖."""
        inverse: Array = 1 / self.distances
        return inverse

    @property
    def shares(self) -> Array:
        """Weights of Weiszfeld's next iterate."""
        shares: Array = self.inverse / self.inverse.sum()
        return shares

    @cached_property
    def gradient(self) -> tuple[Array, Array]:
        """∇F = Σ (z − x_i)/‖z − x_i‖: its coefficients, and its products with the points."""
        total = float(self.inverse.sum())
        coefficients = total * self.weights - self.inverse
        return coefficients, total * self.products - self.gram @ self.inverse

    @property
    def gap(self) -> float:
        """Certified bound on (F(z) − min F) / Σ of the nearest half's distances."""
        coefficients, products = self.gradient
        # Rounding of the Gram matrix may hide as much of the gradient's length.
        length = np.sqrt(max(float(coefficients @ products), 0.0))
        length += float(np.abs(coefficients) @ self.errors)
        return float(certified_gaps(np.sort(self.distances)[None], np.array([length]))[0])

    def next(self) -> Array:
        """Weights of Weiszfeld's step after the least damped step of Newton's that lowers F."""
        step, products = self._newton()
        along = float(self.weights @ products) - products  # ⟨z − x_i, step⟩
        length = max(float(step @ products), 0.0)
        for damping in _DAMPING:
            gained = 2 * damping * along + damping**2 * length
            after = np.sqrt(np.maximum(self.squares + gained, 0.0))
            if float((gained / (after + self.distances)).sum()) < 0 and after.min() > 0:
                inverse = 1 / after
                weights: Array = inverse / inverse.sum()
                return weights
        return self.shares

    def _newton(self) -> tuple[Array, Array]:
        """Solve Σ (v − u_i⟨u_i, v⟩)/‖z − x_i‖ = −∇F, u_i = (z − x_i)/‖z − x_i‖, for v.

        One product with the Gram matrix for each of conjugate gradients' steps. An unfinished
        solution is still a direction of descent.
        """
        total, cubes = float(self.inverse.sum()), self.inverse**3
        rest, rest_products = (-part for part in self.gradient)
        ahead, ahead_products = rest, rest_products
        step, products = np.zeros_like(rest), np.zeros_like(rest)
        square = float(rest @ rest_products)
        enough = square * min(0.1, np.sqrt(max(square, 0.0)) / len(rest)) ** 2
        for _ in range(_SOLVES):
            pulls = cubes * (float(self.weights @ ahead_products) - ahead_products)
            image = total * ahead - float(pulls.sum()) * self.weights + pulls
            curvature = float(image @ ahead_products)
            if not (curvature > 0 and square > 0):
                break
            image_products = total * ahead_products + self.gram @ pulls
            image_products -= float(pulls.sum()) * self.products
            factor = square / curvature
            step, products = step + factor * ahead, products + factor * ahead_products
            rest, rest_products = rest - factor * image, rest_products - factor * image_products
            before, square = square, float(rest @ rest_products)
            if square <= enough:
                break
            ahead = rest + square / before * ahead
            ahead_products = rest_products + square / before * ahead_products
        return step, products
