"""RESAM Table 1, against the numbers its formulas give by hand."""

from __future__ import annotations

import math

import pytest

from byzflower.errors import InfeasibleError
from byzflower.theory import resam

# n = 15, f = 5 (the paper's MNIST set-up), d = 4, so Δ = 2
TABLE_1 = {
    "mda": 1.0,
    "trimmed_mean": 1.0,
    "meamed": 2.0,
    "krum_star": 1 + math.sqrt(2),
    "geometric_median": 1 + 10 / math.sqrt(75),
    "median": 1.5,
}


@pytest.mark.parametrize(("rule", "expected"), TABLE_1.items())
def test_table_1(rule, expected):
    assert resam.resilience_coefficient(rule, 15, 5, d=4) == pytest.approx(expected)


def test_table_1_is_complete():
    assert set(resam.RESILIENT_RULES) == set(TABLE_1)


def test_delta_stops_growing_with_the_dimension():
    free = resam.resilience_coefficient("trimmed_mean", 15, 5)
    assert free == pytest.approx(math.sqrt(10))
    assert resam.resilience_coefficient("trimmed_mean", 15, 5, d=10**6) == free
    assert resam.resilience_coefficient("trimmed_mean", 15, 5, d=1) == 0.5


@pytest.mark.parametrize("rule", resam.RESILIENT_RULES)
@pytest.mark.parametrize("f", range(6))
def test_no_coefficient_is_below_the_lower_bound(rule, f):
    assert resam.resilience_coefficient(rule, 11, f, d=1) >= resam.lower_bound(11, f)


def test_mda_is_within_twice_the_lower_bound():
    assert resam.resilience_coefficient("mda", 15, 5) == 2 * resam.lower_bound(15, 5)


def test_krum_star_is_multi_krum_star_of_one_row():
    one = resam.multi_krum_star(15, 5, q=1)
    assert one == resam.resilience_coefficient("krum_star", 15, 5)
    assert resam.multi_krum_star(15, 5, q=10) == pytest.approx(one * 5 / 10)


@pytest.mark.parametrize(("rule", "kappa"), [("mda", 10.0), ("krum_star", (1 + 2**0.5) ** 2 * 10)])
def test_rate_is_table_2_up_to_constants(rule, kappa):
    lam = resam.resilience_coefficient(rule, 15, 5)
    assert resam.rate(lam, 15, 5) == pytest.approx(0.1 + kappa)


def test_refuses_half_of_the_rows():
    with pytest.raises(InfeasibleError, match=r"λ of mda needs n ≥ 2f\+1 .* found n = 10, f = 5"):
        resam.resilience_coefficient("mda", 10, 5)


def test_refuses_rules_without_a_proposition():
    with pytest.raises(InfeasibleError, match="found rule = centered_clipping"):
        resam.resilience_coefficient("centered_clipping", 11, 1)


@pytest.mark.parametrize("q", [0, 11])
def test_refuses_a_q_outside_the_proposition(q):
    with pytest.raises(InfeasibleError, match=rf"1 ≤ q ≤ n−f; found n = 15, f = 5, q = {q}"):
        resam.multi_krum_star(15, 5, q)


def test_lower_bound_holds_beyond_half():
    assert resam.lower_bound(10, 9) == 9.0
    with pytest.raises(InfeasibleError):
        resam.lower_bound(10, 10)
