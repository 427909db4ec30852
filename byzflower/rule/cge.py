"""Comparative gradient elimination (CGE)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from byzflower.geometry import Geometry
from byzflower.plans import Weighted, average_of
from byzflower.registry import register
from byzflower.steps import Rule

__all__ = ["CGE"]


@register("rule")
@dataclass(frozen=True)
class CGE(Rule):
    """Average of the n − f rows of least norm.

    Not a resilient averaging (RESAM C.9 gives a counter-example); a baseline. Costs n²d/2 products
    for the Gram matrix.

    >>> import torch
    >>> CGE()(torch.tensor([[1.0], [2.0], [-3.0], [90.0]]), f=1)
    tensor([0.])
    """

    name: ClassVar[str] = "cge"
    reference: ClassVar[str] = "Gupta & Vaidya 2020; Gupta et al. 2021; RESAM C.9"
    rows_needed: ClassVar[tuple[int, int]] = (2, 1)

    def plan(self, geometry: Geometry, f: int) -> Weighted:
        """Weigh the shortest rows equally."""
        shortest = np.argsort(geometry.squared_norms(), kind="stable")[: geometry.n - f]
        return average_of(shortest, geometry.n)
