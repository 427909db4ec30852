"""Nothing, instead of an update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from byzflower.attack.base import Attack
from byzflower.attack.search.observation import Observation
from byzflower.registry import register

__all__ = ["Zero"]


@register("attack")
@dataclass(frozen=True)
class Zero(Attack):
    """Send zeros: the mildest way to be of no use; fewer honest updates count.

    >>> import torch
    >>> Zero()(torch.tensor([[1.0], [3.0]]), f=1)
    tensor([[0.]])
    """

    name: ClassVar[str] = "zero"
    reference: ClassVar[str] = "baseline"

    def forge(self, seen: Observation, state: Any) -> tuple[torch.Tensor, Any]:
        """Fill a vector."""
        return torch.full_like(seen.honest[0], 0.0), None
