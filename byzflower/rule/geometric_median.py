"""Geometric median, computed on n weights and to a certified optimality gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from byzflower.geometry import Array, Geometry
from byzflower.registry import register
from byzflower.steps import Rule, Weighted

__all__ = ["GeometricMedian", "weiszfeld"]

_GAP = 1e-9
_STEPS = 20_000


def weiszfeld(gram: Array, gap: float = _GAP) -> tuple[Array, float, int]:
    """Weights of the geometric median of n points given by their Gram matrix.

    Weiszfeld's iteration with the Vardi–Zhang rule at data points, so it can neither divide by
    zero nor stick at a row that is not the median. At a point z the gradient's norm times a bound
    on the distance from z to the median bounds how far F(z) = Σ‖z − x_i‖ is from its minimum;
    half of the points, the nearest, give both that bound and the scale it is compared with, so a
    row at 1e30 does not pass for convergence.

    Parameters
    ----------
    gram
        Inner products of the points about any origin, shape (n, n).
    gap
        Certified relative optimality gap at which to stop.

    Returns
    -------
    weights, certified gap, iterations
    """
    n = len(gram)
    diagonal = np.diag(gram)
    squared = np.maximum(diagonal[:, None] + diagonal[None, :] - 2 * gram, 0.0)
    majority = n // 2 + 1
    # The mean of the tightest majority: a start that no outlier moves.
    nearest = np.argsort(squared, axis=1, kind="stable")[:, :majority]
    start = int(np.argmin(np.take_along_axis(squared, nearest, axis=1).sum(axis=1)))
    weights = np.zeros(n)
    weights[nearest[start]] = 1 / majority
    counts = np.arange(majority, n + 1)
    breakdown = 2 * counts / (2 * counts - n)
    certified = np.inf
    for iteration in range(1, _STEPS + 1):
        product = gram @ weights
        distances = np.sqrt(np.maximum(diagonal - 2 * product + weights @ product, 0.0))
        order = np.sort(distances)
        scale = order[:majority].sum()
        if scale == 0.0:  # a majority coincides: that point is the median
            return weights, 0.0, iteration
        near = distances <= 1e-8 * order[majority - 1]
        inverse = np.where(near, 0.0, 1 / np.where(near, 1.0, distances))
        total = inverse.sum()
        # ‖∇F‖ = total · ‖T(z) − z‖, with T the Weiszfeld step over the rows away from z.
        step = inverse / total - weights
        pull = total * np.sqrt(max(step @ gram @ step, 0.0))
        multiplicity = np.count_nonzero(near)
        radius = np.min(breakdown * order[majority - 1 :])
        certified = (max(pull - multiplicity, 0.0) * radius + 2 * distances[near].sum()) / scale
        if certified <= gap:
            return weights, float(certified), iteration
        if multiplicity:
            step *= max(0.0, 1 - multiplicity / pull)
        weights = weights + step
    return weights, float(certified), _STEPS


@register("rule")
@dataclass(frozen=True)
class GeometricMedian(Rule):
    """The point with the least sum of distances to all rows: argmin_z Σ‖z − x_i‖.

    Iterated on n weights until a certified relative gap of 1e-9, reported as ``gap`` by
    ``explain``; no smoothing constant. Common libraries stop after three steps or floor distances
    at 0.1, which turns the result into the mean for small gradients. (f, λ)-resilient with
    λ = 1 + (n−f)/√((n−2f)n) (RESAM, Proposition 7).

    >>> import torch
    >>> GeometricMedian()(torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [9.0, 9.0]]), f=1)
    tensor([0., 0.])
    """

    name: ClassVar[str] = "geometric_median"
    source: ClassVar[str] = "Chen et al. 2017; Weiszfeld; RESAM C.6"
    needs: ClassVar[str] = "n ≥ 2f+1"

    def feasible(self, n: int, f: int) -> bool:
        """Whether honest rows are a majority."""
        return n >= 2 * f + 1

    def plan(self, geometry: Geometry, f: int) -> Weighted:
        """Weigh the rows by the converged Weiszfeld weights."""
        weights, gap, iterations = weiszfeld(geometry.centred_gram)
        return Weighted(weights, note={"gap": gap, "iterations": iterations})
