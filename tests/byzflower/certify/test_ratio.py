"""The ratios themselves, by hand and against direct evaluation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from byzflower.certify import Ratios, ratios
from byzflower.certify.ratio import best_subsets, squared_distances, subsets

TWO_OF_THREE = np.array([True, True, False])


def test_ratios_by_hand():
    # honest rows 0 and 4: mean 2, diameter 4, variance 4; error 1
    rows = np.array([[0.0], [4.0], [50.0]])
    assert ratios(rows, TWO_OF_THREE, np.array([3.0])) == Ratios(0.25, 0.25)


@pytest.mark.parametrize("value", [[1.0, 2.0], [1.0, 2.0 + 1e-9]])
def test_identical_honest_rows_are_no_evidence_against_rounding(value):
    rows = np.array([[1.0, 2.0], [1.0, 2.0], [7.0, 7.0]])
    assert ratios(rows, TWO_OF_THREE, np.array(value)) == Ratios(0.0, 0.0)


def test_identical_honest_rows_expose_any_error():
    # 0.1 three times has a mean that is not 0.1 in floats: the spread must still be 0
    rows = np.array([[0.1], [0.1], [0.1], [9.0]])
    found = ratios(rows, np.array([True, True, True, False]), np.array([0.2]))
    assert found.unbounded
    assert math.isinf(found.kappa)


def test_a_spread_that_drowns_in_the_rows_size_counts_as_nothing():
    rows = np.array([[1e9], [1e9 + 1e-3], [0.0]])
    assert ratios(rows, TWO_OF_THREE, np.array([1e9 + 1.0])) == Ratios(0.0, 0.0)


def test_subsets_are_all_choices_where_few():
    assert len(subsets(11, 5)) == math.comb(11, 5)
    assert len(np.unique(subsets(11, 5), axis=0)) == math.comb(11, 5)


@pytest.mark.parametrize(("n", "f"), [(40, 10), (300, 100), (5, 0), (1, 0)])
def test_subsets_have_n_minus_f_rows(n, f):
    masks = subsets(n, f)
    assert (masks.sum(axis=1) == n - f).all()
    assert masks.size * n <= 4_000_000 or len(masks) == 2


@pytest.mark.parametrize("seed", range(10))
def test_best_subsets_are_the_best(seed):
    rng = np.random.default_rng(seed)
    n, f = 7, 3
    rows, value = rng.standard_normal((n, 3)), rng.standard_normal(3)
    if seed % 2:
        rows[: n - f] = rows[0]
    choices = subsets(n, f)
    every = [ratios(rows, choice, value) for choice in choices]
    by_lambda, by_kappa = best_subsets(rows, value, choices)
    assert ratios(rows, by_lambda, value).lam == pytest.approx(max(r.lam for r in every))
    assert ratios(rows, by_kappa, value).kappa == pytest.approx(max(r.kappa for r in every))


def test_distances_of_many_columns_are_summed_in_parts():
    rows = np.random.default_rng(0).standard_normal((300, 400))  # two parts of 186, one of 28
    one_by_one = np.array([((rows - row) ** 2).sum(axis=1) for row in rows])
    np.testing.assert_allclose(squared_distances(rows), one_by_one, rtol=1e-12)
