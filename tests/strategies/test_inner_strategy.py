"""Inner strategies that fail, overflow or change the layout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy import (
    FedAdam,
    FedAvg,
    FedAvgM,
)

from byzflower.strategies import Robust, ServerSGD, TooManySkippedRounds
from replies import MODEL, gradients, shifted


def test_an_inner_strategy_that_fails_keeps_the_model(make_content: Any, make_round: Any) -> None:
    def failing(*_: object) -> MetricRecord:
        raise KeyError("accuracy\n%s")

    strategy = Robust(
        FedAvg(train_metrics_aggr_fn=failing, evaluate_metrics_aggr_fn=failing),
        "mean",
        0,
        max_skipped_rounds=2,
    )
    rounds = make_round(strategy, MODEL, 5)
    arrays, _ = rounds.run(shifted(make_content))
    np.testing.assert_array_equal(arrays["w"].numpy(), MODEL["w"])
    assert strategy.history[-1].skipped.startswith("KeyError: ")
    with pytest.raises(TooManySkippedRounds) as caught:
        rounds.run(shifted(make_content))
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_inner_strategy_that_overflows_keeps_the_model(
    make_content: Any, make_round: Any
) -> None:
    strategy = Robust(ServerSGD(1e30), "mean", 0, "gradient")
    arrays, _ = make_round(strategy, MODEL, 5).run(gradients(make_content, [1e30] * 5))
    np.testing.assert_array_equal(arrays["w"].numpy(), MODEL["w"])
    assert "NaN or Inf in 'w'" in strategy.history[-1].skipped


@pytest.mark.filterwarnings("error:overflow:RuntimeWarning")  # stops FedAdam between its moments
@pytest.mark.parametrize(
    "make",
    [
        lambda: Robust(ServerSGD(10.0, momentum=0.9), "median", 1, "gradient"),
        lambda: Robust(FedAvgM(server_learning_rate=10.0, server_momentum=0.9), "median", 1),
        lambda: Robust(FedAdam(), "median", 1),
    ],
    ids=["ServerSGD", "FedAvgM", "FedAdam"],
)
def test_a_skipped_round_leaves_the_inner_strategy_as_it_was(
    make: Any, make_content: Any, make_round: Any
) -> None:
    def run(second: list[RecordDict] | list[None]) -> tuple[list[str], bytes]:
        strategy = make()
        rounds = make_round(strategy, MODEL, 5)
        make_contents = gradients if strategy.payload == "gradient" else shifted
        for contents in (make_contents(make_content), second, make_contents(make_content)):
            arrays, _ = rounds.run(contents)
        return [r.skipped for r in strategy.history], arrays["w"].numpy().tobytes()

    far = [make_content({k: np.full_like(v, 3e38) for k, v in MODEL.items()}) for _ in range(5)]
    skipped, overflowed = run(far)
    assert [bool(why) for why in skipped] == [False, True, False]
    assert overflowed == run([None] * 5)[1]


def test_an_inner_strategy_without_a_step_keeps_the_model(
    make_content: Any, make_round: Any
) -> None:
    class Silent(FedAvg):
        def aggregate_train(self, server_round: int, replies: Any) -> Any:
            return None, None

    arrays, metrics = make_round(Robust(Silent(), "mean", 0), MODEL, 5).run(shifted(make_content))
    np.testing.assert_array_equal(arrays["w"].numpy(), MODEL["w"])
    assert metrics["robust-skipped"] == 1


@pytest.mark.parametrize("result", [{"w": np.zeros((2, 2))}, {"w": np.zeros(4), "b": np.zeros(1)}])
def test_an_inner_strategy_cannot_change_the_layout(
    result: dict[str, np.ndarray], make_content: Any, make_round: Any
) -> None:
    class Odd(FedAvg):
        def aggregate_train(self, server_round: int, replies: Any) -> Any:
            return ArrayRecord({key: Array(value) for key, value in result.items()}), None

    strategy = Robust(Odd(), "mean", 0)
    arrays, _ = make_round(strategy, MODEL, 5).run(shifted(make_content))
    assert {key: array.shape for key, array in arrays.items()} == {"w": (2, 2), "b": (1,)}
    assert "the inner strategy returned" in strategy.history[-1].skipped


def test_the_inner_strategy_s_metrics_function_sees_every_accepted_reply(
    make_content: Any, make_round: Any
) -> None:
    seen: list[list[RecordDict]] = []

    def aggregate(records: list[RecordDict], weighted_by: str) -> MetricRecord:
        seen.append(records)
        return MetricRecord({"spread": max(r["mine"]["loss"] for r in records)})

    contents = shifted(make_content)
    for content, loss in zip(contents, [1.0, 2.0, 3.0, 4.0, 1e30], strict=True):
        own = content.pop("metrics")
        content["mine"] = MetricRecord({**own, "loss": loss})
        content["note"] = ConfigRecord({"site": "a"})
    strategy = Robust(FedAvg(train_metrics_aggr_fn=aggregate), "median", 1)
    _, metrics = make_round(strategy, MODEL, 5).run(contents)
    assert metrics["spread"] == 4.0
    *_, records = seen
    assert [record["mine"]["loss"] for record in records] == [2.0, 2.0, 3.0, 4.0, 4.0]
    assert all(record["note"] == ConfigRecord({"site": "a"}) for record in records)
    assert not any(record.array_records for record in records)


def test_the_aggregate_comes_from_no_real_node(make_content: Any, make_round: Any) -> None:
    sources: list[int] = []

    class Curious(FedAvg):
        def aggregate_train(self, server_round: int, replies: Any) -> Any:
            replies = list(replies)
            sources.extend(reply.metadata.src_node_id for reply in replies)
            return super().aggregate_train(server_round, replies)

    rounds = make_round(Robust(Curious(), "median", 1), MODEL, 5)
    rounds.run(shifted(make_content))
    assert len(sources) == 1
    assert sources[0] not in rounds.nodes


def test_a_metrics_function_that_fails_costs_the_round_and_leaves_no_trace(
    make_content: Any, make_round: Any
) -> None:
    def fail(records: list[RecordDict], weighted_by: str) -> MetricRecord:
        raise KeyError("loss")

    strategy = Robust(FedAvg(train_metrics_aggr_fn=fail), "median", 1)
    arrays, _ = make_round(strategy, MODEL, 5).run(shifted(make_content))
    assert "KeyError" in strategy.history[-1].skipped
    np.testing.assert_array_equal(arrays["w"].numpy(), MODEL["w"])
