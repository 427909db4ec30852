"""Each check of a rule or pre-aggregator fails for a rule that breaks what it checks."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

import byzflower as bf
from byzflower.testing import (
    PREAGGREGATOR_CHECKS,
    RULE_CHECKS,
    ContractError,
    check_preaggregator,
    check_rule,
)


class Widens(bf.Mean):
    def __call__(self, x: Any, f: int, **options: Any) -> torch.Tensor:
        return super().__call__(x, f, **options).double()


class RoundsFloat16(bf.Mean):
    def __call__(self, x: Any, f: int, **options: Any) -> torch.Tensor:
        value = super().__call__(x, f, **options)
        return value.round(decimals=1) if value.dtype == torch.float16 else value


class Overwrites(bf.Mean):
    def __call__(self, x: Any, f: int, **options: Any) -> torch.Tensor:
        if isinstance(x, torch.Tensor):
            x[0] = 0
        return super().__call__(x, f, **options)


class KeepsGraph(bf.Mean):
    def __call__(self, x: Any, f: int, **options: Any) -> torch.Tensor:
        return x.mean(dim=0) if isinstance(x, torch.Tensor) else super().__call__(x, f, **options)


class FirstOfAList(bf.Mean):
    def __call__(self, x: Any, f: int, **options: Any) -> torch.Tensor:
        return x[0] if isinstance(x, list) else super().__call__(x, f, **options)


class Remembers(bf.Mean):
    def __init__(self) -> None:
        object.__setattr__(self, "__dict__", {})

    __setattr__ = object.__setattr__


class OtherText(bf.Mean):
    def __str__(self) -> str:
        return "other"


class Planned(bf.Mean):
    """A mean with other weights."""

    def weights(self, geometry: bf.Geometry, f: int) -> np.ndarray:
        raise NotImplementedError

    def plan(self, geometry: bf.Geometry, f: int) -> bf.Weighted:
        return bf.Weighted(self.weights(geometry, f))


class GlobalRandomness(Planned):
    def weights(self, geometry: bf.Geometry, f: int) -> np.ndarray:
        return np.random.default_rng().dirichlet(np.ones(geometry.n))


class FirstRow(Planned):
    def weights(self, geometry: bf.Geometry, f: int) -> np.ndarray:
        return np.eye(geometry.n)[0]


class Shrinks(Planned):
    def weights(self, geometry: bf.Geometry, f: int) -> np.ndarray:
        return np.full(geometry.n, 0.9 / geometry.n)


class Extrapolates(Planned):
    def weights(self, geometry: bf.Geometry, f: int) -> np.ndarray:
        return np.array([2.0, -1.0, *np.zeros(geometry.n - 2)]) if geometry.n > 1 else np.ones(1)


class OtherWeights(bf.Mean):
    def explain(self, x: Any, f: int, **options: Any) -> bf.Explanation:
        found = super().explain(x, f, **options)
        return dataclasses.replace(found, weights=2 * found.weights)


class MiscountsRows(bf.Mean):
    def explain(self, x: Any, f: int, **options: Any) -> bf.Explanation:
        found = super().explain(x, f, **options)
        return dataclasses.replace(
            found, steps=(dataclasses.replace(found.steps[0], n=found.steps[0].n + 1),)
        )


class ReplacesNaN(bf.Mean):
    def explain(self, x: Any, f: int, **options: Any) -> bf.Explanation:
        if isinstance(x, torch.Tensor) and x.is_floating_point():
            x = x.nan_to_num()
        return super().explain(x, f, **options)


class TakesAnyCount(bf.Mean):
    def explain(self, x: Any, f: int, **options: Any) -> bf.Explanation:
        return super().explain(x, abs(int(f or 0)), **options)


class TakesIntegers(bf.Mean):
    def explain(self, x: Any, f: int, **options: Any) -> bf.Explanation:
        return super().explain(x.double() if isinstance(x, torch.Tensor) else x, f, **options)


class ChecksNothing(bf.Mean):
    def check(self, n: int, f: int) -> None:
        return


class NeverZero(bf.Mean):
    def __call__(self, x: Any, f: int, **options: Any) -> torch.Tensor:
        return super().__call__(x, f, **options) + 1


class FlushesSmallNumbers(bf.Mean):
    def __call__(self, x: Any, f: int, **options: Any) -> torch.Tensor:
        value = super().__call__(x, f, **options)
        small = value.dtype == torch.float32 and value.abs().max() < 1e-20
        return torch.zeros_like(value) if small else value


class IgnoresACenter(bf.CenteredClipping):
    def explain(self, x: Any, f: int, **options: Any) -> bf.Explanation:
        return super().explain(x, f, **(options | {"center": None}))


class FromNowhere(bf.Mean):
    reference = ""


BROKEN: dict[str, Any] = {
    "shape_dtype_and_device_come_back": Widens,
    "narrow_types_lose_only_their_own_rounding": RoundsFloat16,
    "the_rows_stay_as_they_are": Overwrites,
    "rows_are_read_outside_autograd": KeepsGraph,
    "stacked_listed_and_blocked_rows_agree": FirstOfAList,
    "is_a_frozen_value": Remembers,
    "its_spec_reads_back": OtherText,
    "one_seed_gives_one_result": GlobalRandomness,
    "permuted_rows_permute_the_weights": FirstRow,
    "ties_fall_alike_in_any_order": FirstRow,
    "weights_make_the_value": OtherWeights,
    "every_step_is_reported": MiscountsRows,
    "equal_honest_rows_are_the_answer": bf.Mean,
    "equal_rows_are_their_own_aggregate": Shrinks,
    "moves_with_the_rows": Shrinks,
    "scales_with_the_rows": bf.CenteredClipping,
    "rows_with_nan_or_inf_count_as_faulty": ReplacesNaN,
    "an_f_that_is_no_count_is_refused": TakesAnyCount,
    "what_is_no_set_of_updates_is_refused": TakesIntegers,
    "both_sides_of_the_bound_on_n": ChecksNothing,
    "one_row_alone_is_the_aggregate": Shrinks,
    "duplicated_rows_are_no_trouble": Extrapolates,
    "zero_rows_give_zero": NeverZero,
    "a_huge_row_spoils_nothing": bf.Mean,
    "float32_rows_of_any_size_are_aggregated_alike": FlushesSmallNumbers,
    "a_center_that_does_not_fit_is_refused": IgnoresACenter,
    "says_where_it_comes_from": FromNowhere,
}


@pytest.mark.parametrize("check", RULE_CHECKS)
def test_a_rule_that_breaks_it_fails_the_check_in_one_line(check: str) -> None:
    with pytest.raises(ContractError) as error:
        check_rule(BROKEN[check], only={check})
    title, line = str(error.value).split("\n")
    assert title.endswith("fails 1 of 1 checks:")
    assert line.startswith(f"  {check}: ")
    assert "raised" not in line  # the check itself found it


@dataclass(frozen=True)
class Step(bf.PreAggregator):
    """A pre-aggregator that leaves the rows alone, to be broken."""

    name = "leaves_alone"
    reference = "this file"
    keeps_rows = True

    def mix(self, geometry: bf.Geometry, f: int, rng: torch.Generator) -> bf.Mixing:
        return bf.Mixing(np.eye(geometry.n), f)


class LosesARow(Step):
    keeps_rows = False

    def mix(self, geometry: bf.Geometry, f: int, rng: torch.Generator) -> bf.Mixing:
        return bf.Mixing(np.eye(geometry.n)[1:], f)


class FirstRowEverywhere(Step):
    def mix(self, geometry: bf.Geometry, f: int, rng: torch.Generator) -> bf.Mixing:
        return bf.Mixing(np.eye(geometry.n)[[0] * geometry.n], f)


class GloballyRandom(Step):
    def mix(self, geometry: bf.Geometry, f: int, rng: torch.Generator) -> bf.Mixing:
        return bf.Mixing(np.random.default_rng().permutation(np.eye(geometry.n)), f)


class RemembersSteps(Step):
    __setattr__ = object.__setattr__


class Halves(Step):
    def mix(self, geometry: bf.Geometry, f: int, rng: torch.Generator) -> bf.Mixing:
        return bf.Mixing(np.eye(geometry.n) / 2, f)


@pytest.mark.parametrize(
    ("check", "step"),
    [
        ("the_matrix_has_the_rows_that_counts_says", LosesARow),
        ("rows_that_are_kept_stand_in_their_place", FirstRowEverywhere),
        ("one_seed_gives_one_matrix", GloballyRandom),
        ("the_step_is_a_frozen_value", RemembersSteps),
        ("equal_rows_are_their_own_aggregate", Halves),
    ],
)
def test_a_pre_aggregator_that_breaks_it_fails_the_check(check: str, step: Any) -> None:
    with pytest.raises(ContractError, match=f"  {check}: (?!raised)"):
        check_preaggregator(step, only={check})


def test_a_pre_aggregator_of_one_s_own_passes_unregistered() -> None:
    check_preaggregator(Step)
    assert set(RULE_CHECKS) < set(PREAGGREGATOR_CHECKS)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ContractError) as error:
        check_rule(Shrinks(), skip={"moves_with_the_rows"})
    lines = str(error.value).split("\n")
    assert lines[0] == f"`mean` fails {len(lines) - 1} of {len(RULE_CHECKS) - 1} checks:"
    assert "  one_row_alone_is_the_aggregate: one row and its aggregate have a difference" in (
        str(error.value)
    )


def test_what_a_rule_raises_is_said_in_one_line() -> None:
    class Raises(bf.Mean):
        def plan(self, geometry: bf.Geometry, f: int) -> bf.Weighted:
            raise KeyError("two\nlines")

    with pytest.raises(ContractError, match=r"  zero_rows_give_zero: raised KeyError: 'two"):
        check_rule(Raises, only={"zero_rows_give_zero"})


def test_names_and_subjects_are_checked() -> None:
    with pytest.raises(ValueError, match=r"`skip` needs names of checks: .*; found 'typo'"):
        check_rule("mean", skip={"typo"})
    with pytest.raises(ValueError, match="`only` needs a collection of names; found 'moves"):
        check_rule("mean", only="moves_with_the_rows")
    with pytest.raises(ValueError, match="`Clip` needs parameters: pass an object"):
        check_preaggregator(bf.Clip)
    with pytest.raises(TypeError, match="`step` needs a spec or a pre-aggregator; found Mean"):
        check_preaggregator(bf.Mean())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`step` needs one pre-aggregator; found 'arc > nnm'"):
        check_preaggregator("arc > nnm")


def test_neither_a_test_runner_nor_flower_is_imported() -> None:
    code = "import sys, byzflower.testing as t; t.check_rule; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in found.stdout.split()}
    assert "torch" in loaded
    assert not loaded & {"pytest", "hypothesis", "flwr"}
