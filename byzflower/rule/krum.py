"""Krum and Krum*: the row with the least sum of squared distances to its nearest other rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from byzflower.geometry import Array, Geometry
from byzflower.plans import Weighted, average_of
from byzflower.registry import register
from byzflower.steps import Rule
from byzflower.validation import norm_order

__all__ = ["Krum", "KrumFamily", "KrumStar", "krum_scores"]


def krum_scores(squared_distances: Array, neighbours: int) -> Array:
    """Sum of each row's ``neighbours`` least squared distances to *other* rows, shape (n,).

    >>> krum_scores(np.array([[0.0, 1, 9], [1, 0, 4], [9, 4, 0]]), 1)
    array([1., 1., 4.])
    """
    others = squared_distances.copy()
    np.fill_diagonal(others, np.inf)
    others.sort(axis=1)
    scores: Array = others[:, :neighbours].sum(axis=1)
    return scores


class KrumFamily(Rule):
    """Average of the rows with the least scores; sub-classes say how many neighbours and rows."""

    def neighbours(self, n: int, f: int) -> int:
        """Return how many other rows a score counts: n − f − 2, as in Blanchard et al."""
        return n - f - 2

    def chosen(self, n: int, f: int) -> int:
        """Return how many rows are averaged."""
        return 1

    def scores(self, geometry: Geometry, f: int) -> Array:
        """Score of every row, in squared ℓ2 distances."""
        return krum_scores(geometry.squared_distances(), self.neighbours(geometry.n, f))

    def plan(self, geometry: Geometry, f: int) -> Weighted:
        """Weigh the rows of least score equally."""
        count = self.chosen(geometry.n, f)
        picked = np.argsort(self.scores(geometry, f), kind="stable")[:count]
        return average_of(picked, geometry.n)


@register("rule")
@dataclass(frozen=True)
class Krum(KrumFamily):
    """The row with the least sum of squared distances to its n − f − 2 nearest other rows.

    ``p`` replaces ‖·‖₂² by ‖·‖_p² (MixTailor eq. 3). Unlike in several libraries, a row is not its
    own neighbour, and distances are squared once, not twice. Costs n²d/2 products for the Gram
    matrix and O(n² log n); p ≠ 2 costs n²d operations more.

    >>> import torch
    >>> Krum()(torch.tensor([[1.0], [2.0], [4.0], [7.0], [90.0]]), f=1)
    tensor([2.])
    """

    name: ClassVar[str] = "krum"
    reference: ClassVar[str] = "Blanchard et al. 2017; MixTailor eq. 3"
    rows_needed: ClassVar[tuple[int, int]] = (2, 3)

    p: float = 2.0

    def __post_init__(self) -> None:
        norm_order(self.p, self.name)

    def scores(self, geometry: Geometry, f: int) -> Array:
        """Score of every row, in squared ℓp distances."""
        if self.p == 2:
            return super().scores(geometry, f)
        return krum_scores(geometry.distances(self.p) ** 2, self.neighbours(geometry.n, f))


@register("rule")
@dataclass(frozen=True)
class KrumStar(KrumFamily):
    """Krum with the n − f − 1 nearest other rows, which tolerates any f < n/2. Costs as Krum.

    (f, λ)-resilient with λ = 1 + √((n−f)/(n−2f)) (RESAM, Proposition 6).

    >>> import torch
    >>> KrumStar()(torch.tensor([[1.0], [1.1], [1.2], [90.0]]), f=1)
    tensor([1.1000])
    """

    name: ClassVar[str] = "krum_star"
    reference: ClassVar[str] = "RESAM C.5"
    rows_needed: ClassVar[tuple[int, int]] = (2, 1)

    def neighbours(self, n: int, f: int) -> int:
        """Return how many other rows a score counts: n − f − 1."""
        return n - f - 1
