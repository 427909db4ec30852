"""Coordinate-wise trimmed mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from byzflower.kernels import Reduction
from byzflower.registry import register
from byzflower.rule.coordinatewise import CoordinateRule

__all__ = ["TrimmedMean"]


@register("rule")
@dataclass(frozen=True)
class TrimmedMean(CoordinateRule):
    """Per coordinate, drop the f smallest and f largest values and average the n − 2f left.

    Trims a count, not a fraction: Flower's ``FedTrimmedAvg`` trims ⌊βn⌋, which can be none.
    (f, λ)-resilient with λ = f/(n−f) · min(2√(n−f), √d) (RESAM, Proposition 4).

    >>> import torch
    >>> TrimmedMean()(torch.tensor([[1.0], [2.0], [3.0], [4.0], [90.0]]), f=1)
    tensor([3.])
    """

    name: ClassVar[str] = "trimmed_mean"
    reference: ClassVar[str] = "Yin et al. 2018; RESAM C.3"

    def reduction(self, n: int, f: int) -> Reduction:
        """Trim f values on either side."""
        return Reduction("trimmed_mean", f)
