"""MixTailor: who is in the pool, how it is drawn from, and what becomes of the draw."""

from __future__ import annotations

import secrets
from collections import Counter
from itertools import product

import pytest
import torch

import byzflower as bf
from byzflower.attack.search.pool import Pool
from byzflower.mixtailor import default_pool


def rows(n: int, d: int = 6) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0))


def drawn(rule: bf.MixTailor, n: int, f: int, seed: int) -> tuple[str, int]:
    found = rule.explain(rows(n), f=f, rng=torch.Generator().manual_seed(seed))
    note = found.steps[0].note
    assert found.steps[0].name == "mixtailor"
    assert isinstance(note["pool"], int)
    return str(note["drawn"]), note["pool"]


def test_the_default_pool_is_four_classes_of_sixteen() -> None:
    pool = default_pool()
    classes = Counter(spec.split("(")[0] for spec in pool)
    assert classes == {"krum": 16, "median": 16, "geometric_median": 16, "bulyan": 16}
    phases = {"krum", "mean", "geometric_median", "median"}
    bulyans = [bf.parse(spec) for spec in pool[-16:]]
    assert {(b.inner, b.outer) for b in bulyans} == set(product(phases, phases))  # type: ignore[attr-defined]
    assert [b.p for b in bulyans] == list(range(1, 17))  # type: ignore[attr-defined]
    orders = [getattr(bf.parse(spec), "p", None) for spec in pool[:16]]
    assert orders == list(range(1, 17))
    assert [m.spec for m in bf.MixTailor().members[:3]] == ["krum(p=1)", "krum", "krum(p=3)"]


@pytest.mark.parametrize(
    ("n", "f", "count"), [(12, 2, 64), (12, 4, 48), (11, 2, 64), (10, 2, 48), (5, 2, 32)]
)
def test_members_that_are_not_defined_stay_out(n: int, f: int, count: int) -> None:
    assert len(bf.MixTailor().defined_members(n, f)) == count
    assert drawn(bf.MixTailor(), n, f, 0)[1] == count


def test_a_pool_without_a_defined_member_is_infeasible() -> None:
    rule = bf.MixTailor(pool=["krum", "bulyan"])
    rule.check(7, 2)
    text = "`mixtailor` needs a member defined for the rows; found none for n = 6, f = 2"
    with pytest.raises(bf.InfeasibleError, match=text):
        rule.check(6, 2)
    with pytest.raises(bf.InfeasibleError, match=text):
        rule(rows(6), f=2)


def test_members_are_drawn_uniformly() -> None:
    rule = bf.MixTailor(pool=["mean", "median", "krum", "median"])
    counts = Counter(drawn(rule, 7, 1, seed)[0] for seed in range(800))
    assert 340 < counts["median"] < 460
    assert 140 < counts["mean"] < 260
    assert 140 < counts["krum"] < 260


def test_a_passed_generator_decides_and_its_absence_means_entropy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rule, x = bf.MixTailor(), rows(12)
    assert drawn(rule, 12, 2, 5) == drawn(rule, 12, 2, 5)
    generator = torch.Generator().manual_seed(1)
    names = {str(rule.explain(x, f=2, rng=generator).steps[0].note["drawn"]) for _ in range(20)}
    assert len(names) > 5  # one generator, a new draw a call
    monkeypatch.setattr(secrets, "randbelow", lambda count: count - 1)
    last = rule.explain(x, f=2).steps[0].note["drawn"]
    assert last == "bulyan(inner=mean, p=16, outer=mean)"


def test_the_value_is_the_drawn_member_s() -> None:
    rule, x = bf.MixTailor(pool=["krum", "arc > nnm > median", "mean"]), rows(9)
    for seed in range(6):
        found = rule.explain(x, f=2, rng=torch.Generator().manual_seed(seed))
        member = bf.parse(str(found.steps[0].note["drawn"]))
        assert torch.equal(found.value, member(x, f=2))
        assert [s.spec for s in found.steps[1:]] == member.spec.split(" > ")


def test_resampling_comes_before_every_member() -> None:
    rule = bf.MixTailor(pool=["krum", "arc > median"], resampling=2, faults="worst")
    assert [member.spec for member in rule.members] == [
        "resampling(s=2) > krum",
        "resampling(s=2) > arc > median",
    ]
    assert len(rule.defined_members(11, 2)) == 2
    assert len(rule.defined_members(10, 2)) == 1  # Krum sees 4 faults and needs 11 rows
    with pytest.raises(bf.InfeasibleError):
        rule.check(8, 2)


def test_members_go_on_assuming_f_after_resampling() -> None:
    rule = bf.MixTailor(resampling=2)
    assert len(rule.defined_members(12, 2)) == 64
    assert len(bf.MixTailor(resampling=2, faults="worst").defined_members(12, 2)) == 48
    seen = [rule.explain(rows(12), f=2, rng=torch.Generator().manual_seed(s)) for s in range(5)]
    assert [found.steps[-1].f for found in seen] == [2] * 5
    with pytest.raises(ValueError, match="needs resampling where faults is 'worst'"):
        bf.MixTailor(faults="worst")


@pytest.mark.parametrize("without", ["bulyan", ("krum", "bulyan"), ("median",)])
def test_a_pool_can_do_without_a_class(without: str | tuple[str, ...]) -> None:
    rule = bf.MixTailor(without=without)
    left = {"krum", "median", "geometric_median", "bulyan"}.difference(
        [without] if isinstance(without, str) else without
    )
    assert Counter(member.rule.name for member in rule.members) == dict.fromkeys(left, 16)
    assert bf.parse(rule.spec) == rule


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"without": "mda"}, "needs without to name rules of its pool: bulyan.*; found 'mda'"),
        ({"pool": ["krum"], "without": "krum"}, "needs a member that without leaves; found none"),
    ],
)
def test_what_cannot_be_left_out_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bf.MixTailor(**options)  # type: ignore[arg-type]


def test_specs_name_every_parameter() -> None:
    rule = bf.MixTailor(pool=["krum", bf.Median(), bf.parse("arc > krum(p=3)")], resampling=2)
    assert rule.spec == ("mixtailor(pool=('krum', 'median', 'arc > krum(p=3)'), resampling=2)")
    assert bf.parse(rule.spec) == rule
    assert bf.parse("mixtailor") == bf.MixTailor()
    assert bf.parse("mixtailor(pool=['krum'])") == bf.MixTailor(pool=["krum"])
    assert bf.parse("mixtailor(pool=[krum(p=3), nnm > median])").spec == (
        "mixtailor(pool=('krum(p=3)', 'nnm > median'))"
    )


def test_a_member_s_need_of_a_center_is_the_pool_s() -> None:
    assert not bf.MixTailor().needs_center
    rule = bf.MixTailor(pool=["centered_clipping"])
    assert rule.needs_center
    far = torch.full((6,), 1e3)
    assert rule(rows(5), f=1, center=far).norm() > 1e3


def test_is_no_rule_of_the_registry() -> None:
    assert "mixtailor" not in bf.rules()


def test_rows_that_are_not_finite_are_removed_before_the_member_sees_them() -> None:
    x = rows(11)
    x[3] = torch.nan
    for seed in range(8):
        found = bf.MixTailor().explain(x, f=2, rng=torch.Generator().manual_seed(seed))
        assert found.kept == tuple(i for i in range(11) if i != 3)
        assert torch.isfinite(found.value).all()


def test_attackers_tell_a_pool_from_a_rule() -> None:
    assert isinstance(bf.MixTailor(), Pool)
    assert not isinstance(bf.Median(), Pool)
    assert not isinstance(bf.parse("arc > median"), Pool)
