"""Gaussian noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from byzflower.attack.base import Attack
from byzflower.attack.search.observation import Observation
from byzflower.registry import register
from byzflower.validation import positive

__all__ = ["Gaussian"]


@register("attack")
@dataclass(frozen=True)
class Gaussian(Attack):
    """Send independent N(0, std²) entries; std = 100 (variance 10⁴) in RS-Byrd-SAGA.

    >>> import torch
    >>> rows = Gaussian()(torch.zeros(3, 4), f=2, rng=torch.Generator().manual_seed(0))
    >>> rows.shape
    torch.Size([2, 4])
    """

    name: ClassVar[str] = "gaussian"
    reference: ClassVar[str] = "RS-Byrd-SAGA"

    std: float = 100.0

    def __post_init__(self) -> None:
        positive(self.std, self.name, "std")

    def forge(self, seen: Observation, state: Any) -> tuple[torch.Tensor, Any]:
        """Draw every colluder's update independently."""
        return seen.normal(seen.f, seen.honest.shape[1]) * self.std, None
