"""RS-Byrd-SAGA Table 1 and Figure 2 (W = 30)."""

from __future__ import annotations

import pytest

from byzflower.errors import InfeasibleError
from byzflower.theory import byrd_saga


def test_variance_factor_tends_to_one_over_s():
    assert byrd_saga.variance_factor(30, 2) == pytest.approx(29 / 59)
    assert byrd_saga.variance_factor(10**6, 2) == pytest.approx(0.5, abs=1e-6)


def test_amplification_without_faults_is_two():
    assert byrd_saga.amplification(30, 0) == byrd_saga.amplification(30, 0, s=3) == 2.0


def test_table_1():
    W, B, s = 30, 3, 2
    inner, outer = 2.0, 3.0
    c2, cs2, d, R = (1.8 / 0.8) ** 2, (1.6 / 0.6) ** 2, 29 / 59, 27
    expected = {
        "byrd_sgd": c2 * (inner + outer),
        "rs_byrd_sgd": (d + (1 - d) / R) * cs2 * inner + d * cs2 * outer,
        "byrd_saga": c2 * outer,
        "rs_byrd_saga": d * cs2 * outer,
    }
    for name in byrd_saga.ALGORITHMS:
        factor = s if name.startswith("rs_") else 1
        found = byrd_saga.learning_error(name, W, B, s=factor, inner=inner, outer=outer)
        assert found == pytest.approx(expected[name])


def test_figure_2_resampling_wins_at_few_faults_and_loses_at_many():
    plain, two = dict(byrd_saga.error_curve(30)), dict(byrd_saga.error_curve(30, s=2))
    assert two[0.0] == pytest.approx(4 * 29 / 59)
    assert two[0.1] < plain[0.1]
    assert two[7 / 30] > plain[7 / 30]
    assert max(two) == pytest.approx(7 / 30)
    assert max(plain) == pytest.approx(14 / 30)


@pytest.mark.parametrize(("s", "most"), [(1, 14), (2, 7), (3, 4), (4, 3)])
def test_tolerates_fewer_than_w_over_2s(s, most):
    assert byrd_saga.max_faults(30, s) == most
    byrd_saga.amplification(30, most, s)
    with pytest.raises(InfeasibleError, match=r"B < W/\(2s\)"):
        byrd_saga.amplification(30, most + 1, s)


def test_residual_error_is_five_learning_errors():
    error = byrd_saga.learning_error("rs_byrd_saga", 30, 6, s=2, outer=0.3)
    assert byrd_saga.residual_error(30, 6, s=2, outer=0.3, mu=0.5) == pytest.approx(
        5 * error / 0.25
    )


def test_step_size_shrinks_with_faults():
    few = byrd_saga.step_size(30, 0, s=2, samples=10, L=2.0, mu=1.0)
    many = byrd_saga.step_size(30, 7, s=2, samples=10, L=2.0, mu=1.0)
    assert few / many == pytest.approx(byrd_saga.amplification(30, 7, 2) / 2)


def test_refuses_resampling_where_there_is_none():
    with pytest.raises(InfeasibleError, match="byrd_saga needs s = 1; found s = 2"):
        byrd_saga.learning_error("byrd_saga", 30, 3, s=2)
    with pytest.raises(InfeasibleError, match="found = krum"):
        byrd_saga.learning_error("krum", 30, 3)


@pytest.mark.parametrize(
    ("algorithm", "s", "expected"),
    [
        # W = 30, B = 3, so α = 0.1: C_α = 1.8/0.8, C_2α = 1.6/0.6; d = 29/59, R = 27
        ("byrd_saga", 1, 5 * 2.25**2 * 0.7),
        ("rs_byrd_saga", 2, 5 * 29 / 59 * (8 / 3) ** 2 * 0.7),
        ("byrd_sgd", 1, 2 * 2.25**2 * (0.4 + 0.7)),
        ("rs_byrd_sgd", 2, 2 * (8 / 3) ** 2 * ((29 / 59 + 30 / 59 / 27) * 0.4 + 29 / 59 * 0.7)),
    ],
)
def test_residual_errors_of_theorems_1_and_3_to_5(algorithm, s, expected):
    found = byrd_saga.residual_error(30, 3, s=s, outer=0.7, inner=0.4, mu=2.0, algorithm=algorithm)
    assert found == pytest.approx(expected / 4)


def test_sgd_s_step_does_not_depend_on_faults():
    steps = {byrd_saga.step_size(30, B, L=2.0, mu=0.5, algorithm="byrd_sgd") for B in range(5)}
    assert steps == {0.5 / 8}
    with pytest.raises(InfeasibleError):
        byrd_saga.step_size(30, 15, L=2.0, mu=0.5, algorithm="byrd_sgd")
