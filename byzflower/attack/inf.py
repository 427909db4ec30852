"""Infinity, instead of an update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from byzflower.attack.base import Attack
from byzflower.attack.search.observation import Observation
from byzflower.registry import register

__all__ = ["Inf"]


@register("attack")
@dataclass(frozen=True)
class Inf(Attack):
    """Send +∞ in every coordinate.

    >>> import torch
    >>> Inf()(torch.tensor([[1.0], [3.0]]), f=1)
    tensor([[inf]])
    """

    name: ClassVar[str] = "inf"
    reference: ClassVar[str] = "baseline"
    finite: ClassVar[bool] = False

    def forge(self, seen: Observation, state: Any) -> tuple[torch.Tensor, Any]:
        """Fill a vector."""
        return torch.full_like(seen.honest[0], float("inf")), None
