"""Base of the rules that treat every coordinate separately."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from byzflower.geometry import Geometry
from byzflower.kernels import Reduction
from byzflower.plans import Reduced
from byzflower.steps import Rule

__all__ = ["CoordinateRule"]


class CoordinateRule(Rule):
    """A rule that reduces the n values of each coordinate separately; tolerates any f < n/2.

    Reads the updates once and needs no distances; O(n log² n) comparisons a coordinate.
    """

    rows_needed: ClassVar[tuple[int, int]] = (2, 1)

    @property
    def needs_gram(self) -> bool:
        """No distances are needed."""
        return False

    @abstractmethod
    def reduction(self, n: int, f: int) -> Reduction:
        """Return the reduction of n values of which f may be faulty."""

    def plan(self, geometry: Geometry, f: int) -> Reduced:
        """Reduce all rows."""
        return Reduced(self.reduction(geometry.n, f))
