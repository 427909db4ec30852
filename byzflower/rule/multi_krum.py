"""Averages of several rows of least Krum score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from byzflower.errors import InfeasibleError
from byzflower.registry import register
from byzflower.rule.krum import KrumFamily
from byzflower.validation import integer_at_least

__all__ = ["MultiKrum", "MultiKrumStar"]


@register("rule")
@dataclass(frozen=True)
class MultiKrum(KrumFamily):
    """Average of the m rows with the least Krum score; m defaults to n − f − 2.

    Costs as Krum: n²d/2 products for the Gram matrix and O(n² log n).

    >>> import torch
    >>> MultiKrum(m=2)(torch.tensor([[1.0], [1.1], [1.2], [1.3], [90.0]]), f=1)
    tensor([1.1500])
    """

    name: ClassVar[str] = "multi_krum"
    reference: ClassVar[str] = "Blanchard et al. 2017; AggregaThor §2"
    rows_needed: ClassVar[tuple[int, int]] = (2, 3)

    m: int | None = None

    def __post_init__(self) -> None:
        if self.m is not None:
            integer_at_least(self.m, 1, self.name, "m")

    def check(self, n: int, f: int) -> None:
        """Also refuse m > n − f − 2."""
        super().check(n, f)
        if self.m is not None and self.m > n - f - 2:
            raise InfeasibleError(
                f"`{self.name}` needs m ≤ n−f−2; found m = {self.m}, n = {n}, f = {f}"
            )

    def chosen(self, n: int, f: int) -> int:
        """Return how many rows are averaged."""
        return n - f - 2 if self.m is None else self.m


@register("rule")
@dataclass(frozen=True)
class MultiKrumStar(KrumFamily):
    """Average of the q rows with the least Krum* score; q defaults to n − f.

    This is the "MK" of ARC. It costs as Krum. (f, λ)-resilient with λ = (1 + √((n−f)/(n−2f))) ·
    min(1, (n−q)/(n−f)) (RESAM, Proposition 6).

    >>> import torch
    >>> MultiKrumStar()(torch.tensor([[1.0], [1.1], [1.2], [90.0]]), f=1)
    tensor([1.1000])
    """

    name: ClassVar[str] = "multi_krum_star"
    reference: ClassVar[str] = "RESAM C.5; ARC (MK)"
    rows_needed: ClassVar[tuple[int, int]] = (2, 1)

    q: int | None = None

    def __post_init__(self) -> None:
        if self.q is not None:
            integer_at_least(self.q, 1, self.name, "q")

    def check(self, n: int, f: int) -> None:
        """Also refuse q > n − f."""
        super().check(n, f)
        if self.q is not None and self.q > n - f:
            raise InfeasibleError(
                f"`{self.name}` needs q ≤ n−f; found q = {self.q}, n = {n}, f = {f}"
            )

    def neighbours(self, n: int, f: int) -> int:
        """Return how many other rows a score counts: n − f − 1."""
        return n - f - 1

    def chosen(self, n: int, f: int) -> int:
        """Return how many rows are averaged."""
        return n - f if self.q is None else self.q
