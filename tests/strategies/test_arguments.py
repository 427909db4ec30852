"""Strategies that cannot be inside are refused at construction, with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest
from flwr.server.strategy import FedAvg as FormerFedAvg
from flwr.serverapp.strategy import (
    Bulyan,
    FedAvg,
    FedMedian,
    FedTrimmedAvg,
    FedXgbBagging,
    FedXgbCyclic,
    Krum,
    MultiKrum,
)

from byzflower.strategies import Robust


class OwnLoop(FedAvg):
    def start(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("strategy", "rule"),
    [
        (Krum, "krum"),
        (MultiKrum, "multi_krum"),
        (Bulyan, "bulyan"),
        (FedMedian, "median"),
        (FedTrimmedAvg, "trimmed_mean"),
    ],
)
def test_a_strategy_with_a_rule_of_its_own_names_ours(strategy: Any, rule: str) -> None:
    text = (
        rf"found `{strategy.__name__}`.* write `Robust\(FedAvg\(…\), '{rule}', num_malicious_nodes"
    )
    with pytest.raises(TypeError, match=text):
        Robust(strategy(), "median", 1)
    assert Robust(FedAvg(), rule, 1).rule.spec == rule


@pytest.mark.parametrize("strategy", [FedXgbBagging, FedXgbCyclic])
def test_trees_are_no_vectors(strategy: Any) -> None:
    with pytest.raises(TypeError, match="aggregates vectors; found `FedXgb"):
        Robust(strategy(), "median", 1)


def test_a_start_that_would_never_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="found `OwnLoop`, whose own `start` would never be called"):
        Robust(OwnLoop(), "median", 1)


def test_flower_s_former_interface_is_refused() -> None:
    with pytest.raises(TypeError, match="Flower's former interface"):
        Robust(FormerFedAvg(), "median", 1)  # type: ignore[arg-type]
