from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import (
    DifferentialPrivacyServerSideFixedClipping,
    FedAdam,
    FedAvg,
    FedAvgM,
)

import byzflower as bf
from byzflower.strategies import (
    AggregaThor,
    Reason,
    Robust,
    ServerSGD,
    SharedArray,
    TooManySkippedRounds,
    to_record,
    to_tensor,
)

MODEL = {"w": np.array([[1.0, 2.0], [3.0, 4.0]], np.float32), "b": np.array([5.0], np.float32)}
STEPS = [0.1, 0.2, 0.3, 0.4, 90.0]  # the last node's update is far away


def shifted(make_content: Any, steps: list[float] = STEPS, **metrics: float) -> list[RecordDict]:
    return [
        make_content({k: v + np.float32(s) for k, v in MODEL.items()}, **metrics) for s in steps
    ]


def gradients(make_content: Any, steps: list[float] = STEPS) -> list[RecordDict]:
    return [make_content({k: np.full_like(v, s) for k, v in MODEL.items()}) for s in steps]


def values(arrays: ArrayRecord) -> dict[str, np.ndarray]:
    return {key: array.numpy() for key, array in arrays.items()}


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


@pytest.mark.parametrize(
    ("bound", "nodes", "f"), [(2, 9, 2), (0.25, 9, 2), (0.3, 10, 3), (0.0, 5, 0)]
)
def test_faults_are_a_count_or_a_fraction_of_the_replies(
    bound: float, nodes: int, f: int, make_content: Any, make_round: Any
) -> None:
    strategy = Robust(FedAvg(), "trimmed_mean", bound)
    make_round(strategy, MODEL, nodes).run(shifted(make_content, [0.1] * nodes))
    assert strategy.history[-1].f == f


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


def test_too_few_nodes_for_the_rule_are_warned_of_once(
    make_round: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rounds = make_round(Robust(FedAvg(), "trimmed_mean", 2), MODEL, 2)
    rounds.ask()
    rounds.ask()
    assert caplog.text.count("Too few nodes") == 1
    assert (
        "Too few nodes: `trimmed_mean` needs n ≥ 2f+1 rows; found n = 2, f = 2. Set "
        "`min_train_nodes` and `min_available_nodes` of `FedAvg` to what the rule needs."
    ) in caplog.text
    caplog.clear()
    make_round(Robust(FedAvg(), "trimmed_mean", 2), MODEL, 5).ask()
    assert "Too few nodes" not in caplog.text


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
    with pytest.raises(TooManySkippedRounds, match="5 of 5 nodes rejected") as caught:
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
    assert strategy.history[-1].skipped == "a rule needs replies; found none"


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


def test_metrics_are_medians_of_what_most_report(make_content: Any, make_round: Any) -> None:
    contents = shifted(make_content)
    for content, loss in zip(contents, [1.0, 2.0, 3.0, np.inf, 1e30], strict=True):
        content["metrics"]["loss"] = loss
        content["metrics"]["per-class"] = [loss, 2 * loss]
    contents[0]["metrics"]["alone"] = 1.0
    contents[4]["metrics"]["per-class"] = [0.0] * 1000
    _, metrics = make_round(Robust(FedAvg(), "mean", 0), MODEL, 5).run(contents)
    assert metrics["loss"] == 2.5
    assert metrics["per-class"] == [2.0, 4.0]
    assert "alone" not in metrics
    assert "num-examples" not in metrics


def test_clipping_is_reported(make_content: Any, make_round: Any) -> None:
    strategy = Robust(FedAvg(), "arc > mean", 1)
    _, metrics = make_round(strategy, MODEL, 5).run(shifted(make_content))
    assert metrics["robust-clipping-threshold"] == pytest.approx(0.4 * 5**0.5, rel=1e-5)
    assert metrics["robust-clipped-rows"] == 1
    assert [step.name for step in strategy.history[-1].steps] == ["arc", "mean"]


def test_buffers_take_the_median_whatever_the_rule(make_content: Any, make_round: Any) -> None:
    model = MODEL | {
        "bn.running_mean": np.zeros(2, np.float32),
        "bn.running_var": np.ones(2, np.float32),
        "bn.num_batches_tracked": np.array(7),
        "mask": np.array([True, False]),
    }
    contents = [
        make_content(
            {k: v + np.float32(s) for k, v in MODEL.items()}
            | {
                "bn.running_mean": np.full(2, s, np.float32),
                "bn.running_var": np.full(2, 1 + s, np.float32),
                "bn.num_batches_tracked": np.array(8 if s < 1 else 10**15),
                "mask": np.array([True, s > 1]),
            }
        )
        for s in STEPS
    ]
    for inner in (FedAvg(), FedAdam(), ServerSGD()):
        payload: Any = "gradient" if isinstance(inner, ServerSGD) else "model"
        arrays, _ = make_round(Robust(inner, "mean", 0, payload), model, 5).run(contents)
        assert {k: a.dtype for k, a in arrays.items()} == {
            k: str(v.dtype) for k, v in model.items()
        }
        np.testing.assert_allclose(arrays["bn.running_mean"].numpy(), 0.3, rtol=1e-6)
        np.testing.assert_allclose(arrays["bn.running_var"].numpy(), 1.3, rtol=1e-6)
        assert arrays["bn.num_batches_tracked"].numpy() == 8
        assert arrays["mask"].numpy().tolist() == [True, False]


def test_buffers_can_be_named(make_content: Any, make_round: Any) -> None:
    strategy = Robust(FedAvg(), "mean", 0, buffers={"b"})
    arrays, _ = make_round(strategy, MODEL, 5).run(shifted(make_content))
    np.testing.assert_allclose(arrays["b"].numpy(), [5.3], rtol=1e-6)
    np.testing.assert_allclose(arrays["w"].numpy(), MODEL["w"] + 18.2, rtol=1e-6)


def test_a_nan_in_a_buffer_is_rejected(make_content: Any, make_round: Any) -> None:
    model = MODEL | {"bn.running_var": np.ones(2, np.float32)}
    contents = [
        make_content(MODEL | {"bn.running_var": np.full(2, v, np.float32)})
        for v in (1.0, 1.0, 1.0, 1.0, np.nan)
    ]
    strategy = Robust(FedAvg(), "mean", 1)
    arrays, _ = make_round(strategy, model, 5).run(contents)
    assert arrays["bn.running_var"].numpy().tolist() == [1.0, 1.0]
    assert [r.node_id for r in strategy.history[-1].rejections] == [105]


def test_a_mask_with_inf_stays_as_it_is(make_content: Any, make_round: Any) -> None:
    mask = np.array([0.0, -np.inf], np.float32)
    contents = shifted(make_content)
    for content in contents:
        content["arrays"]["mask"] = Array(mask)
    contents[1]["arrays"]["mask"] = Array(np.zeros_like(mask))
    strategy = Robust(FedAvg(), "trimmed_mean", 1, buffers={"mask"})
    arrays, _ = make_round(strategy, MODEL | {"mask": mask}, 5).run(contents)
    np.testing.assert_array_equal(arrays["mask"].numpy(), mask)
    np.testing.assert_allclose(arrays["b"].numpy(), [5.3], rtol=1e-6)


def test_repeat_offenders_are_quarantined_on_request(make_content: Any, make_round: Any) -> None:
    strategy = Robust(FedAvg(), "trimmed_mean", 1, quarantine_after=2)
    rounds = make_round(strategy, MODEL, 5)
    bad = shifted(make_content)
    del bad[0]["arrays"]["b"]
    rounds.run(bad)
    _, metrics = rounds.run(shifted(make_content))
    assert metrics["robust-rejected"] == 0  # one offence is not two
    rounds.run(bad)
    arrays, metrics = rounds.run(shifted(make_content, [90.0, 0.1, 0.2, 0.3, 0.4]))
    assert metrics["robust-rejected-quarantined"] == 1
    assert (metrics["robust-rows"], metrics["robust-f"]) == (4, 0)
    np.testing.assert_allclose(arrays["b"].numpy(), [5.25], rtol=1e-6)
    rejection = strategy.history[-1].rejections[0]
    assert (rejection.node_id, rejection.detail) == (101, "2 malformed replies before")


def test_shared_arrays_reach_the_rule_without_a_copy(
    make_round: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacked = torch.arange(20.0).reshape(5, 4)
    strategy = Robust(ServerSGD(), "mean", 0, "gradient")
    contents = [
        RecordDict(
            {
                "arrays": to_record({"w": row.view(2, 2), "b": torch.ones(1)}),
                "metrics": MetricRecord({"num-examples": 1}),
            }
        )
        for row in stacked
    ]
    seen = []
    explain = type(strategy.rule).explain

    def spy(self: Any, updates: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(updates)
        return explain(self, updates, *args, **kwargs)

    monkeypatch.setattr(type(strategy.rule), "explain", spy)
    before = stacked.clone()
    arrays, _ = make_round(strategy, MODEL, 5).run(contents)
    block = seen[0].blocks[0]
    assert isinstance(block, torch.Tensor)  # the stacked tensor, recognised
    assert block.data_ptr() == stacked.data_ptr()
    assert stacked.equal(before)
    assert isinstance(arrays["w"], SharedArray)
    np.testing.assert_allclose(
        to_tensor(arrays["w"]), MODEL["w"] - 0.1 * before.mean(0).reshape(2, 2).numpy(), rtol=1e-6
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes_are_kept(dtype: torch.dtype, make_round: Any) -> None:
    strategy = Robust(ServerSGD(1.0), "trimmed_mean", 1, "gradient")
    model = {"w": torch.ones(3, dtype=dtype), "s": torch.ones((), dtype=torch.float32)}
    grid_round = make_round(strategy, MODEL, 5)
    grid_round.model = {}
    messages = list(
        strategy.configure_train(1, to_record(model), ConfigRecord(), _Nodes(grid_round.nodes))
    )
    replies = [
        Message(
            RecordDict(
                {
                    "arrays": to_record({k: torch.full_like(v, s) for k, v in model.items()}),
                    "metrics": MetricRecord({"num-examples": 1}),
                }
            ),
            reply_to=message,
        )
        for message, s in zip(messages, STEPS, strict=True)
    ]
    arrays, _ = strategy.aggregate_train(1, replies)
    assert to_tensor(arrays["w"]).dtype == dtype
    torch.testing.assert_close(to_tensor(arrays["w"]), torch.full((3,), 0.7, dtype=dtype))
    torch.testing.assert_close(to_tensor(arrays["s"]), torch.tensor(0.7))


class _Nodes:
    def __init__(self, nodes: list[int]) -> None:
        self.nodes = nodes

    def get_node_ids(self) -> list[int]:
        return self.nodes


def test_centered_clipping_starts_from_the_previous_aggregate(
    make_content: Any, make_round: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy = Robust(FedAvg(), "trimmed_mean", 1)
    seen: list[Any] = []
    rule_type = type(strategy.rule)
    explain = rule_type.explain

    def spy(self: Any, *args: Any, center: Any = None, **kwargs: Any) -> Any:
        seen.append(None if center is None else center.tolist())
        return explain(self, *args, **kwargs)

    monkeypatch.setattr(rule_type, "explain", spy)
    monkeypatch.setattr(rule_type, "needs_center", True)
    rounds = make_round(strategy, MODEL, 5)
    rounds.run(shifted(make_content))
    rounds.run(shifted(make_content))
    assert seen[0] is None
    assert seen[1] == pytest.approx([0.3] * 5, rel=1e-5)


def test_seed_makes_random_rules_repeat(make_content: Any, make_round: Any) -> None:
    def run(seed: int | None) -> bytes:
        rounds = make_round(Robust(FedAvg(), "bucketing(s=2) > median", 0, seed=seed), MODEL, 9)
        steps = [float(i) for i in range(9)]
        return b"".join(
            rounds.run(shifted(make_content, steps))[0]["w"].numpy().tobytes() for _ in range(6)
        )

    assert run(7) == run(7)
    assert run(7) != run(8)
    assert run(None) != run(None)


def test_nobody_asked_means_nothing_done(make_round: Any) -> None:
    strategy = Robust(FedAvg(fraction_train=0.0), "mean", 0, max_skipped_rounds=1)
    assert make_round(strategy, MODEL, 5).run([]) == (None, None)
    assert strategy.history == []


def test_aggregating_before_configuring_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="`aggregate_train` needs a call of `configure_train`"):
        Robust(FedAvg(), "mean", 0).aggregate_train(1, [])


@pytest.mark.parametrize(
    ("model", "error", "text"),
    [
        ({"w": np.zeros(2, np.complex64)}, TypeError, "real arrays; found torch.complex64 in 'w'"),
        ({"n": np.array(3)}, ValueError, "needs a floating-point array that is no buffer"),
        ({"w": np.array([np.nan])}, ValueError, "found NaN or Inf in 'w'"),
    ],
)
def test_models_that_no_rule_can_aggregate_are_refused_at_once(
    model: dict[str, np.ndarray], error: type[Exception], text: str, make_round: Any
) -> None:
    with pytest.raises(error, match=text):
        make_round(Robust(FedAvg(), "mean", 0), model, 5).ask()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"num_malicious_nodes": -1}, ValueError, "`num_malicious_nodes` needs a count ≥ 0"),
        ({"num_malicious_nodes": 0.5}, ValueError, r"fraction in \[0, 0.5\); found 0.5"),
        ({"num_malicious_nodes": float("nan")}, ValueError, "found nan"),
        ({"num_malicious_nodes": True}, TypeError, "found True"),
        ({"payload": "models"}, ValueError, "`payload` needs to be 'model' or 'gradient'"),
        ({"payload": "gradient"}, ValueError, "`FedAvg` needs payload='model'"),
        ({"inner": ServerSGD()}, ValueError, "`ServerSGD` needs payload='gradient'"),
        ({"rule": "krumm"}, bf.SpecError, "did you mean `krum`"),
        *(
            ({name: value}, ValueError, f"`Robust` needs an integer {name} ≥ 1; found {value!r}")
            for name in ("max_skipped_rounds", "quarantine_after")
            for value in (0, 2.5, "3", True)
        ),
        ({"seed": -1}, ValueError, "`seed` needs an integer ≥ 0; found -1"),
        ({"seed": 1.0}, ValueError, "`seed` needs an integer ≥ 0; found 1.0"),
        ({"inner": "fedavg"}, TypeError, "`inner` needs a Flower strategy; found 'fedavg'"),
        ({"inner": FedAvg}, TypeError, "found the class `FedAvg`: write `FedAvg"),
        (
            {"inner": Robust(FedAvg(), "mean", 0)},
            TypeError,
            r"`inner` needs a strategy other than `Robust`; found Robust\(",
        ),
        (
            {"inner": DifferentialPrivacyServerSideFixedClipping(FedAvg(), 1.0, 1.0, 5)},
            TypeError,
            "`inner` needs a strategy without differential privacy; found "
            "`DifferentialPrivacyServerSideFixedClipping`, whose guarantee is void here",
        ),
        (
            {"inner": ServerSGD(), "payload": "gradient", "buffers": {"b"}},
            ValueError,
            "`buffers` needs to be set on the inner `ServerSGD`",
        ),
    ],
)
def test_options_out_of_range(options: dict[str, Any], error: type[Exception], text: str) -> None:
    defaults: dict[str, Any] = {"inner": FedAvg(), "rule": "mean", "num_malicious_nodes": 0}
    with pytest.raises(error, match=text):
        Robust(**(defaults | options))


def test_summary_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    Robust(FedAvg(), "arc > median", 0.2).summary()
    assert "Rule: arc > median" in caplog.text
    assert "Malicious nodes: 0.2" in caplog.text
    assert "Weighted by" in caplog.text


def test_a_strategy_shows_what_it_does() -> None:
    assert repr(Robust(FedAdam(), "arc > median", 0.2)) == (
        "Robust(FedAdam, 'arc > median', num_malicious_nodes=0.2, payload='model')"
    )
    assert repr(AggregaThor(2)) == (
        "AggregaThor(ServerSGD, 'multi_krum', num_malicious_nodes=2, payload='gradient')"
    )


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("payload", ["model", "gradient"])
def test_updates_on_a_gpu_stay_there(payload: Any, make_round: Any) -> None:
    inner = ServerSGD(1.0) if payload == "gradient" else FedAvg()
    strategy = Robust(inner, "trimmed_mean", 1, payload)
    contents = [
        RecordDict(
            {
                "arrays": to_record(
                    {k: torch.full(v.shape, s, device="cuda") for k, v in MODEL.items()}
                ),
                "metrics": MetricRecord({"num-examples": 1}),
            }
        )
        for s in STEPS
    ]
    arrays, _ = make_round(strategy, MODEL, 5).run(contents)
    assert all(to_tensor(array).is_cuda for array in arrays.values())
    expected = 5.0 - 0.3 if payload == "gradient" else 0.3
    assert to_tensor(arrays["b"]).item() == pytest.approx(expected, rel=1e-6)
