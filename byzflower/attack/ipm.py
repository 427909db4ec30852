"""Inner product manipulation (IPM)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from byzflower.attack.base import Attack
from byzflower.attack.search.observation import Observation
from byzflower.registry import register
from byzflower.validation import positive

__all__ = ["IPM"]


@register("attack")
@dataclass(frozen=True)
class IPM(Attack):
    """Send −ε × the honest mean; the same update as ``foe`` with τ = 1 + ε.

    ε is the parameter of Xie et al.; RESAM and ARC use τ = 1 + ε, so that ``foe(tau=1.1)`` is
    ``ipm(epsilon=0.1)``. For a factor that is chosen every round see ``foe(tau=adaptive)``.

    Parameters
    ----------
    epsilon
        ε > 0. Small ones are hard to detect, large ones reverse an average.

    Examples
    --------
    >>> import torch
    >>> import byzflower as bf
    >>> honest = torch.tensor([[1.0], [2.0], [3.0]])
    >>> IPM(epsilon=2.0)(honest, f=1), bf.parse_attack("foe(tau=3)")(honest, f=1)
    (tensor([[-4.]]), tensor([[-4.]]))
    """

    name: ClassVar[str] = "ipm"
    reference: ClassVar[str] = "Xie et al. 2020"

    epsilon: float

    def __post_init__(self) -> None:
        positive(self.epsilon, self.name, "epsilon")

    def forge(self, seen: Observation, state: Any) -> tuple[torch.Tensor, Any]:
        """Scale the mean."""
        return seen.mean * -self.epsilon, None
