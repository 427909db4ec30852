"""Centered clipping: average of the rows, clipped about a running centre."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from byzflower.geometry import Geometry
from byzflower.plans import Weighted
from byzflower.registry import register
from byzflower.steps import Rule
from byzflower.validation import integer_at_least, positive

__all__ = ["CenteredClipping"]


@register("rule")
@dataclass(frozen=True)
class CenteredClipping(Rule):
    """v_l = v_{l−1} + (1/n) Σ (x_i − v_{l−1}) min(1, τ/‖x_i − v_{l−1}‖), for l = 1 … ``steps``.

    v_0 is ``center``, usually the previous aggregate, or 0 if none is passed; the rule itself holds
    no state. A faulty row moves the result by at most τ/n a step, whatever its size.

    Costs n²d/2 products for the Gram matrix and O(n²) a step.

    Parameters
    ----------
    tau
        Clipping radius τ > 0, in the updates' unit of length.
    steps
        Number of iterations, ≥ 1.

    Examples
    --------
    >>> import torch
    >>> rows = torch.tensor([[1.0], [2.0], [90.0]])
    >>> CenteredClipping(tau=3.0)(rows, f=1)
    tensor([2.])
    >>> CenteredClipping(tau=3.0)(rows, f=1, center=torch.tensor([1.5]))
    tensor([2.5000])
    """

    name: ClassVar[str] = "centered_clipping"
    reference: ClassVar[str] = "Karimireddy et al. 2021; RESAM C.8"

    tau: float = 10.0
    steps: int = 1

    def __post_init__(self) -> None:
        positive(self.tau, self.name, "tau")
        integer_at_least(self.steps, 1, self.name, "steps")

    @property
    def needs_center(self) -> bool:
        """v_0 is the previous aggregate."""
        return True

    def plan(self, geometry: Geometry, f: int) -> Weighted:
        """Iterate on the weights of the rows and of v_0."""
        n, tau = geometry.n, self.tau / geometry.unit
        weights, center, clipped = np.zeros(n), 1.0, 0
        for _ in range(self.steps):
            distances = geometry.distances_to(weights, center)
            far = distances > tau
            factors = np.ones(n)
            factors[far] = tau / distances[far]
            weights = (1 - factors.mean()) * weights + factors / n
            center *= 1 - factors.mean()
            clipped = int(far.sum())
        return Weighted(weights, center, note={"clipped": clipped})
