"""Label-flipping, an attack on the colluders' data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from byzflower.attack.base import Attack, Level
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
    """Colluders send true updates on labels C − 1 − l; nothing is forged.

    Parameters
    ----------
    data
        ``"honest"``: the mean of what all honest clients' batches of the round give with flipped
        labels, which every colluder sends, as the papers' code does. For clients that send
        gradients or momentums it is a gradient, without momentum. ``"own"``: each colluder computes
        what honest clients do, on its own share or that of one honest client; with few classes a
        client, such colluders flip few classes.

    Examples
    --------
    >>> LabelFlip().trains_once, LabelFlip(data="own").trains_once
    (True, False)
    """

    name: ClassVar[str] = "label_flip"
    reference: ClassVar[str] = "Allen-Zhu et al. 2020; RESAM D.1; ARC D.3"
    level: ClassVar[Level] = "data"

    data: str = "honest"

    def __post_init__(self) -> None:
        if self.data not in ("honest", "own"):
            raise ValueError(f"`{self.name}` needs data = honest or own; found {self.data!r}")

    @property
    def trains_once(self) -> bool:
        """Whether all colluders send the same."""
        return self.data == "honest"

    def forge(self, seen: Observation, state: Any) -> tuple[torch.Tensor, Any]:
        """Refuse: the attack acts on labels, with :func:`flip_labels`, before training."""
        raise TypeError("`label_flip` acts on the colluders' data; there is no update to forge")
