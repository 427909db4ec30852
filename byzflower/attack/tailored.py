"""Tailored attacks: reverse the direction of the aggregate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from byzflower.attack.base import Attack
from byzflower.attack.search.direct import inner_products
from byzflower.attack.search.effect import Candidates, first_greatest
from byzflower.attack.search.grid import checked_grid
from byzflower.attack.search.observation import Observation
from byzflower.attack.search.pool import expected
from byzflower.errors import InfeasibleError
from byzflower.registry import register
from byzflower.validation import integer_at_least, positive

__all__ = ["BACKWARD_GRID", "Tailored"]

BACKWARD_GRID = tuple(float(f"{10 ** (k / 10):.3g}") for k in range(-20, 21))
_RANDOM = (0.1, 10.0)


@register("attack")
@dataclass(frozen=True)
class Tailored(Attack):
    """Send −ε × g, g being what training would follow, with an ε that suits the server's rule.

    Small ε is effective where rows are selected by distance (ε = 0.1 against Krum), large ε where
    values are ranked (ε = 10 against the median). Where clients send models, updates are the
    differences w − w_0, which gives the model-based attacks (A.1.3 to A.1.5).

    Parameters
    ----------
    eps
        A number > 0; ``"random"``: drawn every round from {0.1, 10}; ``"search"``: the ε of
        ``grid`` for which λ = −⟨R, g⟩/‖g‖² is greatest, R being the server's own aggregate (in
        ties, the least ε). A.1.1 asks for R = −λ g, which few rules can meet exactly; here only
        R's component along g counts.
    known
        The colluders see the first ``known`` workers only, themselves, of whom there are f, among
        them (A.1.2): of the honest updates the first ``known`` − f. ḡ is the mean of these, and
        stands in for all others. All by default.
    along
        ``"mean"``: g is ḡ, the honest mean. ``"aggregate"``: g is the server's aggregate without
        the attack (A.1.1), the colluders' own updates being ḡ; a search then costs an aggregation
        a value of ``grid``. ``"sum"``: g is the sum of the honest updates over f, as in the
        authors' code, which made their figures: h/f times the mean, 5 times at n = 12, f = 2.
    grid
        Values of ε that a search tries: by default 0.01 to 100, ten a decade.
    draws
        Number of draws over which the effect on a randomised rule is averaged.

    Examples
    --------
    >>> import torch
    >>> import byzflower as bf
    >>> honest = torch.tensor([[1.0], [2.0], [3.0], [2.0]])
    >>> Tailored(eps=0.5)(honest, f=1), Tailored(eps=0.5, along="sum")(honest, f=1)
    (tensor([[-1.]]), tensor([[-4.]]))
    >>> bf.parse_attack("tailored(eps=search, grid=[0.1, 1, 10])")(honest, f=1, rule=bf.Mean())
    tensor([[-20.]])
    """

    name: ClassVar[str] = "tailored"
    reference: ClassVar[str] = "MixTailor §2.3, A.1"

    eps: float | str
    known: int | None = None
    along: str = "mean"
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
        if self.along not in ("mean", "sum", "aggregate"):
            raise ValueError(
                f"`{self.name}` needs along = mean, sum or aggregate; found {self.along!r}"
            )
        object.__setattr__(self, "grid", checked_grid(self.grid, self.name, least=0.0))
        integer_at_least(self.draws, 1, self.name, "draws")

    @property
    def needs_rule(self) -> bool:
        """Whether ε or g depends on the server's rule."""
        return self.eps == "search" or self.along == "aggregate"

    def forge(self, seen: Observation, state: Any) -> tuple[torch.Tensor, Any]:
        """Return −ε × g."""
        known = seen if self.known is None else self._known(seen, self.known)
        if self.along == "aggregate":
            return self._against_the_aggregate(known, unseen=seen.h - known.h), None
        times = known.h / known.f if self.along == "sum" else 1.0
        if self.eps == "search":
            grid = -times * np.array(self.grid)
            candidates = Candidates(known, grid, unseen=seen.h - known.h)
            return known.mean * grid[expected(candidates, self.draws).most_reversed()], None
        return known.mean * (-times * self._factor(seen)), None

    def _known(self, seen: Observation, known: int) -> Observation:
        if known <= seen.f:
            raise InfeasibleError(
                f"`{self.name}` needs known > f, an honest worker; found known = {known}, "
                f"f = {seen.f}"
            )
        return seen.known(known - seen.f)

    def _factor(self, seen: Observation) -> float:
        """Return the ε that no search decides."""
        if not isinstance(self.eps, str):
            return self.eps
        return _RANDOM[int(torch.randint(2, (), generator=seen.rng, device=seen.rng.device))]

    def _against_the_aggregate(self, known: Observation, unseen: int) -> torch.Tensor:
        """Return −ε × the aggregate that there would be without the attack."""
        assert known.rule is not None
        stand_in = known.mean.to(known.honest.dtype)
        others = torch.cat([known.honest, stand_in.expand(unseen, -1)])
        everyone = torch.cat([others, stand_in.expand(known.f, -1)])
        g = known.rule(everyone, known.f, rng=known.rng, center=known.center)
        if self.eps != "search":
            return g * -self._factor(known)
        sets = ((g * -eps).expand(known.f, -1) for eps in self.grid)
        inner = inner_products(known, known.rule, others, sets, g, draws=self.draws)
        return g * -self.grid[first_greatest(-inner)]
