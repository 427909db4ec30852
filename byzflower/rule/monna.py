"""Average of the rows nearest a trusted one (MoNNA)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from byzflower.errors import InfeasibleError
from byzflower.geometry import Geometry
from byzflower.plans import Weighted, average_of
from byzflower.registry import register
from byzflower.steps import Rule
from byzflower.validation import integer_at_least

__all__ = ["MoNNA"]


@register("rule")
@dataclass(frozen=True)
class MoNNA(Rule):
    """Average of the n − f rows nearest the trusted row, itself included.

    ``trusted`` is an index into the input rows, including any that are removed for NaN or Inf.
    Behind bucketing or resampling no row belongs to a single node, so pipelines refuse the rule
    there. The guarantee assumes that the trusted row is honest:
    where any f rows may be faulty, as ``byzflower certify`` assumes, there are counterexamples.

    Costs n²d/2 products for the Gram matrix.

    Raises
    ------
    InfeasibleError
        If the trusted row does not exist or is not finite.

    Examples
    --------
    >>> import torch
    >>> MoNNA(trusted=1)(torch.tensor([[1.0], [2.0], [3.0], [90.0]]), f=1)
    tensor([2.])
    """

    name: ClassVar[str] = "monna"
    reference: ClassVar[str] = "Farhadkhani et al. 2023"
    rows_needed: ClassVar[tuple[int, int]] = (2, 1)
    names_a_row: ClassVar[bool] = True

    trusted: int = 0

    def __post_init__(self) -> None:
        integer_at_least(self.trusted, 0, self.name, "trusted")

    def plan(self, geometry: Geometry, f: int) -> Weighted:
        """Average the rows nearest the trusted one."""
        position = np.flatnonzero(geometry.kept == self.trusted)
        if not len(position):
            raise InfeasibleError(
                f"`{self.name}` needs its trusted row among the finite ones; "
                f"found trusted = {self.trusted}, n = {geometry.n}"
            )
        away = geometry.squared_distances()[position[0]]
        away[position[0]] = -1.0  # a duplicate must not displace the row itself
        return average_of(np.argsort(away, kind="stable")[: geometry.n - f], geometry.n)
