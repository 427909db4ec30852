"""Tailored attacks: reverse the direction of the aggregate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from byzflower.attack.base import Attack
from byzflower.attack.search.effect import Candidates
from byzflower.attack.search.grid import checked_grid
from byzflower.attack.search.observation import Observation
from byzflower.attack.search.pool import expected
from byzflower.registry import register
from byzflower.validation import integer_at_least, positive

__all__ = ["BACKWARD_GRID", "Tailored"]

BACKWARD_GRID = tuple(float(f"{10 ** (k / 10):.3g}") for k in range(-20, 21))
_RANDOM = (0.1, 10.0)


@register("attack")
@dataclass(frozen=True)
class Tailored(Attack):
    """Send −ε × the honest mean ḡ, with an ε that suits the server's rule.

    Small ε is effective where rows are selected by distance (ε = 0.1 against Krum), large ε where
    values are ranked (ε = 10 against the median). Where clients send models, updates are the
    differences w − w_0, which gives the model-based attacks (A.1.3 to A.1.5).

    Parameters
    ----------
    eps
        A number > 0; ``"random"``: drawn every round from {0.1, 10}; ``"search"``: the ε of
        ``grid`` for which λ = −⟨R, ḡ⟩/‖ḡ‖² is greatest, R being the server's own aggregate (in
        ties, the least ε). A.1.1 asks for R = −λ ḡ, which few rules can meet exactly; here only
        R's component along ḡ counts.
    known
        The colluders see only the first ``known`` honest updates (A.1.2): ḡ is the mean of these,
        and a search assumes that each of the others equals ḡ. All by default.
    grid
        Values of ε that a search tries: by default 0.01 to 100, ten a decade.
    draws
        Number of draws over which the effect on a randomised rule is averaged.

    Examples
    --------
    >>> import torch
    >>> import byzflower as bf
    >>> honest = torch.tensor([[1.0], [2.0], [3.0], [2.0]])
    >>> Tailored(eps=0.5)(honest, f=1)
    tensor([[-1.]])
    >>> bf.parse_attack("tailored(eps=search, grid=[0.1, 1, 10])")(honest, f=1, rule=bf.Mean())
    tensor([[-20.]])
    """

    name: ClassVar[str] = "tailored"
    reference: ClassVar[str] = "MixTailor §2.3, A.1"

    eps: float | str
    known: int | None = None
    grid: tuple[float, ...] = BACKWARD_GRID
    draws: int = 8

    def __post_init__(self) -> None:
        if isinstance(self.eps, str):
            if self.eps not in ("random", "search"):
                raise ValueError(
                    f"`{self.name}` needs a number, random or search for eps; found {self.eps!r}"
                )
        else:
            positive(self.eps, self.name, "eps")
        if self.known is not None:
            integer_at_least(self.known, 1, self.name, "known")
        object.__setattr__(self, "grid", checked_grid(self.grid, self.name, least=0.0))
        integer_at_least(self.draws, 1, self.name, "draws")

    @property
    def needs_rule(self) -> bool:
        """Whether ε is searched for against the server's rule."""
        return self.eps == "search"

    def forge(self, seen: Observation, state: Any) -> tuple[torch.Tensor, Any]:
        """Return −ε × the mean of the known updates."""
        known = seen.known(self.known)
        if self.eps == "random":
            coin = torch.randint(2, (), generator=seen.rng, device=seen.rng.device)
            eps = _RANDOM[int(coin)]
        elif isinstance(self.eps, str):
            candidates = Candidates(known, -np.array(self.grid), unseen=seen.h - known.h)
            eps = self.grid[expected(candidates, self.draws).most_reversed()]
        else:
            eps = self.eps
        return known.mean * -eps, None
