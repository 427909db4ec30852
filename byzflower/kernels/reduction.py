"""The two coordinate-wise reductions that all coordinate-wise rules are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor

__all__ = ["Block", "Reduction"]

#: n rows of one model array: one (n, c) tensor, or n tensors of c elements each.
Block: TypeAlias = Tensor | Sequence[Tensor]


@dataclass(frozen=True)
class Reduction:
    """What becomes of the m values of one coordinate, sorted as v_0 ≤ … ≤ v_{m−1}.

    - ``trimmed_mean`` with ``count = t``: the mean of v_t … v_{m−1−t}. The median is
      t = ⌈m/2⌉ − 1, so an even m averages its two middle values; the mean is t = 0.
    - ``around_median`` with ``count = k``: the mean of the k values nearest the median. Distances
      are float64. The k values are neighbours in v; where they may begin at either of two places,
      the values there being equally far from the median, the mean of both choices.

    >>> Reduction.median(4)
    Reduction(kind='trimmed_mean', count=1)
    """

    kind: Literal["trimmed_mean", "around_median"]
    count: int

    @classmethod
    def median(cls, m: int) -> Reduction:
        """Return the trimmed mean that is the median of m rows."""
        return cls("trimmed_mean", (m + 1) // 2 - 1)

    def check(self, m: int) -> None:
        """Raise ValueError unless m rows leave something to average."""
        if self.kind == "trimmed_mean" and not 0 <= 2 * self.count < m:
            raise ValueError(
                f"`trimmed_mean` needs 0 ≤ 2·trim < rows; found trim = {self.count}, rows = {m}"
            )
        if self.kind == "around_median" and not 1 <= self.count <= m:
            raise ValueError(
                f"`around_median` needs 1 ≤ keep ≤ rows; found keep = {self.count}, rows = {m}"
            )
