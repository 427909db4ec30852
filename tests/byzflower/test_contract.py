"""What every aggregation keeps; a rule or pre-aggregator is tested by being registered."""

from __future__ import annotations

import itertools
import re

import pytest

import byzflower as bf
from byzflower.testing import (
    PREAGGREGATOR_CHECKS,
    RULE_CHECKS,
    check_preaggregator,
    check_rule,
)
from byzflower.testing.case import least_rows

# Parameters for the steps that have no default ones.
EXAMPLES = {"clip": "clip(c=3.0)", "bucketing": "bucketing(s=2)", "resampling": "resampling(s=2)"}

RULES = [EXAMPLES.get(name, name) for name in bf.rules()]
STEPS = [EXAMPLES.get(name, name) for name in bf.preaggregators()]
COMPOSITIONS = [
    "arc > nnm > trimmed_mean",
    "arc > nnm > geometric_median",
    "arc > nnm > multi_krum_star",
    "bucketing(s=2) > arc > nnm > median",
    "bucketing(s=2) > krum",
    "resampling(s=2) > geometric_median",
    "nnm > bulyan",
    "nnm > mda",
    "krum(p=3)",
    "geometric_median(p=1.5)",
    "bulyan(inner=krum, p=5)",
    "bulyan(inner=mean)",
    "bulyan(inner=mean, p=4)",
    "bulyan(inner=median, p=3)",
    "bulyan(inner=geometric_median)",
    "bulyan(inner=geometric_median, p=3)",
    "multi_krum(m=3)",
    "multi_krum_star(q=3)",
    "monna(trusted=2)",
    "nnm > sign_votes(step=0.1)",
    "centered_clipping(tau=2.0, steps=3)",
    "mixtailor(pool=[krum, median, geometric_median])",
    "mixtailor(pool=[median, arc > nnm > krum], resampling=2)",
]
ALL = [*RULES, *COMPOSITIONS]
# What some do not promise: ARC, clipping, CGE and centered clipping measure from the origin, the
# latter from a length, too, a mean, a clipped mean and CGE follow a faulty row, and votes are added
# up.
NOT_PROMISED = {
    "moves_with_the_rows": "arc|clip|^cge|votes",
    "scales_with_the_rows": "clip|votes",
    "float32_rows_of_any_size_are_aggregated_alike": "clip",
    "equal_honest_rows_are_the_answer": "^mean|clip|^cge|votes",
    "equal_rows_are_their_own_aggregate": "votes",
    "one_row_alone_is_the_aggregate": "votes",
    "duplicated_rows_are_no_trouble": "votes",
    "a_huge_row_spoils_nothing": "^mean|^clip|votes",
}


def promised(spec: str, checks: dict[str, object]) -> list[str]:
    return [name for name in checks if not re.search(NOT_PROMISED.get(name, "^$"), spec)]


RULE_CASES = [(spec, check) for spec in ALL for check in promised(spec, RULE_CHECKS)]
STEP_CASES = [(spec, check) for spec in STEPS for check in promised(spec, PREAGGREGATOR_CHECKS)]


@pytest.mark.parametrize(("spec", "check"), RULE_CASES)
def test_rule(spec: str, check: str) -> None:
    check_rule(spec, only={check})


@pytest.mark.parametrize(("spec", "check"), STEP_CASES)
def test_preaggregator(spec: str, check: str) -> None:
    check_preaggregator(spec, only={check})


@pytest.mark.cuda
@pytest.mark.parametrize("spec", ALL)
def test_rule_on_a_gpu(spec: str) -> None:
    check_rule(spec, only=promised(spec, RULE_CHECKS), device="cuda")


@pytest.mark.cuda
@pytest.mark.parametrize("spec", STEPS)
def test_preaggregator_on_a_gpu(spec: str) -> None:
    check_preaggregator(spec, only=promised(spec, PREAGGREGATOR_CHECKS), device="cuda")


def needed(cls: type, f: int) -> int:
    """Least n of a class's ``needs``, such as "n ≥ 4f+3" or "n ≥ 2sf+1" with s = 2."""
    match = re.fullmatch(r"n ≥ (?:(\d*)(s?)f\+)?(\d+)", cls.needs)
    assert match, f"write {cls.name}'s needs as n ≥ af+b; found {cls.needs!r}"
    slope, s, least = match.groups()
    factor = int(slope or 1) * (2 if s else 1) if slope is not None else 0
    return factor * f + int(least)


@pytest.mark.parametrize("name", [*bf.rules(), *bf.preaggregators()])
def test_needs_say_the_least_n(name: str) -> None:
    spec = EXAMPLES.get(name, name)
    rule = bf.parse(spec if name in bf.rules() else f"{spec} > mean")
    cls = {**bf.rules(), **bf.preaggregators()}[name]
    for f in (0, 1, 2, 5):
        least = needed(cls, f)
        assert least_rows(rule, f) == least
        text = re.escape(f"`{name}` needs {cls.needs} rows; found n = {least - 1}, f = {f}")
        with pytest.raises(bf.InfeasibleError, match=text):
            rule.check(least - 1, f)


def test_every_step_says_where_it_comes_from_and_shows_itself() -> None:
    for cls in itertools.chain(bf.rules().values(), bf.preaggregators().values()):
        assert cls.reference
        assert ">>>" in cls.__doc__


def test_the_registry_names_the_field_s_rules() -> None:
    assert " ".join(sorted(bf.rules())) == (
        "bulyan caf centered_clipping cge geometric_median krum krum_star mda meamed mean median "
        "monna multi_krum multi_krum_star sign_votes smea trimmed_mean"
    )
    assert set(bf.preaggregators()) == {"arc", "clip", "nnm", "bucketing", "resampling"}
