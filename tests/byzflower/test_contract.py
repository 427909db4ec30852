"""What every aggregation keeps; a rule or pre-aggregator is tested by being registered."""

from __future__ import annotations

import itertools
import pickle
import re

import pytest
import torch

import byzflower as bf

# Parameters for the steps that have no default ones.
EXAMPLES = {"clip": "clip(c=3.0)", "bucketing": "bucketing(s=2)", "resampling": "resampling(s=2)"}

RULES = [EXAMPLES.get(name, name) for name in bf.rules()]
STEPS = [EXAMPLES.get(name, name) for name in bf.preaggregators()]
COMPOSITIONS = [
    "arc > nnm > trimmed_mean",
    "arc > nnm > geometric_median",
    "arc > nnm > multi_krum_star",
    "bucketing(s=2) > arc > nnm > median",
    "bucketing(s=2) > krum",
    "resampling(s=2) > geometric_median",
    "nnm > bulyan",
    "nnm > mda",
    "krum(p=3)",
    "geometric_median(p=1.5)",
    "bulyan(inner=krum, p=5)",
    "bulyan(inner=mean)",
    "bulyan(inner=mean, p=4)",
    "bulyan(inner=median, p=3)",
    "bulyan(inner=geometric_median)",
    "bulyan(inner=geometric_median, p=3)",
    "multi_krum(m=3)",
    "multi_krum_star(q=3)",
    "monna(trusted=2)",
    "centered_clipping(tau=2.0, steps=3)",
    "mixtailor(pool=[krum, median, geometric_median])",
    "mixtailor(pool=[median, arc > nnm > krum], resampling=2)",
]
ALL = [*RULES, *(f"{s} > {r}" for s in STEPS for r in ("mean", "median")), *COMPOSITIONS]
RANDOM = re.compile("bucketing|resampling|mixtailor")
FIXED = [spec for spec in ALL if not RANDOM.search(spec)]
N, F, D = 23, 2, 37  # enough rows for Bulyan after resampling

every_spec = pytest.mark.parametrize("spec", ALL)
every_fixed_spec = pytest.mark.parametrize("spec", FIXED)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(n: int = N, d: int = D, dtype: torch.dtype = torch.float32, seed: int = 1) -> torch.Tensor:
    x = torch.randn(n, d, generator=rng(seed), dtype=torch.float64)
    x[-F:] = 5.0 - 3.0 * x[-F:]
    return x.to(dtype)


def needed(cls: type, f: int) -> int:
    """Least n of a class's ``needs``, such as "n ≥ 4f+3" or "n ≥ 2sf+1" with s = 2."""
    match = re.fullmatch(r"n ≥ (?:(\d*)(s?)f\+)?(\d+)", cls.needs)
    assert match, f"write {cls.name}'s needs as n ≥ af+b; found {cls.needs!r}"
    slope, s, least = match.groups()
    factor = int(slope or 1) * (2 if s else 1) if slope is not None else 0
    return factor * f + int(least)


@every_spec
def test_gives_back_one_finite_row_of_the_same_dtype_and_device(spec: str) -> None:
    rule = bf.parse(spec)
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        x = rows(dtype=dtype)
        before = x.clone()
        value = rule(x, f=F, rng=rng())
        assert value.shape == (D,)
        assert value.dtype == dtype
        assert value.device == x.device
        assert torch.isfinite(value).all()
        assert torch.equal(x, before)


@every_spec
@pytest.mark.cuda
def test_cuda_gives_back_a_row_on_the_device(spec: str) -> None:
    x = rows()
    value = bf.parse(spec)(x.cuda(), f=F, rng=rng())
    assert value.is_cuda
    torch.testing.assert_close(value.cpu(), bf.parse(spec)(x, f=F, rng=rng()), rtol=1e-4, atol=1e-5)


@every_spec
def test_narrow_types_lose_nothing_but_their_own_rounding(spec: str) -> None:
    rule = bf.parse(spec)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)):
        x = rows(dtype=dtype)
        value, exact = rule(x, f=F, rng=rng()), rule(x.double(), f=F, rng=rng())
        torch.testing.assert_close(value.double(), exact, rtol=tolerance, atol=tolerance)


@every_spec
def test_leaves_its_input_alone(spec: str) -> None:
    x = rows()
    before = x.clone()
    blocks = bf.Updates.from_blocks([list(x[:, :5]), x[:, 5:]])
    bf.parse(spec)(blocks, f=F, rng=rng())
    assert torch.equal(x, before)


@pytest.mark.parametrize("spec", RULES)
def test_rows_that_need_a_gradient_are_read_outside_autograd(spec: str) -> None:
    x = rows().requires_grad_()
    for same in (x, list(x), bf.Updates.from_blocks([x[:, 0], x[:, 1:]])):
        assert not bf.parse(spec)(same, f=F, rng=rng()).requires_grad


@every_spec
def test_stacked_listed_and_blocked_rows_agree(spec: str) -> None:
    x, rule = rows(), bf.parse(spec)
    value = rule(x, f=F, rng=rng())
    separate = [row.clone() for row in x]
    blocks = bf.Updates.from_blocks(
        [x[:, :6].reshape(N, 2, 3), [row[6:7].clone() for row in x], x[:, 7:]]
    )
    strided = x.T.contiguous().T
    for same in (list(x), separate, blocks, strided):
        torch.testing.assert_close(rule(same, f=F, rng=rng()), value, rtol=1e-5, atol=1e-6)


@every_spec
def test_is_a_value_that_hashes_pickles_and_reads_back(spec: str) -> None:
    rule = bf.parse(spec)
    copy = pickle.loads(pickle.dumps(rule))
    assert copy == rule == bf.parse(rule.spec)
    assert hash(copy) == hash(rule)
    assert str(rule) == rule.spec == bf.parse(rule.spec).spec
    with pytest.raises(AttributeError):
        rule.f = 3  # type: ignore[attr-defined]


@every_spec
def test_one_seed_gives_one_result(spec: str) -> None:
    x, rule = rows(), bf.parse(spec)
    assert torch.equal(rule(x, f=F, rng=rng(5)), rule(x, f=F, rng=rng(5)))


@every_fixed_spec
def test_permuted_rows_permute_the_weights_and_keep_the_value(spec: str) -> None:
    rule, x = bf.parse(spec), rows(dtype=torch.float64)
    found = rule.explain(x, f=F)
    order = torch.randperm(N, generator=rng(3))
    if "monna" in spec:  # which row is trusted is part of the rule
        order = torch.cat([torch.arange(3), 3 + torch.randperm(N - 3, generator=rng(3))])
    permuted = rule.explain(x[order], f=F)
    torch.testing.assert_close(permuted.value, found.value, rtol=1e-6, atol=1e-6)
    assert (permuted.weights is None) == (found.weights is None)
    if found.weights is not None and permuted.weights is not None:
        torch.testing.assert_close(permuted.weights, found.weights[order], rtol=1e-5, atol=1e-6)


@every_spec
def test_weights_make_the_value(spec: str) -> None:
    x = rows(dtype=torch.float64)
    found = bf.parse(spec).explain(x, f=F, rng=rng())
    assert found.kept == tuple(range(N))
    if found.weights is not None:
        assert found.weights.shape == (N,)
        torch.testing.assert_close(found.weights @ x, found.value)


@every_spec
def test_reports_every_step_with_the_counts_it_saw(spec: str) -> None:
    rule = bf.parse(spec)
    found = rule.explain(rows(), f=F, rng=rng())
    names = [step.name for step in found.steps]
    if names[0] == "mixtailor":
        assert found.steps[0].note["drawn"] == " > ".join(step.spec for step in found.steps[1:])
    else:
        assert rule.spec == " > ".join(step.spec for step in found.steps)
    assert (found.steps[0].n, found.steps[0].f) == (N, F)
    assert found.n_byzantine == found.steps[-1].f


# A mean, a clipped mean and CGE follow a faulty row; centered clipping starts at the origin.
NOT_EXACT = re.compile("> mean|^mean|clip|^cge")


@pytest.mark.parametrize("spec", [s for s in ALL if not NOT_EXACT.search(s)])
def test_equal_honest_rows_are_the_answer(spec: str) -> None:
    for size in (1e-6, 1e6):
        honest = torch.randn(D, generator=rng(7), dtype=torch.float64) * size
        x = honest.repeat(N, 1)
        x[-F:] += 100 * size * torch.randn(F, D, generator=rng(8), dtype=torch.float64)
        value = bf.parse(spec)(x, f=F, rng=rng())
        torch.testing.assert_close(value, honest, rtol=1e-6, atol=1e-9 * size)


@every_spec
def test_equal_rows_are_their_own_aggregate(spec: str) -> None:
    x = rows()[:1].repeat(N, 1) / 10
    value = bf.parse(spec)(x, f=F, rng=rng())
    torch.testing.assert_close(value, x[0], rtol=1e-5, atol=1e-6)


# ARC, clipping, CGE and centered clipping measure from the origin.
FROM_ORIGIN = re.compile("arc|clip|^cge")


@pytest.mark.parametrize("spec", [s for s in ALL if not FROM_ORIGIN.search(s)])
def test_moves_with_the_rows(spec: str) -> None:
    x, rule = rows(dtype=torch.float64), bf.parse(spec)
    move = torch.randn(D, generator=rng(9), dtype=torch.float64)
    moved = rule(x + move, f=F, rng=rng())
    torch.testing.assert_close(moved, rule(x, f=F, rng=rng()) + move, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("spec", [s for s in ALL if "clip" not in s])
def test_scales_with_the_rows(spec: str) -> None:
    """Also by factors that take squares out of float64's range."""
    x, rule = rows(dtype=torch.float64), bf.parse(spec)
    value = rule(x, f=F, rng=rng())
    for scale in (-1.0, 2.0**40, 2.0**-664, 2.0**664):
        scaled = rule(x * scale, f=F, rng=rng()) / scale
        torch.testing.assert_close(scaled, value, rtol=1e-6, atol=1e-6)


@every_spec
def test_rows_with_nan_or_inf_are_removed_and_count_as_faulty(spec: str) -> None:
    rule, x = bf.parse(spec), rows()
    x[5, 3], x[9] = torch.nan, -torch.inf
    found = rule.explain(x, f=F, rng=rng())
    assert torch.isfinite(found.value).all()
    assert found.kept == tuple(i for i in range(N) if i not in (5, 9))
    if found.weights is not None:
        assert not found.weights[[5, 9]].any()
    before = found.steps[-1]
    assert before.f == 0  # both faults are known
    x[0, 0] = torch.inf
    with pytest.raises(bf.InfeasibleError, match=r"`f` needs to cover .* found f = 2 and 3 such"):
        rule(x, f=F, rng=rng())


@every_spec
def test_refuses_an_f_that_is_no_count(spec: str) -> None:
    for bad in (-1, True, 1.0, "1", None):
        with pytest.raises(ValueError, match=f"`f` needs an integer ≥ 0; found {bad!r}"):
            bf.parse(spec)(rows(), f=bad)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=f"`f` needs an integer ≥ 0; found {bad!r}"):
            bf.parse(spec).check(N, bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("spec", [*RULES, "mixtailor", "arc > nnm > median"])
def test_refuses_what_is_no_set_of_updates(spec: str) -> None:
    rule = bf.parse(spec)
    with pytest.raises(ValueError, match="n ≥ 1 rows; found n = 0"):
        rule(torch.empty(0, 3), f=0)
    with pytest.raises(ValueError, match=r"found none|n = 0"):
        rule([], f=0)
    with pytest.raises(ValueError, match=r"shape \(n, d\); found \(3,\)"):
        rule(torch.ones(3), f=0)
    with pytest.raises(TypeError, match=r"floating-point dtype; found torch\.int64"):
        rule(torch.ones(N, 2, dtype=torch.int64), f=0)
    with pytest.raises(TypeError, match=r"floating-point dtype; found torch\.complex64"):
        rule(torch.ones(N, 2, dtype=torch.complex64), f=0)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("rule", name) for name in bf.rules()] + [("step", name) for name in bf.preaggregators()],
)
def test_both_sides_of_the_bound_on_n(kind: str, name: str) -> None:
    cls = (bf.rules() if kind == "rule" else bf.preaggregators())[name]
    spec = EXAMPLES.get(name, name)
    rule = bf.parse(spec if kind == "rule" else f"{spec} > mean")
    for f in (0, 1, 2, 5):
        least = needed(cls, f)
        rule.check(least, f)
        x = torch.randn(least, 3, generator=rng(least), dtype=torch.float64)
        assert torch.isfinite(rule(x, f=f, rng=rng())).all()
        text = re.escape(f"`{name}` needs {cls.needs} rows; found n = {least - 1}, f = {f}")
        with pytest.raises(bf.InfeasibleError, match=text):
            rule.check(least - 1, f)
        if least > 1:
            with pytest.raises(bf.InfeasibleError, match=text):
                rule(x[:-1], f=f, rng=rng())


@pytest.mark.parametrize("name", [name for name, cls in bf.rules().items() if needed(cls, 0) == 1])
def test_one_row_alone_is_the_aggregate(name: str) -> None:
    x = torch.tensor([[1.5, -2.0, 0.0]])
    assert torch.equal(bf.parse(name)(x, f=0), x[0])


@every_spec
def test_duplicated_rows_are_no_trouble(spec: str) -> None:
    x = rows()
    x[1:6], x[-F:] = x[0], x[-1]
    assert torch.isfinite(bf.parse(spec)(x, f=F, rng=rng())).all()
    x = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(12, 1)[:N]
    value = bf.parse(spec)(x, f=F, rng=rng())
    assert ((value >= 0) & (value <= 1)).all()


@every_spec
def test_zero_rows_give_zero(spec: str) -> None:
    assert not bf.parse(spec)(torch.zeros(N, D), f=F, rng=rng()).any()


ROBUST = [s for s in ALL if not re.search("> mean|^mean|^clip", s)]


@pytest.mark.parametrize("spec", ROBUST)
def test_a_huge_row_spoils_nothing(spec: str) -> None:
    for size in (1e12, 1e30, 3e38):
        x = rows()
        x[-F:] = torch.randn(F, D, generator=rng(4)).sign() * size
        value = bf.parse(spec)(x, f=F, rng=rng())
        assert torch.isfinite(value).all()
        assert value.norm() <= x[:-F].norm(dim=1).max() * 1.5


@pytest.mark.parametrize("spec", [s for s in ALL if "clip" not in s])
def test_float32_rows_of_any_size_are_aggregated_alike(spec: str) -> None:
    rule = bf.parse(spec)
    for size in (1e-42, 1e-30, 1e30):  # 1e-42 is denormal
        x = (rows(dtype=torch.float64) * size).float()
        value, exact = rule(x, f=F, rng=rng()), rule(x.double(), f=F, rng=rng())
        close = max(1e-6 * size, 1e-43)
        torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=close)


def test_every_step_says_where_it_comes_from() -> None:
    for cls in itertools.chain(bf.rules().values(), bf.preaggregators().values()):
        assert cls.reference
        assert cls.__doc__
        assert ">>>" in cls.__doc__


def test_the_registry_names_the_field_s_rules() -> None:
    assert " ".join(sorted(bf.rules())) == (
        "bulyan caf centered_clipping cge geometric_median krum krum_star mda meamed mean median "
        "monna multi_krum multi_krum_star smea trimmed_mean"
    )
    assert set(bf.preaggregators()) == {"arc", "clip", "nnm", "bucketing", "resampling"}
