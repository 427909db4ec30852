"""Updates of a random direction and an honest length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from byzflower.attack.base import Attack
from byzflower.attack.search.observation import Observation
from byzflower.registry import register
from byzflower.validation import positive

__all__ = ["Random"]


@register("attack")
@dataclass(frozen=True)
class Random(Attack):
    """Send uniformly random directions of the honest updates' average norm × ``scale``.

    Unlike those of :class:`~byzflower.attack.Gaussian`, their norm is not conspicuous.

    >>> import torch
    >>> honest = torch.tensor([[3.0, 4.0], [5.0, 0.0]])
    >>> rows = Random()(honest, f=2, rng=torch.Generator().manual_seed(0))
    >>> torch.linalg.vector_norm(rows, dim=1)
    tensor([5., 5.])
    """

    name: ClassVar[str] = "random"
    reference: ClassVar[str] = "baseline"

    scale: float = 1.0

    def __post_init__(self) -> None:
        positive(self.scale, self.name, "scale")

    def forge(self, seen: Observation, state: Any) -> tuple[torch.Tensor, Any]:
        """Draw every colluder's direction independently."""
        lengths = torch.linalg.vector_norm(seen.honest, dim=1, dtype=torch.float64)
        rows = seen.normal(seen.f, seen.honest.shape[1])
        own = torch.linalg.vector_norm(rows, dim=1, keepdim=True, dtype=torch.float64)
        return rows * (lengths.mean() * self.scale / own), None
