"""Sign-flipping of the colluder's own message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from byzflower.attack.base import Attack, Level
from byzflower.attack.search.observation import Observation
from byzflower.registry import register
from byzflower.validation import positive

__all__ = ["OwnSignFlip"]


@register("attack")
@dataclass(frozen=True)
class OwnSignFlip(Attack):
    """Train as an honest client does and send −scale × the result.

    Colluders need data: their own shares, or those of honest clients. ``sign_flip`` flips the mean
    of the honest updates, which no single client knows.

    Parameters
    ----------
    scale
        1 in RESAM, 5 in RS-Byrd-SAGA.
    of
        ``"update"``: what the client computed, for model payloads x_w − x_0. ``"message"``: what
        it would have sent, for model payloads x_w itself, as RS-Byrd-SAGA has RSA's workers do.

    Examples
    --------
    >>> OwnSignFlip(scale=5.0).alter(torch.tensor([1.0, -2.0]))
    tensor([-5., 10.])
    """

    name: ClassVar[str] = "own_sign_flip"
    reference: ClassVar[str] = "Allen-Zhu et al. 2020; RESAM D.1; RS-Byrd-SAGA"
    level: ClassVar[Level] = "reply"

    scale: float = 1.0
    of: str = "update"

    def __post_init__(self) -> None:
        positive(self.scale, self.name, "scale")
        if self.of not in ("update", "message"):
            raise ValueError(f"`{self.name}` needs of = update or message; found {self.of!r}")

    @property
    def alters_messages(self) -> bool:
        """Whether whole messages are altered, models included, and not what they change."""
        return self.of == "message"

    def alter(self, update: torch.Tensor) -> torch.Tensor:
        """Flip the update's sign and scale it."""
        return -self.scale * update

    def forge(self, seen: Observation, state: Any) -> tuple[torch.Tensor, Any]:
        """Raise TypeError: the attack is computed from each colluder's own reply."""
        raise TypeError(f"`{self.name}` alters colluders' own replies; there is no update to forge")
