"""A rule under test, with rows that it is defined for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from byzflower.aggregator import Aggregator, is_defined
from byzflower.registry import preaggregators, rules
from byzflower.steps import Pipeline, Rule, Step
from byzflower.testing.contract import ContractError, generator
from byzflower.updates import Updates

__all__ = ["Case", "is_registered", "least_rows", "steps_of"]

_MOST_ROWS = 400


@dataclass(frozen=True)
class Case:
    """A rule with rows that it is defined for: n rows of dimension d, the last f of them far."""

    rule: Aggregator
    device: str | torch.device = "cpu"
    f: int = 2
    d: int = 37

    @cached_property
    def n(self) -> int:
        """23 rows, or as many as the rule needs."""
        return max(23, least_rows(self.rule, self.f))

    @cached_property
    def random(self) -> bool:
        """Whether the rule draws from the generator that it gets."""
        rng = generator()
        before = rng.get_state()
        self.rule(self.rows(), f=self.f, rng=rng)
        return not torch.equal(rng.get_state(), before)

    @property
    def names_a_row(self) -> bool:
        """Whether a parameter is the index of a row."""
        return any(isinstance(step, Rule) and step.names_a_row for step in steps_of(self.rule))

    def rows(self, dtype: torch.dtype = torch.float32, seed: int = 1) -> Tensor:
        """Return the rows, (n, d)."""
        x = torch.randn(self.n, self.d, generator=generator(seed), dtype=torch.float64)
        x[-self.f :] = 5.0 - 3.0 * x[-self.f :]
        return x.to(self.device, dtype)

    def value(self, x: Updates | Tensor | list[Tensor], seed: int = 0) -> Tensor:
        """Aggregate."""
        return self.rule(x, f=self.f, rng=generator(seed))


def least_rows(rule: Aggregator, f: int) -> int:
    """Return the least n for which a rule is defined with f faults."""
    for n in range(1, _MOST_ROWS + 1):
        if is_defined(rule, n, f):
            return n
    raise ContractError(f"`{rule.spec}` is defined for no n ≤ {_MOST_ROWS} with f = {f}")


def steps_of(rule: Aggregator) -> tuple[Step, ...]:
    """Return the steps of a rule or pipeline; a pool has none of its own."""
    if isinstance(rule, Pipeline):
        return (*rule.before, rule.rule)
    return (rule,) if isinstance(rule, Rule) else ()


def is_registered(step: Step) -> bool:
    """Whether specs know the step."""
    return {**preaggregators(), **rules()}.get(step.name) is type(step)
