"""Sign votes: every row moves every coordinate by one fixed amount, up or down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from byzflower.geometry import Geometry
from byzflower.plans import Voted
from byzflower.registry import register
from byzflower.steps import Rule
from byzflower.validation import positive

__all__ = ["SignVotes"]


@register("rule")
@dataclass(frozen=True)
class SignVotes(Rule):
    """Aggregate = step × Σ_i sign(x_i), coordinate by coordinate.

    With updates x_w − x_0 and step = γλ this is RSA's server step
    x_0 ← x_0 − γλ Σ_w sign(x_0 − x_w) (RS-Byrd-SAGA, "Benchmark methods"); of gradients it is
    signSGD with the votes added up. A faulty row moves no coordinate further than ``step``,
    whatever it sends, so any f is accepted; the aggregate does not estimate the honest mean.
    Costs nd operations.

    Parameters
    ----------
    step
        > 0.

    Examples
    --------
    >>> import torch
    >>> SignVotes(step=0.05)(torch.tensor([[1.0, -1.0], [2.0, 0.0]]), f=0)
    tensor([ 0.1000, -0.0500])
    """

    step: float = 1.0

    name: ClassVar[str] = "sign_votes"
    reference: ClassVar[str] = "Li et al. 2019 (RSA); RS-Byrd-SAGA"

    def __post_init__(self) -> None:
        positive(self.step, self.name, "step")

    @property
    def needs_gram(self) -> bool:
        """No distances are needed."""
        return False

    @property
    def searchable(self) -> bool:
        """Attacks cannot search: votes are neither weights of rows nor order statistics."""
        return False

    def plan(self, geometry: Geometry, f: int) -> Voted:
        """Count the votes of all rows."""
        return Voted(self.step)
