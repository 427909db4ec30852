"""The corpus of hostile replies against the presets, and what it finds in other strategies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord
from flwr.serverapp.strategy import FedAdam, FedAvg, FedMedian, Krum, Strategy

from byzflower.strategies import AggregaThor, ByrdSaga, Resam, Robust, RobustDSGD
from byzflower.testing import ContractError, check_strategy
from byzflower.testing.hostile import MODEL

RULE = "nnm > trimmed_mean"
MODELS: dict[str, Callable[[], Strategy]] = {
    "FedAvg": lambda: Robust(FedAvg(), RULE, 1),
    "FedAdam": lambda: Robust(FedAdam(), RULE, 1),
    "casting": lambda: Robust(FedAvg(), RULE, 1, cast_dtypes=True),
}
GRADIENTS: dict[str, Callable[[], Strategy]] = {
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
