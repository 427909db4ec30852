"""Label-flipping, an attack on the colluders' data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from byzflower.attack.base import Attack
from byzflower.attack.search.observation import Observation
from byzflower.registry import register

__all__ = ["LabelFlip", "flip_labels"]


def flip_labels(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Return C − 1 − l for every label l.

    >>> flip_labels(torch.tensor([0, 3, 9]), 10)
    tensor([9, 6, 0])
    """
    return num_classes - 1 - labels


@register("attack")
@dataclass(frozen=True)
class LabelFlip(Attack):
    """Colluders train honestly on labels C − 1 − l; no update is forged."""

    name: ClassVar[str] = "label_flip"
    reference: ClassVar[str] = "Allen-Zhu et al. 2020; RESAM D.1; ARC D.3"
    level: ClassVar[Literal["update", "data"]] = "data"

    def forge(self, seen: Observation, state: Any) -> tuple[torch.Tensor, Any]:
        """Refuse: the attack acts on labels, with :func:`flip_labels`, before training."""
        raise TypeError("`label_flip` acts on the colluders' data; there is no update to forge")
