"""Static clipping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from byzflower.geometry import Geometry
from byzflower.plans import Mixing
from byzflower.preaggregator.arc import clipped_rows, clipping
from byzflower.registry import register
from byzflower.steps import PreAggregator
from byzflower.validation import positive

__all__ = ["Clip"]


@register("preaggregator")
@dataclass(frozen=True)
class Clip(PreAggregator):
    """Clip every row to the fixed norm c.

    Whatever c and the rule, the composition is not (f, κ)-robust (ARC, Lemma 3.1); a baseline.
    ``explain`` reports which rows were clipped. Costs n²d/2 products for the Gram matrix.

    >>> import torch
    >>> import byzflower as bf
    >>> bf.compose(Clip(c=1.0), bf.Mean())(torch.tensor([[0.5], [90.0]]), f=0)
    tensor([0.7500])
    """

    name: ClassVar[str] = "clip"
    reference: ClassVar[str] = "ARC Lemma 3.1"
    keeps_rows: ClassVar[bool] = True

    c: float

    def __post_init__(self) -> None:
        positive(self.c, self.name, "c")

    def mix(self, geometry: Geometry, f: int, rng: torch.Generator) -> Mixing:
        """Scale the rows longer than c down to it."""
        norms = geometry.norms_of_rows()
        threshold = self.c / geometry.unit
        note = {"threshold": self.c, **clipped_rows(norms, threshold)}
        return Mixing(clipping(norms, threshold), f, note)
