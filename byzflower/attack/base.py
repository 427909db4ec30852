"""What an attack is: the faulty updates that omniscient, colluding clients send."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal

import torch

from byzflower.steps import Aggregator, Step, entropy, non_negative_int

__all__ = ["Attack"]


class Attack(Step):
    """A frozen description of what the colluders of a round send.

    ``level`` is "update" where faulty updates are made from the honest ones of the same round,
    and "data" where the colluders train honestly on poisoned data and no update is forged.
    """

    level: ClassVar[Literal["update", "data"]] = "update"

    @property
    def needs_rule(self) -> bool:
        """Whether the attack is computed against the server's own aggregation."""
        return False

    @property
    def needs_gram(self) -> bool:
        """Attacks work on the updates themselves."""
        return False

    @abstractmethod
    def forge(
        self,
        honest: torch.Tensor,
        f: int,
        rng: torch.Generator,
        rule: Aggregator | None,
        state: Any,
    ) -> tuple[torch.Tensor, Any]:
        """Return faulty updates, shape (f, d) or (d,) for f equal ones, and the next state."""

    def step(
        self,
        honest: torch.Tensor,
        f: int,
        *,
        rng: torch.Generator | None = None,
        rule: Aggregator | None = None,
        state: Any = None,
    ) -> tuple[torch.Tensor, Any]:
        """Forge the updates of one round.

        Parameters
        ----------
        honest
            The round's honest updates, shape (h, d) with h ≥ 1; unmodified.
        f
            Number of colluders.
        rng
            Source of randomness; the operating system's entropy by default.
        rule
            The server's aggregation, for attacks with ``needs_rule``.
        state
            What the previous round returned; ``None`` in the first.

        Returns
        -------
        rows, state
            Faulty updates, shape (f, d), in the honest dtype and device, and the next state.
        """
        if honest.ndim != 2 or len(honest) == 0:
            raise ValueError(f"`{self.name}` needs honest updates (h, d); found {honest.shape}")
        if self.needs_rule and rule is None:
            raise ValueError(f"`{self.spec}` needs the server's rule; found none")
        f = non_negative_int(f, "f")
        rng = entropy() if rng is None else rng
        rows, state = self.forge(honest.detach(), f, rng, rule, state)
        return rows.to(honest.dtype).expand(f, honest.shape[1]), state

    def __call__(
        self,
        honest: torch.Tensor,
        f: int,
        *,
        rng: torch.Generator | None = None,
        rule: Aggregator | None = None,
    ) -> torch.Tensor:
        """Forge one round's updates without a past; see :meth:`step`."""
        return self.step(honest, f, rng=rng, rule=rule)[0]
