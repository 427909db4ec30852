from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdam, FedAvg

from byzflower.strategies import Robust


def evaluation(strategy: Robust, grid: Any, contents: list[Any]) -> MetricRecord | None:
    messages = list(strategy.configure_evaluate(1, ArrayRecord(), ConfigRecord(), grid))
    messages.sort(key=lambda message: message.metadata.dst_node_id)
    pairs = zip(messages, contents, strict=True)
    replies = [Message(c, reply_to=message) for message, c in pairs if c is not None]
    return strategy.aggregate_evaluate(1, replies)


def metrics(examples: Any = 10, **values: Any) -> RecordDict:
    return RecordDict({"metrics": MetricRecord({"num-examples": examples, **values})})


HONEST = [metrics(10, accuracy=0.5, per=[1.0]), metrics(30, accuracy=0.9, per=[2.0])] * 2
HOSTILE: dict[str, Any] = {
    "error": Error(1, "boom %s"),
    "nothing": RecordDict(),
    "no metrics": RecordDict({"config": ConfigRecord()}),
    "two records": RecordDict({"metrics": MetricRecord({"num-examples": 1}), "b": MetricRecord()}),
    "no examples": RecordDict({"metrics": MetricRecord({"accuracy": 1.0, "per": [1.0]})}),
    "negative examples": metrics(-10, accuracy=0.1, per=[1.0]),
    "NaN examples": metrics(float("nan"), accuracy=0.1, per=[1.0]),
    "huge examples": metrics(10**400, accuracy=0.1, per=[1.0]),
    "NaN": metrics(10, accuracy=float("nan"), per=[1.0]),
    "Inf in a list": metrics(10, accuracy=0.5, per=[float("inf")]),
    "huge integer": metrics(10, accuracy=10**400, per=[1.0]),
    "missing metric": metrics(10, per=[1.0]),
    "list for a number": metrics(10, accuracy=[0.5], per=[1.0]),
    "number for a list": metrics(10, accuracy=0.5, per=1.0),
    "longer list": metrics(10, accuracy=0.5, per=[1.0] * 1000),
}


@pytest.mark.parametrize("inner", [FedAvg, FedAdam])
@pytest.mark.parametrize("name", HOSTILE)
def test_malformed_evaluation_is_dropped(name: str, inner: Any, fake_grid: Any) -> None:
    strategy = Robust(inner(), "mean", 1)
    nodes = fake_grid(dict.fromkeys(range(1, 6)))
    got = evaluation(strategy, nodes, [*HONEST[:2], HOSTILE[name], *HONEST[2:]])
    assert list(got) == ["accuracy", "per", "robust-missing", "robust-rejected"]
    assert got["accuracy"] == pytest.approx(0.8)
    assert got["per"] == pytest.approx([1.75])
    assert got["robust-rejected"] == 1


def test_metrics_of_a_minority_are_left_out(fake_grid: Any) -> None:
    strategy = Robust(FedAvg(), "mean", 1)
    odd = metrics(10, accuracy=0.5, per=[1.0], **{"evil %s": 1e308})
    got = evaluation(strategy, fake_grid(dict.fromkeys(range(1, 6))), [*HONEST, odd])
    assert set(got) == {"accuracy", "per", "robust-missing", "robust-rejected"}
    assert got["robust-rejected"] == 0


def test_no_evaluation_at_all(fake_grid: Any) -> None:
    strategy = Robust(FedAvg(), "mean", 1)
    got = evaluation(strategy, fake_grid(dict.fromkeys(range(1, 4))), [None] * 3)
    assert dict(got) == {"robust-missing": 3, "robust-rejected": 0}
    strategy = Robust(FedAvg(fraction_evaluate=0.0), "mean", 1)
    assert evaluation(strategy, fake_grid(dict.fromkeys(range(1, 4))), []) is None


def test_replies_that_never_came_are_counted(
    fake_grid: Any, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = fake_grid(dict.fromkeys(range(1, 6)))
    with caplog.at_level("INFO", "flwr"):
        got = evaluation(Robust(FedAvg(), "mean", 1), nodes, [*HONEST[:3], Error(1, "boom"), None])
    assert (got["robust-missing"], got["robust-rejected"]) == (1, 1)
    assert "aggregate_evaluate: 5 nodes asked, 4 replies: 1 failed, 0 rejected" in caplog.text


def test_evaluation_without_any_example_gives_no_metrics(fake_grid: Any) -> None:
    strategy = Robust(FedAvg(), "mean", 1)
    nodes = fake_grid(dict.fromkeys(range(1, 4)))
    assert evaluation(strategy, nodes, [metrics(0, accuracy=0.5)] * 3) is None


def test_no_majority_of_evaluators_can_frame_a_node(
    make_content: Any, make_round: Any, fake_grid: Any
) -> None:
    strategy = Robust(FedAvg(), "mean", 2, quarantine_after=1)
    model = {"w": np.zeros(2, np.float32)}
    rounds = make_round(strategy, model, 5)
    rounds.run([make_content(model)] * 5)
    honest = metrics(10, accuracy=0.5)
    for claims in (
        [metrics(10, accuracy=0.5, z=1.0)] * 2 + [honest],  # two of the three who evaluate
        [metrics(10, accuracy=0.5)] * 2 + [metrics(10, accuracy=float("inf"))],  # diverged
    ):
        got = evaluation(strategy, fake_grid(dict.fromkeys((101, 102, 103))), claims)
        assert got["robust-rejected"] == 1
    assert [strategy.conduct.offences(node) for node in range(101, 106)] == [0] * 5
    _, after = rounds.run([make_content(model)] * 5)
    assert (after["robust-rows"], after["robust-f"]) == (5, 2)
