"""κ through NNM and ARC."""

from __future__ import annotations

import pytest

from byzflower.errors import InfeasibleError
from byzflower.theory import arc


@pytest.mark.parametrize(("n", "f", "kappa"), [(3, 1, 20.0), (11, 0, 0.0), (11, 3, 10.68)])
def test_lemma_2_5(n, f, kappa):
    assert arc.after_nnm(n, f) == pytest.approx(kappa)


@pytest.mark.parametrize(("n", "f"), [(11, 1), (11, 3), (11, 5), (40, 7)])
def test_lemma_2_5_simplified_form_is_looser(n, f):
    delta = n / f - 2
    assert arc.after_nnm(n, f) <= 16 * f / (n - f) * ((delta + 1) / delta) ** 2


@pytest.mark.parametrize("f", range(1, 6))
def test_theorem_3_2_costs_at_most_a_factor_three(f):
    kappa = arc.lower_bound(11, f)
    assert arc.after_arc(kappa, 11, f) == pytest.approx(3 * kappa)


def test_error_floor_meets_its_breakdown_point():
    # B² = 1: breakdown at f/n = 1/3
    assert arc.breakdown_point(1.0) == pytest.approx(1 / 3)
    assert arc.error_floor(10, 3, G=2.0, B=1.0) == pytest.approx(0.25 * 3 / 1 * 4)
    with pytest.raises(InfeasibleError, match=r"f/n < 1/\(2\+B²\)"):
        arc.error_floor(9, 3, G=2.0, B=1.0)


def test_residual_error_of_an_optimal_rule_is_four_times_the_floor():
    # κ = f/(n−2f): κG²/(1−κB²) = f/(n−(2+B²)f) G²
    n, f, G, B = 20, 3, 1.5, 0.7
    residual = arc.residual_error(arc.lower_bound(n, f), G, B)
    assert residual == pytest.approx(4 * arc.error_floor(n, f, G, B))


@pytest.mark.parametrize("function", [arc.lower_bound, arc.after_nnm])
def test_refuses_half_of_the_rows(function):
    with pytest.raises(InfeasibleError, match=r"n ≥ 2f\+1 .* found n = 10, f = 5"):
        function(10, 5)


def test_refuses_a_kappa_too_large_for_the_dissimilarity():
    with pytest.raises(InfeasibleError, match="κB² < 1"):
        arc.residual_error(1.0, G=1.0, B=1.0)
