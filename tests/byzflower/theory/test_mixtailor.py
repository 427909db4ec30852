"""MixTailor: Λ, C(n, f), Theorems 1 and 2, Proposition 1."""

from __future__ import annotations

import math

import pytest

from byzflower.errors import InfeasibleError
from byzflower.theory import mixtailor


def test_capacity_is_the_sum_in_the_proof():
    for n, f in [(12, 2), (12, 4), (30, 7)]:
        least = n - 2 * f - 2
        assert mixtailor.capacity(n, f) == pytest.approx((n - f - 2) / least + f / least)


@pytest.mark.parametrize(("p", "exponent"), [(1, 1.0), (2, 0.0), (3, 1 / 3), (16, 7 / 8)])
def test_norm_price(p, exponent):
    expected = 100**exponent * mixtailor.capacity(12, 2)
    assert mixtailor.norm_price(12, 2, d=100, p=p) == pytest.approx(expected)


def test_norm_price_at_infinity_is_the_limit():
    limit = mixtailor.norm_price(12, 2, d=100, p=math.inf)
    assert limit == pytest.approx(mixtailor.norm_price(12, 2, d=100, p=1e9))


def test_theorem_2_constant_exceeds_theorem_1_for_equal_clients():
    iid = mixtailor.iid_error(12, 2, d=50, p=3, sigma=0.5)
    other = mixtailor.noniid_error(12, 2, d=50, p=3, sigma=0.5, spread=0.0)
    price = mixtailor.norm_price(12, 2, d=50, p=3)
    assert iid == pytest.approx(0.5 * (1 + price))
    assert other == pytest.approx(6 * 0.25 + 4 * 0.25 * price)
    assert other > iid


def test_theorem_2_grows_with_the_spread():
    found = mixtailor.noniid_error(12, 2, d=1, p=2, sigma=0.0, spread=2.0)
    c1 = 2 * (10 + 3 + 20 / 6) * 4
    assert found == pytest.approx(c1 + 80 * 4 * mixtailor.capacity(12, 2))


def test_proposition_1_is_strict():
    # 1 + λL/β = 2: a pool of twice the defeated rules is not enough, one more is
    assert not mixtailor.resilient_pool(32, 16, lam=1.0, L=1.0, beta=1.0)
    assert mixtailor.resilient_pool(33, 16, lam=1.0, L=1.0, beta=1.0)
    assert mixtailor.smallest_pool(16, lam=1.0, L=1.0, beta=1.0) == 33


def test_refuses_what_the_statements_exclude():
    with pytest.raises(InfeasibleError, match=r"n ≥ 2f\+3"):
        mixtailor.capacity(12, 5)
    with pytest.raises(InfeasibleError, match=r"p ≥ 1; found d = 4, p = 0\.5"):
        mixtailor.norm_price(12, 2, d=4, p=0.5)
    with pytest.raises(InfeasibleError, match="0 < q < M; found M = 4, q = 4"):
        mixtailor.resilient_pool(4, 4, lam=1.0, L=1.0, beta=1.0)
    with pytest.raises(InfeasibleError, match="β > 0"):
        mixtailor.smallest_pool(4, lam=1.0, L=1.0, beta=0.0)
