"""Sample-duplicating attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from byzflower.attack.base import Attack
from byzflower.attack.search.observation import Observation
from byzflower.registry import register
from byzflower.validation import integer_at_least

__all__ = ["Duplicate"]


@register("attack")
@dataclass(frozen=True)
class Duplicate(Attack):
    """Every colluder repeats the update of one honest worker, the same in every round.

    This is equivalent to duplicating that worker's samples, and harmless for homogeneous data.
    ``row`` is the worker's place among the honest updates, counted modulo their number.

    >>> import torch
    >>> Duplicate(row=1)(torch.tensor([[1.0], [3.0]]), f=2)
    tensor([[3.],
            [3.]])
    """

    name: ClassVar[str] = "duplicate"
    reference: ClassVar[str] = "RS-Byrd-SAGA"

    row: int = 0

    def __post_init__(self) -> None:
        integer_at_least(self.row, 0, self.name, "row")

    def forge(self, seen: Observation, state: Any) -> tuple[torch.Tensor, Any]:
        """Repeat one row."""
        return seen.honest[self.row % seen.h], None
