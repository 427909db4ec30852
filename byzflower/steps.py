"""Pre-aggregators, rules, and pipelines of them.

A step decides from a :class:`~byzflower.geometry.Geometry`, the n × n Gram matrix of its rows; the
:class:`~byzflower.plans.Plan` that the rule returns then says how the d coordinates are combined.
Steps are frozen dataclasses of hyper-parameters. They hold no state; the number of faulty rows
comes with each call.
"""

from __future__ import annotations

import dataclasses
import math
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from byzflower.aggregator import Aggregator
from byzflower.configured import Configured
from byzflower.errors import InfeasibleError
from byzflower.explanation import Explanation, StepReport
from byzflower.geometry import Geometry
from byzflower.plans import (
    Mixing,
    Plan,
    Reduced,
    Weighted,
    carry_out,
    original_weights,
    over_originals,
    reordered,
    within,
)
from byzflower.updates import Updates
from byzflower.validation import non_negative_int, rows_as_text

__all__ = [
    "Aggregator",
    "Mixing",
    "Pipeline",
    "Plan",
    "PreAggregator",
    "Reduced",
    "Rule",
    "Step",
    "Weighted",
    "compose",
]

_NOTES_THAT_NAME_ROWS = frozenset({"selected", "clipped_rows"})


class Step(Configured, ABC):
    """A named, immutable piece of a pipeline: a pre-aggregator or a rule.

    Where distances are measured, rows reach a step in an order that their content decides
    (:func:`byzflower.order.order_of_content`): a tie that a step leaves to the first row falls
    alike whatever order the rows came in.

    Attributes
    ----------
    name : str
        The name in specs.
    reference : str
        Papers, by names of :mod:`byzflower.bibliography`.
    rows_needed : tuple of int
        (a, b): the step is defined for n ≥ a·f + b rows, f of them possibly faulty.
    needs : str
        The same as text. A step with a range of another form overrides it and :meth:`feasible`.
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

    Attributes
    ----------
    keeps_rows : bool
        Whether new row i is made from row i, as a clipped row is and the average of a random group
        is not.

    Examples
    --------
    A sub-class defines :meth:`mix`:

    >>> from dataclasses import dataclass
    >>> import byzflower as bf
    >>> @dataclass(frozen=True)
    ... class Halve(bf.PreAggregator):
    ...     name, reference = "halve", "example"
    ...
    ...     def mix(self, geometry, f, rng):
    ...         return bf.Mixing(np.eye(geometry.n) / 2, f)
    >>> bf.compose(Halve(), bf.Mean())(torch.tensor([[2.0], [4.0]]), f=0)
    tensor([1.5000])
    """

    keeps_rows: ClassVar[bool] = False

    @abstractmethod
    def mix(self, geometry: Geometry, f: int, rng: torch.Generator) -> Mixing:
        """Return the mixing matrix (m, n) and how many of the m new rows may be faulty.

        Parameters
        ----------
        geometry
            The current n rows.
        f
            How many of them may be faulty.
        rng
            The only source of randomness.
        """

    def counts(self, n: int, f: int) -> tuple[int, int]:
        """Return how many new rows the step makes of n, f of them faulty, and how many faulty."""
        return n, f


class Rule(Step, Aggregator):
    """A step that ends a pipeline, or is used alone.

    Attributes
    ----------
    names_a_row : bool
        Whether a parameter is the index of an input row (MoNNA's trusted node). Steps before such a
        rule must have ``keeps_rows``.

    Examples
    --------
    A sub-class defines :meth:`plan`:

    >>> from dataclasses import dataclass
    >>> import byzflower as bf
    >>> @dataclass(frozen=True)
    ... class Longest(bf.Rule):
    ...     name, reference = "longest", "example"
    ...
    ...     def plan(self, geometry, f):
    ...         return bf.average_of([int(geometry.squared_norms().argmax())], geometry.n)
    >>> Longest()(torch.tensor([[2.0], [-4.0]]), f=0)
    tensor([-4.])
    """

    names_a_row: ClassVar[bool] = False

    @abstractmethod
    def plan(self, geometry: Geometry, f: int) -> Plan:
        """Return how the current rows, f of them possibly faulty, are to be combined."""

    def plans(self, geometries: Sequence[Geometry], faults: Sequence[int]) -> list[Plan]:
        """Return the plans for several geometries of equal n.

        Rules that decide faster for all together override it.
        """
        return [self.plan(geometry, f) for geometry, f in zip(geometries, faults, strict=True)]

    def _explain(
        self,
        updates: Updates,
        f: int,
        rng: torch.Generator | None,
        center: torch.Tensor | None,
        distances: bool,
    ) -> Explanation:
        return Pipeline((), self)._explain(updates, f, rng, center, distances)


@dataclass(frozen=True)
class Decision:
    """A plan over the finite input rows, the f that it assumes, and each step's report.

    Reports count the rows as ``kept`` lists them, in the order of their content.
    """

    plan: Plan
    f: int
    steps: tuple[StepReport, ...]
    kept: tuple[int, ...]


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
        """Whether the rule's row i is made from the i-th finite input row."""
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
    def needs_gram(self) -> bool:
        """Whether any step measures distances or norms (in ℓ2)."""
        return any(step.needs_gram for step in (*self.before, self.rule))

    @property
    def searchable(self) -> bool:
        """Whether attacks can search against the rule."""
        return self.rule.searchable

    def check(self, n: int, f: int) -> None:
        """Check every step against the number of rows, and of faulty ones, that reach it."""
        n, f = non_negative_int(n, "n"), non_negative_int(f, "f")
        for step in self.before:
            step.check(n, f)
            n, f = step.counts(n, f)
        self.rule.check(n, f)

    def _explain(
        self,
        updates: Updates,
        f: int,
        rng: torch.Generator | None,
        center: torch.Tensor | None,
        distances: bool,
    ) -> Explanation:
        center = _checked_center(center, updates) if self.needs_center else None
        geometry = Geometry.of(updates, center=center, gram=self.needs_gram)
        decision = self.decide(geometry, remaining_faults(updates, geometry, f, self), rng)
        weights = original_weights(decision.plan, geometry, updates.n)
        made = carry_out(decision.plan, geometry, updates, center, distances=distances)
        kept = tuple(geometry.kept.tolist())
        *earlier, last = self._rows_as_passed_in(decision)
        if made.backend is not None:
            last = dataclasses.replace(last, note={**last.note, "backend": made.backend})
        steps = (*earlier, last)
        lengths = None if made.distances is None else torch.from_numpy(made.distances)
        return Explanation(made.value, weights, decision.f, kept, steps, updates.n, lengths)

    def _rows_as_passed_in(self, decision: Decision) -> Iterator[StepReport]:
        """Turn row indices in the reports into those of the input.

        After a step that does not keep the rows there is no such index.
        """
        countable = True
        for step, report in zip((*self.before, self.rule), decision.steps, strict=True):
            note = dict(report.note)
            for key in _NOTES_THAT_NAME_ROWS & note.keys():
                named = note.pop(key)
                if countable and isinstance(named, tuple):
                    note[key] = tuple(decision.kept[i] for i in named)
                elif key == "selected":  # of the rows that the steps before it have made
                    note[key] = named
            yield dataclasses.replace(report, note=note)
            countable = countable and isinstance(step, PreAggregator) and step.keeps_rows

    def decide(self, geometry: Geometry, f: int, rng: torch.Generator | None = None) -> Decision:
        """Run every step on the Gram matrix; the plan is over the finite input rows."""
        return self.decide_each([geometry], f, [entropy() if rng is None else rng])[0]

    def decide_each(
        self, geometries: Sequence[Geometry], f: int, rngs: Sequence[torch.Generator]
    ) -> list[Decision]:
        """Decide for several geometries of equal n, each with its own randomness.

        Adaptive attacks call it with one geometry a candidate, so that rules whose decision takes
        many small array operations can share them.
        """
        mixed, faults, longest, reports = zip(
            *(
                self._mixed(geometry, f, rng)
                for geometry, rng in zip(geometries, rngs, strict=True)
            ),
            strict=True,
        )
        plans = self.rule.plans(mixed, faults)
        return [
            self._decision(*decided)
            for decided in zip(plans, mixed, faults, longest, reports, strict=True)
        ]

    def _mixed(
        self, geometry: Geometry, f: int, rng: torch.Generator
    ) -> tuple[Geometry, int, float, tuple[StepReport, ...]]:
        geometry, longest = geometry.ordered(), math.inf
        reports: tuple[StepReport, ...] = ()
        for step in self.before:
            mixing = step.mix(geometry, f, rng)
            _check_array(step, "a mixing matrix (m, n)", mixing.matrix, 2, geometry.n)
            reports += (StepReport(step.name, step.spec, geometry.n, f, mixing.note),)
            geometry, f = geometry.mixed(mixing.matrix), mixing.f
            longest = min(longest, mixing.longest)
        return geometry, f, longest, reports

    def _decision(
        self,
        plan: Plan,
        geometry: Geometry,
        f: int,
        longest: float,
        earlier: tuple[StepReport, ...],
    ) -> Decision:
        if isinstance(plan, Weighted):
            _check_array(self.rule, "weights (n,)", plan.weights, 1, geometry.n)
        elif plan.selection is not None:
            _check_array(self.rule, "a selection (m, n)", plan.selection, 2, geometry.n)
        if longest < math.inf:
            plan = within(plan, geometry, longest)
        last = StepReport(self.rule.name, self.rule.spec, geometry.n, f, plan.note)
        if geometry.is_mixed:
            plan = over_originals(plan, geometry.matrix)
        plan = reordered(plan, np.argsort(geometry.kept))
        return Decision(plan, f, (*earlier, last), tuple(geometry.kept.tolist()))


def _check_array(step: Step, needed: str, array: object, ndim: int, n: int) -> None:
    """Refuse an array of a wrong shape, which a user's own step may return."""
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
    """Return a generator seeded from the operating system."""
    return torch.Generator().manual_seed(secrets.randbits(63))


def remaining_faults(updates: Updates, geometry: Geometry, f: int, rule: Aggregator) -> int:
    """Return f less the rows that are not finite, if the rule is defined for what remains.

    Raises
    ------
    InfeasibleError
        If more than f rows are not finite, or the rule is not defined for the others.
    """
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
