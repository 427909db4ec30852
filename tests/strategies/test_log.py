"""What a round leaves in the log."""

from __future__ import annotations

from typing import Any

import pytest
from flwr.app import Error, RecordDict
from flwr.serverapp.strategy import (
    FedAvg,
)

from byzflower.strategies import (
    Robust,
)
from replies import MODEL, shifted


def test_a_round_is_logged_by_its_nodes_not_as_one_reply(
    make_content: Any, make_round: Any, caplog: pytest.LogCaptureFixture
) -> None:
    contents: list[Any] = [*shifted(make_content), None, Error(1, ""), RecordDict()]
    make_round(Robust(FedAvg(), "median", 2), MODEL, 8).run(contents)
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("aggregate_train")]
    assert lines[-1] == (
        "aggregate_train: 8 nodes asked, 7 replies: 1 failed, 1 rejected; "
        "`median` of 5 updates, f = 1"
    )
    assert "Received" not in caplog.text
    caplog.clear()
    make_round(FedAvg(), MODEL, 5).run(shifted(make_content))
    assert "aggregate_train: Received 5 results and 0 failures" in caplog.text


def test_a_skipped_round_is_logged_by_its_nodes(
    make_content: Any, make_round: Any, caplog: pytest.LogCaptureFixture
) -> None:
    contents: list[Any] = [*shifted(make_content)[:4], None]
    make_round(Robust(FedAvg(), "krum", 1), MODEL, 5).run(contents)
    assert "aggregate_train: 5 nodes asked, 4 replies: 0 failed, 0 rejected" in caplog.text


def test_a_flood_of_rejections_is_logged_in_short(
    make_content: Any, make_round: Any, caplog: pytest.LogCaptureFixture
) -> None:
    strategy = Robust(FedAvg(), "mean", 30)
    contents = [RecordDict()] * 30 + shifted(make_content)
    make_round(strategy, MODEL, 35).run(contents)
    lines = [r.getMessage() for r in caplog.records if "rejected" in r.getMessage()]
    assert len(lines) == 22
    assert lines[20] == "aggregate_train: rejected 10 more replies"
    assert lines[21] == (
        "aggregate_train: 35 nodes asked, 35 replies: 0 failed, 30 rejected; "
        "`mean` of 5 updates, f = 0"
    )
