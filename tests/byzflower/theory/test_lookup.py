"""Which theorem applies to which composition."""

from __future__ import annotations

import math

import pytest

import byzflower as bf
from byzflower.errors import InfeasibleError
from byzflower.theory import arc, bounds, resam


@pytest.mark.parametrize("name", resam.RESILIENT_RULES)
def test_rules_of_table_1(name):
    found = bounds(name, 11, 3, d=4)
    assert found.lambda_bound == resam.resilience_coefficient(name, 11, 3, d=4)
    assert found.source.startswith("RESAM Proposition")


@pytest.mark.parametrize("name", arc.NNM_RULES)
def test_kappa_needs_mixing(name):
    mixed = bounds(bf.parse(f"nnm > {name}"), 11, 3)
    assert mixed.kappa_bound == pytest.approx(10.68)
    assert mixed.lambda_bound is None
    clipped = bounds(bf.parse(f"arc > nnm > {name}"), 11, 3)
    assert clipped.kappa_bound == pytest.approx(10.68 + 6 / 5)
    assert clipped.source == "ARC Lemma 2.5, ARC Theorem 3.2"


def test_geometric_median_has_both_coefficients():
    found = bounds(bf.parse("geometric_median"), 11, 3)
    assert found.lambda_bound == pytest.approx(1 + 8 / math.sqrt(55))
    assert found.kappa_bound == pytest.approx((16 / 5) ** 2)
    clipped = bounds(bf.parse("arc > geometric_median"), 11, 3)
    assert clipped.kappa_bound == pytest.approx((16 / 5) ** 2 + 6 / 5)
    assert clipped.lambda_bound is None
    assert clipped.source == "RS-Byrd-SAGA Lemma 1, ARC Theorem 3.2"


def test_multi_krum_star_depends_on_q():
    few = bounds(bf.parse("multi_krum_star(q=2)"), 11, 3)
    assert few.lambda_bound == resam.multi_krum_star(11, 3, q=2)
    assert (
        bounds(bf.parse("nnm > multi_krum_star(q=2)"), 11, 3).source == "no theorem in these papers"
    )


@pytest.mark.parametrize(
    "spec", ["mean", "krum", "multi_krum", "nnm > mean", "arc > median", "nnm > arc > median"]
)
def test_no_theorem(spec):
    found = bounds(bf.parse(spec), 11, 3)
    assert (found.lambda_bound, found.kappa_bound) == (None, None)
    assert found.source == "no theorem in these papers"
    assert not found.broken


@pytest.mark.parametrize(
    ("spec", "source"),
    [
        ("cge", "RESAM C.9"),
        ("clip(c=2.0) > trimmed_mean", "ARC Lemma 3.1"),
        ("clip(c=2.0) > nnm > median", "ARC Lemma 3.1"),
    ],
)
def test_theorems_that_deny(spec, source):
    found = bounds(bf.parse(spec), 11, 3)
    assert found.broken
    assert found.source == source
    assert (found.lambda_bound, found.kappa_bound) == (None, None)


def test_refuses_what_the_rule_refuses():
    with pytest.raises(InfeasibleError, match=r"n ≥ 2f\+1"):
        bounds(bf.parse("median"), 10, 5)
