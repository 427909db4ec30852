"""Strategies that cannot be inside are refused at construction, with what to write instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord
from flwr.server.strategy import FedAvg as FormerFedAvg
from flwr.serverapp.strategy import (
    Bulyan,
    DifferentialPrivacyClientSideAdaptiveClipping,
    DifferentialPrivacyClientSideFixedClipping,
    DifferentialPrivacyServerSideAdaptiveClipping,
    DifferentialPrivacyServerSideFixedClipping,
    FedAdam,
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


@pytest.mark.parametrize(
    "wrap",
    [
        lambda strategy: DifferentialPrivacyClientSideAdaptiveClipping(strategy, 0.1, 100),
        lambda strategy: DifferentialPrivacyClientSideFixedClipping(strategy, 1.0, 1.0, 5),
        lambda strategy: DifferentialPrivacyServerSideAdaptiveClipping(strategy, 0.1, 100),
        lambda strategy: DifferentialPrivacyServerSideFixedClipping(strategy, 1.0, 1.0, 5),
    ],
)
def test_privacy_wrappers_around_are_refused_before_a_node_is_asked(
    wrap: Any, fake_grid: Any
) -> None:
    grid = fake_grid({node: lambda _: pytest.fail("asked in vain") for node in range(5)})
    strategy = wrap(Robust(FedAvg(), "median", 1))
    initial = ArrayRecord({"w": Array(np.zeros(2, np.float32))})
    text = "`Robust` needs to be the outermost strategy; found it inside `DifferentialPrivacy"
    with pytest.raises(TypeError, match=text):
        strategy.start(grid, initial, num_rounds=1)


def test_an_aggregate_train_of_one_s_own_learns_what_it_sees(
    make_content: Any, make_round: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Own(FedAvg):
        def aggregate_train(self, server_round: int, replies: Any) -> Any:
            return super().aggregate_train(server_round, replies)

    class Sampling(FedAvg):
        def configure_train(self, *args: Any) -> Any:
            return super().configure_train(*args)

    model = {"w": np.zeros(2, np.float32)}
    for inner, expected in ((Own(), 1), (Sampling(), 0), (FedAdam(), 0)):
        caplog.clear()
        rounds = make_round(Robust(inner, "median", 1), model, 5)
        with caplog.at_level("INFO", "flwr"):
            for _ in range(2):
                rounds.run([make_content(model)] * 5)
        assert caplog.text.count("`Own.aggregate_train` sees one reply, the aggregate") == expected
