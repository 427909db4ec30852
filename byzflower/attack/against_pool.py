"""One update against all rules of a pool at once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import torch

from byzflower.aggregator import Aggregator
from byzflower.attack.base import Attack
from byzflower.attack.search.direct import inner_products
from byzflower.attack.search.effect import Candidates, Effect, first_greatest
from byzflower.attack.search.grid import checked_grid
from byzflower.attack.search.observation import Observation
from byzflower.attack.search.pool import defined_members
from byzflower.attack.tailored import BACKWARD_GRID
from byzflower.errors import InfeasibleError
from byzflower.registry import register
from byzflower.specs import parse
from byzflower.steps import Pipeline
from byzflower.validation import integer_at_least, non_negative

__all__ = ["AgainstPool"]


@register("attack")
@dataclass(frozen=True)
class AgainstPool(Attack):
    """Send −λ × the honest mean ḡ, with the λ ≥ 0 that is worst for the best rule of a pool (P3).

    λ minimises max_m ⟨R_m(λ), ḡ⟩ over the members m of the pool, where R_m is the aggregate of m.
    If the minimum is negative, the attack reverses training whichever member the server draws. The
    paper calls it min–max, and scales the sum of all updates, which only rescales λ. It is not the
    attack Min-Max of Shejwalkar & Houmansadr 2021.

    Parameters
    ----------
    pool
        A spec or several, such as ``("krum", "median")``; by default the server's own rule, with
        all members if it is a MixTailor. Members that are not defined for the round's n and f
        are ignored.
    grid
        Values of λ to try: by default 0 and 0.01 to 100, ten a decade.
    draws
        Number of draws over which the inner product of a randomised member is averaged.
    apart
        ε: the colluders' updates have at least this distance from each other, so that a filter of
        similar updates misses them (P1, of which P2 is another form). They are −λ ḡ plus vectors of
        length ε/√2 in random directions, at right angles to each other and to ḡ. A search then
        costs an aggregation a value of ``grid`` and member.

    Examples
    --------
    >>> import torch
    >>> honest = torch.tensor([[1.0], [2.0], [3.0]])
    >>> AgainstPool(pool=("mean", "median"), grid=(0.1, 10.0))(honest, f=2)
    tensor([[-20.],
            [-20.]])
    """

    name: ClassVar[str] = "against_pool"
    reference: ClassVar[str] = "MixTailor A.4 (P1 to P3)"

    pool: str | tuple[str, ...] | None = None
    grid: tuple[float, ...] = (0.0, *BACKWARD_GRID)
    draws: int = 8
    apart: float = 0.0

    def __post_init__(self) -> None:
        if self.pool is not None:
            if not self.pool or not isinstance(self.pool, str | list | tuple):
                raise ValueError(f"`{self.name}` needs a pool of specs; found {self.pool!r}")
            if not isinstance(self.pool, str):
                object.__setattr__(self, "pool", tuple(self.pool))
            _parsed(self.pool)
        object.__setattr__(self, "grid", checked_grid(self.grid, self.name, least=0.0))
        integer_at_least(self.draws, 1, self.name, "draws")
        non_negative(self.apart, self.name, "apart")

    @property
    def needs_rule(self) -> bool:
        """Whether the pool is the server's."""
        return self.pool is None

    def forge(self, seen: Observation, state: Any) -> tuple[torch.Tensor, Any]:
        """Find the λ whose worst inner product is least."""
        if self.apart > 0:
            return self._apart(seen), None
        candidates = Candidates(seen, -np.array(self.grid))
        worst = self.worst(candidates)
        return seen.mean * -self.grid[worst.most_reversed()], None

    def worst(self, candidates: Candidates) -> Effect:
        """Return each candidate's greatest ⟨R_m, ḡ⟩ over the pool, and greatest ‖R_m − ḡ‖²."""
        members = self._members(candidates.seen)
        effects = [candidates.effect(member, self.draws) for member in members]
        return candidates.effect_of(
            np.max([effect.squared for effect in effects], axis=0),
            np.max([effect.inner for effect in effects], axis=0),
        )

    def _apart(self, seen: Observation) -> torch.Tensor:
        """Return updates that keep their distance, for the λ whose worst inner product is least."""
        offsets = self.apart / 2**0.5 * _at_right_angles(seen)
        sets = [seen.mean * -lam + offsets for lam in self.grid]
        members = self._members(seen)
        inner = [
            inner_products(seen, member, seen.honest, sets, seen.mean, draws=self.draws)
            for member in members
        ]
        return sets[first_greatest(-np.max(inner, axis=0))]

    def _members(self, seen: Observation) -> list[Pipeline]:
        """Return the different members of the pool that are defined in this round."""
        pool = _parsed(self.pool) if self.pool is not None else (seen.rule,) if seen.rule else ()
        n, f = seen.h + seen.f, seen.f
        defined = (defined_members(aggregator, n, f) for aggregator in pool)
        # In order, not a set: random members draw their seeds one after another.
        members = list(dict.fromkeys(chain.from_iterable(defined)))
        if not members:
            raise InfeasibleError(f"no member of the pool is defined for n = {n}, f = {f}")
        return members


def _at_right_angles(seen: Observation) -> torch.Tensor:
    """Draw f orthonormal vectors at right angles to the honest mean, (f, d)."""
    if seen.honest.shape[1] <= seen.f:
        raise InfeasibleError(
            f"`against_pool` needs d > f for colluders that are apart; "
            f"found d = {seen.honest.shape[1]}, f = {seen.f}"
        )
    columns = torch.vstack([seen.mean[None], seen.normal(seen.f, seen.honest.shape[1])]).T
    orthonormal: torch.Tensor = torch.linalg.qr(columns.double())[0]
    return orthonormal.T[1:].to(seen.mean.dtype)


def _parsed(pool: str | tuple[str, ...]) -> tuple[Aggregator, ...]:
    return tuple(parse(spec) for spec in ((pool,) if isinstance(pool, str) else pool))
