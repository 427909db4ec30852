"""Average: what every robust rule is measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from byzflower.geometry import Geometry
from byzflower.plans import Weighted
from byzflower.registry import register
from byzflower.steps import Rule

__all__ = ["Mean"]


@register("rule")
@dataclass(frozen=True)
class Mean(Rule):
    """Average of all rows; a single faulty row can move it anywhere. Costs nd additions.

    >>> import torch
    >>> Mean()(torch.tensor([[1.0], [2.0], [6.0]]), f=0)
    tensor([3.])
    """

    name: ClassVar[str] = "mean"
    reference: ClassVar[str] = "baseline"

    @property
    def needs_gram(self) -> bool:
        """No distances are needed."""
        return False

    def plan(self, geometry: Geometry, f: int) -> Weighted:
        """Weigh every row 1/n."""
        return Weighted(np.full(geometry.n, 1 / geometry.n))
