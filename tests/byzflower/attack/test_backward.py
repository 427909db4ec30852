"""Tailored and min–max searches against calling every rule on every candidate."""

from __future__ import annotations

import pytest
import torch

import byzflower as bf
from byzflower.attack import AgainstPool, Tailored
from byzflower.attack.search.effect import Candidates

GRID = (0.01, 0.1, 0.5, 1.0, 3.0, 10.0, 40.0)


def first_least(values: list[float]) -> int:
    return next(i for i, v in enumerate(values) if v <= min(values) + 1e-9 * abs(min(values)))


class TestTailored:
    @pytest.mark.parametrize(
        "spec",
        ["mean", "krum", "median", "geometric_median", "nnm > trimmed_mean", "centered_clipping"],
    )
    def test_search_finds_the_most_reversed_aggregate(self, spec, honest, brute) -> None:
        rows, rule = honest(9, dtype=torch.float64), bf.parse(spec)
        mean = rows.mean(dim=0)
        candidates = torch.stack([-eps * mean for eps in GRID])
        inner = brute(rows, candidates, 2, rule)[:, 1]
        found = Tailored(eps="search", grid=GRID)(rows, 2, rule=rule)
        torch.testing.assert_close(found[0], candidates[first_least(list(inner))])

    def test_largest_coefficient_against_the_mean_and_a_small_one_against_krum(self) -> None:
        rng = torch.Generator().manual_seed(0)
        rows = 1.0 + 0.9 * torch.randn(10, 400, generator=rng)
        search = Tailored(eps="search")
        against = {
            name: -float((search(rows, 2, rule=bf.parse(name)) / rows.mean(dim=0))[0, 0])
            for name in ("mean", "krum", "median")
        }
        assert against["mean"] == pytest.approx(100)
        assert against["krum"] < against["median"]  # what is far is ranked, but not selected

    @pytest.mark.parametrize("spec", ["krum", "median", "geometric_median"])
    def test_unknown_updates_are_replaced_by_the_mean_of_the_known(
        self, spec, honest, brute
    ) -> None:
        rows, rule = honest(9, dtype=torch.float64), bf.parse(spec)
        mean = rows[:4].mean(dim=0)
        believed = torch.cat([rows[:4], mean.expand(5, -1)])
        candidates = torch.stack([-eps * mean for eps in GRID])
        inner = brute(believed, candidates, 2, rule, seen=rows[:4])[:, 1]
        attack = Tailored(eps="search", grid=GRID, known=6)  # two colluders among them
        found = attack(rows, 2, rule=rule)
        torch.testing.assert_close(found[0], candidates[first_least(list(inner))])
        other = torch.cat([rows[:4], 100 * rows[4:]])
        assert torch.equal(attack(other, 2, rule=rule), found)

    def test_the_first_k_workers_include_the_colluders(self, honest) -> None:
        rows = honest(5)
        attack = Tailored(eps=1.0, known=4)
        torch.testing.assert_close(attack(rows, 2)[0], -rows[:2].mean(dim=0))
        with pytest.raises(bf.InfeasibleError, match=r"needs known > f.*; found known = 4, f = 4"):
            attack(rows, 4)

    def test_the_authors_code_scales_the_sum(self, honest) -> None:
        rows = honest(10)
        found = Tailored(eps=0.1, along="sum")(rows, 2)
        torch.testing.assert_close(found[0], -0.1 * rows.sum(dim=0) / 2)
        grid = tuple(value / 5 for value in GRID)
        summed = Tailored(eps="search", along="sum", grid=grid)(rows, 2, rule="krum")
        torch.testing.assert_close(summed, Tailored(eps="search", grid=GRID)(rows, 2, rule="krum"))

    @pytest.mark.parametrize("spec", ["krum", "median", "mixtailor(pool=[krum, median])"])
    def test_reverses_the_aggregate_that_there_would_be(self, spec, honest) -> None:
        rows, rule = honest(9, dtype=torch.float64), bf.parse(spec)
        rng = torch.Generator().manual_seed(3)
        attack = Tailored(eps="search", along="aggregate", grid=GRID, draws=2)
        found = attack(rows, 2, rule=rule, rng=rng)[0]
        # The oracle repeats the colluders' draws: one for g, then one seed a draw.
        rng = torch.Generator().manual_seed(3)
        g = rule(torch.cat([rows, rows.mean(dim=0).expand(2, -1)]), 2, rng=rng)
        seeds = torch.randint(2**62, (2,), generator=rng).tolist()
        inner = [
            sum(
                float(rule(everyone, 2, rng=torch.Generator().manual_seed(seed)) @ g)
                for seed in seeds
            )
            for everyone in (torch.cat([rows, (-eps * g).expand(2, -1)]) for eps in GRID)
        ]
        torch.testing.assert_close(found, -GRID[first_least(inner)] * g)
        fixed = Tailored(eps=0.5, along="aggregate")
        assert fixed.needs_rule
        torch.testing.assert_close(fixed(rows, 2, rule="mean")[0], -0.5 * rows.mean(dim=0))

    def test_knowing_more_than_there_are_is_knowing_all(self, honest) -> None:
        rows = honest(5)
        assert torch.equal(Tailored(eps=1.0, known=99)(rows, 1), Tailored(eps=1.0)(rows, 1))


class TestAgainstPool:
    POOL = ("krum", "median", "nnm > trimmed_mean", "geometric_median")

    def test_minimises_the_worst_member(self, honest, brute) -> None:
        rows, grid = honest(9, dtype=torch.float64), (0.0, *GRID)
        candidates = torch.stack([-lam * rows.mean(dim=0) for lam in grid])
        inner = [brute(rows, candidates, 2, bf.parse(m))[:, 1] for m in self.POOL]
        worst = [max(values) for values in zip(*inner, strict=True)]
        found = AgainstPool(pool=self.POOL, grid=grid)(rows, 2)
        torch.testing.assert_close(found[0], candidates[first_least(worst)])

    def test_colluders_keep_their_distance(self, honest) -> None:
        rows, rng = honest(9, dtype=torch.float64), torch.Generator().manual_seed(0)
        found = AgainstPool(pool=self.POOL, grid=GRID, apart=0.3)(rows, 3, rng=rng)
        apart = torch.cdist(found, found)[~torch.eye(3, dtype=torch.bool)]
        torch.testing.assert_close(apart, torch.full((6,), 0.3, dtype=torch.float64))
        mean = rows.mean(dim=0)
        lam = -(found @ mean) / (mean @ mean)
        chosen = min(GRID, key=lambda value: abs(value - float(lam[0])))
        torch.testing.assert_close(lam, torch.full((3,), chosen, dtype=torch.float64))

        offsets = found + chosen * mean

        def worst(lam):
            everyone = torch.cat([rows, offsets - lam * mean])
            return max(float(bf.parse(member)(everyone, 3) @ mean) for member in self.POOL)

        assert worst(chosen) <= min(map(worst, GRID)) + 1e-9
        with pytest.raises(bf.InfeasibleError, match="needs d > f for colluders that are apart"):
            AgainstPool(pool="median", apart=1.0)(rows[:, :2], 2)

    def test_servers_own_pool_is_the_default(self, honest) -> None:
        rows = honest(9)
        found = AgainstPool(grid=GRID)(rows, 2, rule=bf.MixTailor(pool=self.POOL))
        assert torch.equal(found, AgainstPool(pool=self.POOL, grid=GRID)(rows, 2))
        assert torch.equal(
            AgainstPool(grid=GRID)(rows, 2, rule=bf.parse("median")),
            AgainstPool(pool="median", grid=GRID)(rows, 2),
        )

    def test_pool_of_mixtailor_by_name(self, honest) -> None:
        rows, grid = honest(7, 20), (0.1, 10.0)
        named = AgainstPool(pool="mixtailor", grid=grid)(rows, 1)
        assert torch.equal(named, AgainstPool(grid=grid)(rows, 1, rule=bf.MixTailor()))

    def test_members_draw_in_the_order_of_the_pool(self, honest, monkeypatch) -> None:
        asked = []
        effect = Candidates.effect
        monkeypatch.setattr(
            Candidates,
            "effect",
            lambda self, m, draws: asked.append(m.spec) or effect(self, m, draws),
        )
        pool = ["bucketing(s=2) > median", "krum", "mean", "bucketing(s=2) > krum", "median"]
        AgainstPool(pool=(*pool, "krum"), grid=GRID)(honest(9), 2)
        assert asked == [m for m in pool if m != "bucketing(s=2) > krum"]

    def test_members_out_of_range_stay_out(self, honest) -> None:
        rows = honest(6)
        found = AgainstPool(pool=("bulyan", "median"), grid=GRID)(rows, 2)  # n = 8 < 4f + 3
        assert torch.equal(found, AgainstPool(pool=("median",), grid=GRID)(rows, 2))
        with pytest.raises(bf.InfeasibleError, match="no member of the pool is defined for n = 8"):
            AgainstPool(pool=("bulyan",))(rows, 2)
