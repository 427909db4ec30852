"""Geometric median, decided on n weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from byzflower.geometry import Array, Geometry
from byzflower.plans import Plan, Weighted
from byzflower.registry import register
from byzflower.rule.descent import Index
from byzflower.rule.weiszfeld import weiszfeld, weiszfeld_each
from byzflower.steps import Rule
from byzflower.validation import norm_order

__all__ = ["GeometricMedian", "reweighted"]

_MOVEMENT = 1e-6
_PASSES = 100
_FLOOR = 1e-9  # of the median distance: what a row that the point coincides with counts as


@register("rule")
@dataclass(frozen=True)
class GeometricMedian(Rule):
    """The point with the least sum of distances to all rows: argmin_z Σ‖z − x_i‖.

    Solved for its n weights, without a smoothing constant, until the sum of distances is certified
    to be within 1e-9 (relative) of the minimum; ``explain`` reports the bound as ``gap``. Common
    libraries stop after three steps or floor distances at 0.1, which turns the result into the mean
    for small gradients. (f, λ)-resilient with λ = 1 + (n−f)/√((n−2f)n) (RESAM, Proposition 7).

    Costs n²d/2 products for the Gram matrix and O(n²) an iteration; where rows nearly coincide with
    the median, or lie nearly on a line, O(n³) once for coordinates of the rows. With ``p`` other
    than 2 (MixTailor) Weiszfeld's weights 1/‖z − x_i‖_p are iterated from the geometric median to a
    fixed point; each of at most 100 iterations reads the updates, and ``explain`` reports the last
    relative ``movement``.

    >>> import torch
    >>> GeometricMedian()(torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [9.0, 9.0]]), f=1)
    tensor([0., 0.])
    """

    name: ClassVar[str] = "geometric_median"
    reference: ClassVar[str] = "Chen et al. 2017; Weiszfeld 1937; RESAM C.6; MixTailor §5"
    rows_needed: ClassVar[tuple[int, int]] = (2, 1)

    p: float = 2.0

    def __post_init__(self) -> None:
        norm_order(self.p, self.name)

    def plan(self, geometry: Geometry, f: int) -> Plan:
        """Weight the rows by the converged weights."""
        if self.p != 2:
            weights = weiszfeld(geometry.centred_gram, geometry.noise)[0]
            weights, movement, passes = reweighted(geometry, self.p, weights)
            return Weighted(weights, note={"movement": movement, "iterations": passes})
        return self.plans([geometry], [f])[0]

    def plans(self, geometries: Sequence[Geometry], faults: Sequence[int]) -> list[Plan]:
        """Solve for the weights of all geometries at once."""
        if self.p != 2:
            return super().plans(geometries, faults)
        if len(geometries) == 1:  # of many rows, whose matrix need not be copied
            grams, noises = geometries[0].centred_gram[None], geometries[0].noise[None]
        else:
            grams = np.stack([geometry.centred_gram for geometry in geometries])
            noises = np.stack([geometry.noise for geometry in geometries])
        solved = weiszfeld_each(grams, noises)
        return [
            Weighted(weights, note={"gap": float(gap), "iterations": int(iterations)})
            for weights, gap, iterations in zip(*solved, strict=True)
        ]


def reweighted(
    geometry: Geometry, p: float, weights: Array, rows: Index | slice = slice(None)
) -> tuple[Array, float, int]:
    """Find the fixed point of w_i ∝ 1/‖z − x_i‖_p, z = Σ w_i x_i; an iteration reads the updates.

    Parameters
    ----------
    geometry
        n rows.
    p
        The norm's p.
    weights
        Where to start, (n,).
    rows
        Those that take part; the weights of others are 0.

    Returns
    -------
    weights : numpy.ndarray
        (n,).
    movement : float
        Length of z's last step, relative to the median distance from z to the rows.
    iterations : int
    """
    gram, movement = geometry.centred_gram, np.inf
    for iteration in range(1, _PASSES + 1):
        distances = geometry.distances_about(weights, p)[rows]
        half = len(distances) // 2
        middle = np.partition(distances, half)[half]
        scale = np.partition(geometry.distances_to(weights)[rows], half)[half]
        if middle == 0.0 or scale == 0.0:  # a majority coincides
            return weights, 0.0, iteration
        # A row is a fixed point even where it repels: the first step leads off it.
        floor = _FLOOR if iteration > 1 else 0.1
        inverse = 1 / np.maximum(distances, floor * middle)
        step = -weights
        step[rows] += inverse / inverse.sum()
        weights = weights + step
        movement = float(np.sqrt(max(float(step @ gram @ step), 0.0)) / scale)
        if movement <= _MOVEMENT and iteration > 1:
            return weights, movement, iteration
    return weights, movement, _PASSES
