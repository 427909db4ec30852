"""Fall of empires (FOE)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from byzflower.attack.base import Attack
from byzflower.registry import register
from byzflower.steps import Aggregator

__all__ = ["FOE"]


@register("attack")
@dataclass(frozen=True)
class FOE(Attack):
    """Send (1 − τ) × the honest mean; τ = 1.1 is RESAM's *empire*, τ = 2 is sign-flipping.

    >>> import torch
    >>> FOE(tau=3.0)(torch.tensor([[1.0], [3.0]]), f=2)
    tensor([[-4.],
            [-4.]])
    """

    name: ClassVar[str] = "foe"
    source: ClassVar[str] = "Xie et al. 2020; ARC D.3"

    tau: float

    def forge(
        self,
        honest: torch.Tensor,
        f: int,
        rng: torch.Generator,
        rule: Aggregator | None,
        state: Any,
    ) -> tuple[torch.Tensor, Any]:
        """Scale the mean."""
        return honest.mean(dim=0) * (1 - self.tau), None
