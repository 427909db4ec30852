"""Learning rates that depend on the round."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from operator import index
from typing import ClassVar, TypeAlias, cast

from byzflower.configured import Configured
from byzflower.registry import register
from byzflower.specs import parse_one
from byzflower.validation import integer_at_least, non_negative, positive

__all__ = [
    "ConstantSchedule",
    "InverseTimeSchedule",
    "RateSchedule",
    "Schedule",
    "StepSchedule",
    "parse_schedule",
]

Schedule: TypeAlias = Callable[[int], float]
"""Learning rate of a round, counted from 1 as Flower counts."""


class RateSchedule(Configured, ABC):
    """A schedule under a name, a frozen dataclass: what ``learning_rate`` can be a spec of."""

    @abstractmethod
    def __call__(self, server_round: int) -> float:
        """Return the learning rate of a round, counted from 1."""


@register("schedule")
@dataclass(frozen=True)
class ConstantSchedule(RateSchedule):
    """The same learning rate in every round; a number means this one.

    >>> ConstantSchedule(0.5)(1), parse_schedule(0.5)
    (0.5, ConstantSchedule(rate=0.5))
    """

    rate: float

    name: ClassVar[str] = "constant"

    def __post_init__(self) -> None:
        positive(self.rate, self.name, "rate")

    def __call__(self, server_round: int) -> float:
        """Return the rate."""
        return float(self.rate)


@register("schedule")
@dataclass(frozen=True)
class StepSchedule(RateSchedule):
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
        If a rate is not positive and finite or a round is no integer ≥ 0.

    Examples
    --------
    ARC's schedule for CIFAR-10:

    >>> schedule = StepSchedule(0.05, {1500: 0.00082})
    >>> schedule(1), schedule(1500), schedule(1501)
    (0.05, 0.05, 0.00082)
    >>> schedule.spec
    'step(0.05, {1500: 0.00082})'
    """

    initial: float
    changes: Mapping[int, float] | Iterable[tuple[int, float]] = ()

    name: ClassVar[str] = "step"

    def __post_init__(self) -> None:
        positive(self.initial, self.name, "learning rates")
        try:
            pairs = {index(after): float(rate) for after, rate in dict(self.changes).items()}
        except (TypeError, ValueError):
            raise ValueError(
                f"`step` needs changes such as {{1500: 0.01}}; found {self.changes!r}"
            ) from None
        for after, rate in pairs.items():
            integer_at_least(after, 0, self.name, "round")
            positive(rate, self.name, "learning rates")
        object.__setattr__(self, "initial", float(self.initial))
        object.__setattr__(self, "changes", tuple(sorted(pairs.items())))  # a tuple has a hash

    @property
    def spec(self) -> str:
        """The schedule as text, changes as a dictionary."""
        changes = dict(cast("tuple[tuple[int, float], ...]", self.changes))
        return f"step({self.initial!r}, {changes!r})" if changes else f"step({self.initial!r})"

    def __call__(self, server_round: int) -> float:
        """Return the learning rate of a round."""
        rate = self.initial
        for after, changed in cast("tuple[tuple[int, float], ...]", self.changes):
            if server_round > after:
                rate = changed
        return rate


@register("schedule")
@dataclass(frozen=True)
class InverseTimeSchedule(RateSchedule):
    """A rate that falls as γ_t = initial / (1 + decay · (t − 1)), with Σ γ_t = ∞ and Σ γ_t² < ∞.

    Parameters
    ----------
    initial
        γ_1 > 0.
    decay
        ≥ 0; 0 is a constant rate.

    Examples
    --------
    >>> schedule = InverseTimeSchedule(0.5, decay=0.01)
    >>> schedule(1), schedule(101)
    (0.5, 0.25)
    """

    initial: float
    decay: float

    name: ClassVar[str] = "inverse_time"

    def __post_init__(self) -> None:
        positive(self.initial, self.name, "initial")
        non_negative(self.decay, self.name, "decay")

    def __call__(self, server_round: int) -> float:
        """Return the learning rate of a round."""
        return self.initial / (1 + self.decay * (server_round - 1))


def parse_schedule(spec: float | str | RateSchedule) -> RateSchedule:
    """Build the schedule that a number or a spec describes.

    Raises
    ------
    SpecError
        For an unknown name or parameter, or a value out of range.

    >>> parse_schedule("step(0.05, {1500: 0.00082})")
    StepSchedule(initial=0.05, changes=((1500, 0.00082),))
    >>> parse_schedule("0.1")
    ConstantSchedule(rate=0.1)
    """
    text = str(spec) if isinstance(spec, int | float) else spec
    if isinstance(text, str) and _is_number(text):
        text = f"constant({text.strip()})"
    return parse_one(text, "schedule", RateSchedule)


def _is_number(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False
