"""Presets are `Robust` with some settings fixed; the rest stays open."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from byzflower.strategies import (
    AggregaThor,
    ByrdSaga,
    Checkpoint,
    MixTailor,
    Resam,
    Robust,
    RobustDSGD,
    Rsa,
    ServerSGD,
)

OPTIONS = {
    "risk": 0.01,
    "too_few_nodes": "stop",
    "cast_dtypes": True,
    "seed": 3,
    "max_skipped_rounds": 2,
    "quarantine_after": 4,
    "conduct_file": "conduct.jsonl",
    "checkpoint": Checkpoint("checkpoints"),
    "measure_distances": False,
}
PRESETS: dict[str, Callable[..., Robust]] = {
    "AggregaThor": AggregaThor,
    "ByrdSaga": ByrdSaga,
    "MixTailor": MixTailor,
    "Resam": Resam,
    "RobustDSGD": RobustDSGD,
    "Rsa": lambda f, **options: Rsa(f, learning_rate=0.5, lam=0.1, **options),
}


def test_options_are_all_that_robust_has_and_no_server_step_fixes() -> None:
    keywords = {
        name
        for name, parameter in inspect.signature(Robust).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    assert OPTIONS.keys() == keywords - {"buffers", "trusted_node", "fallback"}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_passes_every_option_on(name: str) -> None:
    strategy = PRESETS[name](1, **OPTIONS)
    assert {option: getattr(strategy, option) for option in OPTIONS} == OPTIONS


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("option", [{"sede": 3}, {"payload": "model"}])
def test_no_preset_swallows_what_is_no_option(name: str, option: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(option))):
        PRESETS[name](1, **option)


def test_buffers_are_named_where_the_server_step_reads_them() -> None:
    assert Rsa(1, learning_rate=0.5, lam=0.1, buffers={"b"}).buffers == {"b"}
    assert Resam(1, server=ServerSGD(0.75, buffers={"b"})).buffers == {"b"}


@pytest.mark.parametrize("name", ["learning_rate", "lam"])
def test_rsa_needs_positive_numbers(name: str) -> None:
    numbers = {"learning_rate": -0.5, "lam": -0.1} | {name: 0.5}
    other = next(key for key in numbers if key != name)
    with pytest.raises(ValueError, match=f"`Rsa` needs {other} > 0; found {numbers[other]}"):
        Rsa(1, **numbers)
