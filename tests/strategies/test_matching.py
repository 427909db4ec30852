"""Whose reply is whose, whatever replies say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import Error, Message
from flwr.serverapp.strategy import (
    FedAvg,
)

from byzflower.strategies import (
    Reason,
    Robust,
)
from replies import MODEL, shifted


def test_a_silent_node_lowers_n_only(make_content: Any, make_round: Any) -> None:
    strategy = Robust(FedAvg(), "trimmed_mean", 2)
    contents: list[Any] = shifted(make_content, [0.1, 0.2, 0.3, 0.4, 0.5, 90.0, -90.0])
    contents[0], contents[1] = None, Error(1, "out of memory")
    arrays, metrics = make_round(strategy, MODEL, 7).run(contents)
    record = strategy.history[-1]
    assert (record.rows, record.f, metrics["robust-missing"]) == (5, 2, 1)
    np.testing.assert_allclose(arrays["b"].numpy(), [5.4], rtol=1e-6)


def test_failures_of_a_deployment_are_matched_by_message_id(
    make_content: Any, make_round: Any
) -> None:
    strategy = Robust(FedAvg(), "trimmed_mean", 1)
    rounds = make_round(strategy, MODEL, 5)
    rounds.ask()
    replies = rounds.replies([Error(3, "node unavailable"), *shifted(make_content)[1:]])
    replies[0].metadata.__dict__["_src_node_id"] = 1
    rounds.strategy.aggregate_train(1, replies)
    assert [(r.node_id, r.reason) for r in strategy.history[-1].rejections] == [(101, Reason.ERROR)]


def test_a_node_that_answers_twice_is_not_believed(make_content: Any, make_round: Any) -> None:
    strategy = Robust(FedAvg(), "trimmed_mean", 1)
    rounds = make_round(strategy, MODEL, 5)
    rounds.ask()
    contents = shifted(make_content)
    replies = rounds.replies(contents)
    replies.insert(2, Message(contents[4], reply_to=rounds.asked[4]))
    arrays, metrics = strategy.aggregate_train(1, replies)
    assert [(r.node_id, r.reason) for r in strategy.history[-1].rejections] == [
        (105, Reason.DUPLICATE)
    ]
    assert (metrics["robust-rows"], metrics["robust-f"]) == (4, 1)
    np.testing.assert_allclose(arrays["b"].numpy(), [5.25], rtol=1e-6)


def test_replies_nobody_asked_for_are_ignored(make_content: Any, make_round: Any) -> None:
    strategy = Robust(FedAvg(), "trimmed_mean", 1)
    rounds = make_round(strategy, MODEL, 5)
    stale = rounds.ask()[0]
    rounds.ask()
    contents = shifted(make_content)
    replies = rounds.replies(contents)
    stranger = Message(contents[4], dst_node_id=1, message_type="train")
    stranger.metadata.__dict__["_src_node_id"] = 999
    replies = [stranger, Message(contents[4], reply_to=stale), *replies]
    arrays, metrics = strategy.aggregate_train(2, replies)
    assert [r.reason for r in strategy.history[-1].rejections] == [Reason.UNASKED] * 2
    assert (metrics["robust-rows"], metrics["robust-f"]) == (5, 1)
    np.testing.assert_allclose(arrays["b"].numpy(), [5.3], rtol=1e-6)
    assert 999 not in [row["node"] for row in strategy.conduct.to_rows()]


def test_a_client_in_the_same_process_cannot_reach_the_model(
    make_content: Any, make_round: Any
) -> None:
    strategy = Robust(FedAvg(), "trimmed_mean", 1)
    rounds = make_round(strategy, MODEL, 5)
    rounds.ask()[0].content["arrays"].clear()
    arrays, _ = strategy.aggregate_train(1, rounds.replies(shifted(make_content)))
    np.testing.assert_allclose(arrays["b"].numpy(), [5.3], rtol=1e-6)


def test_grids_without_message_ids_are_matched_by_source(
    make_content: Any, make_round: Any
) -> None:
    strategy = Robust(FedAvg(), "trimmed_mean", 1)
    rounds = make_round(strategy, MODEL, 5)
    for message in rounds.ask():
        message.metadata.__dict__["_message_id"] = ""
    arrays, _ = strategy.aggregate_train(1, rounds.replies(shifted(make_content)))
    np.testing.assert_allclose(arrays["b"].numpy(), [5.3], rtol=1e-6)


def test_nobody_answers_in_another_nodes_place(make_content: Any, make_round: Any) -> None:
    strategy = Robust(FedAvg(), "trimmed_mean", 1)
    rounds = make_round(strategy, MODEL, 5)
    rounds.ask()
    replies = rounds.replies(shifted(make_content))
    replies[3].metadata.__dict__["_src_node_id"] = 105  # 105 answers for 104, too
    _, metrics = strategy.aggregate_train(1, replies)
    assert (metrics["robust-rows"], metrics["robust-rejected-unasked"]) == (4, 1)
    assert strategy.conduct.offences(104) == 0


@pytest.mark.parametrize("source", [105, 999], ids=["another node", "a stranger"])
def test_nobody_reports_an_error_in_another_nodes_place(
    source: int, make_content: Any, make_round: Any
) -> None:
    strategy = Robust(FedAvg(), "trimmed_mean", 1)
    rounds = make_round(strategy, MODEL, 5)
    rounds.ask()
    forged = Message(Error(1, "out of memory"), reply_to=rounds.asked[3])
    forged.metadata.__dict__["_src_node_id"] = source
    replies = [*rounds.replies(shifted(make_content)), forged]
    arrays, metrics = strategy.aggregate_train(1, replies)
    assert [(r.node_id, r.reason) for r in strategy.history[-1].rejections] == [
        (source, Reason.UNASKED)
    ]
    assert (metrics["robust-rows"], strategy.conduct.offences(104)) == (5, 0)
    np.testing.assert_allclose(arrays["b"].numpy(), [5.3], rtol=1e-6)
