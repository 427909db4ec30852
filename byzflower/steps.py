"""What an aggregation is made of: steps, their plans, and pipelines that carry them out.

Pre-aggregators and rules decide in n dimensions, from a :class:`~byzflower.geometry.Geometry`;
a :class:`Plan` then says how the d coordinates are combined. Steps are frozen dataclasses that
hold only hyper-parameters; the number of faults comes with each call.
"""

from __future__ import annotations

import dataclasses
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from byzflower.aggregator import Aggregator, Explanation, StepReport
from byzflower.configured import Configured
from byzflower.errors import InfeasibleError
from byzflower.geometry import Geometry
from byzflower.plans import (
    Mixing,
    Plan,
    Reduced,
    Weighted,
    carry_out,
    original_weights,
    over_originals,
)
from byzflower.updates import Updates
from byzflower.validation import non_negative_int, rows_as_text

__all__ = [
    "Aggregator",
    "Explanation",
    "Mixing",
    "Pipeline",
    "Plan",
    "PreAggregator",
    "Reduced",
    "Rule",
    "Step",
    "StepReport",
    "Weighted",
    "compose",
]

_NOTES_THAT_NAME_ROWS = frozenset({"selected", "clipped_rows"})


class Step(Configured, ABC):
    """A named, immutable piece of a pipeline.

    ``rows_needed`` (a, b) says that the step is defined for n ≥ a·f + b rows; ``needs`` is the
    same as text. A step with a range of another form overrides ``needs`` and :meth:`feasible`.
    """

    reference: ClassVar[str]
    rows_needed: ClassVar[tuple[int, int]] = (0, 1)
    needs: ClassVar[str] = "n ≥ 1"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "rows_needed" in vars(cls) and "needs" not in vars(cls):
            cls.needs = rows_as_text(*cls.rows_needed)

    @property
    def needs_gram(self) -> bool:
        """Whether the step measures distances or norms (in ℓ2)."""
        return True

    def feasible(self, n: int, f: int) -> bool:
        """Whether the step is defined for n rows of which f may be faulty."""
        a, b = self.rows_needed
        return n >= a * f + b

    def check(self, n: int, f: int) -> None:
        """Raise :class:`InfeasibleError` unless the step is defined for (n, f)."""
        n, f = non_negative_int(n, "n"), non_negative_int(f, "f")
        if not self.feasible(n, f):
            raise InfeasibleError(f"`{self.name}` needs {self.needs} rows; found n = {n}, f = {f}")


class PreAggregator(Step):
    """A step that replaces the rows by linear combinations of them.

    ``keeps_rows`` says whether new row i is still client i's, as a clipped row is and the average
    of a group is not.
    """

    keeps_rows: ClassVar[bool] = False

    @abstractmethod
    def mix(self, geometry: Geometry, f: int, rng: torch.Generator) -> Mixing:
        """Return the mixing matrix and the number of new rows that may be faulty."""

    def counts(self, n: int, f: int) -> tuple[int, int]:
        """Rows and possibly faulty rows that the step leaves of (n, f)."""
        return n, f


class Rule(Step, Aggregator):
    """A step that ends a pipeline; also usable as a pipeline of its own.

    ``names_a_row`` says whether a parameter is the index of a row as it was passed in, so that
    steps before the rule have to keep the rows.
    """

    names_a_row: ClassVar[bool] = False

    @abstractmethod
    def plan(self, geometry: Geometry, f: int) -> Plan:
        """Decide, in n dimensions, how the rows are combined."""

    def plans(self, geometries: Sequence[Geometry], faults: Sequence[int]) -> list[Plan]:
        """Decide for many geometries of as many rows; rules that gain by sharing override it."""
        return [self.plan(geometry, f) for geometry, f in zip(geometries, faults, strict=True)]

    def explain(
        self,
        x: Updates | torch.Tensor | Sequence[torch.Tensor],
        f: int,
        *,
        rng: torch.Generator | None = None,
        center: torch.Tensor | None = None,
    ) -> Explanation:
        """Aggregate with this rule alone; see :meth:`Aggregator.explain`."""
        return Pipeline((), self).explain(x, f, rng=rng, center=center)


@dataclass(frozen=True)
class Decision:
    """A plan over the original finite rows, the faults it assumes, and each step's report."""

    plan: Plan
    f: int
    steps: tuple[StepReport, ...]


@dataclass(frozen=True)
class Pipeline(Aggregator):
    """Pre-aggregators in order, then a rule: the aggregation as one object.

    >>> import byzflower as bf
    >>> bf.compose(bf.ARC(), bf.NNM(), bf.TrimmedMean()).spec
    'arc > nnm > trimmed_mean'
    """

    before: tuple[PreAggregator, ...]
    rule: Rule

    def __post_init__(self) -> None:
        if self.rule.names_a_row and not self._keeps_rows:
            raise ValueError(
                f"`{self.rule.name}` needs steps before it that keep every row in its place; "
                f"found `{self.spec}`"
            )

    @property
    def _keeps_rows(self) -> bool:
        """Whether the rule's row i comes from the i-th of the rows that are finite."""
        return all(step.keeps_rows for step in self.before)

    @property
    def spec(self) -> str:
        """The pipeline as text, e.g. ``"arc > nnm > trimmed_mean"``."""
        return " > ".join(step.spec for step in (*self.before, self.rule))

    @property
    def needs_center(self) -> bool:
        """Whether the rule measures against the previous aggregate."""
        return self.rule.needs_center

    @property
    def searchable(self) -> bool:
        """Whether attacks can search against the rule."""
        return self.rule.searchable

    def check(self, n: int, f: int) -> None:
        """Check every step against the rows and faults that reach it."""
        n, f = non_negative_int(n, "n"), non_negative_int(f, "f")
        for step in self.before:
            step.check(n, f)
            n, f = step.counts(n, f)
        self.rule.check(n, f)

    def explain(
        self,
        x: Updates | torch.Tensor | Sequence[torch.Tensor],
        f: int,
        *,
        rng: torch.Generator | None = None,
        center: torch.Tensor | None = None,
    ) -> Explanation:
        """Aggregate, and say how; see :meth:`Aggregator.explain`."""
        updates = Updates.of(x)
        center = _checked_center(center, updates) if self.needs_center else None
        gram = any(step.needs_gram for step in (*self.before, self.rule))
        geometry = Geometry.of(updates, center=center, gram=gram)
        decision = self.decide(geometry, remaining_faults(updates, geometry, f, self), rng)
        weights = original_weights(decision.plan, geometry, updates.n)
        value, backend = carry_out(decision.plan, geometry, updates, center)
        kept = tuple(int(i) for i in geometry.kept)
        *earlier, last = self._rows_as_passed_in(decision.steps, kept)
        if backend is not None:
            last = dataclasses.replace(last, note={**last.note, "backend": backend})
        return Explanation(value, weights, decision.f, kept, (*earlier, last))

    def _rows_as_passed_in(
        self, reports: Sequence[StepReport], kept: Sequence[int]
    ) -> Iterator[StepReport]:
        """Count the rows that reports name as the caller does, up to a step that makes new ones."""
        countable = True
        for step, report in zip((*self.before, self.rule), reports, strict=True):
            note = dict(report.note)
            for key in _NOTES_THAT_NAME_ROWS & note.keys():
                named = note.pop(key)
                if countable and isinstance(named, tuple):
                    note[key] = tuple(kept[i] for i in named)
                elif key == "selected":  # of the rows that the steps before it have made
                    note[key] = named
            yield dataclasses.replace(report, note=note)
            countable = countable and isinstance(step, PreAggregator) and step.keeps_rows

    def decide(self, geometry: Geometry, f: int, rng: torch.Generator | None = None) -> Decision:
        """Run every step in n dimensions; the plan is over the geometry's kept original rows."""
        return self.decide_each([geometry], f, [entropy() if rng is None else rng])[0]

    def decide_each(
        self, geometries: Sequence[Geometry], f: int, rngs: Sequence[torch.Generator]
    ) -> list[Decision]:
        """Decide for many geometries of as many rows, each with its own randomness.

        A search over what faulty rows might be asks for all of them at once, so that rules whose
        decision takes many small operations share them.
        """
        mixed, faults, reports = zip(
            *(
                self._mixed(geometry, f, rng)
                for geometry, rng in zip(geometries, rngs, strict=True)
            ),
            strict=True,
        )
        plans = self.rule.plans(mixed, faults)
        return [
            self._decision(*decided) for decided in zip(plans, mixed, faults, reports, strict=True)
        ]

    def _mixed(
        self, geometry: Geometry, f: int, rng: torch.Generator
    ) -> tuple[Geometry, int, tuple[StepReport, ...]]:
        reports: tuple[StepReport, ...] = ()
        for step in self.before:
            mixing = step.mix(geometry, f, rng)
            _check_array(step, "a mixing matrix (m, n)", mixing.matrix, 2, geometry.n)
            reports += (StepReport(step.name, step.spec, geometry.n, f, mixing.note),)
            geometry, f = geometry.mixed(mixing.matrix), mixing.f
        return geometry, f, reports

    def _decision(
        self, plan: Plan, geometry: Geometry, f: int, earlier: tuple[StepReport, ...]
    ) -> Decision:
        if isinstance(plan, Weighted):
            _check_array(self.rule, "weights (n,)", plan.weights, 1, geometry.n)
        elif plan.selection is not None:
            _check_array(self.rule, "a selection (m, n)", plan.selection, 2, geometry.n)
        last = StepReport(self.rule.name, self.rule.spec, geometry.n, f, plan.note)
        if geometry.is_mixed:
            plan = over_originals(plan, geometry.matrix)
        return Decision(plan, f, (*earlier, last))


def _check_array(step: Step, needed: str, array: object, ndim: int, n: int) -> None:
    """Refuse what a step of somebody else's must not return."""
    shape: tuple[int, ...] = array.shape if isinstance(array, np.ndarray) else ()
    if len(shape) != ndim or shape[-1] != n:
        found = shape or type(array).__name__
        raise ValueError(f"`{step.name}` needs to return {needed} with n = {n}; found {found}")


def _checked_center(center: torch.Tensor | None, updates: Updates) -> torch.Tensor | None:
    if center is None:
        return None
    if not isinstance(center, torch.Tensor) or center.shape != (updates.d,):
        found = tuple(center.shape) if isinstance(center, torch.Tensor) else type(center).__name__
        raise ValueError(f"`center` needs a tensor of shape ({updates.d},); found {found}")
    return center.detach().to(updates.device)


def entropy() -> torch.Generator:
    """Return a generator seeded from the operating system, with the 32 bits torch makes use of."""
    return torch.Generator().manual_seed(secrets.randbits(63))


def remaining_faults(updates: Updates, geometry: Geometry, f: int, rule: Aggregator) -> int:
    """Faults left among the finite rows; refuse where they are outside the rule's range."""
    f, removed = non_negative_int(f, "f"), updates.n - len(geometry.kept)
    if removed > f:
        raise InfeasibleError(
            f"`f` needs to cover the rows that hold NaN, Inf or numbers too large to measure; "
            f"found f = {f} and {removed} such rows of {updates.n}"
        )
    try:
        rule.check(len(geometry.kept), f - removed)
    except InfeasibleError as error:
        if not removed:
            raise
        note = f"({removed} of {updates.n} rows removed: NaN or Inf)"
        raise InfeasibleError(f"{error} {note}") from None
    return f - removed


def compose(*steps: Step) -> Pipeline:
    """Chain pre-aggregators and end with a rule.

    >>> import torch
    >>> import byzflower as bf
    >>> rule = bf.compose(bf.ARC(), bf.NNM(), bf.GeometricMedian())
    >>> rule(torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [9.0, 9.0]]), f=1)
    tensor([1., 0.])

    Raises
    ------
    TypeError
        Unless the last step is a rule, and no other.
    ValueError
        If the rule names a row (MoNNA) and a step before it does not keep the rows.
    """
    *before, last = steps or (None,)
    if not isinstance(last, Rule):
        raise TypeError(f"a pipeline needs a rule as its last step; found {last!r}")
    earlier = []
    for step in before:
        if not isinstance(step, PreAggregator):
            raise TypeError(f"only the last step may be a rule; found {step!r} before it")
        earlier.append(step)
    return Pipeline(tuple(earlier), last)
