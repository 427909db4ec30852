"""What an aggregation is made of: steps, their plans, and pipelines that carry them out.

Pre-aggregators and rules decide in n dimensions, from a :class:`~byzflower.geometry.Geometry`;
a :class:`Plan` then says how the d coordinates are combined. Steps are frozen dataclasses that
hold only hyper-parameters; the number of faults comes with each call.
"""

from __future__ import annotations

import dataclasses
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from byzflower.errors import InfeasibleError
from byzflower.geometry import Array, Geometry
from byzflower.kernels import Reduction, reduce
from byzflower.updates import Updates
from byzflower.validation import integer_at_least as integer_at_least
from byzflower.validation import non_negative_int as non_negative_int
from byzflower.validation import positive as positive

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
    "average_of",
    "compose",
]


@dataclass(frozen=True)
class StepReport:
    """What one step did: its spec, the rows n and faults f it saw, and its own notes."""

    name: str
    spec: str
    n: int
    f: int
    note: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Explanation:
    """An aggregate and how it came about.

    Attributes
    ----------
    value : torch.Tensor
        The aggregate, shape (d,), in the updates' dtype and device.
    weights : torch.Tensor or None
        Weight of each of the n original rows, shape (n,), float64; ``None`` for rules that treat
        every coordinate separately.
    n_byzantine : int
        Faults assumed by the rule, after the finite check and the pre-aggregators.
    kept : tuple of int
        Rows that passed the finite check.
    steps : tuple of StepReport
        One report a step, in order.
    """

    value: torch.Tensor
    weights: torch.Tensor | None
    n_byzantine: int
    kept: tuple[int, ...]
    steps: tuple[StepReport, ...]


@dataclass(frozen=True)
class Mixing:
    """A pre-aggregator's output: new rows = ``matrix @ rows``, of which ``f`` may be faulty."""

    matrix: Array
    f: int
    note: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Weighted:
    """Aggregate = Σ weights_i · row_i + center · v_0."""

    weights: Array
    center: float = 0.0
    note: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Reduced:
    """Aggregate = a coordinate-wise reduction of ``selection @ rows`` (all rows if ``None``)."""

    reduction: Reduction
    selection: Array | None = None
    note: Mapping[str, object] = field(default_factory=dict)


Plan = Weighted | Reduced


def average_of(rows: Sequence[int] | npt.NDArray[np.intp], n: int, **note: object) -> Weighted:
    """Average some of n rows; the report names them as ``selected``."""
    picked = tuple(int(i) for i in rows)
    weights = np.zeros(n)
    weights[list(picked)] = 1 / len(picked)
    return Weighted(weights, note={"selected": picked, **note})


class Step(ABC):
    """A named, immutable piece of a pipeline."""

    name: ClassVar[str]
    source: ClassVar[str]
    needs: ClassVar[str] = "n ≥ 1"

    @property
    def spec(self) -> str:
        """The step as :func:`byzflower.parse` reads it: its name and non-default parameters."""
        changed = [
            f"{f.name}={_literal(getattr(self, f.name))}"
            for f in dataclasses.fields(self)  # type: ignore[arg-type]
            if getattr(self, f.name) != f.default
        ]
        return f"{self.name}({', '.join(changed)})" if changed else self.name

    def __str__(self) -> str:
        return self.spec

    @property
    def needs_gram(self) -> bool:
        """Whether the step measures distances or norms (in ℓ2)."""
        return True

    def feasible(self, n: int, f: int) -> bool:
        """Whether the step is defined for n rows of which f may be faulty."""
        return n >= 1 and f >= 0

    def check(self, n: int, f: int) -> None:
        """Raise :class:`InfeasibleError` unless the step is defined for (n, f)."""
        if not self.feasible(n, f):
            raise InfeasibleError(f"`{self.name}` needs {self.needs} rows; found n = {n}, f = {f}")


def _literal(value: object) -> str:
    if isinstance(value, str) and value.isidentifier():
        return value
    return value.spec if isinstance(value, Step | Aggregator) else repr(value)


class Aggregator(ABC):
    """Anything that turns n updates, f of them possibly faulty, into one vector."""

    @property
    @abstractmethod
    def spec(self) -> str:
        """The text that :func:`byzflower.parse` turns into this aggregator."""

    @property
    def needs_center(self) -> bool:
        """Whether the caller should pass the previous aggregate as ``center``."""
        return False

    @abstractmethod
    def check(self, n: int, f: int) -> None:
        """Raise :class:`InfeasibleError` unless defined for n rows of which f may be faulty."""

    @abstractmethod
    def explain(
        self,
        x: Updates | torch.Tensor | Sequence[torch.Tensor],
        f: int,
        *,
        rng: torch.Generator | None = None,
        center: torch.Tensor | None = None,
    ) -> Explanation:
        """Aggregate, and say how.

        Parameters
        ----------
        x
            Updates: an (n, d) tensor, n tensors of shape (d,), or :class:`Updates`. Unmodified.
        f
            Assumed number of faulty rows. Rows with NaN or Inf are removed first and count
            against it.
        rng
            Source of randomness; the operating system's entropy by default.
        center
            Vector (d,) for rules with ``needs_center``: usually the previous aggregate.

        Raises
        ------
        InfeasibleError
            If (n, f) is outside a step's range, or more than f rows are not finite.
        """

    def __call__(
        self,
        x: Updates | torch.Tensor | Sequence[torch.Tensor],
        f: int,
        *,
        rng: torch.Generator | None = None,
        center: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the aggregate of ``x``, shape (d,); see :meth:`explain`."""
        return self.explain(x, f, rng=rng, center=center).value

    def __str__(self) -> str:
        return self.spec


class PreAggregator(Step):
    """A step that replaces the rows by linear combinations of them."""

    @abstractmethod
    def mix(self, geometry: Geometry, f: int, rng: torch.Generator) -> Mixing:
        """Return the mixing matrix and the number of new rows that may be faulty."""

    def counts(self, n: int, f: int) -> tuple[int, int]:
        """Rows and possibly faulty rows that the step leaves of (n, f)."""
        return n, f


class Rule(Step, Aggregator):
    """A step that ends a pipeline; also usable as a pipeline of its own."""

    @abstractmethod
    def plan(self, geometry: Geometry, f: int) -> Plan:
        """Decide, in n dimensions, how the rows are combined."""

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

    @property
    def spec(self) -> str:
        """The pipeline as text, e.g. ``"arc > nnm > trimmed_mean"``."""
        return " > ".join(step.spec for step in (*self.before, self.rule))

    @property
    def needs_center(self) -> bool:
        """Whether the rule measures against the previous aggregate."""
        return self.rule.needs_center

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
        center = center if self.needs_center else None
        gram = any(step.needs_gram for step in (*self.before, self.rule))
        geometry = Geometry.of(updates, center=center, gram=gram)
        decision = self.decide(geometry, remaining_faults(updates, geometry, f, self), rng)
        weights = original_weights(decision.plan, geometry, updates.n)
        value, backend = carry_out(decision.plan, geometry, updates, center)
        *earlier, last = decision.steps
        if backend is not None:
            last = dataclasses.replace(last, note={**last.note, "backend": backend})
        kept = tuple(int(i) for i in geometry.kept)
        return Explanation(value, weights, decision.f, kept, (*earlier, last))

    def decide(self, geometry: Geometry, f: int, rng: torch.Generator | None = None) -> Decision:
        """Run every step in n dimensions; the plan is over the geometry's kept original rows."""
        rng = entropy() if rng is None else rng
        reports = []
        for step in self.before:
            mixing = step.mix(geometry, f, rng)
            reports.append(StepReport(step.name, step.spec, geometry.n, f, mixing.note))
            geometry, f = geometry.mixed(mixing.matrix), mixing.f
        plan = self.rule.plan(geometry, f)
        reports.append(StepReport(self.rule.name, self.rule.spec, geometry.n, f, plan.note))
        if geometry.is_mixed:
            plan = _over_originals(plan, geometry.matrix)
        return Decision(plan, f, tuple(reports))


def _over_originals(plan: Plan, matrix: Array) -> Plan:
    if isinstance(plan, Weighted):
        return dataclasses.replace(plan, weights=plan.weights @ matrix)
    rows = matrix if plan.selection is None else plan.selection @ matrix
    return dataclasses.replace(plan, selection=rows)


def entropy() -> torch.Generator:
    """Return a generator seeded from the operating system."""
    return torch.Generator().manual_seed(secrets.randbits(63))


def remaining_faults(updates: Updates, geometry: Geometry, f: int, rule: Aggregator) -> int:
    """Faults left among the finite rows; refuse where they are outside the rule's range."""
    f, removed = non_negative_int(f, "f"), updates.n - len(geometry.kept)
    if removed > f:
        raise InfeasibleError(
            f"`f` needs to cover the rows that hold NaN or Inf; found f = {f} and {removed} such "
            f"rows of {updates.n}"
        )
    try:
        rule.check(len(geometry.kept), f - removed)
    except InfeasibleError as error:
        if not removed:
            raise
        note = f"({removed} of {updates.n} rows removed: NaN or Inf)"
        raise InfeasibleError(f"{error} {note}") from None
    return f - removed


def original_weights(plan: Plan, geometry: Geometry, n: int) -> torch.Tensor | None:
    """Spread a plan's weights over all n original rows; removed rows weigh nothing."""
    if not isinstance(plan, Weighted):
        return None
    weights = torch.zeros(n, dtype=torch.float64)
    weights[torch.from_numpy(geometry.kept)] = torch.from_numpy(plan.weights)
    return weights


def carry_out(
    plan: Plan, geometry: Geometry, updates: Updates, center: torch.Tensor | None
) -> tuple[torch.Tensor, str | None]:
    """Touch the d coordinates: return the aggregate and, for reductions, the kernel used."""
    if isinstance(plan, Weighted):
        weights = np.zeros(updates.n)
        weights[geometry.kept] = plan.weights
        extra = None if center is None or plan.center == 0 else center * plan.center
        return updates.combine(weights, extra), None
    out = torch.empty(updates.d, dtype=updates.dtype, device=updates.device)
    rows = None if len(geometry.kept) == updates.n else geometry.kept
    return out, reduce(updates.blocks, plan.reduction, out=out, mixing=plan.selection, rows=rows)


def compose(*steps: Step) -> Pipeline:
    """Chain pre-aggregators and end with a rule.

    >>> import torch
    >>> import byzflower as bf
    >>> rule = bf.compose(bf.ARC(), bf.NNM(), bf.GeometricMedian())
    >>> rule(torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [9.0, 9.0]]), f=1)
    tensor([1., 0.])
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
