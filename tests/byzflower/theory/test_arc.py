"""κ through NNM and ARC."""

from __future__ import annotations

import math

import pytest
import torch

import byzflower as bf
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


@pytest.mark.parametrize("attack", ["sign_flip(scale=50)", "alie(tau=1.5)", "foe(tau=1.2)"])
@pytest.mark.parametrize("T", [3, 60])
def test_lemma_c_2_holds_of_a_run(attack, T):
    # L_i = ½‖θ − c_i‖²: L = 1, and dissimilarity (G, 0).
    rng = torch.Generator().manual_seed(0)
    centres = torch.randn(8, 5, generator=rng, dtype=torch.float64)
    mean, f, n = centres.mean(dim=0), 2, 10
    G = float((centres - mean).square().sum(dim=1).mean().sqrt())
    theta = mean + 3.0
    gap, kappa = 0.5 * float((theta - mean).square().sum()), arc.after_nnm(n, f)
    rate = min(gap / (kappa * G**2 * T), 1.0)
    rule, squares = bf.parse("arc > nnm > trimmed_mean"), []
    for _ in range(T):
        honest = theta - centres
        squares.append(float((theta - mean).square().sum()))
        faulty = bf.parse_attack(attack)(honest, f, rng=rng)
        theta = theta - rate * rule(torch.cat([honest, faulty]), f)
    bound = arc.stationarity_behind_arc(kappa, G, 0.0, rho=0.0, rounds=T, L=1.0, gap=gap)
    assert sum(squares) / T <= bound


@pytest.mark.parametrize("rho", [0.0, 0.5, 3.0])
@pytest.mark.parametrize(("n", "f", "B"), [(31, 10, 1.0), (100, 30, 1.0), (101, 40, 0.4)])
def test_theorem_c_4_bounds_corollary_c_5(n, f, B, rho):
    G = 1.5
    found = arc.improvement(n, f, G, B, rho)
    assert arc.breakdown_point(B) > f / n
    assert arc.error_behind_arc(arc.after_nnm(n, f), G, B, rho) <= found * (1 + 1e-12)
    # Theorem 5.2: at ξ = v/Ψ the error is v ε_o.
    xi = 1 - (2 + B**2) * f / n
    psi = 640 * (1 + 1 / B**2) ** 2 * (1 + B**2 * rho**2 / G**2)
    assert found == pytest.approx(xi * psi * arc.error_floor(n, f, G, B))


def test_beyond_the_breakdown_point_the_error_is_finite():
    with pytest.raises(InfeasibleError, match=r"f/n < 1/\(2\+B²\)"):
        arc.error_floor(10, 4, 1.0, 1.0)
    assert arc.improvement(10, 4, 1.0, 1.0, rho=2.0) == 640 * 4 * 5 / 8


def test_corollary_c_5_is_the_lesser_of_two():
    # κB² ≥ 1: the rule promises nothing without ARC.
    assert arc.error_behind_arc(2.0, 1.0, 1.0, rho=1.0) == 5 * 2 * 2
    assert arc.error_behind_arc(0.5, 1.0, 1.0, rho=100.0) == 5 * arc.residual_error(0.5, 1.0, 1.0)


def test_the_worse_the_start_the_larger_rho():
    grown = [arc.initial_growth(z, 1.0, 1.0, xi=0.5, L=1.0, gap=0.2) for z in (1.0, 2.0)]
    assert grown == pytest.approx([math.exp(3 * 0.2 / 0.5), 2 * math.exp(3 * 0.2 / 0.5)])
