"""Searches against calling the server's rule on every candidate."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import byzflower as bf
from byzflower.attack import ALIE, FOE, Attack
from byzflower.attack.factor import FactorAttack
from byzflower.attack.search.effect import Candidates, first_greatest
from byzflower.attack.search.observation import Observation
from byzflower.attack.search.pool import expected
from byzflower.geometry import Geometry
from byzflower.plans import Plan
from byzflower.steps import Aggregator
from byzflower.threads import torch_threads

ATTACKS = [
    ALIE(tau="adaptive", grid=(-1.0, 0.0, 0.2, 0.6, 1.0, 1.3, 2.0, 4.0, 9.0)),
    FOE(tau="adaptive", grid=(0.1, 0.5, 0.9, 1.1, 1.6, 2.0, 3.0, 10.0, 80.0)),
]
DETERMINISTIC = [name for name in bf.rules() if bf.parse(name).searchable]
VARIANTS = ["krum(p=3)", "bulyan(p=3)", "bulyan(inner=geometric_median)", "multi_krum(m=2)"]
MIXED = [
    *(f"arc > nnm > {name}" for name in DETERMINISTIC),
    *(f"nnm > {name}" for name in ("trimmed_mean", "median", "meamed", "krum(p=3)", "mda")),
    "arc > meamed",
    "arc > median",
    "clip(c=8.0) > trimmed_mean",
    "clip(c=8.0) > nnm > bulyan",
]


def effect(rows: torch.Tensor, f: int, attack: FactorAttack, rule: Aggregator, **known) -> object:
    seen = Observation(rows, f, torch.Generator().manual_seed(0), rule, **known)
    return expected(Candidates(seen, *attack.line(seen, np.array(attack.grid))), draws=3)


def sent(rows: torch.Tensor, f: int, attack: Attack) -> torch.Tensor:
    grid = [dataclasses.replace(attack, tau=tau) for tau in attack.grid]
    return torch.stack([one(rows, f)[0] for one in grid])


def is_defined(spec: str, n: int, f: int) -> bool:
    try:
        bf.parse(spec).check(n, f)
    except bf.InfeasibleError:
        return False
    return True


@pytest.mark.parametrize(
    ("spec", "h", "f"),
    [
        (spec, h, f)
        for spec in [*DETERMINISTIC, *VARIANTS, *MIXED]
        for h, f in [(9, 2), (5, 3)]
        if is_defined(spec, h + f, f)
    ],
)
def test_measures_what_the_rule_would_do(spec, h, f, honest, brute) -> None:
    rule, rows = bf.parse(spec), honest(h, 60, dtype=torch.float64)
    # Averages of few rows are often equally near their median: ties that rounding decides.
    tolerance = 0.03 if "nnm > meamed" in spec else 1e-7
    for attack in ATTACKS:
        found = effect(rows, f, attack, rule)
        oracle = brute(rows, sent(rows, f, attack), f, rule)
        for sums, truth in zip((found.squared, found.inner), oracle.T, strict=True):
            np.testing.assert_allclose(sums, truth, atol=tolerance * abs(truth).max())


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
@pytest.mark.parametrize("spec", ["arc > trimmed_mean", "arc > bucketing(s=2) > median"])
def test_measures_what_is_clipped_after_arc(spec, attack, brute) -> None:
    # All rows are equally long and differ in place: the medians of what is left are longer.
    rows, rule = 1.0 - torch.eye(6, dtype=torch.float64)[:5], bf.parse(spec)
    candidates = sent(rows, 1, attack)
    if "bucketing" not in spec:
        oracle = brute(rows, candidates, 1, rule)
        assert not np.allclose(oracle, brute(rows, candidates, 1, rule.rule))
    else:
        oracle = np.zeros((len(candidates), 2))
        rng = torch.Generator().manual_seed(0)
        for _ in range(3):
            seed = int(torch.randint(2**62, (), generator=rng))
            for t, candidate in enumerate(candidates):
                value = rule(
                    torch.vstack([rows, candidate]), 1, rng=torch.Generator().manual_seed(seed)
                )
                off = value - rows.mean(dim=0)
                oracle[t] += [float(off @ off) / 3, float(value @ rows.mean(dim=0)) / 3]
    found = effect(rows, 1, attack, rule)
    np.testing.assert_allclose(np.array([found.squared, found.inner]).T, oracle, atol=1e-9)


def test_votes_cannot_be_searched_against(honest) -> None:
    with pytest.raises(bf.InfeasibleError, match=r"rule of weights or of values in order.*votes"):
        ATTACKS[0](honest(5), 1, rule="nnm > sign_votes")


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize(
    "spec", ["median", "trimmed_mean", "geometric_median", "arc > nnm > trimmed_mean"]
)
def test_narrow_dtypes_choose_nearly_the_worst(spec, dtype, attack, honest, brute) -> None:
    rule, rows = bf.parse(spec), honest(8, dtype=dtype)
    chosen = attack(rows, 2, rule=rule)[0]
    candidates = sent(rows, 2, attack)
    damage = brute(rows, candidates, 2, rule)[:, 0]
    place = next(i for i, one in enumerate(candidates) if torch.equal(one, chosen))
    assert damage[place] >= (1 - 2 * torch.finfo(dtype).eps ** 0.5) * damage.max()


@pytest.mark.parametrize("scale", [1e-25, 1e-6, 1e6, 1e25])
@pytest.mark.parametrize("spec", ["median", "meamed", "nnm > trimmed_mean", "krum"])
def test_scale_does_not_matter(spec, scale, honest) -> None:
    rule, rows = bf.parse(spec), honest(8)
    for attack in ATTACKS:
        one, other = attack(rows, 2, rule=rule), attack(rows * scale, 2, rule=rule)
        torch.testing.assert_close(other / scale, one, rtol=1e-4, atol=1e-4)


def test_spread_below_the_dtypes_resolution_of_the_mean(honest, brute) -> None:
    rows = honest(8) * 1e-4 + 1.0
    for spec in ("nnm > geometric_median", "multi_krum_star", "nnm > trimmed_mean"):
        rule, attack = bf.parse(spec), ATTACKS[0]
        found = effect(rows, 2, attack, rule).squared
        oracle = brute(rows.double(), sent(rows.double(), 2, attack), 2, rule)[:, 0]
        np.testing.assert_allclose(found, oracle, atol=1e-2 * oracle.max())


def test_default_grids_serve(honest, brute) -> None:
    rows, rule = honest(9), bf.parse("arc > nnm > multi_krum_star")
    for spec in ("alie(tau=adaptive)", "foe(tau=adaptive)"):
        attack = bf.parse_attack(spec)
        candidates = sent(rows, 3, attack)
        damage = brute(rows, candidates, 3, rule)[:, 0]
        assert len(attack.grid) == 50
        assert torch.equal(attack(rows, 3, rule=rule)[0], candidates[first_greatest(damage)])


def test_ties_go_to_the_lowest_factor() -> None:
    rows = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0]])
    # From the greatest honest value on, no shift moves the median any further.
    attack = ALIE(tau="adaptive", grid=(9.0, 5.0, 7.0, 0.1))
    expected_row = ALIE(tau=5.0)(rows, 1)
    assert torch.equal(attack(rows, 1, rule=bf.parse("median")), expected_row)
    assert attack.grid == (0.1, 5.0, 7.0, 9.0)


def test_a_rule_that_ignores_all_candidates_gets_the_lowest_factor(honest) -> None:
    rows = honest(9)
    rule = bf.parse("monna")  # trusts the first row, so far candidates change nothing
    attack = FOE(tau="adaptive", grid=(50.0, 60.0, 70.0))
    assert torch.equal(attack(rows, 2, rule=rule), FOE(tau=50.0)(rows, 2))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
def test_center_reaches_the_rule(attack, honest, brute) -> None:
    rows, rule = honest(7, dtype=torch.float64), bf.parse("centered_clipping")
    center = rows.mean(dim=0) + 3
    found = effect(rows, 2, attack, rule, center=center).squared
    oracle = brute(rows, sent(rows, 2, attack), 2, rule, center=center)[:, 0]
    np.testing.assert_allclose(found, oracle, rtol=1e-7)
    without = effect(rows, 2, attack, rule).squared
    assert not np.allclose(found, without, rtol=1e-3)


def test_searches_pass_the_center_on(honest) -> None:
    rows, rule = honest(7), bf.parse("centered_clipping")
    at_mean = ATTACKS[1](rows, 2, rule=rule, center=rows.mean(dim=0))
    far = ATTACKS[1](rows, 2, rule=rule, center=-30 * rows.mean(dim=0))
    assert not torch.equal(at_mean, far)


def test_infeasible_rounds_are_refused_as_by_the_rule(honest) -> None:
    with pytest.raises(
        bf.InfeasibleError, match="`krum` needs n ≥ 2f\\+3 rows; found n = 8, f = 3"
    ):
        ATTACKS[0](honest(5), 3, rule=bf.parse("krum"))


def test_a_diverged_model_does_not_stop_the_colluders() -> None:
    rows = torch.full((5, 3), torch.nan)
    assert ATTACKS[1](rows, 1, rule=bf.parse("nnm > median")).shape == (1, 3)


class TestRandomisedRules:
    """Bucketing, resampling and pools: the mean over draws that all candidates share."""

    @pytest.mark.parametrize("spec", ["bucketing(s=2) > median", "bucketing(s=2) > krum_star"])
    def test_mean_over_the_colluders_own_draws(self, spec, honest, brute) -> None:
        rows, rule, attack = honest(9, dtype=torch.float64), bf.parse(spec), ATTACKS[0]
        seen = Observation(rows, 1, torch.Generator().manual_seed(5), rule)
        candidates = Candidates(seen, *attack.line(seen, np.array(attack.grid)))
        found = expected(candidates, draws=4).squared
        replay = torch.Generator().manual_seed(5)
        seeds = [int(torch.randint(2**62, (), generator=replay)) for _ in range(4)]

        def drawn(seed: int) -> np.ndarray:
            def call(everyone: torch.Tensor, f: int, *, center: object) -> torch.Tensor:
                return rule(everyone, f, rng=torch.Generator().manual_seed(seed))

            return brute(rows, sent(rows, 1, attack), 1, call)[:, 0]

        np.testing.assert_allclose(found, np.mean([drawn(s) for s in seeds], axis=0), rtol=1e-7)

    def test_deterministic_rules_decide_once_a_candidate(self, honest) -> None:
        decided = []

        class Counted(bf.Krum):
            def plan(self, geometry: Geometry, f: int) -> Plan:
                decided.append(f)
                return super().plan(geometry, f)

        rule = bf.compose(bf.NNM(), Counted())
        dataclasses.replace(ATTACKS[0], draws=8)(honest(7), 2, rule=rule)
        assert decided == [2] * len(ATTACKS[0].grid)

    def test_pool_is_averaged_by_weight(self, honest, brute) -> None:
        rows, attack = honest(8, dtype=torch.float64), ATTACKS[1]
        pool = ["krum", "median", "median", "nnm > trimmed_mean", "bulyan"]  # n = 10 < 4f + 3
        rule = bf.MixTailor(pool=pool)
        seen = Observation(rows, 2, torch.Generator().manual_seed(0), rule)
        candidates = Candidates(seen, *attack.line(seen, np.array(attack.grid)))
        found = expected(candidates, draws=8).squared
        members = [brute(rows, sent(rows, 2, attack), 2, bf.parse(m))[:, 0] for m in pool[:4]]
        np.testing.assert_allclose(found, np.mean(members, axis=0), rtol=1e-7)

    def test_large_pools_are_sampled(self, honest) -> None:
        rows, rule = honest(9, 30), bf.MixTailor()
        attack = dataclasses.replace(ATTACKS[0], grid=(0.5, 1.5, 3.0), draws=2)
        one = attack(rows, 2, rule=rule, rng=torch.Generator().manual_seed(1))
        again = attack(rows, 2, rule=rule, rng=torch.Generator().manual_seed(1))
        assert torch.equal(one, again)
        assert any(torch.equal(one, ALIE(tau=tau)(rows, 2)) for tau in attack.grid)


def test_unknown_aggregators_are_named(honest) -> None:
    class Other(bf.Aggregator):
        spec = "other"

        def check(self, n: int, f: int) -> None: ...

        def _explain(self, updates, f, rng, center, distances): ...

    with pytest.raises(TypeError, match="attacks search against rules, pipelines and pools"):
        ATTACKS[0](honest(5), 1, rule=Other())


@pytest.mark.parametrize("spec", ["trimmed_mean", "arc > nnm > median"])
def test_the_search_is_the_same_whatever_the_threads(spec):
    honest = torch.randn(9, 90_000, generator=torch.Generator().manual_seed(0))
    forged = []
    for threads in (1, 3):
        with torch_threads(threads):
            forged.append(bf.parse_attack("alie(tau=adaptive)")(honest, 2, rule=bf.parse(spec)))
    assert torch.equal(*forged)
