"""The functions are the classes, called."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
import torch

import byzflower as bf
from byzflower import functional

STEPS = {**bf.rules(), **bf.preaggregators()}
EXAMPLES = {"clip": {"c": 3.0}, "bucketing": {"s": 2}, "resampling": {"s": 2}}
CALLS = {"x", "f", "rng", "center"}


def rows(n: int = 11, d: int = 6) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_every_rule_and_pre_aggregator_has_a_function() -> None:
    assert sorted(functional.__all__) == sorted(STEPS)


@pytest.mark.parametrize("name", functional.__all__)
def test_a_function_takes_its_class_s_parameters_with_their_defaults(name: str) -> None:
    taken = inspect.signature(getattr(functional, name)).parameters
    assert list(taken)[:2] == ["x", "f"]
    for field in dataclasses.fields(STEPS[name]):
        default = taken[field.name].default
        needed = field.default is dataclasses.MISSING
        assert default is inspect.Parameter.empty if needed else default == field.default
        assert taken[field.name].kind is inspect.Parameter.KEYWORD_ONLY
    assert set(taken) - CALLS == {field.name for field in dataclasses.fields(STEPS[name])}
    assert f"`{STEPS[name].__name__}`" in getattr(functional, name).__doc__


@pytest.mark.parametrize("name", bf.rules())
def test_a_rule_gives_what_its_object_gives(name: str) -> None:
    x = rows()
    assert torch.equal(getattr(functional, name)(x, 2), STEPS[name]()(x, f=2))


@pytest.mark.parametrize("name", bf.preaggregators())
def test_a_pre_aggregator_gives_the_rows_that_a_pipeline_averages(name: str) -> None:
    x, options = rows(), EXAMPLES.get(name, {})
    x[3] = torch.nan
    random = {"rng": torch.Generator().manual_seed(1)} if "s" in options else {}
    mixed = getattr(functional, name)(x, 2, **options, **random)
    pipeline = bf.compose(STEPS[name](**options), bf.Mean())
    value = pipeline(x, f=2, rng=torch.Generator().manual_seed(1))
    torch.testing.assert_close(mixed.mean(dim=0), value)
    assert mixed.dtype == x.dtype
    with pytest.raises(bf.InfeasibleError, match="`f` needs to cover the rows that hold NaN"):
        getattr(functional, name)(x, 0, **options)


def test_a_parameter_reaches_its_class() -> None:
    x = rows()
    assert torch.equal(bf.functional.krum(x, 2, p=3), bf.Krum(p=3)(x, f=2))
    center = torch.full((6,), 9.0, dtype=torch.float64)
    near = bf.functional.centered_clipping(x, 2, tau=1e-3, center=center)
    torch.testing.assert_close(near, center, rtol=0, atol=1e-3)
    clipped = bf.functional.clip(x, c=0.5).norm(dim=1)
    torch.testing.assert_close(clipped, torch.full((11,), 0.5, dtype=torch.float64))
