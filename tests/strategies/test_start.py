"""Whole runs through Flower's own loop, with a different attack from one node every round."""

from __future__ import annotations

import random
import sys
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedYogi

from byzflower.strategies import Robust, ServerSGD

TARGET = np.array([1.0, -2.0, 3.0], np.float32)
START = {"w": np.zeros(3, np.float32), "n": np.array(0)}


def honest_client(node: int, payload: str) -> Any:
    noise = np.random.default_rng(node).normal(scale=0.01, size=3).astype(np.float32)

    def answer(message: Message) -> RecordDict:
        record = message.content["arrays"]
        w, n = record["w"].numpy(), record["n"].numpy()
        gap = w - TARGET + noise
        if message.metadata.message_type == "evaluate":
            error = float(np.abs(w - TARGET).max())
            return RecordDict({"metrics": MetricRecord({"num-examples": 5, "error": error})})
        arrays = {"w": gap if payload == "gradient" else w - 0.5 * gap, "n": n + 1}
        return RecordDict(
            {
                "arrays": ArrayRecord({k: Array(np.asarray(v)) for k, v in arrays.items()}),
                "metrics": MetricRecord({"num-examples": 5, "loss": float((gap**2).sum())}),
            }
        )

    return answer


def hostile_client(payload: str) -> Any:
    honest = honest_client(0, payload)
    calls = iter(range(10**6))

    def nan(c: RecordDict) -> RecordDict:
        c["arrays"]["w"] = Array(np.full(3, np.nan, np.float32))
        return c

    def far(c: RecordDict) -> RecordDict:
        c["arrays"]["w"] = Array(np.full(3, 1e30, np.float32))
        return c

    def transposed(c: RecordDict) -> RecordDict:
        c["arrays"]["w"] = Array(np.zeros((1, 3), np.float32))
        return c

    def keyless(c: RecordDict) -> RecordDict:
        del c["arrays"]["w"]
        return c

    def garbage(c: RecordDict) -> RecordDict:
        c["arrays"]["w"] = Array("float32", (3,), "numpy.ndarray", b"\x93NUMPY" + b"\xff" * 134)
        return c

    def claims(c: RecordDict) -> RecordDict:
        c["metrics"]["num-examples"] = -sys.float_info.max
        return c

    kinds: list[Any] = [
        nan, far, transposed, keyless, garbage, claims,
        lambda c: RecordDict(), lambda c: Error(1, "%s"), lambda c: None,
    ]  # fmt: skip

    def answer(message: Message) -> Any:
        content = honest(message)
        kind = kinds[next(calls) % len(kinds)]
        return kind(content) if "arrays" in content or kind not in kinds[:5] else RecordDict()

    return answer


@pytest.mark.parametrize(
    "inner",
    [
        FedAvg(),
        FedAvgM(server_momentum=0.5),
        FedAdam(eta=0.2, tau=0.1, beta_1=0.0),
        FedYogi(eta=0.2, tau=0.1, beta_1=0.0),
        ServerSGD(0.5),
    ],
    ids=lambda inner: type(inner).__name__,
)
def test_training_succeeds_under_every_attack(inner: Any, fake_grid: Any) -> None:
    payload: Any = "gradient" if isinstance(inner, ServerSGD) else "model"
    grid = fake_grid({node: honest_client(node, payload) for node in range(1, 8)})
    grid.answers |= {node: hostile_client(payload) for node in (50, 51)}
    strategy = Robust(inner, "arc > nnm > trimmed_mean", 2, payload)

    initial = ArrayRecord({k: Array(v) for k, v in START.items()})
    result = strategy.start(grid, initial, num_rounds=54)

    assert {k: (a.dtype, a.shape) for k, a in result.arrays.items()} == {
        "w": ("float32", (3,)),
        "n": ("int64", ()),
    }
    np.testing.assert_allclose(result.arrays["w"].numpy(), TARGET, atol=0.1)
    assert result.arrays["n"].numpy() == 54
    assert not any(record.skipped for record in strategy.history)
    assert {r.node_id for record in strategy.history for r in record.rejections} == {50, 51}
    last = result.evaluate_metrics_clientapp[54]
    assert last["error"] < 0.1
    assert {row["node"] for row in strategy.conduct.to_rows()[:2]} == {50, 51}


def test_a_run_without_usable_replies_stops_with_what_it_has(fake_grid: Any) -> None:
    grid = fake_grid({node: lambda _: Error(1, "boom") for node in range(5)})
    strategy = Robust(FedAvg(), "median", 1, max_skipped_rounds=4)
    initial = ArrayRecord({k: Array(v) for k, v in START.items()})
    result = strategy.start(grid, initial, num_rounds=10)
    assert len(strategy.history) == 4
    assert "4 rounds in a row" in result.stopped
    assert {k: a.numpy().tolist() for k, a in result.arrays.items()} == {"w": [0, 0, 0], "n": 0}


@pytest.mark.parametrize(
    "make",
    [
        lambda: Robust(FedAvg(), "centered_clipping(tau=0.5)", 1),
        lambda: Robust(FedAvg(), "bucketing(s=2) > median", 1, seed=3),
        lambda: Robust(ServerSGD(0.1, momentum=0.9), "median", 1, "gradient"),
        lambda: ServerSGD(0.1, momentum=0.9),
    ],
    ids=["center", "generator", "velocity", "velocity alone"],
)
def test_a_second_run_of_one_strategy_equals_the_first(make: Any, fake_grid: Any) -> None:
    strategy = make()
    grid = fake_grid({node: honest_client(node, strategy.payload) for node in range(1, 8)})

    def run() -> bytes:
        random.seed(0)  # Flower's order of the nodes, which rounds the plain mean
        initial = ArrayRecord({k: Array(v) for k, v in START.items()})
        return strategy.start(grid, initial, num_rounds=4).arrays["w"].numpy().tobytes()

    assert run() == run()


def test_a_second_run_has_a_history_of_its_own(fake_grid: Any) -> None:
    broken = fake_grid({node: lambda _: RecordDict() for node in range(1, 8)})
    healthy = fake_grid({node: honest_client(node, "model") for node in range(1, 8)})
    initial = ArrayRecord({k: Array(v) for k, v in START.items()})
    strategy = Robust(FedAvg(), "median", 3, max_skipped_rounds=3, quarantine_after=1)
    for _ in range(2):
        strategy.start(broken, initial, num_rounds=2)
    first = strategy.history
    strategy.start(healthy, initial, num_rounds=2)
    assert [record.rows for record in strategy.history] == [7, 7]
    assert [record.rows for record in first] == [0, 0]
    assert [strategy.conduct[node].asked for node in range(1, 8)] == [2] * 7
    assert strategy.conduct.offences(1) == 0


def test_a_run_driven_by_hand_may_follow_another_with_another_model(
    make_content: Any, make_round: Any
) -> None:
    strategy = Robust(FedAvg(), "centered_clipping(tau=1.0)", 1)
    for size in (3, 5):
        model = {"w": np.zeros(size, np.float32)}
        rounds = make_round(strategy, model, 5)
        for _ in range(2):
            _, metrics = rounds.run([make_content({"w": model["w"] + 1})] * 5)
            assert metrics["robust-skipped"] == 0
