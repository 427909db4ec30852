"""No reply can raise, change the model's keys, shapes or dtypes, or make it non-finite."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedProx, FedYogi
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from byzflower.strategies import Reason, Robust, ServerSGD, SharedArray

RNG = np.random.default_rng(0)
MODEL = {
    "w": RNG.normal(size=(2, 3)).astype(np.float32),
    "b": RNG.normal(size=3).astype(np.float32),
    "bn.num_batches_tracked": np.array(4),
}
ATTACKER = 3  # index among six nodes 101 … 106; a middle one, as order must not matter

INNER: dict[str, Callable[[], Any]] = {
    "FedAvg": FedAvg,
    "FedAvgM": lambda: FedAvgM(server_momentum=0.9, server_learning_rate=0.5),
    "FedAdam": FedAdam,
    "FedYogi": FedYogi,
    "FedAdagrad": FedAdagrad,
    "FedProx": lambda: FedProx(proximal_mu=0.1),
    "ServerSGD": lambda: ServerSGD(0.1, momentum=0.9),
}


def npy(array: np.ndarray, **header: object) -> bytes:
    """Bytes as `numpy.save` writes them, with header fields replaced."""
    fields = {
        "descr": np.lib.format.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": array.shape,
    } | header
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, fields)
    return stream.getvalue() + array.tobytes()


def with_header(shape: bytes, end: bytes = b"\n") -> bytes:
    """Bytes of `W` after a header written by hand."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + shape + b"), }" + end
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + W.tobytes()


def with_array(content: RecordDict, key: str, array: Array | np.ndarray) -> RecordDict:
    content["arrays"][key] = array if isinstance(array, Array) else Array(np.asarray(array))
    return content


def declared(data: bytes, *, dtype: str = "float32", shape: tuple[int, ...] = (2, 3)) -> Array:
    return Array(dtype=dtype, shape=shape, stype="numpy.ndarray", data=data)


def without(content: RecordDict, *path: str) -> RecordDict:
    *records, key = path
    del (content[records[0]] if records else content)[key]
    return content


def renamed(content: RecordDict, old: str, new: str) -> RecordDict:
    content[new] = content[old]
    del content[old]
    return content


def added(content: RecordDict, name: str, record: Any) -> RecordDict:
    content[name] = record
    return content


def with_metric(content: RecordDict, key: str, value: Any) -> RecordDict:
    content["metrics"][key] = value
    return content


W = MODEL["w"]
STRUCT = np.zeros((2, 3), dtype=[("a", "f4")])
HOSTILE: dict[str, tuple[Reason, Callable[[RecordDict], RecordDict | Error]]] = {
    "error": (Reason.ERROR, lambda _: Error(1, "Traceback %s %d %n\n" * 50)),
    "error without a reason": (Reason.ERROR, lambda _: Error(0)),
    "no records": (Reason.RECORDS, lambda _: RecordDict()),
    "no ArrayRecord": (Reason.RECORDS, lambda c: without(c, "arrays")),
    "no MetricRecord": (Reason.RECORDS, lambda c: without(c, "metrics")),
    "other record name": (Reason.RECORDS, lambda c: renamed(c, "arrays", "%s\n")),
    "extra ArrayRecord": (Reason.RECORDS, lambda c: added(c, "more", ArrayRecord())),
    "extra MetricRecord": (Reason.RECORDS, lambda c: added(c, "more", MetricRecord())),
    "arrays are metrics": (
        Reason.RECORDS,
        lambda c: added(without(c, "arrays"), "arrays", ConfigRecord()),
    ),
    "missing key": (Reason.KEYS, lambda c: without(c, "arrays", "b")),
    "extra key": (Reason.KEYS, lambda c: with_array(c, "evil\n%s" * 99, W)),
    "other key": (Reason.KEYS, lambda c: with_array(without(c, "arrays", "b"), "B", MODEL["b"])),
    "empty ArrayRecord": (Reason.KEYS, lambda c: added(c, "arrays", ArrayRecord())),
    "wrong shape": (Reason.SHAPE, lambda c: with_array(c, "w", np.zeros((3, 3), np.float32))),
    "zero-size": (Reason.SHAPE, lambda c: with_array(c, "w", np.zeros((0, 3), np.float32))),
    "scalar": (Reason.SHAPE, lambda c: with_array(c, "w", np.float32(1))),
    "transposed": (Reason.SHAPE, lambda c: with_array(c, "w", W.T.copy())),
    "extra dimension": (Reason.SHAPE, lambda c: with_array(c, "w", W[None])),
    "shape not in the bytes": (Reason.BYTES, lambda c: with_array(c, "w", declared(npy(W.T)))),
    "negative shape": (
        Reason.BYTES,
        lambda c: with_array(c, "w", declared(npy(W, shape=(-2, 3)))),
    ),
    "huge shape in the header": (
        Reason.BYTES,
        lambda c: with_array(c, "w", declared(npy(W, shape=(2**40, 2**20)))),
    ),
    "float64": (Reason.DTYPE, lambda c: with_array(c, "w", W.astype(np.float64))),
    "float16": (Reason.DTYPE, lambda c: with_array(c, "w", W.astype(np.float16))),
    "big-endian": (Reason.DTYPE, lambda c: with_array(c, "w", W.astype(">f4"))),
    "big-endian bytes": (
        Reason.BYTES,
        lambda c: with_array(c, "w", declared(npy(W.astype(">f4")))),
    ),
    "complex64": (Reason.DTYPE, lambda c: with_array(c, "w", W.astype(np.complex64) * 1j)),
    "integers": (Reason.DTYPE, lambda c: with_array(c, "w", W.astype(np.int32))),
    "integers declared float32": (
        Reason.BYTES,
        lambda c: with_array(c, "w", declared(npy(W.astype(np.int32)))),
    ),
    "booleans": (Reason.DTYPE, lambda c: with_array(c, "w", W > 0)),
    "strings": (Reason.DTYPE, lambda c: with_array(c, "w", W.astype("U8"))),
    "struct": (Reason.DTYPE, lambda c: with_array(c, "w", STRUCT)),
    "struct declared float32": (
        Reason.BYTES,
        lambda c: with_array(c, "w", declared(npy(W, descr=[("a", "<f4")]))),
    ),
    "objects": (
        Reason.BYTES,
        lambda c: with_array(c, "w", declared(npy(W, descr="|O"))),
    ),
    "float counter": (
        Reason.DTYPE,
        lambda c: with_array(c, "bn.num_batches_tracked", np.array(4.0)),
    ),
    "unknown stype": (
        Reason.STYPE,
        lambda c: with_array(c, "w", Array("float32", (2, 3), "pickle", pickle.dumps(W))),
    ),
    "no bytes": (Reason.BYTES, lambda c: with_array(c, "w", declared(b""))),
    "truncated bytes": (Reason.BYTES, lambda c: with_array(c, "w", declared(npy(W)[:-1]))),
    "trailing bytes": (Reason.BYTES, lambda c: with_array(c, "w", declared(npy(W) + b"\0"))),
    "too many bytes": (Reason.BYTES, lambda c: with_array(c, "w", declared(npy(W) + b"0" * 4096))),
    "garbage bytes": (Reason.BYTES, lambda c: with_array(c, "w", declared(RNG.bytes(152)))),
    "raw bytes": (Reason.BYTES, lambda c: with_array(c, "w", declared(W.tobytes()))),
    "pickled bytes": (Reason.BYTES, lambda c: with_array(c, "w", declared(pickle.dumps(W)))),
    "garbage header": (
        Reason.BYTES,
        lambda c: with_array(
            c, "w", declared(b"\x93NUMPY\x01\x00\x80\x00" + b"(" * 128 + b"0" * 24)
        ),
    ),
    "nested parentheses": (
        Reason.BYTES,
        lambda c: with_array(c, "w", declared(with_header(b"(" * 90 + b"2" + b")" * 90 + b", 3"))),
    ),
    "long integers of Python 2": (
        Reason.BYTES,
        lambda c: with_array(c, "w", declared(with_header(b"2L, 3L"))),
    ),
    "no end of the header": (
        Reason.BYTES,
        lambda c: with_array(c, "w", declared(npy(W)[:8] + b"\xff\xff" + npy(W)[10:])),
    ),
    "header of a later version": (
        Reason.BYTES,
        lambda c: with_array(c, "w", declared(b"\x93NUMPY\x09\x00" + npy(W)[8:])),
    ),
    "NaN": (Reason.NON_FINITE, lambda c: with_array(c, "w", np.full_like(W, np.nan))),
    "one NaN": (Reason.NON_FINITE, lambda c: with_array(c, "w", np.where(W.max() == W, np.nan, W))),
    "Inf": (Reason.NON_FINITE, lambda c: with_array(c, "b", np.full(3, -np.inf, np.float32))),
    "no num-examples": (Reason.NUM_EXAMPLES, lambda c: without(c, "metrics", "num-examples")),
    "NaN num-examples": (
        Reason.NUM_EXAMPLES,
        lambda c: with_metric(c, "num-examples", float("nan")),
    ),
    "infinite num-examples": (
        Reason.NUM_EXAMPLES,
        lambda c: with_metric(c, "num-examples", float("inf")),
    ),
    "negative num-examples": (Reason.NUM_EXAMPLES, lambda c: with_metric(c, "num-examples", -1)),
    "huge num-examples": (Reason.NUM_EXAMPLES, lambda c: with_metric(c, "num-examples", 10**400)),
    "very huge num-examples": (
        Reason.NUM_EXAMPLES,
        lambda c: with_metric(c, "num-examples", 10**5000),
    ),
    "list of num-examples": (
        Reason.NUM_EXAMPLES,
        lambda c: with_metric(c, "num-examples", [10] * 10_000),
    ),
    "shared tensor of another shape": (
        Reason.SHAPE,
        lambda c: with_array(c, "w", SharedArray(torch.zeros(3, 2))),
    ),
    "shared tensor of another dtype": (
        Reason.DTYPE,
        lambda c: with_array(c, "w", SharedArray(torch.zeros(2, 3, dtype=torch.bfloat16))),
    ),
    "shared tensor without values": (
        Reason.STYPE,
        lambda c: with_array(c, "w", SharedArray(torch.zeros(2, 3, device="meta"))),
    ),
    "shared sparse tensor": (
        Reason.STYPE,
        lambda c: with_array(c, "w", SharedArray(torch.zeros(2, 3).to_sparse())),
    ),
    "shared NaN": (
        Reason.NON_FINITE,
        lambda c: with_array(c, "w", SharedArray(torch.full((2, 3), torch.nan))),
    ),
}
# Odd, but no harm: the reply counts like any other.
HARMLESS: dict[str, Callable[[RecordDict], RecordDict]] = {
    "another order of keys": lambda c: with_array(without(c, "arrays", "w"), "w", W),
    "Fortran order": lambda c: with_array(c, "w", np.asfortranarray(W)),
    "header without padding": lambda c: with_array(c, "w", declared(with_header(b"2, 3"))),
    "header padded to 16 bytes": lambda c: with_array(
        c, "w", declared(with_header(b"2, 3", end=b" " * 9 + b"\n"))
    ),
    ".npy version 2.0": lambda c: with_array(c, "w", declared(npy_2(W))),
    "extra metric": lambda c: with_metric(c, "evil\n%s", 1e308),
    "NaN metric": lambda c: with_metric(c, "train_loss", float("nan")),
    "list for a metric": lambda c: with_metric(c, "train_loss", [1.0, 2.0]),
    "huge metric": lambda c: with_metric(c, "train_loss", 10**400),
    "other name of metrics": lambda c: renamed(c, "metrics", "other"),
    "extra ConfigRecord": lambda c: added(c, "config", ConfigRecord({"x": "%s\n"})),
    "no examples": lambda c: with_metric(c, "num-examples", 0),
    "shared tensor": lambda c: with_array(c, "w", SharedArray(torch.from_numpy(W))),
    "finite but far": lambda c: with_array(c, "w", np.full_like(W, 3e38)),
}


ALONE: dict[tuple[str, bool], ArrayRecord] = {}


def npy_2(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=(2, 0))
    return stream.getvalue()


def honest(make_content: Any, count: int) -> list[RecordDict]:
    rng = np.random.default_rng(1)
    return [
        make_content(
            {
                key: value + (rng.normal(scale=0.1, size=value.shape).astype(np.float32))
                if value.dtype == np.float32
                else value + 1
                for key, value in MODEL.items()
            },
            train_loss=float(i),
        )
        for i in range(count)
    ]


def robust(inner: str, malicious: int = 1, **options: Any) -> Robust:
    payload = "gradient" if inner == "ServerSGD" else "model"
    return Robust(INNER[inner](), "nnm > trimmed_mean", malicious, payload, **options)


def check_layout(arrays: ArrayRecord | None) -> None:
    assert arrays is not None
    assert list(arrays) == list(MODEL)
    for key, array in arrays.items():
        value = array.numpy()
        assert array.dtype == str(value.dtype) == str(MODEL[key].dtype)
        assert array.shape == value.shape == MODEL[key].shape
        assert np.isfinite(value).all()


@pytest.fixture
def without_the_attacker(make_content: Any, make_round: Any) -> Callable[[str, bool], ArrayRecord]:
    """Result of the other five, with one fault known already or (after an error) not."""

    def run(inner: str, proven: bool) -> ArrayRecord:
        if (inner, proven) not in ALONE:
            strategy = robust(inner, malicious=1 - proven)
            contents: list[Any] = honest(make_content, 6)
            contents[ATTACKER] = None
            ALONE[inner, proven] = make_round(strategy, MODEL, 6).run(contents)[0]
        return ALONE[inner, proven]

    return run


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_reply_is_rejected_and_the_rest_aggregated(
    inner: str, name: str, make_content: Any, make_round: Any, without_the_attacker: Any
) -> None:
    reason, spoil = HOSTILE[name]
    contents: list[Any] = honest(make_content, 6)
    contents[ATTACKER] = spoil(contents[ATTACKER])
    strategy = robust(inner)
    arrays, metrics = make_round(strategy, MODEL, 6).run(contents)

    check_layout(arrays)
    alone = without_the_attacker(inner, reason is not Reason.ERROR)
    for key in MODEL:
        np.testing.assert_array_equal(arrays[key].numpy(), alone[key].numpy())
    record = strategy.history[-1]
    assert [(r.node_id, r.reason) for r in record.rejections] == [(104, reason)]
    assert not record.skipped
    assert metrics[f"robust-rejected-{reason}"] == metrics["robust-rejected"] == 1
    assert (metrics["robust-rows"], metrics["robust-f"]) == (5, int(reason is Reason.ERROR))
    assert metrics["robust-missing"] == 0
    assert strategy.conduct[104].rejections == {reason: 1}
    # The losses 0, 1, 2, 4, 5 of the others, without the least and the greatest.
    assert metrics["train_loss"] == pytest.approx((1 + 1 + 2 + 4 + 4) / 5)


@pytest.mark.parametrize("inner", ["FedAvg", "FedAdam", "ServerSGD"])
@pytest.mark.parametrize("name", HARMLESS)
def test_odd_but_well_formed_reply_counts(
    inner: str, name: str, make_content: Any, make_round: Any
) -> None:
    contents: list[Any] = honest(make_content, 6)
    contents[ATTACKER] = HARMLESS[name](contents[ATTACKER])
    strategy = robust(inner)
    arrays, metrics = make_round(strategy, MODEL, 6).run(contents)
    check_layout(arrays)
    assert strategy.history[-1].rejections == ()
    assert metrics["robust-rows"] == 6
    assert 0 <= metrics["train_loss"] <= 5
    assert set(metrics) == {
        "train_loss",
        "robust-f",
        "robust-rows",
        "robust-missing",
        "robust-rejected",
        "robust-skipped",
    }


@pytest.mark.parametrize("name", HOSTILE)
def test_log_lines_are_short_and_whole(
    name: str, make_content: Any, make_round: Any, caplog: pytest.LogCaptureFixture
) -> None:
    reason, spoil = HOSTILE[name]
    contents: list[Any] = honest(make_content, 6)
    contents[ATTACKER] = spoil(contents[ATTACKER])
    make_round(robust("FedAvg"), MODEL, 6).run(contents)
    lines = [r.getMessage() for r in caplog.records if "rejected the reply" in r.getMessage()]
    assert len(lines) == 1
    assert f"node 104 ({reason})" in lines[0]
    assert len(lines[0]) < 300
    assert lines[0].isprintable()


def test_header_is_read_without_allocating_what_it_declares(
    make_content: Any, make_round: Any
) -> None:
    data = npy(W, shape=(2**62,))
    contents: list[Any] = honest(make_content, 6)
    with_array(contents[ATTACKER], "w", Array("float32", (2**62,), "numpy.ndarray", data))
    strategy = robust("FedAvg")
    arrays, _ = make_round(strategy, MODEL, 6).run(contents)
    check_layout(arrays)
    assert strategy.history[-1].rejections[0].reason is Reason.SHAPE


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["nested parentheses", "long integers of Python 2"])
def test_a_header_is_rejected_whatever_becomes_of_warnings(
    name: str, make_content: Any, make_round: Any
) -> None:
    contents: list[Any] = honest(make_content, 6)
    HOSTILE[name][1](contents[ATTACKER])
    strategy = robust("FedAvg")
    make_round(strategy, MODEL, 6).run(contents)
    detail = strategy.history[-1].rejections[0].detail
    assert detail.startswith("'w' needs the .npy header of float32 (2, 3); found")


@pytest.mark.parametrize(
    ("count", "found"), [(-1, "-1"), (2**60, "1152921504606846976"), (float("nan"), "nan")]
)
def test_a_count_out_of_range_is_told_the_range(
    count: float, found: str, make_content: Any, make_round: Any
) -> None:
    contents: list[Any] = honest(make_content, 6)
    with_metric(contents[ATTACKER], "num-examples", count)
    strategy = robust("FedAvg")
    make_round(strategy, MODEL, 6).run(contents)
    assert strategy.history[-1].rejections[0].detail == (
        f"needs a count from 0 to 2⁵³ in 'num-examples'; found {found}"
    )


def test_unpickling_never_happens(make_content: Any, make_round: Any) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return pytest.fail, ("unpickled",)

    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "|O", "fortran_order": False, "shape": (2, 3)}
    )
    data = stream.getvalue() + pickle.dumps(Bomb())
    contents: list[Any] = honest(make_content, 6)
    with_array(contents[ATTACKER], "w", declared(data))
    strategy = robust("FedAvg")
    check_layout(make_round(strategy, MODEL, 6).run(contents)[0])
    assert len(strategy.history[-1].rejections) == 1


def test_an_array_that_raises_is_unreadable(make_content: Any, make_round: Any) -> None:
    class Raising(Array):
        def __getattribute__(self, name: str) -> Any:
            if name == "shape":
                raise SystemError("%s\n" * 100)
            return super().__getattribute__(name)

    array = Raising.__new__(Raising)
    array.__dict__.update(Array(W).__dict__)
    contents: list[Any] = honest(make_content, 6)
    contents[ATTACKER]["arrays"]["w"] = array
    strategy = robust("FedAvg")
    check_layout(make_round(strategy, MODEL, 6).run(contents)[0])
    assert strategy.history[-1].rejections[0].reason is Reason.UNREADABLE


hostile_arrays = st.one_of(
    st.builds(
        Array,
        dtype=st.sampled_from(["float32", "float64", "<f4", "object", "", "🦠"]),
        shape=st.sampled_from([(2, 3), (3, 2), (6,), (-1,), (2**60,), ()]),
        stype=st.sampled_from(["numpy.ndarray", "pickle", ""]),
        data=st.one_of(
            st.binary(max_size=400),
            st.binary(max_size=120).map(lambda tail: npy(W)[: 152 - len(tail)] + tail),
            st.integers(0, 151).flatmap(
                lambda at: st.binary(min_size=1, max_size=1).map(
                    lambda byte: npy(W)[:at] + byte + npy(W)[at + 1 :]
                )
            ),
        ),
    ),
    st.sampled_from(
        [np.float16, np.float32, np.float64, np.complex64, np.int8, bool, "U3"]
    ).flatmap(
        lambda dtype: st.sampled_from([(2, 3), (3, 2), (1, 2, 3), (0,), ()]).map(
            lambda shape: Array(np.zeros(shape, dtype))
        )
    ),
    st.lists(st.floats(width=32), min_size=6, max_size=6).map(
        lambda values: Array(np.array(values, np.float32).reshape(2, 3))
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


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    forged=st.lists(hostile_contents, min_size=1, max_size=2), inner=st.sampled_from(list(INNER))
)
def test_fuzzed_replies(forged: list[Any], inner: str, make_content: Any, make_round: Any) -> None:
    contents: list[Any] = honest(make_content, 9)
    for i, (arrays, metrics, arrays_key, metrics_key, keep) in enumerate(forged):
        base = {k: Array(v) for k, v in MODEL.items()} if keep else {}
        record = ArrayRecord()
        for key, array in (base | arrays).items():
            record[key] = array
        reply = RecordDict({arrays_key: record})
        reply[metrics_key] = MetricRecord({"num-examples": 1, **metrics} if keep else metrics)
        contents[2 + i] = reply
    payload = "gradient" if inner == "ServerSGD" else "model"
    strategy = Robust(INNER[inner](), "arc > nnm > trimmed_mean", 2, payload)
    arrays, metrics = make_round(strategy, MODEL, 9).run(contents)
    check_layout(arrays)
    assert not strategy.history[-1].skipped
    assert all(np.isfinite(value).all() for value in metrics.values())
    assert {r.node_id for r in strategy.history[-1].rejections} <= {103, 104}
