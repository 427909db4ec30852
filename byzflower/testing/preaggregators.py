"""What every pre-aggregator keeps: its matrix, its counts, and any pipeline that it begins."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import torch

from byzflower.geometry import Geometry
from byzflower.plans import Mixing
from byzflower.rule import Mean, Median
from byzflower.specs import parse
from byzflower.steps import Pipeline, PreAggregator
from byzflower.testing.case import Case
from byzflower.testing.contract import (
    built,
    by_name,
    frozen_value,
    generator,
    require,
    run_checks,
)
from byzflower.testing.rules import RULE_CHECKS
from byzflower.updates import Updates

__all__ = ["PREAGGREGATOR_CHECKS", "check_preaggregator"]

# A mean after any step follows a faulty row.
_NOT_WITH_A_MEAN = {"equal_honest_rows_are_the_answer", "a_huge_row_spoils_nothing"}


def check_preaggregator(
    step: str | PreAggregator | type[PreAggregator],
    *,
    skip: Collection[str] = (),
    only: Collection[str] | None = None,
    device: str | torch.device = "cpu",
) -> None:
    """Check that a pre-aggregator keeps what the rules after it rely on.

    Its own matrix and counts are checked, then the pipelines ``step > mean`` and ``step > median``
    with the checks of `check_rule`, whose names ``skip`` and ``only`` take, too; both, and
    ``device``, are as there.

    Raises
    ------
    ContractError
        With one line for each check that fails.

    Examples
    --------
    >>> check_preaggregator("nnm")
    >>> check_preaggregator("clip(c=3)", skip={"scales_with_the_rows", "moves_with_the_rows",
    ...     "equal_honest_rows_are_the_answer", "a_huge_row_spoils_nothing",
    ...     "float32_rows_of_any_size_are_aggregated_alike"})
    """
    found = built(step, "step", "a pre-aggregator", PreAggregator, _parsed)
    subject = Mixed(found, torch.device(device))
    run_checks(subject, found.spec, PREAGGREGATOR_CHECKS, skip=skip, only=only)


def _parsed(spec: str) -> PreAggregator:
    pipeline = parse(f"{spec} > mean")
    if not isinstance(pipeline, Pipeline) or len(pipeline.before) != 1:
        raise ValueError(f"`step` needs one pre-aggregator; found {spec!r}")
    return pipeline.before[0]


@dataclass(frozen=True)
class Mixed:
    """A pre-aggregator with rows to mix."""

    step: PreAggregator
    device: torch.device

    def case(self) -> Case:
        """Return the step in front of a mean."""
        return Case(Pipeline((self.step,), Mean()), self.device)

    def mix(self, x: torch.Tensor, f: int, seed: int = 0) -> Mixing:
        """Return what the step makes of rows."""
        geometry = Geometry.of(Updates.of(x), gram=self.step.needs_gram)
        return self.step.mix(geometry, f, generator(seed))


def the_matrix_has_the_rows_that_counts_says(subject: Mixed) -> None:
    """Its m × n numbers are finite, m and f' those that `counts` announces."""
    case = subject.case()
    for n, f in ((case.n, 2), (case.n, 1), (case.n, 0), (case.n + 1, 2)):
        x = torch.randn(n, 5, generator=generator(n), dtype=torch.float64).to(subject.device)
        mixing, counts = subject.mix(x, f), subject.step.counts(n, f)
        shape = np.shape(mixing.matrix)
        require(
            shape == (counts[0], n),
            f"`mix` needs a matrix {(counts[0], n)}, as `counts` says for n = {n}, f = {f}; "
            f"found {shape}",
        )
        require(np.isfinite(mixing.matrix).all(), "`mix` returns NaN or Inf")
        require(mixing.f == counts[1], f"`counts` says f' = {counts[1]}; `mix` says {mixing.f}")


def rows_that_are_kept_stand_in_their_place(subject: Mixed) -> None:
    """With ``keeps_rows``, permuted rows give the permuted new rows."""
    if not subject.step.keeps_rows:
        return
    case = subject.case()
    x = case.rows(torch.float64)
    order = torch.randperm(case.n, generator=generator(2))
    first, second = (subject.mix(rows, case.f).matrix for rows in (x, x[order.to(x.device)]))
    index = np.ix_(order.numpy(), order.numpy())
    require(first.shape[0] == case.n, "`keeps_rows` needs as many new rows as rows")
    require(
        np.allclose(second, first[index], rtol=1e-6, atol=1e-9),
        "`keeps_rows` is true, and permuted rows do not give the permuted new rows",
    )


def one_seed_gives_one_matrix(subject: Mixed) -> None:
    """All randomness comes from the generator."""
    case = subject.case()
    first, second = (subject.mix(case.rows(), case.f, seed=4).matrix for _ in range(2))
    require(np.array_equal(first, second), "two calls with one seed differ")


def the_step_is_a_frozen_value(subject: Mixed) -> None:
    """Hyper-parameters only."""
    frozen_value(subject.step, subject.step.spec)


def _in_pipelines(name: str) -> Callable[[Mixed], None]:
    """Return the check of a rule, for the step with a mean and with a median after it."""

    def check(subject: Mixed) -> None:
        for rule in (Mean(), Median()):
            if not (isinstance(rule, Mean) and name in _NOT_WITH_A_MEAN):
                RULE_CHECKS[name](Case(Pipeline((subject.step,), rule), subject.device))

    return check


PREAGGREGATOR_CHECKS: dict[str, Callable[[Mixed], None]] = by_name(
    the_matrix_has_the_rows_that_counts_says,
    rows_that_are_kept_stand_in_their_place,
    one_seed_gives_one_matrix,
    the_step_is_a_frozen_value,
) | {name: _in_pipelines(name) for name in RULE_CHECKS}
"""Name → check: the step's own, and those of `RULE_CHECKS` in pipelines."""
