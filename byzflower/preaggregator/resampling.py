"""Resampling with s-replacement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from byzflower.errors import InfeasibleError
from byzflower.geometry import Geometry
from byzflower.plans import Mixing
from byzflower.registry import register
from byzflower.steps import PreAggregator
from byzflower.validation import integer_at_least, non_negative_int

__all__ = ["Resampling"]


@register("preaggregator")
@dataclass(frozen=True)
class Resampling(PreAggregator):
    """n new rows, each the average of s rows drawn uniformly from those drawn < s times so far.

    Every row is drawn s times in all, so a faulty one is in up to s of the n new rows. The variance
    of honest rows shrinks to about 1/s of what it was. Lemma 5 states the factor
    d = (n−1)/(sn−1), which is exact if all sn copies are dealt out uniformly; Algorithm 1,
    followed here, draws uniformly among *rows*, which gives a little more (0.50 instead of 0.45 for
    n = 6, s = 2). Needs no distances.

    Parameters
    ----------
    s
        How often each row is drawn, and how many rows a new one averages.
    faults
        ``"worst"``: the steps after it assume s·f faulty rows, as many as f can spoil, and
        n ≥ 2sf + 1 (RS-Byrd-SAGA, Lemma 2). ``"same"``: they assume f, as MixTailor's experiments
        do; no worst-case guarantee is left, for more than f rows may hold a part of a faulty one.

    >>> import torch
    >>> import byzflower as bf
    >>> rows = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    >>> bf.compose(Resampling(s=2), bf.Mean())(rows, f=0)
    tensor([2.5000])
    """

    name: ClassVar[str] = "resampling"
    reference: ClassVar[str] = "RS-Byrd-SAGA Algorithm 1; He et al. 2020"
    needs: ClassVar[str] = "n ≥ 2sf+1"

    s: int
    faults: str = "worst"

    def __post_init__(self) -> None:
        integer_at_least(self.s, 1, self.name, "s")
        if self.faults not in ("worst", "same"):
            raise ValueError(f"`{self.name}` needs faults = worst or same; found {self.faults!r}")

    @property
    def needs_gram(self) -> bool:
        """No distances are needed."""
        return False

    def feasible(self, n: int, f: int) -> bool:
        """Whether a majority of the new rows is honest in the worst case."""
        return n >= 2 * self.counts(n, f)[1] + 1

    def check(self, n: int, f: int) -> None:
        """Raise :class:`InfeasibleError` unless a majority of the new rows counts as honest."""
        n, f = non_negative_int(n, "n"), non_negative_int(f, "f")
        if not self.feasible(n, f):
            needs = self.needs if self.faults == "worst" else "n ≥ 2f+1"
            raise InfeasibleError(
                f"`{self.name}` needs {needs} rows; found n = {n}, f = {f}, s = {self.s}"
            )

    def counts(self, n: int, f: int) -> tuple[int, int]:
        """Return n and the faults that the next step assumes: s·f, or f."""
        return n, self.s * f if self.faults == "worst" else f

    def mix(self, geometry: Geometry, f: int, rng: torch.Generator) -> Mixing:
        """Draw n · s rows from ``rng``, one after another."""
        n = geometry.n
        uniform = torch.rand(
            n * self.s, generator=rng, dtype=torch.float64, device=rng.device
        ).tolist()
        matrix, pool, drawn = np.zeros((n, n)), list(range(n)), [0] * n
        for draw, u in enumerate(uniform):
            place = int(u * len(pool))
            row = pool[place]
            matrix[draw // self.s, row] += 1 / self.s
            drawn[row] += 1
            if drawn[row] == self.s:
                pool[place] = pool[-1]
                pool.pop()
        return Mixing(matrix, self.counts(n, f)[1])
