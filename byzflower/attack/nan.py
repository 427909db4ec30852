"""Not a number, instead of an update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from byzflower.attack.base import Attack
from byzflower.attack.search.observation import Observation
from byzflower.registry import register

__all__ = ["NaN"]


@register("attack")
@dataclass(frozen=True)
class NaN(Attack):
    """Send NaN in every coordinate: a server that averages it loses its model for good.

    >>> import torch
    >>> NaN()(torch.tensor([[1.0], [3.0]]), f=1)
    tensor([[nan]])
    """

    name: ClassVar[str] = "nan"
    reference: ClassVar[str] = "baseline"
    finite: ClassVar[bool] = False

    def forge(self, seen: Observation, state: Any) -> tuple[torch.Tensor, Any]:
        """Fill a vector."""
        return torch.full_like(seen.honest[0], float("nan")), None
