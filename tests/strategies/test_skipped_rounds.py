"""Rounds that leave the model as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Error
from flwr.serverapp.strategy import (
    FedAvg,
)

import byzflower as bf
from byzflower.strategies import (
    Robust,
    TooManySkippedRounds,
)
from replies import MODEL, shifted, values


def test_too_few_replies_keep_the_model_and_stop_the_run_in_the_end(
    make_content: Any, make_round: Any
) -> None:
    strategy = Robust(FedAvg(), "krum", 1, max_skipped_rounds=3)
    rounds = make_round(strategy, MODEL, 5)
    four: list[Any] = [None, *shifted(make_content)[1:]]
    why = "`krum` needs n ≥ 2f+3 rows; found n = 4, f = 1"

    def skipped() -> None:
        arrays, metrics = rounds.run(four)
        for key, value in values(arrays).items():
            np.testing.assert_array_equal(value, MODEL[key])
        assert metrics["robust-skipped"] == 1
        assert strategy.history[-1].skipped == why

    skipped()
    skipped()
    _, metrics = rounds.run(shifted(make_content))  # starts the count again
    assert metrics["robust-skipped"] == 0
    skipped()
    skipped()
    with pytest.raises(TooManySkippedRounds, match="3 rounds in a row") as caught:
        rounds.run(four)
    assert why in str(caught.value)
    assert isinstance(caught.value.__cause__, bf.InfeasibleError)


def test_a_run_may_wait_for_ever(make_content: Any, make_round: Any) -> None:
    strategy = Robust(FedAvg(), "krum", 1, max_skipped_rounds=None)
    rounds = make_round(strategy, MODEL, 5)
    for _ in range(7):
        _, metrics = rounds.run([None, *shifted(make_content)[1:]])
        assert metrics["robust-skipped"] == 1


def test_nodes_whose_silence_stops_the_run_are_warned_of_once(
    make_round: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for spec, expected in (("krum", 1), ("trimmed_mean", 0)):
        caplog.clear()
        rounds = make_round(Robust(FedAvg(), spec, 1), MODEL, 5)
        rounds.ask()
        rounds.ask()
        assert caplog.text.count("1 silent nodes of 5 would leave the model unchanged") == expected


def test_too_few_nodes_for_the_rule_end_the_run_at_once(fake_grid: Any) -> None:
    grid = fake_grid({node: lambda _: pytest.fail("asked in vain") for node in range(2)})
    initial = ArrayRecord({key: Array(value) for key, value in MODEL.items()})
    text = (
        r"`trimmed_mean` needs n ≥ 2f\+1 rows; found n = 2, f = 2. Set `min_train_nodes` and "
        "`min_available_nodes` of `FedAvg` to what the rule needs. Or lower `num_malicious_nodes`"
    )
    with pytest.raises(bf.InfeasibleError, match=text):
        Robust(FedAvg(), "trimmed_mean", 2).start(grid, initial, num_rounds=9)


def test_too_few_nodes_for_the_rule_are_warned_of_once(
    make_round: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rounds = make_round(Robust(FedAvg(), "trimmed_mean", 2, too_few_nodes="warn"), MODEL, 2)
    rounds.ask()
    rounds.ask()
    assert caplog.text.count("Too few nodes") == 1
    assert (
        "Too few nodes: `trimmed_mean` needs n ≥ 2f+1 rows; found n = 2, f = 2. Set" in caplog.text
    )
    caplog.clear()
    make_round(Robust(FedAvg(), "trimmed_mean", 2), MODEL, 5).ask()
    assert "Too few nodes" not in caplog.text


def test_nodes_that_leave_later_end_no_run(
    make_content: Any, make_round: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rounds = make_round(Robust(FedAvg(), "trimmed_mean", 2), MODEL, 5)
    rounds.run(shifted(make_content))
    rounds.nodes = rounds.nodes[:2]
    _, metrics = rounds.run(shifted(make_content)[:2])
    assert metrics["robust-skipped"] == 1
    assert "Too few nodes" in caplog.text


def test_a_fallback_for_which_the_nodes_suffice_begins(make_content: Any, make_round: Any) -> None:
    strategy = Robust(FedAvg(), "bulyan", 2, fallback="median")
    _, metrics = make_round(strategy, MODEL, 5).run(shifted(make_content))
    assert metrics["robust-skipped"] == 0
    with pytest.raises(bf.InfeasibleError, match="`bulyan` needs"):
        make_round(Robust(FedAvg(), "bulyan", 2, fallback="median"), MODEL, 4).ask()


def test_a_model_without_numbers_is_refused(make_round: Any) -> None:
    model = {"w": np.zeros((0, 3), np.float32)}
    with pytest.raises(ValueError, match="that is no buffer and not empty"):
        make_round(Robust(FedAvg(), "mean", 0), model, 3).ask()


@pytest.mark.parametrize("replies", ["none", "errors"])
def test_no_replies_keep_the_model(replies: str, make_round: Any) -> None:
    strategy = Robust(FedAvg(), "mean", 0)
    content = None if replies == "none" else Error(1, "")
    arrays, metrics = make_round(strategy, MODEL, 5).run([content] * 5)
    assert values(arrays).keys() == MODEL.keys()
    assert metrics["robust-rows"] == 0
    assert strategy.history[-1].skipped.startswith("a rule needs replies; found none")


@pytest.mark.parametrize("value", [np.nan, None])
def test_more_malformed_replies_than_faults_keep_the_model(
    value: float | None, make_content: Any, make_round: Any
) -> None:
    strategy = Robust(FedAvg(), "trimmed_mean", 1)
    contents = shifted(make_content)
    for content in contents[:2]:
        if value is None:
            del content["arrays"]["b"]
        else:
            content["arrays"]["b"] = Array(np.array([value], np.float32))
    arrays, metrics = make_round(strategy, MODEL, 5).run(contents)
    np.testing.assert_array_equal(arrays["w"].numpy(), MODEL["w"])
    assert metrics["robust-rejected"] == 2
    assert metrics["robust-skipped"] == 1
    assert [r.node_id for r in strategy.history[-1].rejections] == [101, 102]
    assert "found f = 1 and 2 such" in strategy.history[-1].skipped


def test_a_run_that_never_trains_ends_with_an_error_that_says_why(
    fake_grid: Any, caplog: pytest.LogCaptureFixture
) -> None:
    grid = fake_grid({node: lambda _: Error(20, "ImportError: no torch") for node in range(5)})
    initial = ArrayRecord({key: Array(value) for key, value in MODEL.items()})
    result = Robust(FedAvg(fraction_evaluate=0.0), "median", 1).start(grid, initial, num_rounds=2)
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "No round was aggregated" in errors[-1].getMessage()
    assert "ImportError: no torch" in errors[-1].getMessage()
    assert result.arrays["w"].numpy().tolist() == MODEL["w"].tolist()
