"""Coordinate-wise median."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from byzflower.kernels import Reduction
from byzflower.registry import register
from byzflower.rule.coordinatewise import CoordinateRule

__all__ = ["Median"]


@register("rule")
@dataclass(frozen=True)
class Median(CoordinateRule):
    """Median of every coordinate; for even n the mean of the two middle values.

    Differs from ``torch.median``, which returns the lower of the two. (f, λ)-resilient with
    λ = n/(2(n−f)) · min(2√(n−f), √d) (RESAM, Proposition 8).

    >>> import torch
    >>> Median()(torch.tensor([[1.0], [2.0], [4.0], [90.0]]), f=1)
    tensor([3.])
    """

    name: ClassVar[str] = "median"
    reference: ClassVar[str] = "Yin et al. 2018; RESAM C.7"

    def reduction(self, n: int, f: int) -> Reduction:
        """Trim all but the one or two middle values."""
        return Reduction.median(n)
