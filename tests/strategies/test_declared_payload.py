"""Replies that say whether they hold a model or a gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, RecordDict
from flwr.serverapp.strategy import (
    FedAvg,
)

from byzflower.strategies import (
    Robust,
    ServerSGD,
    TooManySkippedRounds,
)
from replies import MODEL, shifted


def declaring(contents: list[RecordDict], payload: Any) -> list[RecordDict]:
    for content in contents:
        content["byzflower"] = ConfigRecord({"payload": payload})
    return contents


@pytest.mark.parametrize(
    ("payload", "inner", "detail"),
    [
        (
            "model",
            FedAvg,
            "sends gradients; this strategy expects models: set payload='gradient' or let the "
            "clients send models",
        ),
        (
            "gradient",
            ServerSGD,
            "sends models; this strategy expects gradients: set payload='model' or let the "
            "clients send gradients",
        ),
    ],
)
def test_clients_that_send_something_else_stop_the_run_with_the_mistake(
    payload: Any, inner: Any, detail: str, make_content: Any, make_round: Any
) -> None:
    strategy = Robust(inner(), "median", 1, payload, max_skipped_rounds=2, quarantine_after=1)
    rounds = make_round(strategy, MODEL, 5)
    other = "model" if payload == "gradient" else "gradient"
    _, metrics = rounds.run(declaring(shifted(make_content), other))
    assert metrics["robust-rejected-payload"] == 5
    with pytest.raises(TooManySkippedRounds, match="5 of 5 replies rejected") as caught:
        rounds.run(declaring(shifted(make_content), other))
    assert detail in str(caught.value)
    assert [strategy.conduct.offences(node) for node in rounds.nodes] == [0] * 5


def test_a_few_clients_that_send_something_else_lower_n_only(
    make_content: Any, make_round: Any
) -> None:
    strategy = Robust(FedAvg(), "trimmed_mean", 1)
    contents = declaring(shifted(make_content), "model")
    declaring(contents[:2], "gradient")
    arrays, metrics = make_round(strategy, MODEL, 5).run(contents)
    assert (metrics["robust-rows"], metrics["robust-f"]) == (3, 1)
    np.testing.assert_allclose(arrays["b"].numpy(), [5.4], rtol=1e-6)


@pytest.mark.parametrize(
    "record",
    [
        ConfigRecord(),
        *(ConfigRecord({"payload": text}) for text in ("model", "gradients\n%s", "")),
        *(ConfigRecord({"payload": value}) for value in (b"gradient", ["gradient"], True, 0.5)),
        ConfigRecord({"other": "gradient"}),
    ],
    ids=str,
)
def test_a_declaration_that_says_nothing_is_ignored(
    record: ConfigRecord, make_content: Any, make_round: Any
) -> None:
    contents = shifted(make_content)
    for content in contents:
        content["byzflower"] = record
    _, metrics = make_round(Robust(FedAvg(), "median", 1), MODEL, 5).run(contents)
    assert (metrics["robust-rows"], metrics["robust-rejected"]) == (5, 0)
