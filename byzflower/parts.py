"""Aggregating updates of which no machine holds all d columns: parts whose small results add up.

Every machine keeps some columns of all n rows, a :class:`Part`. Gram matrices of parts add up to
that of the whole, so a rule is decided in one place on n × n numbers, and its plan is carried out
by every part on its own columns. How a part is reached is not said here: :func:`here` calls one in
this process, `byzflower.simulations.parts` those in processes of Ray.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from operator import add
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch

from byzflower.geometry import Array, Geometry, finite_rows
from byzflower.gram import Measured, largest_entries, measure, unit_of
from byzflower.order import Index, ranked
from byzflower.plans import Plan, Weighted, carry_out, length_of, shortening
from byzflower.steps import Decision, Pipeline, Rule, remaining_faults
from byzflower.updates import Updates

__all__ = ["Ask", "Part", "aggregate_parts", "here"]

_Result = TypeVar("_Result")

Ask: TypeAlias = Callable[..., Callable[[], Any]]
"""``ask(method, *arguments)`` sets a part to work; what it returns waits for the result."""


class Part:
    """Some columns of n updates, where they lie in memory.

    Parameters
    ----------
    updates
        The columns, of all n rows; possibly none.
    center
        The same columns of the previous aggregate, for rules with ``needs_center``.
    """

    def __init__(self, updates: Updates, center: torch.Tensor | None = None) -> None:
        self._updates, self._center = updates, center
        self._value = torch.empty(0)

    def layout(self) -> tuple[int, torch.dtype]:
        """Return n and the dtype, which are every part's."""
        return self._updates.n, self._updates.dtype

    def largest(self) -> Array:
        """Return each row's largest entry, shape (n,): over parts, the maximum."""
        return largest_entries(self._updates)

    def finite(self) -> npt.NDArray[np.bool_]:
        """Return which rows are finite, shape (n,): over parts, those that are in each."""
        return finite_rows(self._updates)

    def measure(self, unit: float) -> Measured:
        """Return the Gram matrix and which rows are finite: over parts, the sum."""
        return measure(self._updates, self._center, unit)

    def ranks(self, kept: Index, rows: Index) -> Index:
        """Rank rows by their numbers here, shape (k,): over parts, from left to right."""
        numbers = Geometry(self._updates, kept, None).numbers(rows)
        return ranked(numbers, np.zeros(len(rows), dtype=np.intp))

    def lengths(
        self, kept: Index, matrix: Array | None, unit: float, method: str, *arguments: object
    ) -> Array:
        """Return what a method of a `Geometry` reads, ℓp lengths: over parts, p-th powers add."""
        geometry = Geometry(self._updates, kept, None, matrix, unit=unit)
        found: Array = getattr(geometry, method)(*arguments)
        return found

    def carry_out(self, plan: Plan, kept: Index, unit: float) -> float:
        """Make the part's columns of the aggregate; return their length."""
        geometry = Geometry(self._updates, kept, None, unit=unit)
        self._value = carry_out(plan, geometry, self._updates, self._center).value
        return length_of(self._value, unit)

    def scale(self, factor: float) -> None:
        """Multiply the part's columns of the aggregate."""
        self._value *= factor

    def use(self, function: Callable[[torch.Tensor], _Result]) -> _Result:
        """Return what a function makes of the part's columns of the aggregate: a server's step."""
        return function(self._value)


def here(part: Part) -> Ask:
    """Reach a part in this process."""
    return lambda method, *arguments: partial(getattr(part, method), *arguments)


class _Spread:
    """What is known here of updates whose columns lie elsewhere."""

    def __init__(self, parts: Sequence[Ask]) -> None:
        self.parts = parts
        layouts = set(self.each("layout"))
        if len(layouts) != 1:
            raise ValueError(f"parts need one n and one dtype; found {sorted(map(str, layouts))}")
        self.n, self.dtype = layouts.pop()

    def each(self, method: str, *arguments: object) -> list[Any]:
        """Let all parts do something at the same time."""
        pending = [ask(method, *arguments) for ask in self.parts]
        return [wait() for wait in pending]

    def measured(self) -> Measured:
        """Return the Gram matrix of all columns."""
        unit = 1.0
        if self.dtype == torch.float64:
            unit = unit_of(np.maximum.reduce(self.each("largest")))
        measured: Measured = reduce(add, self.each("measure", unit))
        return measured


class _SpreadGeometry(Geometry):
    """A geometry over a `_Spread`: what it would read of the columns, the parts read."""

    _updates: Any

    def numbers(self, rows: Index) -> Iterator[npt.NDArray[Any]]:
        for ranks in self._updates.each("ranks", self.kept, rows):
            yield ranks.astype(">i8")[:, None]  # whose bytes order as they do

    def distances(self, p: float = 2.0) -> Array:
        return super().distances() if p == 2.0 else self._added("distances", p)

    def distances_about(self, weights: Array, p: float) -> Array:
        if p == 2.0:
            return super().distances_about(weights, p)
        return self._added("distances_about", weights, p)

    def norms(self, combinations: Array, p: float) -> Array:
        return self._added("norms", combinations, p)

    def distances_to_median(self, combinations: Array, p: float = 2.0) -> Array:
        return self._added("distances_to_median", combinations, p)

    def _added(self, method: str, *arguments: Any) -> Array:
        where = self.kept, self._matrix, self.unit
        lengths = np.stack(self._updates.each("lengths", *where, method, *arguments))
        largest = lengths.max(axis=0)  # of whose p-th power there may be none
        relative = np.divide(lengths, largest, out=np.zeros_like(lengths), where=largest > 0)
        added: Array = largest * np.linalg.norm(relative, ord=arguments[-1], axis=0)
        return added


def aggregate_parts(
    rule: Rule | Pipeline, parts: Sequence[Ask], f: int, *, rng: torch.Generator | None = None
) -> Decision:
    """Aggregate as ``rule(updates, f)`` does, the columns of the updates lying in several parts.

    Each part ends up with its columns of the aggregate, see :meth:`Part.use`. They are those of the
    aggregate of all columns in one place but for rounding. Between the parts and the caller travel
    a few times n × n numbers a part, whatever d; of a geometric median in ℓp, n more an iteration.

    Parameters
    ----------
    rule
        Rule or pipeline; a pool such as ``mixtailor`` is no such.
    parts
        At least one, in the order of their columns.
    f
        Assumed number of faulty rows.
    rng
        Source of randomness; the operating system's entropy by default.

    Returns
    -------
    Decision
        The plan that the parts carried out, and each step's report.

    Raises
    ------
    InfeasibleError, ValueError
        As :meth:`byzflower.Aggregator.explain`, and if parts differ in n or dtype.

    Examples
    --------
    >>> import byzflower as bf
    >>> rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [9.0, 9.0]])
    >>> parts = [here(Part(Updates.of(rows[:, :1]))), here(Part(Updates.of(rows[:, 1:])))]
    >>> _ = aggregate_parts(bf.parse("arc > nnm > geometric_median"), parts, f=1)
    >>> [ask("use", torch.Tensor.tolist)() for ask in parts]
    [[1.0], [0.0]]
    """
    pipeline = Pipeline((), rule) if isinstance(rule, Rule) else rule
    spread = _Spread(parts)
    updates = cast("Updates", spread)  # of which a decision asks n and the dtype
    if pipeline.needs_gram or pipeline.needs_center:
        geometry = _SpreadGeometry.of_measured(updates, spread.measured())
    else:
        finite = np.logical_and.reduce(spread.each("finite"))
        geometry = _SpreadGeometry(updates, np.flatnonzero(finite), None)
    decision = pipeline.decide(geometry, remaining_faults(updates, geometry, f, pipeline), rng)
    plan, longest = decision.plan, math.inf
    if not isinstance(plan, Weighted):
        plan, longest = dataclasses.replace(plan, longest=math.inf), plan.longest
    lengths = spread.each("carry_out", plan, geometry.kept, geometry.unit)
    if longest < math.inf:
        spread.each("scale", shortening(math.hypot(*lengths), longest))
    return decision
