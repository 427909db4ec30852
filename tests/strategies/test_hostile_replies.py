"""No reply can raise, change the model's keys, shapes or dtypes, or make it non-finite."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedProx, FedYogi
from hypothesis import given, settings
from hypothesis import strategies as st

from byzflower.strategies import Reason, Robust, ServerSGD
from byzflower.testing import fuzzing
from byzflower.testing.hostile import HOSTILE, MODEL, honest_reply, npy
from byzflower.testing.rounds import NODES, Round
from byzflower.testing.strategies import ATTACKER

INNER: dict[str, Callable[[], Any]] = {
    "FedAvg": FedAvg,
    "FedAvgM": lambda: FedAvgM(server_momentum=0.9, server_learning_rate=0.5),
    "FedAdam": FedAdam,
    "FedYogi": FedYogi,
    "FedAdagrad": FedAdagrad,
    "FedProx": lambda: FedProx(proximal_mu=0.1),
    "ServerSGD": lambda: ServerSGD(0.1, momentum=0.9),
}
Forge = Callable[[Message, RecordDict], list[Message]]
REJECTED = [name for name, kind in HOSTILE.items() if kind.reason is not None]
COUNTED = [name for name, kind in HOSTILE.items() if kind.reason is None]
W = MODEL["w"]
# Of the others' losses 0 … 6, 0 … 4 without the fifth, the least and the greatest do not count.
TRAIN_LOSS = (0 + 1 + 2 + 3 + 4 + 4 + 0 + 1 + 2 + 3 + 4) / 11


def robust(inner: str, malicious: int = 1) -> Robust:
    payload = "gradient" if inner == "ServerSGD" else "model"
    return Robust(INNER[inner](), "nnm > trimmed_mean", malicious, payload)


def played(
    strategy: Robust, *forges: Forge, model: Mapping[str, np.ndarray] = MODEL
) -> tuple[ArrayRecord, MetricRecord]:
    """One round of twelve replies, of which those from the attacker's on are forged."""
    asked = Round(strategy, model)
    forged = dict(enumerate(forges, start=ATTACKER))
    replies = []
    for i, message in enumerate(asked.asked):
        honest = honest_reply(i, model, gradient=strategy.payload == "gradient")
        kept = [Message(honest, reply_to=message)]
        replies += forged[i](message, honest) if i in forged else kept
    arrays, metrics = asked.end(replies)
    assert arrays is not None
    assert metrics is not None
    assert list(arrays) == list(model)
    for key, array in arrays.items():
        value = array.numpy()
        assert array.dtype == str(value.dtype) == str(model[key].dtype)
        assert array.shape == value.shape == model[key].shape
        assert np.isfinite(value).all()
    return arrays, metrics


def with_array(array: Array, key: str = "w") -> Forge:
    def forge(asked: Message, honest: RecordDict) -> list[Message]:
        honest.array_records["arrays"][key] = array
        return [Message(honest, reply_to=asked)]

    return forge


@cache
def without_the_attacker(inner: str, proven: bool) -> ArrayRecord:
    """Return what the others lead to, with one fault known already or not."""
    return played(robust(inner, 1 - proven), lambda asked, honest: [])[0]


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("name", REJECTED)
def test_hostile_reply_is_rejected_and_the_rest_aggregated(inner: str, name: str) -> None:
    reason = Reason(HOSTILE[name].reason)
    if reason is Reason.PAYLOAD and inner == "ServerSGD":
        pytest.skip("gradients are what this strategy expects")
    strategy = robust(inner)
    arrays, metrics = played(strategy, HOSTILE[name].replies)
    alone = without_the_attacker(inner, reason.proves_fault)
    for key in MODEL:
        np.testing.assert_array_equal(arrays[key].numpy(), alone[key].numpy())
    record = strategy.history[-1]
    assert [(r.node_id, r.reason) for r in record.rejections] == [(NODES[ATTACKER], reason)]
    assert not record.skipped
    assert metrics[f"robust-rejected-{reason}"] == metrics["robust-rejected"] == 1
    assert (metrics["robust-rows"], metrics["robust-f"]) == (11, int(not reason.proves_fault))
    assert metrics["robust-missing"] == 0
    assert strategy.conduct[NODES[ATTACKER]].rejections == {reason: 1}
    assert metrics["train_loss"] == pytest.approx(TRAIN_LOSS)


@pytest.mark.parametrize("inner", ["FedAvg", "FedAdam", "ServerSGD"])
@pytest.mark.parametrize("name", COUNTED)
def test_odd_but_well_formed_reply_counts(inner: str, name: str) -> None:
    strategy = robust(inner)
    _, metrics = played(strategy, HOSTILE[name].replies)
    assert strategy.history[-1].rejections == ()
    assert metrics["robust-rows"] == 12
    assert 0 <= metrics["train_loss"] <= 6
    assert set(metrics) == {
        "train_loss",
        "robust-f",
        "robust-rows",
        "robust-missing",
        "robust-rejected",
        "robust-skipped",
    }


@pytest.mark.parametrize("name", REJECTED)
def test_log_lines_are_short_and_whole(name: str, caplog: pytest.LogCaptureFixture) -> None:
    played(robust("FedAvg"), HOSTILE[name].replies)
    lines = [r.getMessage() for r in caplog.records if "rejected the reply" in r.getMessage()]
    assert len(lines) == 1
    assert f"node {NODES[ATTACKER]} ({HOSTILE[name].reason})" in lines[0]
    assert len(lines[0]) < 300
    assert lines[0].isprintable()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["nested parentheses", "long integers of Python 2"])
def test_a_header_is_rejected_whatever_becomes_of_warnings(name: str) -> None:
    strategy = robust("FedAvg")
    played(strategy, HOSTILE[name].replies)
    detail = strategy.history[-1].rejections[0].detail
    assert detail.startswith("'w' needs the .npy header of float32 (4, 3); found")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("negative num-examples", "-10"),
        ("num-examples of 2⁶⁰", "1152921504606846976"),
        ("NaN num-examples", "nan"),
    ],
)
def test_a_count_out_of_range_is_told_the_range(name: str, found: str) -> None:
    strategy = robust("FedAvg")
    played(strategy, HOSTILE[name].replies)
    assert strategy.history[-1].rejections[0].detail == (
        f"needs a count from 0 to 2⁵³ in 'num-examples'; found {found}"
    )


def test_unpickling_never_happens() -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return pytest.fail, ("unpickled",)

    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "|O", "fortran_order": False, "shape": (4, 3)}
    )
    data = stream.getvalue() + pickle.dumps(Bomb())
    strategy = robust("FedAvg")
    played(strategy, with_array(Array("float32", (4, 3), "numpy.ndarray", data)))
    assert len(strategy.history[-1].rejections) == 1


def test_a_float_in_place_of_a_counter_is_of_another_dtype() -> None:
    strategy = robust("FedAvg")
    forge = with_array(Array(np.array(4.0)), key="bn.num_batches_tracked")
    played(strategy, forge, model=fuzzing.MODEL)
    assert strategy.history[-1].rejections[0].reason is Reason.DTYPE


def test_an_array_that_raises_is_unreadable() -> None:
    class Raising(Array):
        def __getattribute__(self, name: str) -> Any:
            if name == "shape":
                raise SystemError("%s\n" * 100)
            return super().__getattribute__(name)

    array = Raising.__new__(Raising)
    array.__dict__.update(Array(W).__dict__)
    strategy = robust("FedAvg")
    played(strategy, with_array(array))
    assert strategy.history[-1].rejections[0].reason is Reason.UNREADABLE


hostile_arrays = st.one_of(
    st.builds(
        Array,
        dtype=st.sampled_from(["float32", "float64", "<f4", "object", "", "🦠"]),
        shape=st.sampled_from([(4, 3), (3, 4), (12,), (-1,), (2**60,), ()]),
        stype=st.sampled_from(["numpy.ndarray", "pickle", ""]),
        data=st.one_of(
            st.binary(max_size=400),
            st.binary(max_size=120).map(lambda tail: npy(W)[: 176 - len(tail)] + tail),
            st.integers(0, 175).flatmap(
                lambda at: st.binary(min_size=1, max_size=1).map(
                    lambda byte: npy(W)[:at] + byte + npy(W)[at + 1 :]
                )
            ),
        ),
    ),
    st.sampled_from(
        [np.float16, np.float32, np.float64, np.complex64, np.int8, bool, "U3"]
    ).flatmap(
        lambda dtype: st.sampled_from([(4, 3), (3, 4), (1, 4, 3), (0,), ()]).map(
            lambda shape: Array(np.zeros(shape, dtype))
        )
    ),
    st.lists(st.floats(width=32), min_size=12, max_size=12).map(
        lambda values: Array(np.array(values, np.float32).reshape(4, 3))
    ),
)
hostile_metrics = st.dictionaries(
    st.one_of(st.just("num-examples"), st.just("train_loss"), st.text(max_size=5)),
    st.one_of(st.integers(), st.floats(), st.lists(st.floats(), max_size=3)),
    max_size=4,
)
hostile_contents = st.tuples(
    st.dictionaries(
        st.one_of(st.sampled_from(list(MODEL)), st.text(max_size=5)), hostile_arrays, max_size=4
    ),
    hostile_metrics,
    st.sampled_from(["arrays", "metrics", "other"]),
    st.sampled_from(["metrics", "arrays", "config"]),
    st.booleans(),
)


@settings(max_examples=100, deadline=None)
@given(
    forged=st.lists(hostile_contents, min_size=1, max_size=2), inner=st.sampled_from(list(INNER))
)
def test_any_content_of_two_replies(forged: list[Any], inner: str) -> None:
    def forge(content: Any) -> Forge:
        arrays, metrics, arrays_key, metrics_key, keep = content
        base = {k: Array(v) for k, v in MODEL.items()} if keep else {}
        record = ArrayRecord()
        for key, array in (base | arrays).items():
            record[key] = array
        reply = RecordDict({arrays_key: record})
        reply[metrics_key] = MetricRecord({"num-examples": 1, **metrics} if keep else metrics)
        return lambda asked, honest: [Message(reply, reply_to=asked)]

    strategy = robust(inner, malicious=2)
    _, metrics = played(strategy, *map(forge, forged))
    assert not strategy.history[-1].skipped
    assert all(np.isfinite(value).all() for value in metrics.values())
    attackers = set(NODES[ATTACKER : ATTACKER + 2])
    assert {r.node_id for r in strategy.history[-1].rejections} <= attackers
