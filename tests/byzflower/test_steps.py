"""Pipelines: what reaches a rule, what is measured, and what is said about it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import byzflower as bf
from byzflower import geometry, registry


def rows(n: int, d: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("spec", "n", "f", "rule_n", "rule_f"),
    [
        ("arc > nnm > median", 9, 2, 9, 2),
        ("bucketing(s=2) > median", 9, 2, 5, 2),
        ("bucketing(s=4) > mean", 9, 2, 3, 2),
        ("resampling(s=2) > median", 9, 2, 9, 4),
        ("resampling(s=2, faults=same) > median", 9, 2, 9, 2),
        ("bucketing(s=3) > resampling(s=1) > median", 9, 1, 3, 1),
    ],
)
def test_counts_flow_through_the_steps(spec: str, n: int, f: int, rule_n: int, rule_f: int) -> None:
    found = bf.parse(spec).explain(rows(n), f=f)
    assert (found.steps[-1].n, found.steps[-1].f) == (rule_n, rule_f)
    assert found.n_byzantine == rule_f


@pytest.mark.parametrize(
    ("spec", "n", "f", "message"),
    [
        ("resampling(s=2) > geometric_median", 8, 2, "`resampling` needs n ≥ 2sf.1 rows; .*s = 2"),
        ("resampling(s=2) > krum", 9, 2, "`krum` needs n ≥ 2f.3 rows; found n = 9, f = 4"),
        ("bucketing(s=2) > median", 8, 2, "`median` needs n ≥ 2f.1 rows; found n = 4, f = 2"),
        ("bucketing(s=2) > krum", 11, 2, "`krum` needs n ≥ 2f.3 rows; found n = 6, f = 2"),
        ("multi_krum(m=5)", 9, 3, "`multi_krum` needs m ≤ n−f−2; found m = 5, n = 9, f = 3"),
        (
            "multi_krum_star(q=7)",
            9,
            3,
            "`multi_krum_star` needs q ≤ n−f; found q = 7, n = 9, f = 3",
        ),
        ("multi_krum", 8, 3, "`multi_krum` needs n ≥ 2f.3 rows; found n = 8, f = 3"),
    ],
)
def test_both_the_check_and_the_call_refuse_what_is_infeasible(
    spec: str, n: int, f: int, message: str
) -> None:
    rule = bf.parse(spec)
    with pytest.raises(bf.InfeasibleError, match=message):
        rule.check(n, f)
    with pytest.raises(bf.InfeasibleError, match=message):
        rule(rows(n), f=f)
    assert torch.isfinite(rule(rows(2 * n), f=f)).all()


@pytest.mark.parametrize(
    ("needs", "names"),
    [
        ("n ≥ 1", "mean centered_clipping clip bucketing"),
        ("n ≥ 2f+1", "caf cge geometric_median krum_star mda meamed median monna multi_krum_star"),
        ("n ≥ 2f+1", "smea trimmed_mean arc nnm"),
        ("n ≥ 2f+3", "krum multi_krum"),
        ("n ≥ 4f+3", "bulyan"),
        ("n ≥ 2sf+1", "resampling"),
    ],
)
def test_needs_are_those_of_the_papers(needs: str, names: str) -> None:
    steps = {**bf.rules(), **bf.preaggregators()}
    assert {steps[name].needs for name in names.split()} == {needs}


def test_one_pair_states_an_own_rule_s_range(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(bf.Mean):
        name = "own"
        rows_needed = (3, 2)

    class InOtherWords(bf.Mean):
        name = "in_other_words"
        needs = "n ≥ f²"

        def feasible(self, n: int, f: int) -> bool:
            return n >= f * f

    monkeypatch.setitem(registry._REGISTRIES, "rule", dict(bf.rules()))
    bf.register("rule")(Own)
    assert Own.needs == "n ≥ 3f+2"
    Own().check(5, 1)
    with pytest.raises(bf.InfeasibleError, match=r"`own` needs n ≥ 3f.2 rows; found n = 4, f = 1"):
        Own().check(4, 1)
    assert bf.theory.max_faults("own", 11) == 3
    InOtherWords().check(4, 2)
    with pytest.raises(bf.InfeasibleError, match="`in_other_words` needs n ≥ f² rows; found n = 3"):
        InOtherWords().check(3, 2)


def test_resampling_tolerates_fewer_than_a_quarter() -> None:
    rule = bf.parse("resampling(s=2) > geometric_median")
    rule.check(9, 2)
    with pytest.raises(bf.InfeasibleError):
        rule.check(8, 2)


def test_the_check_after_a_removal_names_it() -> None:
    x = rows(9)
    x[0] = torch.nan
    with pytest.raises(bf.InfeasibleError, match=r"found n = 8, f = 3 \(1 of 9 rows removed: NaN"):
        bf.parse("krum")(x, f=4)


@pytest.mark.parametrize(
    "spec",
    [
        "mean",
        "median",
        "trimmed_mean",
        "meamed",
        "bucketing(s=2) > median",
        "resampling(s=2) > trimmed_mean",
        "bucketing(s=2) > resampling(s=1) > mean",
    ],
)
def test_no_distance_is_measured_for_what_needs_none(
    spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("measured a Gram matrix")

    monkeypatch.setattr(geometry, "measure", refuse)
    bf.parse(spec)(rows(9), f=1)


def test_d_is_read_twice_for_a_rule_that_decides_in_n_dimensions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads = []

    def spy(where: object, name: str) -> None:
        inner = getattr(where, name)
        monkeypatch.setattr(
            where, name, lambda *args, **options: reads.append(name) or inner(*args, **options)
        )

    spy(geometry, "measure")
    spy(bf.Updates, "combine")
    for spec in ("arc > nnm > geometric_median", "mda", "smea", "caf", "arc > nnm > krum"):
        reads.clear()
        bf.parse(spec)(rows(9), f=1)
        assert reads == ["measure", "combine"]


def test_centered_clipping_takes_the_previous_aggregate() -> None:
    rule, x = bf.CenteredClipping(tau=1e6), rows(7)
    assert rule.needs_center
    assert bf.parse("arc > centered_clipping").needs_center
    assert not bf.parse("arc > krum").needs_center
    torch.testing.assert_close(rule(x, f=1, center=torch.full((5,), 9.0)), x.mean(dim=0))
    center = torch.full((5,), 9.0, dtype=torch.float64)
    near = bf.CenteredClipping(tau=1e-3)(x, f=1, center=center)
    assert near.dtype == torch.float32
    torch.testing.assert_close(near, center.float(), rtol=0, atol=1e-3)
    assert torch.equal(bf.Krum()(x, f=1, center=torch.tensor(torch.nan)), bf.Krum()(x, f=1))


@pytest.mark.parametrize(
    ("center", "message"),
    [
        (torch.ones(4), r"`center` needs a tensor of shape \(5,\); found \(4,\)"),
        (torch.ones(1, 5), r"`center` needs a tensor of shape \(5,\); found \(1, 5\)"),
        ([1.0] * 5, r"`center` needs a tensor of shape \(5,\); found list"),
        (torch.full((5,), torch.inf), "`center` needs finite numbers; found NaN or Inf"),
    ],
)
def test_a_center_that_does_not_fit_is_refused(center: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bf.CenteredClipping()(rows(7), f=1, center=center)


def test_monna_counts_the_rows_as_they_came() -> None:
    x = torch.tensor([[torch.nan], [1.0], [2.0], [3.0], [9.0]])
    rule = bf.MoNNA(trusted=4)
    assert rule(x, f=2).item() == pytest.approx(14 / 3)  # one fault is known, one is assumed
    with pytest.raises(
        bf.InfeasibleError, match=r"trusted row among the finite ones; .*trusted = 0"
    ):
        bf.MoNNA(trusted=0)(x, f=2)
    with pytest.raises(
        bf.InfeasibleError, match=r"trusted row among the finite ones; .*trusted = 5"
    ):
        bf.MoNNA(trusted=5)(x, f=2)


@pytest.mark.parametrize("before", ["resampling(s=2)", "bucketing(s=1)", "arc > bucketing(s=2)"])
def test_monna_trusts_no_average_of_random_rows(before: str) -> None:
    text = r"`monna` needs steps before it that keep every row .*; found `.* > monna\(trusted=4\)`"
    with pytest.raises(bf.SpecError, match=text):
        bf.parse(f"{before} > monna(trusted=4)")
    with pytest.raises(ValueError, match=text):
        bf.compose(*bf.parse(f"{before} > mean").before, bf.MoNNA(trusted=4))  # type: ignore[attr-defined]
    x = rows(9)
    x[0] = torch.nan
    told = bf.parse("arc > nnm > monna(trusted=4)").explain(x, f=2)
    assert told.steps[-1].note["selected"][0] == 4  # type: ignore[index]


def test_compose_wants_pre_aggregators_and_then_a_rule() -> None:
    with pytest.raises(TypeError, match="a pipeline needs a rule as its last step; found ARC"):
        bf.compose(bf.ARC())
    with pytest.raises(TypeError, match="a pipeline needs a rule as its last step; found None"):
        bf.compose()
    with pytest.raises(TypeError, match=r"only the last step may be a rule; found Krum\(p=2.0\)"):
        bf.compose(bf.Krum(), bf.Mean())


def test_a_name_is_registered_once() -> None:
    class Other(bf.Krum):
        pass

    with pytest.raises(ValueError, match="the name 'krum' names two rules"):
        bf.register("rule")(Other)
    assert bf.rules()["krum"] is bf.Krum


def test_a_class_defined_anew_takes_its_predecessor_s_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(registry._REGISTRIES, "rule", dict(bf.rules()))

    def cell() -> type[bf.Rule]:
        @bf.register("rule")
        class Mine(bf.Mean):
            name = "mine"

        return Mine

    first, second = cell(), cell()
    assert first is not second
    assert type(bf.parse("mine")) is second


def test_a_class_that_names_its_paper_as_source_is_told_the_new_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Old(bf.Mean):
        name = "old"
        source = "a paper"

    monkeypatch.setitem(registry._REGISTRIES, "rule", dict(bf.rules()))
    with pytest.warns(DeprecationWarning, match=r"`.*Old.source` is now called `reference`"):
        bf.register("rule")(Old)
    assert bf.rules()["old"].reference == "a paper"


def test_register_says_what_it_needs() -> None:
    with pytest.raises(ValueError, match=r"`register` needs one of rule, .*; found 'rulle'"):
        bf.register("rulle")
    with pytest.raises(ValueError, match="`object` needs a `name` that specs can hold; found None"):
        bf.register("rule")(object)

    class Bare(bf.Rule):
        name = "bare"

    with pytest.raises(ValueError, match=r"Bare` needs @dataclass\(frozen=True\) below @register"):
        bf.register("rule")(Bare)


@pytest.mark.parametrize("found", [np.ones(4), np.ones((1, 4)), torch.ones(5), None])
def test_a_plan_that_does_not_fit_names_its_step(found: object) -> None:
    class Odd(bf.Mean):
        def plan(self, geometry: bf.Geometry, f: int) -> bf.Weighted:
            return bf.Weighted(found)  # type: ignore[arg-type]

    class OddMixing(bf.NNM):
        def mix(self, geometry: bf.Geometry, f: int, rng: torch.Generator) -> bf.Mixing:
            return bf.Mixing(found, f)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match=r"`mean` needs to return weights \(n,\) with n = 5"):
        Odd()(rows(5), f=1)
    with pytest.raises(ValueError, match=r"`nnm` needs to return a mixing matrix \(m, n\) with n"):
        bf.compose(OddMixing(), bf.Mean())(rows(5), f=1)


def test_sub_packages_are_attributes() -> None:
    assert bf.theory.bounds("mda", 11, 3).lambda_bound is not None
    assert set(dir(bf)) >= {"theory", "strategies", "clients", "simulations", "certify"}


def test_every_export_is_there() -> None:
    assert set(bf.__all__) <= set(dir(bf))
    for name in bf.__all__:
        assert getattr(bf, name) is not None
    for cls in (*bf.rules().values(), *bf.preaggregators().values()):
        assert getattr(bf, cls.__name__) is cls
    with pytest.raises(AttributeError, match="no attribute 'krums'"):
        _ = bf.krums  # type: ignore[attr-defined]


@pytest.mark.parametrize("spec", ["krum", "arc > multi_krum_star", "mda", "monna(trusted=3)"])
def test_selected_rows_are_counted_as_they_came(spec: str) -> None:
    x = rows(9)
    x[0] = torch.nan
    told = bf.parse(spec).explain(x, f=3)
    selected = told.steps[-1].note["selected"]
    assert told.weights is not None
    assert sorted(selected) == torch.nonzero(told.weights).flatten().tolist()


@pytest.mark.parametrize("spec", ["bucketing(s=1) > krum", "resampling(s=1) > arc > krum"])
def test_selected_averages_are_counted_as_they_came_out(spec: str) -> None:
    x = rows(9)
    x[0] = torch.nan
    for seed in range(5):
        rng = torch.Generator().manual_seed(seed)
        told = bf.parse(spec).explain(x, f=2, rng=rng)
        geometry = bf.Geometry.of(bf.Updates.of(x)).ordered()
        mixing = bf.parse(spec).before[0].mix(geometry, 1, rng.manual_seed(seed))  # type: ignore[attr-defined]
        (selected,) = told.steps[-1].note["selected"]  # type: ignore[misc]
        assert told.weights is not None
        chosen = mixing.matrix[selected].argmax()  # s = 1: an average of one row
        assert torch.nonzero(told.weights).item() == geometry.kept[chosen]
