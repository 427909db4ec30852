"""Bucketing: averages of random disjoint groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from byzflower.geometry import Geometry
from byzflower.plans import Mixing
from byzflower.registry import register
from byzflower.steps import PreAggregator
from byzflower.validation import integer_at_least

__all__ = ["Bucketing"]


@register("preaggregator")
@dataclass(frozen=True)
class Bucketing(PreAggregator):
    """Permute the rows at random and average consecutive groups of s; the last may be smaller.

    Makes ⌈n/s⌉ rows, of which up to f are faulty: at worst every faulty row is in another group.
    Needs no distances.

    >>> import torch
    >>> import byzflower as bf
    >>> bf.compose(Bucketing(s=2), bf.Mean())(torch.tensor([[1.0], [2.0], [3.0], [4.0]]), f=0)
    tensor([2.5000])
    """

    name: ClassVar[str] = "bucketing"
    reference: ClassVar[str] = "Karimireddy et al. 2022"

    s: int

    def __post_init__(self) -> None:
        integer_at_least(self.s, 1, self.name, "s")

    @property
    def needs_gram(self) -> bool:
        """No distances are needed."""
        return False

    def counts(self, n: int, f: int) -> tuple[int, int]:
        """Return (⌈n/s⌉, f)."""
        return -(-n // self.s), f

    def mix(self, geometry: Geometry, f: int, rng: torch.Generator) -> Mixing:
        """Average each group of a permutation drawn from ``rng``."""
        n = geometry.n
        order = torch.randperm(n, generator=rng, device=rng.device).cpu().numpy()
        matrix = np.zeros((self.counts(n, f)[0], n))
        matrix[np.arange(n) // self.s, order] = 1.0
        return Mixing(matrix / matrix.sum(axis=1, keepdims=True), f)
