"""The search: within what is proved, and close to it where the truth is known."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch

import byzflower as bf
from byzflower.certify import certify, ratios
from byzflower.certify.ratio import best_subsets, subsets
from byzflower.errors import InfeasibleError, SpecError
from byzflower.theory import arc, bounds, resam

N, FAULTS = 11, (1, 3, 5)
MIXED = [f"{before}nnm > {rule}" for before in ("", "arc > ") for rule in arc.NNM_RULES]


@pytest.mark.parametrize("f", FAULTS)
@pytest.mark.parametrize("rule", resam.RESILIENT_RULES)
def test_table_1_of_resam_holds(rule, f):
    found = certify(rule, N, f, evaluations=200)
    assert found.holds is True
    assert found.lambda_found <= found.lambda_bound
    assert found.lambda_found >= 0.99 * resam.lower_bound(N, f)
    assert found.counterexample is None


@pytest.mark.parametrize("f", FAULTS)
@pytest.mark.parametrize("rule", MIXED)
def test_lemma_2_5_and_theorem_3_2_of_arc_hold(rule, f):
    found = certify(rule, N, f, dimension=2, evaluations=100)
    assert found.holds is True
    assert found.kappa_found <= found.kappa_bound
    assert found.kappa_found >= 0.99 * arc.lower_bound(N, f)


@pytest.mark.slow
@pytest.mark.parametrize("f", FAULTS)
@pytest.mark.parametrize("rule", [*resam.RESILIENT_RULES, *MIXED])
def test_theorems_hold_on_a_longer_search(rule, f):
    assert certify(rule, N, f, seed=1, evaluations=1000).holds is True


@pytest.mark.parametrize("f", FAULTS)
def test_trimmed_mean_on_a_line_is_known(f):
    # it lies between the means of the n−2f least and greatest honest values (RESAM 50, 53)
    found = certify("trimmed_mean", N, f, dimension=1, evaluations=300)
    assert found.lambda_found == pytest.approx(f / (N - f))
    assert found.kappa_found == pytest.approx(f / (N - 2 * f))


@pytest.mark.parametrize("f", FAULTS)
def test_median_on_a_line_is_known(f):
    # it is an honest order statistic: of h values, (n+1)/2 − f at 0 and the rest at 1
    found = certify("median", N, f, dimension=1, evaluations=300)
    assert found.lambda_found == pytest.approx(5 / (N - f))
    assert found.kappa_found == pytest.approx(5 / (6 - f))


@pytest.mark.parametrize(("rule", "bound"), [("mda", 2), ("meamed", 2)])
@pytest.mark.parametrize("f", FAULTS)
def test_propositions_3_and_5_are_attained_on_a_line(rule, bound, f):
    found = certify(rule, N, f, dimension=1, evaluations=500)
    assert found.lambda_found == pytest.approx(bound * f / (N - f), rel=0.02)


def test_krum_star_far_beyond_a_simplex():
    # six honest vertices of a regular simplex, five colluders √5 beyond one of them
    found = certify("krum_star", N, 5, dimension=5, evaluations=600)
    attained = math.sqrt(5) + math.sqrt(5 / 12)
    assert found.lambda_found >= 0.999 * attained
    assert found.lambda_found <= found.lambda_bound == pytest.approx(1 + math.sqrt(6))


def oracle_trimmed_mean(values, f):
    return np.sort(values)[f : len(values) - f].mean()


def oracle_median(values, f):
    return np.median(values)


@pytest.mark.parametrize("f", [1, 2])
@pytest.mark.parametrize(
    ("rule", "oracle"), [("trimmed_mean", oracle_trimmed_mean), ("median", oracle_median)]
)
def test_finds_what_brute_force_finds_on_a_line(rule, oracle, f):
    n, choices = 5, subsets(5, f)
    best_lambda = best_kappa = 0.0
    for values in product((-1.0, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0), repeat=n):
        if list(values) == sorted(values) and values[0] < values[-1]:
            rows = np.array(values)[:, None]
            value = np.array([oracle(rows[:, 0], f)])
            by_lambda, by_kappa = best_subsets(rows, value, choices)
            best_lambda = max(best_lambda, ratios(rows, by_lambda, value).lam)
            best_kappa = max(best_kappa, ratios(rows, by_kappa, value).kappa)
    found = certify(rule, n, f, dimension=1, evaluations=600)
    assert found.lambda_found >= best_lambda - 1e-9
    assert found.kappa_found >= best_kappa - 1e-9


@pytest.mark.parametrize("f", FAULTS)
@pytest.mark.parametrize(
    "rule", ["mean", "cge", "clip(c=2.0) > trimmed_mean", "clip(c=300.0) > nnm > median"]
)
def test_rules_without_any_coefficient(rule, f):
    found = certify(rule, N, f)
    assert found.holds is False
    assert math.isinf(found.lambda_found)
    assert math.isinf(found.kappa_found)
    witness = found.counterexample
    kept = witness.rows[witness.honest]
    assert (kept == kept[0]).all()
    value = bf.parse(rule)(torch.from_numpy(witness.rows), f)
    assert np.linalg.norm(value.numpy() - kept[0]) > 1e-3


@pytest.mark.parametrize("rule", ["krum", "arc > median", "bulyan"])
def test_without_a_theorem_nothing_is_claimed(rule):
    found = certify(rule, N, 2, dimension=2, evaluations=60)
    assert (found.lambda_bound, found.kappa_bound, found.holds) == (None, None, None)
    assert found.source == "no theorem in these papers"
    assert 0 < found.lambda_found < math.inf


def test_without_faults_robust_rules_are_the_mean():
    found = certify("trimmed_mean", 5, 0, evaluations=100)
    assert found.lambda_bound == 0.0
    assert found.lambda_found < 1e-9
    assert found.holds is True


def test_depends_on_the_arguments_alone():
    one = certify("krum_star", 7, 2, dimension=2, seed=3, evaluations=60)
    again = certify("krum_star", 7, 2, dimension=2, seed=3, evaluations=60)
    other = certify("krum_star", 7, 2, dimension=2, seed=4, evaluations=60)
    assert np.array_equal(one.lambda_witness.rows, again.lambda_witness.rows)
    assert one.kappa_found == again.kappa_found
    assert not np.array_equal(one.lambda_witness.rows, other.lambda_witness.rows)


def test_bounds_are_checked_in_each_dimension():
    # λ of the median grows with d: what is found on a line must respect the line's bound
    found = certify("median", N, 3, dimension=1, evaluations=100)
    assert found.lambda_bound == bounds(bf.parse("median"), N, 3, 1).lambda_bound
    assert found.dimensions == (1,)


@pytest.mark.parametrize("rule", ["bucketing(s=2) > median", "resampling(s=2) > median"])
def test_a_random_step_is_searched_at_one_draw(rule):
    found = certify(rule, N, 2, dimension=2, evaluations=100, seed=5)
    assert found.one_draw
    assert found.lambda_witness.seed == 5
    assert not certify("median", N, 2, dimension=2, evaluations=50).one_draw


def test_refuses_a_rule_that_is_drawn_at_each_call():
    with pytest.raises(SpecError, match="`certify` needs one fixed rule; found `mixtailor"):
        certify("mixtailor", N, 2)


def test_refuses_what_the_rule_refuses():
    with pytest.raises(
        InfeasibleError, match=r"`median` needs n ≥ 2f\+1 rows; found n = 10, f = 5"
    ):
        certify("median", 10, 5)
    with pytest.raises(SpecError, match="unknown rule `nope`"):
        certify("nope", 10, 5)


def test_refuses_more_rows_than_their_pairs_fit_into_memory():
    with pytest.raises(InfeasibleError, match="`certify` needs n ≤ 1000 rows; found n = 100000"):
        certify("median", 100_000, 3, evaluations=1)
