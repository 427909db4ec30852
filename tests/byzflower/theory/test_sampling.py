"""Faults under partial participation, against enumeration and brute force."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import pytest

from byzflower.errors import InfeasibleError
from byzflower.theory import excess_probability, faults_per_round


@pytest.mark.parametrize(("N", "F", "k"), [(8, 3, 4), (8, 6, 4), (7, 0, 3), (6, 6, 2), (7, 2, 7)])
def test_excess_counts_samples(N, F, k):
    samples = list(combinations(range(N), k))
    for f in range(-1, k + 1):
        over = sum(sum(i < F for i in sample) > f for sample in samples)
        assert excess_probability(N, F, k, f) == Fraction(over, len(samples))


@pytest.mark.parametrize("delta", [1, 0.5, 1e-3, 1e-9, Fraction(1, 3)])
@pytest.mark.parametrize(("N", "F", "k"), [(50, 12, 10), (50, 45, 10), (20, 4, 20), (30, 0, 5)])
def test_faults_per_round_is_the_smallest(N, F, k, delta):
    f = faults_per_round(N, F, k, delta)
    assert excess_probability(N, F, k, f) < delta
    assert f == 0 or excess_probability(N, F, k, f - 1) >= delta


def test_threshold_is_exact():
    # P[X > 1] = 1/3 exactly: f = 1 is not enough at δ = 1/3, and is at anything above
    third = excess_probability(10, 3, 4, 1)
    assert third == Fraction(1, 3)
    assert faults_per_round(10, 3, 4, third) == 2
    assert faults_per_round(10, 3, 4, third + Fraction(1, 10**30)) == 1


def test_agrees_with_scipy_at_scale():
    stats = pytest.importorskip("scipy.stats")
    N, F, k, delta = 10_000, 1_000, 200, 1e-6
    f = faults_per_round(N, F, k, delta)
    assert stats.hypergeom.sf(f, N, F, k) < delta <= stats.hypergeom.sf(f - 1, N, F, k)
    assert float(excess_probability(N, F, k, f)) == pytest.approx(
        stats.hypergeom.sf(f, N, F, k), rel=1e-6
    )


@pytest.mark.parametrize(("N", "F", "k"), [(10, 11, 3), (10, -1, 3), (10, 3, 0), (10, 3, 11)])
def test_refuses_impossible_samples(N, F, k):
    with pytest.raises(InfeasibleError, match=f"found N = {N}, F = {F}, k = {k}"):
        faults_per_round(N, F, k, 0.1)


@pytest.mark.parametrize("delta", [0.0, -0.1, 1.5])
def test_refuses_a_delta_that_is_no_probability(delta):
    with pytest.raises(InfeasibleError, match="0 < δ ≤ 1"):
        faults_per_round(10, 3, 5, delta)
