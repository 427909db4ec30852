"""Base class of attacks: the updates that omniscient, colluding clients send."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, TypeAlias

import torch

from byzflower.aggregator import Aggregator
from byzflower.attack.search.observation import Observation, bounded
from byzflower.configured import Configured
from byzflower.specs import parse
from byzflower.steps import entropy
from byzflower.validation import non_negative_int

__all__ = ["Attack", "Level"]

Level: TypeAlias = Literal["update", "data", "reply"]
"""Where an attack acts: it forges updates, poisons data, or alters colluders' own replies."""


class Attack(Configured, ABC):
    """A frozen description of what the colluders of a round send.

    Updates are what the server aggregates: gradients, momentums, or differences w − w_0 of a
    client's model from the server's. So attacks on models (MixTailor A.1.3) need no extra code.

    Attributes
    ----------
    name : str
        The name in specs.
    reference : str
        Papers, by names of :mod:`byzflower.bibliography`.
    level : str
        "update" if faulty updates are made from the honest ones of the same round; "data" if the
        colluders train on poisoned data and no update is forged; "reply" if they train and
        :meth:`alter` what they send.
    finite : bool
        Whether the updates are bounded to finite numbers of the honest dtype.
    state_type : type or None
        Dataclass of the state that :meth:`step` returns, for attacks with memory.

    Examples
    --------
    A sub-class defines :meth:`forge`:

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Twice(Attack):
    ...     name, reference = "twice", "example"
    ...
    ...     def forge(self, seen, state):
    ...         return 2 * seen.mean, None
    >>> Twice()(torch.tensor([[1.0], [3.0]]), f=1)
    tensor([[4.]])
    """

    reference: ClassVar[str]
    level: ClassVar[Level] = "update"
    finite: ClassVar[bool] = True
    state_type: ClassVar[type[Any] | None] = None

    @property
    def needs_rule(self) -> bool:
        """Whether the attack is computed against the server's own aggregation."""
        return False

    @property
    def trains_once(self) -> bool:
        """Whether one colluder trains, at level "data", and the others send what it sends."""
        return False

    @property
    def alters_messages(self) -> bool:
        """Whether :meth:`alter` gets whole messages, models included, and not only updates."""
        return False

    def alter(self, update: torch.Tensor) -> torch.Tensor:
        """Return what a colluder sends in place of its own update, at level "reply"."""
        raise TypeError(f"`{self.name}` alters no reply")

    @abstractmethod
    def forge(self, seen: Observation, state: Any) -> tuple[torch.Tensor, Any]:
        """Return faulty updates, shape (f, d) or (d,) for f equal ones, and the next state.

        The dtype may be wider than the honest one; :meth:`step` narrows it without overflow.
        """

    def step(
        self,
        honest: torch.Tensor | Sequence[torch.Tensor],
        f: int,
        *,
        rng: torch.Generator | None = None,
        rule: str | Aggregator | None = None,
        state: Any = None,
        center: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, Any]:
        """Forge the updates of one round.

        Parameters
        ----------
        honest
            The round's honest updates, an (h, d) tensor or h tensors (d,), h ≥ 1; unmodified.
        f
            Number of colluders. With none, the state is returned unchanged.
        rng
            Source of randomness; the operating system's entropy by default.
        rule
            The server's aggregation or its spec, for attacks with ``needs_rule``.
        state
            What the previous round returned; ``None`` in the first.
        center
            The server's previous aggregate (d,), for rules that measure against it.

        Returns
        -------
        rows, state
            Faulty updates, shape (f, d), in the honest dtype and device, and the next state. The
            f rows may share memory with each other, never with ``honest``.

        Raises
        ------
        ValueError
            If ``honest`` has another shape, or the attack needs a rule and none is given.
        TypeError
            If ``honest`` is not real floating point, or nothing is forged at this level.
        """
        honest = self._rows(honest)
        rule = None if rule is None else parse(rule)
        if not honest.is_floating_point():
            raise TypeError(
                f"`{self.name}` needs a real floating-point dtype; found {honest.dtype}"
            )
        if self.needs_rule and rule is None:
            raise ValueError(f"`{self.spec}` needs the server's rule; found none")
        f, d = non_negative_int(f, "f"), honest.shape[1]
        if f == 0 and self.level == "update":
            return honest.new_empty((0, d)), state
        rng = entropy() if rng is None else rng
        rows, state = self.forge(Observation(honest.detach(), f, rng, rule, center), state)
        rows = bounded(rows, honest.dtype) if self.finite else rows.to(honest.dtype)
        return rows.expand(f, d), state

    def _rows(self, honest: torch.Tensor | Sequence[torch.Tensor]) -> torch.Tensor:
        rows = honest
        if not isinstance(rows, torch.Tensor) and len(rows) > 0:
            rows = torch.stack([*rows])
        if not isinstance(rows, torch.Tensor) or rows.ndim != 2 or len(rows) == 0:
            found = tuple(rows.shape) if isinstance(rows, torch.Tensor) else rows
            raise ValueError(f"`{self.name}` needs honest updates (h, d), h ≥ 1; found {found}")
        return rows

    def __call__(
        self,
        honest: torch.Tensor | Sequence[torch.Tensor],
        f: int,
        *,
        rng: torch.Generator | None = None,
        rule: str | Aggregator | None = None,
        center: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Forge the updates of a first round, without state; see :meth:`step`."""
        return self.step(honest, f, rng=rng, rule=rule, center=center)[0]
