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


def test_theorem_1_is_what_its_proof_adds_up_to():
    lam, n, f, T, sigma, L, gap, gradient = 0.7, 15, 5, 10**5, 1.3, 0.8, 2.0, 3.0
    found = resam.convergence(lam, n, f, rounds=T, sigma=sigma, L=L, gap=gap, gradient=gradient)
    # Eq. (44), of any γ; the theorem's is the one for which the first two terms are least.
    a0, h = 4 * (2 * gap + gradient**2 / (8 * L)), n - f

    def sums(rate):
        return (
            a0 / (rate * T)
            + (6912 * L * lam**2 * h**2 + 288 * L) / h * sigma**2 * rate
            + 288 * L * sigma**2 / h * rate / T
        )

    rate = found.learning_rate
    assert found.bound == pytest.approx(sums(rate))
    assert sums(rate) <= min(sums(0.99 * rate), sums(1.01 * rate))
    assert found.beta**2 == pytest.approx(1 - 24 * rate * L)
    assert (
        24
        * resam.convergence(
            lam,
            n,
            f,
            rounds=max(1, math.ceil(found.least_rounds)),
            sigma=sigma,
            L=L,
            gap=gap,
            gradient=gradient,
        ).learning_rate
        * L
        <= 1
    )


def test_theorem_1_needs_enough_rounds():
    options = {"sigma": 0.01, "L": 1.0, "gap": 1.0, "gradient": 1.0}
    with pytest.raises(InfeasibleError, match="T ≥ "):
        resam.convergence(0.5, 15, 5, rounds=10, **options)
