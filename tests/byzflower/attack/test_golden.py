"""Attacks on three small updates, by hand."""

from __future__ import annotations

import math

import pytest
import torch

import byzflower as bf
from byzflower.attack import Duplicate, Gaussian, Random
from byzflower.attack.alie import baruch_factor

ROWS = torch.tensor([[1.0, -2.0, 0.0], [2.0, 0.0, 0.0], [6.0, 2.0, 0.0]])  # mean (3, 0, 0)
SIGMA = [math.sqrt(14 / 3), math.sqrt(8 / 3), 0.0]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("sign_flip", [-3.0, 0.0, 0.0]),
        ("sign_flip(scale=5)", [-15.0, 0.0, 0.0]),
        ("foe(tau=1.1)", [-0.3, 0.0, 0.0]),
        ("foe(tau=2)", [-3.0, 0.0, 0.0]),
        ("foe(tau=0)", [3.0, 0.0, 0.0]),
        ("alie(tau=1)", [3.0 + SIGMA[0], SIGMA[1], 0.0]),
        ("alie(tau=1, ddof=1)", [3.0 + SIGMA[0] * 1.5**0.5, SIGMA[1] * 1.5**0.5, 0.0]),
        ("alie(tau=-1.5)", [3.0 - 1.5 * SIGMA[0], -1.5 * SIGMA[1], 0.0]),
        ("tailored(eps=0.1)", [-0.3, 0.0, 0.0]),
        ("tailored(eps=10, known=4)", [-15.0, 10.0, 0.0]),
        ("duplicate", [1.0, -2.0, 0.0]),
        ("duplicate(row=5)", [6.0, 2.0, 0.0]),
        ("zero", [0.0, 0.0, 0.0]),
        ("inf", [math.inf, math.inf, math.inf]),
    ],
)
def test_what_is_sent(spec, expected) -> None:
    rows = bf.parse_attack(spec)(ROWS, 2)
    torch.testing.assert_close(rows, torch.tensor([expected] * 2))


@pytest.mark.parametrize(
    ("n", "f", "quantile"),
    # s = ⌊n/2 + 1⌋ − f supporters: (n − f − s)/(n − f) of the honest are beyond Φ⁻¹ of that
    [(50, 24, 24 / 26), (51, 12, 25 / 39), (15, 5, 7 / 10), (10, 2, 4 / 8), (17, 3, 8 / 14)],
)
def test_baruch_factor(n, f, quantile) -> None:
    z = baruch_factor(n, f)
    assert 0.5 * math.erfc(-z / math.sqrt(2)) == pytest.approx(quantile, abs=1e-12)
    honest = torch.tensor([[0.0], [2.0]]).repeat((n - f + 1) // 2, 1)[: n - f]
    sent = bf.parse_attack("alie(z=baruch)")(honest, f)
    assert torch.equal(sent, bf.parse_attack(f"alie(tau={z})")(honest, f))


def test_baruch_factor_has_a_value_where_the_formula_has_none() -> None:
    assert baruch_factor(2, 1) == 0.0  # nobody left beyond the one supporter
    assert baruch_factor(7, 5) == baruch_factor(5, 3) == 0.0  # a majority: s = 1 of two


def test_deviation_survives_small_and_large_scales() -> None:
    rows = torch.tensor([[1.0], [3.0]])
    for scale in (1e-30, 1e-10, 1.0, 1e10, 1e30):
        sent = bf.parse_attack("alie(tau=1)")(rows * scale, 1)
        torch.testing.assert_close(sent / scale, torch.tensor([[3.0]]))
    huge = torch.tensor([[1.0], [3.0]], dtype=torch.float64) * 1e300
    assert float(bf.parse_attack("alie(tau=1)")(huge, 1)) == pytest.approx(3e300)


def test_deviation_ignores_a_common_offset() -> None:
    rows = torch.tensor([[1.0], [1.0001], [0.9999], [1.0]])
    sent = bf.parse_attack("alie(tau=1)")(rows, 1) - 1
    torch.testing.assert_close(sent, rows.double().std(dim=0, correction=0).float()[None])


def test_overflow_is_clamped_to_the_dtype() -> None:
    rows = torch.full((3, 2), 6e4, dtype=torch.float16)
    sent = bf.parse_attack("sign_flip(scale=5)")(rows, 1)
    assert sent.tolist() == [[-65504.0, -65504.0]]


def test_gaussian_has_its_variance() -> None:
    rows = Gaussian()(torch.zeros(1, 40_000), 2, rng=torch.Generator().manual_seed(1))
    assert float(rows.std()) == pytest.approx(100, rel=0.02)
    assert abs(float(rows.mean())) < 2
    assert not torch.equal(rows[0], rows[1])


def test_random_rows_are_as_long_as_honest_ones(honest) -> None:
    rows = honest(5)
    sent = Random(scale=2.0)(rows, 3, rng=torch.Generator().manual_seed(1))
    length = 2 * torch.linalg.vector_norm(rows, dim=1).mean()
    torch.testing.assert_close(torch.linalg.vector_norm(sent, dim=1), length.expand(3))


def test_duplicate_copies_exactly(honest) -> None:
    rows = honest(5)
    assert torch.equal(Duplicate(row=3)(rows, 2), rows[3].expand(2, -1))


def test_tailored_random_draws_from_the_paper() -> None:
    attack = bf.parse_attack("tailored(eps=random)")
    rng = torch.Generator().manual_seed(0)
    drawn = {round(float(attack(torch.ones(2, 1), 1, rng=rng)), 3) for _ in range(30)}
    assert drawn == {-0.1, -10.0}
