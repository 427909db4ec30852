"""Sign-flipping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from byzflower.attack.base import Attack
from byzflower.attack.search.observation import Observation
from byzflower.registry import register
from byzflower.validation import positive

__all__ = ["SignFlip"]


@register("attack")
@dataclass(frozen=True)
class SignFlip(Attack):
    """Send −scale × the honest mean (ARC D.3).

    ``own_sign_flip`` flips what the colluder itself has computed (RESAM, RS-Byrd-SAGA); so does
    the client mod ``sign_flip_mod``, without an adversary.

    >>> import torch
    >>> SignFlip()(torch.tensor([[1.0], [3.0]]), f=1)
    tensor([[-2.]])
    """

    name: ClassVar[str] = "sign_flip"
    reference: ClassVar[str] = "Allen-Zhu et al. 2020; ARC D.3"

    scale: float = 1.0

    def __post_init__(self) -> None:
        positive(self.scale, self.name, "scale")

    def forge(self, seen: Observation, state: Any) -> tuple[torch.Tensor, Any]:
        """Return the negative mean."""
        return seen.mean * -self.scale, None
