"""Coordinate-wise mean around the median (MeaMed)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from byzflower.kernels import Reduction
from byzflower.registry import register
from byzflower.rule.coordinatewise import CoordinateRule

__all__ = ["MeaMed"]


@register("rule")
@dataclass(frozen=True)
class MeaMed(CoordinateRule):
    """Per coordinate, average the n − f values nearest the median.

    Of two values that are equally near on either side, one of which is one too many, both count
    half. (f, λ)-resilient with
    λ = 2f/(n−f) · min(2√(n−f), √d) (RESAM, Proposition 5).

    >>> import torch
    >>> MeaMed()(torch.tensor([[1.0], [2.0], [3.0], [4.0], [90.0]]), f=1)
    tensor([2.5000])
    """

    name: ClassVar[str] = "meamed"
    reference: ClassVar[str] = "Xie et al. 2018; RESAM C.4"

    def reduction(self, n: int, f: int) -> Reduction:
        """Keep the n − f values nearest the median."""
        return Reduction("around_median", n - f)
