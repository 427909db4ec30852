"""λ against κ, and breakdown points."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from byzflower.errors import InfeasibleError
from byzflower.theory import breakdown_point, kappa_from_lambda, lambda_from_kappa, max_faults


def spread(rows):
    centred = rows - rows.mean(axis=0)
    variance = (centred**2).sum() / len(rows)
    diameter = np.sqrt(((rows[:, None] - rows[None]) ** 2).sum(axis=2)).max()
    return diameter, variance


@pytest.mark.parametrize("seed", range(20))
def test_each_coefficient_bounds_the_other_error(seed):
    rng = np.random.default_rng(seed)
    h, d = int(rng.integers(2, 9)), int(rng.integers(1, 6))
    diameter, variance = spread(rng.standard_normal((h, d)) ** 3)
    # n = h, f = 0: λ·D ≤ √(κ V) and √(κ V) ≤ λ·D for the κ, λ made from each other
    assert diameter**2 <= kappa_from_lambda(1.0, h, 0) * variance * (1 + 1e-12)
    assert np.sqrt(variance) <= lambda_from_kappa(1.0, h, 0) * diameter * (1 + 1e-12)


def test_both_relations_are_attained():
    # two opposite rows among h: D² = 2hV; a regular simplex: V = (h−1)/(2h)·D²
    pair = np.zeros((6, 1))
    pair[0], pair[1] = 1.0, -1.0
    diameter, variance = spread(pair)
    assert diameter**2 == pytest.approx(kappa_from_lambda(1.0, 6, 0) * variance)
    diameter, variance = spread(np.eye(6))
    assert np.sqrt(variance) == pytest.approx(lambda_from_kappa(1.0, 6, 0) * diameter)


@pytest.mark.parametrize(
    ("rule", "point", "at_11"),
    [
        ("median", Fraction(1, 2), 5),
        ("krum", Fraction(1, 2), 4),
        ("multi_krum", Fraction(1, 2), 4),
        ("bulyan", Fraction(1, 4), 2),
        ("smea", Fraction(1, 2), 5),
        ("caf", Fraction(1, 2), 5),
        ("monna", Fraction(1, 2), 5),
    ],
)
def test_breakdown_points(rule, point, at_11):
    assert breakdown_point(rule) == point
    assert max_faults(rule, 11) == at_11


def test_resampling_divides_the_breakdown_point():
    assert breakdown_point("geometric_median", s=3) == Fraction(1, 6)
    assert max_faults("geometric_median", 30, s=2) == 7


def test_refuses_unknown_rules_and_too_few_rows():
    for rule in ("smae", "centered_clipping"):  # the latter states no range
        with pytest.raises(InfeasibleError, match=f"'trimmed_mean'.; found rule = {rule}"):
            breakdown_point(rule)
    with pytest.raises(InfeasibleError, match="found rule = cge"):
        max_faults("cge", 11)
    with pytest.raises(InfeasibleError, match="`krum` needs n ≥ 3; found n = 2"):
        max_faults("krum", 2)
