"""Learning rates that depend on the round."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import TypeAlias, cast

__all__ = ["Schedule", "StepSchedule"]

Schedule: TypeAlias = Callable[[int], float]
"""Learning rate of a round, counted from 1 as Flower counts."""


@dataclass(frozen=True)
class StepSchedule:
    """Constant learning rates between given rounds.

    Parameters
    ----------
    initial : float
        Learning rate from the first round.
    changes : Mapping[int, float] or pairs
        Round after which, and rate to which, the learning rate changes.

    Raises
    ------
    ValueError
        If a rate is not positive and finite or a round is negative.

    Examples
    --------
    ARC's schedule for CIFAR-10:

    >>> schedule = StepSchedule(0.05, {1500: 0.00082})
    >>> schedule(1), schedule(1500), schedule(1501)
    (0.05, 0.05, 0.00082)
    """

    initial: float
    changes: Mapping[int, float] | Iterable[tuple[int, float]] = ()

    def __post_init__(self) -> None:
        pairs = self.changes.items() if isinstance(self.changes, Mapping) else self.changes
        # A sorted tuple keeps the schedule hashable.
        ordered = tuple(sorted((int(after), float(rate)) for after, rate in pairs))
        object.__setattr__(self, "changes", ordered)
        for rate in (self.initial, *(rate for _, rate in ordered)):
            if not (isfinite(rate) and rate > 0):
                raise ValueError(f"`StepSchedule` needs learning rates > 0; found {rate}")
        if any(after < 0 for after, _ in ordered):
            raise ValueError(f"`StepSchedule` needs rounds ≥ 0; found {ordered[0][0]}")

    def __call__(self, server_round: int) -> float:
        """Return the learning rate of a round."""
        rate = self.initial
        for after, changed in cast("tuple[tuple[int, float], ...]", self.changes):
            if server_round > after:
                rate = changed
        return rate
