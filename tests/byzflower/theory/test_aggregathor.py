"""η(n, f), slowdowns and bounds on f."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import byzflower as bf
from byzflower.errors import InfeasibleError
from byzflower.theory import aggregathor


def test_eta_divides_by_the_fewest_correct_neighbours():
    # n = 11, f = 2: m = 7, n−2f−2 = 5; the statement's denominator m would give 2(9 + 46/7)
    assert aggregathor.eta(11, 2) ** 2 == pytest.approx(2 * (9 + (2 * 7 + 4 * 8) / 5))


def test_eta_dominates_what_the_proof_adds_up():
    # (n−f)·2dσ² from correct rows and f·(m/(n−2f−2) + f(m+1)/(n−2f−2))·2dσ² from faulty ones
    for n in range(7, 30):
        for f in range(aggregathor.max_faults(n) + 1):
            m, least = n - f - 2, n - 2 * f - 2
            worst = max(
                (c + (m - c) * (m + 1)) / k
                for c in range(m - f, m + 1)
                for k in range(least, m + 1)
            )
            assert aggregathor.eta(n, f) ** 2 >= 2 * (n - f + f * worst) - 1e-9


def test_eta_without_faults_is_that_of_averaging_all_krum_choices():
    assert aggregathor.eta(9, 0) == pytest.approx(math.sqrt(18))


@pytest.mark.parametrize(("n", "weak", "strong"), [(19, 8, 4), (20, 8, 4), (11, 4, 2), (3, 0, 0)])
def test_bounds_on_f(n, weak, strong):
    assert aggregathor.max_faults(n) == weak
    assert aggregathor.max_faults(n, strong=True) == strong
    with pytest.raises(InfeasibleError):
        aggregathor.eta(n, weak + 1)


def test_slowdown():
    assert aggregathor.slowdown(19, 4) == pytest.approx(math.sqrt(13 / 19))
    assert aggregathor.slowdown(19, 4, strong=True) == pytest.approx(math.sqrt(9 / 19))
    assert aggregathor.slowdown(19, 4, m=1) == pytest.approx(math.sqrt(1 / 19))
    with pytest.raises(InfeasibleError, match=r"1 ≤ m ≤ 13; found n = 19, f = 4, m = 14"):
        aggregathor.slowdown(19, 4, m=14)
    with pytest.raises(InfeasibleError, match=r"n ≥ 4f\+3"):
        aggregathor.slowdown(18, 4, strong=True)


@pytest.mark.parametrize(
    ("rule", "strong", "measured"),
    [("multi_krum", False, 0.82), ("bulyan(inner=multi_krum)", True, 0.755)],
)
def test_slowdown_of_what_ships(rule, strong, measured):
    # Ratio of standard errors without faults, on independent Gaussian gradients: averaging is 1.
    rng, errors = torch.Generator().manual_seed(0), np.zeros(2)
    for _ in range(20):
        rows = torch.randn(19, 1000, generator=rng, dtype=torch.float64)
        values = rows.mean(dim=0), bf.parse(rule)(rows, f=4)
        errors += [float(value.square().sum()) for value in values]
    found = math.sqrt(errors[0] / errors[1])
    assert found == pytest.approx(measured, abs=0.01)
    # Theorem 2 is a lower bound up to a constant; Theorem 1's m rows are not independent of choice.
    assert found >= aggregathor.slowdown(19, 4, strong=strong) * (1 if strong else 0.98)


def test_the_cone_is_empty_when_the_noise_is_too_large():
    assert aggregathor.cone_sine(11, 2, d=4, sigma=0.05, gradient_norm=1.0) == pytest.approx(
        aggregathor.eta(11, 2) * 0.1
    )
    with pytest.raises(InfeasibleError, match="‖g‖"):
        aggregathor.cone_sine(11, 2, d=10**6, sigma=0.05, gradient_norm=1.0)
