"""A little is enough (ALIE)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from byzflower.attack.base import Attack
from byzflower.registry import register
from byzflower.steps import Aggregator

__all__ = ["ALIE"]


@register("attack")
@dataclass(frozen=True)
class ALIE(Attack):
    """Send the honest mean + τ × the coordinate-wise standard deviation (ddof 0).

    >>> import torch
    >>> ALIE(tau=2.0)(torch.tensor([[1.0], [3.0]]), f=1)
    tensor([[4.]])
    """

    name: ClassVar[str] = "alie"
    source: ClassVar[str] = "Baruch et al. 2019; ARC D.3; RESAM's little"

    tau: float

    def forge(
        self,
        honest: torch.Tensor,
        f: int,
        rng: torch.Generator,
        rule: Aggregator | None,
        state: Any,
    ) -> tuple[torch.Tensor, Any]:
        """Shift the mean by τ standard deviations."""
        deviation, mean = torch.std_mean(honest, dim=0, correction=0)
        return mean + self.tau * deviation, None
