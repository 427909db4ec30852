"""The corpus of hostile replies against every inner strategy and preset, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord
from flwr.serverapp.strategy import (
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedMedian,
    FedProx,
    FedYogi,
    Krum,
    Strategy,
)

from byzflower.strategies import AggregaThor, ByrdSaga, Resam, Robust, RobustDSGD, ServerSGD
from byzflower.testing import ContractError, check_strategy
from byzflower.testing.hostile import HOSTILE, MODEL, honest_reply
from byzflower.testing.rounds import Round
from byzflower.testing.strategies import ATTACKER

RULE = "nnm > trimmed_mean"
MODELS: dict[str, Callable[[], Strategy]] = {
    "FedAvg": lambda: Robust(FedAvg(), RULE, 1),
    "FedAvgM": lambda: Robust(FedAvgM(server_momentum=0.9), RULE, 1),
    "FedAdam": lambda: Robust(FedAdam(), RULE, 1),
    "FedYogi": lambda: Robust(FedYogi(), RULE, 1),
    "FedAdagrad": lambda: Robust(FedAdagrad(), RULE, 1),
    "FedProx": lambda: Robust(FedProx(proximal_mu=0.1), RULE, 1),
}
GRADIENTS: dict[str, Callable[[], Strategy]] = {
    "ServerSGD": lambda: Robust(ServerSGD(0.1, momentum=0.9), RULE, 1, "gradient"),
    "Resam": lambda: Resam(1, seed=0),
    "AggregaThor": lambda: AggregaThor(1, seed=0),
    "ByrdSaga": lambda: ByrdSaga(1, seed=0),
    "RobustDSGD": lambda: RobustDSGD(1, seed=0),
}
# Of a gradient the payload is "gradient", and "a payload of another kind" is the right one.
ONLY_MODELS = {"a payload of another kind"}


@pytest.mark.parametrize("name", MODELS)
def test_no_hostile_reply_harms_a_strategy_for_models(name: str) -> None:
    check_strategy(MODELS[name])


@pytest.mark.parametrize("name", GRADIENTS)
def test_no_hostile_reply_harms_a_strategy_for_gradients(name: str) -> None:
    check_strategy(GRADIENTS[name], gradient=True, skip=ONLY_MODELS)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_reply_is_rejected_with_the_reason_expected(name: str) -> None:
    strategy: Any = MODELS["FedAvg"]()
    asked = Round(strategy, MODEL)
    replies = [
        reply
        for i, message in enumerate(asked.asked)
        for reply in (
            HOSTILE[name].replies(message, honest_reply(i))
            if i == ATTACKER
            else HOSTILE["the same reply twice"].replies(message, honest_reply(i))[:1]
        )
    ]
    arrays, metrics = asked.end(replies)
    record = strategy.history[-1]
    expected = [] if HOSTILE[name].reason is None else [(106, HOSTILE[name].reason)]
    assert [(r.node_id, str(r.reason)) for r in record.rejections] == expected
    assert not record.skipped
    assert arrays is not None
    assert metrics is not None
    assert metrics["robust-rows"] == 12 - len(expected)
    assert all(np.isfinite(value).all() for value in metrics.values())


def test_flower_s_own_strategies_do_not_survive_it() -> None:
    with pytest.raises(ContractError) as error:
        check_strategy(FedAvg(), only={"NaN", "a missing key", "far away", "zeros"})
    title, *lines = str(error.value).split("\n  ")
    assert title == "`FedAvg` fails 3 of 4 hostile replies:"
    assert lines[0] == "a missing key: raises InconsistentMessageReplies"
    assert lines[1] == "NaN: NaN"
    assert lines[2].startswith("far away: captured (")
    with pytest.raises(ContractError, match="float64: dtype changes: 'w' becomes float64"):
        check_strategy(FedMedian, only={"float64"})
    with pytest.raises(ContractError, match=r"complex128: captured \(6.09e\+04 honest deviations"):
        check_strategy(lambda: Krum(num_malicious_nodes=1), only={"complex128"})


class Returns(FedAvg):
    """Makes of the aggregate what a test wants."""

    def __init__(self, change: Callable[[ArrayRecord], ArrayRecord | None], **options: Any) -> None:
        super().__init__(**options)
        self.change = change

    def aggregate_train(self, server_round: int, replies: Any) -> Any:
        replies = list(replies)
        arrays, metrics = super().aggregate_train(server_round, replies)
        return (arrays if len(replies) == 11 or arrays is None else self.change(arrays)), metrics


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda arrays: None, "no model"),
        (lambda arrays: ArrayRecord({"w": arrays["w"]}), "other keys"),
        (
            lambda arrays: ArrayRecord([arrays["w"].numpy()[None], arrays["b"].numpy()]),
            "other keys",
        ),
        (lambda arrays: _model(), "model unchanged"),
        (lambda arrays: _model(lambda value: value[None]), "wrong shape: 'w' becomes"),
        (lambda arrays: _model(lambda value: value + 100), "captured"),
        (lambda arrays: _model(lambda value: value + np.inf), "NaN"),
    ],
)
def test_each_verdict_is_reached(change: Any, verdict: str) -> None:
    with pytest.raises(ContractError, match=f"  zeros: {verdict}"):
        check_strategy(lambda: Returns(change), only={"zeros"})


def _model(change: Callable[[Any], Any] = lambda value: value) -> ArrayRecord:
    from flwr.app import Array

    return ArrayRecord({key: Array(change(value)) for key, value in MODEL.items()})


def test_a_strategy_that_makes_nothing_of_honest_replies_is_no_subject() -> None:
    class Keeps(FedAvg):
        def aggregate_train(self, server_round: int, replies: Any) -> Any:
            return _model(), None

    with pytest.raises(ContractError, match="eleven honest replies of twelve do not move"):
        check_strategy(Keeps, only={"zeros"})
    with pytest.raises(ValueError, match="`only` needs names in HOSTILE; found 'typo'"):
        check_strategy(FedAvg, only={"typo"})
