"""The inner strategy steps with the aggregate, and with nothing else."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from flwr.serverapp.strategy import (
    FedAdam,
    FedAvg,
    FedAvgM,
)

import byzflower as bf
from byzflower.strategies import (
    Robust,
    ServerSGD,
)
from replies import MODEL, STEPS, gradients, shifted, values


def test_fedavg_returns_the_model_moved_by_the_aggregate(
    make_content: Any, make_round: Any
) -> None:
    # trimmed mean with f = 1 of (.1, .2, .3, .4, 90) is .3
    arrays, metrics = make_round(Robust(FedAvg(), "trimmed_mean", 1), MODEL, 5).run(
        shifted(make_content)
    )
    for key, value in values(arrays).items():
        np.testing.assert_allclose(value, MODEL[key] + 0.3, rtol=1e-6)
    assert (metrics["robust-f"], metrics["robust-rows"], metrics["robust-rejected"]) == (1, 5, 0)


def test_fedavgm_keeps_its_momentum(make_content: Any, make_round: Any) -> None:
    inner = FedAvgM(server_learning_rate=0.5, server_momentum=0.9)
    rounds = make_round(Robust(inner, "trimmed_mean", 1), MODEL, 5)
    first, _ = rounds.run(shifted(make_content))
    np.testing.assert_allclose(first["b"].numpy(), [5.0 + 0.5 * 0.3], rtol=1e-6)
    rounds.model = values(first)
    second, _ = rounds.run(
        [make_content({k: v + np.float32(s) for k, v in rounds.model.items()}) for s in STEPS]
    )
    np.testing.assert_allclose(second["b"].numpy(), [5.15 + 0.5 * (0.9 * 0.3 + 0.3)], rtol=1e-6)


def test_fedadam_steps_as_it_does_on_the_aggregate_alone(
    make_content: Any, make_round: Any
) -> None:
    arrays, _ = make_round(Robust(FedAdam(), "trimmed_mean", 1), MODEL, 5).run(
        shifted(make_content)
    )
    plain, _ = make_round(FedAdam(min_train_nodes=1, min_available_nodes=1), MODEL, 1).run(
        shifted(make_content, [0.3])
    )
    for key in MODEL:
        assert arrays[key].dtype == "float32"
        np.testing.assert_allclose(arrays[key].numpy(), plain[key].numpy(), rtol=1e-5)


def test_server_sgd_descends_along_the_aggregate(make_content: Any, make_round: Any) -> None:
    strategy = Robust(ServerSGD(0.5), "trimmed_mean", 1, "gradient")
    arrays, _ = make_round(strategy, MODEL, 5).run(gradients(make_content))
    for key, value in values(arrays).items():
        np.testing.assert_allclose(value, MODEL[key] - 0.5 * 0.3, rtol=1e-6)


def test_claimed_examples_weigh_nothing(make_content: Any, make_round: Any) -> None:
    contents = shifted(make_content)
    contents[4]["metrics"]["num-examples"] = 2**40
    arrays, _ = make_round(Robust(FedAvg(), "trimmed_mean", 1), MODEL, 5).run(contents)
    np.testing.assert_allclose(arrays["b"].numpy(), [5.3], rtol=1e-6)


@pytest.mark.parametrize("rule", ["arc > nnm > trimmed_mean", "multi_krum", "geometric_median"])
@pytest.mark.parametrize("payload", ["model", "gradient"])
def test_order_of_replies_does_not_matter(
    rule: str, payload: Any, make_content: Any, make_round: Any
) -> None:
    rng = np.random.default_rng(0)
    contents = [
        make_content({k: rng.normal(size=v.shape).astype(np.float32) for k, v in MODEL.items()})
        for _ in range(9)
    ]
    results = []
    for seed in range(3):
        inner = ServerSGD() if payload == "gradient" else FedAvg()
        rounds = make_round(Robust(inner, rule, 2, payload), MODEL, 9)
        rounds.ask()
        replies = rounds.replies(contents)
        random.Random(seed).shuffle(replies)
        arrays, _ = rounds.strategy.aggregate_train(1, replies)
        results.append(values(arrays))
    for other in results[1:]:
        for key in MODEL:
            np.testing.assert_array_equal(other[key], results[0][key])


def test_the_aggregate_is_the_rule_on_differences(make_content: Any, make_round: Any) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(scale=1e-3, size=(9, 5)).astype(np.float32)
    start = np.concatenate([value.ravel() for value in MODEL.values()])
    contents = [
        make_content({"w": (start + row)[:4].reshape(2, 2), "b": (start + row)[4:]}) for row in rows
    ]
    spec = "arc > nnm > geometric_median"
    arrays, _ = make_round(Robust(FedAvg(), spec, 2), MODEL, 9).run(contents)
    differences = torch.from_numpy((start + rows) - start)
    expected = start + bf.parse(spec)(differences, f=2).numpy()
    got = np.concatenate([value.ravel() for value in values(arrays).values()])
    np.testing.assert_allclose(got, expected, rtol=1e-6)
