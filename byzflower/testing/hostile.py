"""A corpus of hostile replies to one training message, each with the reason to reject it.

`HOSTILE` names over a hundred ways in which a client's answer can be wrong: records, keys, shapes,
dtypes, bytes, numbers, counts, metrics, errors, and whom the answer says it comes from. A kind
whose ``reason`` is None is well-formed: it cannot be told from an honest reply by its form, and
must do no harm. `byzflower.testing.check_strategy` plays them all against a strategy.
"""

from __future__ import annotations

import gzip
import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

from byzflower.strategies import SharedArray

__all__ = ["HOSTILE", "MODEL", "HostileReply", "honest_reply", "npy"]

Values: TypeAlias = npt.NDArray[Any]

_RNG = np.random.default_rng(0)
MODEL: Mapping[str, Values] = {
    "w": _RNG.normal(size=(4, 3)).astype(np.float32),
    "b": _RNG.normal(size=3).astype(np.float32),
}
"""The model that the corpus is made for: a matrix and a vector of float32."""

_W, _B = MODEL["w"], MODEL["b"]
_JUNK = _RNG.bytes(_W.nbytes + 128)


@dataclass(frozen=True)
class HostileReply:
    """One way to answer a training message.

    Attributes
    ----------
    name : str
        What is wrong, in a few words.
    reason : str or None
        `byzflower.strategies.Reason` that a `Robust` strategy rejects it with; None for a
        well-formed reply, which counts like any other.
    replies : callable
        From the message to the attacker and what an honest client would answer to what comes back.
    """

    name: str
    reason: str | None
    replies: Callable[[Message, RecordDict], list[Message]]


HOSTILE: dict[str, HostileReply] = {}
"""Name → kind."""


def honest_reply(
    number: int, model: Mapping[str, Values] = MODEL, *, gradient: bool = False
) -> RecordDict:
    """Return what honest client ``number`` sends: a step common to all, and noise of its own.

    >>> sorted(honest_reply(3))
    ['arrays', 'metrics']
    """
    rng = np.random.default_rng(1000 + number)
    arrays = {}
    for key, value in model.items():
        if value.dtype.kind != "f":
            arrays[key] = Array(np.asarray(value + 1, value.dtype))
            continue
        update = 0.3 + rng.normal(scale=0.1, size=value.shape)
        arrays[key] = Array(np.asarray(update if gradient else value + update, value.dtype))
    metrics = MetricRecord({"num-examples": 10, "train_loss": float(number % 7)})
    return RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics})


def npy(array: Values, *, version: int = 1, **header: object) -> bytes:
    """Return the bytes that `numpy.save` writes, with fields of the header replaced."""
    fields = {
        "descr": np.lib.format.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": array.shape,
    } | header
    stream = io.BytesIO()
    write = {1: np.lib.format.write_array_header_1_0, 2: np.lib.format.write_array_header_2_0}
    write[version](stream, fields)
    return stream.getvalue() + array.tobytes()


def _kind(name: str, reason: str | None, spoil: Callable[[RecordDict], Any]) -> None:
    """Enter a kind that changes an honest reply in place, or returns what replaces it."""

    def replies(asked: Message, honest: RecordDict) -> list[Message]:
        content = spoil(honest)
        found = content if isinstance(content, RecordDict | Error) else honest
        return [Message(found, reply_to=asked)]

    HOSTILE[name] = HostileReply(name, reason, replies)


def _array(name: str, reason: str | None, value: Array | Values, key: str = "w") -> None:
    """Enter a kind with another array in place of an honest one."""

    def spoil(content: RecordDict) -> None:
        content.array_records["arrays"][key] = value if isinstance(value, Array) else Array(value)

    _kind(name, reason, spoil)


def _bytes(name: str, data: bytes, reason: str = "bytes") -> None:
    """Enter a kind that declares what is expected and sends other bytes."""
    _array(name, reason, Array("float32", (4, 3), "numpy.ndarray", data))


def _header(name: str, shape: bytes, reason: str | None = "bytes", padding: int = 0) -> None:
    """Enter a kind with a header written by hand before the right bytes."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + shape + b"), }"
    header += b" " * padding + b"\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + _W.tobytes()
    _array(name, reason, Array("float32", (4, 3), "numpy.ndarray", data))


def _declares(
    name: str,
    reason: str,
    dtype: str = "float32",
    shape: Any = (4, 3),
    stype: str = "numpy.ndarray",
) -> None:
    """Enter a kind that sends the right bytes and declares something else."""
    _array(name, reason, Array(dtype, shape, stype, npy(_W)))


def _metric(name: str, reason: str | None, key: str, value: Any) -> None:
    def spoil(content: RecordDict) -> None:
        content.metric_records["metrics"][key] = value

    _kind(name, reason, spoil)


def _records(name: str, reason: str | None, change: Callable[[dict[str, Any]], Any]) -> None:
    """Enter a kind that changes which records there are."""

    def spoil(content: RecordDict) -> RecordDict:
        records = dict(content)
        change(records)
        return RecordDict(records)

    _kind(name, reason, spoil)


def _keys(name: str, reason: str | None, change: Callable[[dict[str, Array]], Any]) -> None:
    """Enter a kind that changes which arrays there are; their bytes are not read."""

    def spoil(content: RecordDict) -> None:
        arrays = dict(content.array_records["arrays"])
        change(arrays)
        record = ArrayRecord()
        for key, array in arrays.items():
            record[key] = array
        content["arrays"] = record

    _kind(name, reason, spoil)


def _move(records: dict[str, Any], old: str, new: str) -> None:
    records[new] = records.pop(old)


_kind("error", "error", lambda _: Error(1, "Traceback %s %d %n\n" * 50))
_kind("error without a reason", "error", lambda _: Error(0))
_kind("error of an unknown code", "error", lambda _: Error(2**31 - 1, "\x1b[2J\x00"))

_kind("no records", "records", lambda _: RecordDict())
_records("no ArrayRecord", "records", lambda r: r.pop("arrays"))
_records("no MetricRecord", "records", lambda r: r.pop("metrics"))
_records("other name of the arrays", "records", lambda r: _move(r, "arrays", "%s\n"))
_records("two ArrayRecords", "records", lambda r: r.update(more=ArrayRecord()))
_records("a copy of the arrays", "records", lambda r: r.update(more=r["arrays"]))
_records("two MetricRecords", "records", lambda r: r.update(more=MetricRecord()))
_records("a ConfigRecord for the arrays", "records", lambda r: r.update(arrays=ConfigRecord()))
_records("a MetricRecord for the arrays", "records", lambda r: r.update(arrays=MetricRecord()))
_records("arrays under the metrics' name", "records", lambda r: _move(r, "arrays", "metrics"))
_records(
    "a thousand ArrayRecords",
    "records",
    lambda r: r.update({str(i): ArrayRecord() for i in range(1000)}),
)
_records("other name of the metrics", None, lambda r: _move(r, "metrics", "other"))
_records("a ConfigRecord more", None, lambda r: r.update(more=ConfigRecord({"x": "%s\n"})))
_records(
    "a payload of another kind",
    "payload",
    lambda r: r.update(byzflower=ConfigRecord({"payload": "gradient"})),
)
_records(
    "a payload that is a list", None, lambda r: r.update(byzflower=ConfigRecord({"payload": [1]}))
)
_records(
    "an unknown payload", None, lambda r: r.update(byzflower=ConfigRecord({"payload": "%n" * 99}))
)

_keys("a missing key", "keys", lambda a: a.pop("b"))
_keys("a key more", "keys", lambda a: a.update({"evil\n%s" * 99: Array(_W)}))
_keys("another key", "keys", lambda a: a.update(B=a.pop("b")))
_keys("no arrays", "keys", lambda a: a.clear())
_keys("an empty key", "keys", lambda a: a.update({"": Array(_W)}))
_keys("a key of a megabyte", "keys", lambda a: a.update({"k" * 2**20: Array(_W)}))
_keys("a thousand keys more", "keys", lambda a: a.update({f"w{i}": Array(_B) for i in range(1000)}))
_keys("a key of look-alike letters", "keys", lambda a: a.update({"ｗ": a.pop("w")}))
_keys("a BatchNorm buffer more", "keys", lambda a: a.update({"bn.running_mean": Array(_B)}))
_keys("another order of keys", None, lambda a: a.update(w=a.pop("w")))

_array("another shape", "shape", np.zeros((5, 3), np.float32))
_array("no element", "shape", np.zeros((0, 3), np.float32))
_array("a scalar", "shape", np.array(1, np.float32))
_array("transposed", "shape", _W.T.copy())
_array("flattened", "shape", _W.reshape(-1))
_array("a dimension more", "shape", _W[None])
_array("a dimension of one at the end", "shape", _W[..., None])
_array("a row that broadcasts", "shape", _W[:1])
_array("an element that broadcasts", "shape", _W[:1, :1])
_array("the vector as a scalar", "shape", np.array(0, np.float32), key="b")
_kind(
    "16 MB of zeros",
    "shape",
    lambda c: c.array_records["arrays"].update(w=Array(np.zeros(2**22, "f4"))),
)
_declares("an empty shape declared", "shape", shape=())
_declares("a negative shape declared", "shape", shape=(-4, -3))
_declares("a huge shape declared", "shape", shape=(2**62,))
_array(
    "a huge shape declared and in the bytes",
    "shape",
    Array("float32", (2**62,), "numpy.ndarray", npy(_W, shape=(2**62,))),
)
_declares("a shape of 4,000 dimensions", "shape", shape=(1,) * 4000)
_declares("another shape declared", "shape", shape=(3, 4))
_bytes("another shape in the bytes", npy(_W.T))
_bytes("a negative shape in the bytes", npy(_W, shape=(-4, 3)))
_bytes("a huge shape in the bytes", npy(_W, shape=(2**40, 2**20)))

_array("float64", "dtype", _W.astype(np.float64))
_array("float16", "dtype", _W.astype(np.float16))
_array("long double", "dtype", _W.astype(np.longdouble))
_array("big-endian", "dtype", _W.astype(">f4"))
_array("complex64", "dtype", _W.astype(np.complex64) * 1j)
_array("complex128", "dtype", _W.astype(np.complex128) * 1e4j)
_array("int32", "dtype", _W.astype(np.int32))
_array("uint8", "dtype", np.full((4, 3), 255, np.uint8))
_array("booleans", "dtype", _W > 0)
_array("text", "dtype", _W.astype("U8"))
_array("byte strings", "dtype", _W.astype("S8"))
_array("dates", "dtype", np.zeros((4, 3), "datetime64[s]"))
_array("records", "dtype", np.zeros((4, 3), dtype=[("a", "f4")]))
_declares("no dtype declared", "dtype", dtype="")
_declares("objects declared", "dtype", dtype="object")
_declares("bfloat16 declared", "dtype", dtype="bfloat16")
_declares("a dtype of 100,000 letters", "dtype", dtype="f" * 100_000)
_bytes("big-endian bytes", npy(_W.astype(">f4")))
_bytes("int32 in the bytes", npy(_W.astype(np.int32)))
_bytes("float64 in the bytes", npy(_W.astype(np.float64)))
_bytes("complex64 in the bytes", npy(_W.astype(np.complex64)))
_bytes("records in the bytes", npy(_W, descr=[("a", "<f4")]))
_bytes("objects in the bytes", npy(_W, descr="|O"))

_declares("an unknown stype", "stype", stype="cloudpickle")
_declares("no stype", "stype", stype="")
_array("a pickle", "stype", Array("float32", (4, 3), "pickle", pickle.dumps(_W)))

_bytes("no bytes", b"")
_bytes("one byte less", npy(_W)[:-1])
_bytes("one byte more", npy(_W) + b"\0")
_bytes("4 kB more", npy(_W) + b"0" * 4096)
_bytes("the first half", npy(_W)[: len(npy(_W)) // 2])
_bytes("the header alone", npy(_W)[: -_W.nbytes])
_bytes("bytes at random", _JUNK)
_bytes("the values alone", _W.tobytes())
_bytes("a pickle in the bytes", pickle.dumps(_W))
_bytes("compressed bytes", gzip.compress(npy(_W)))
_bytes("a later version of .npy", b"\x93NUMPY\x09\x00" + npy(_W)[8:])
_bytes("a header without an end", npy(_W)[:8] + b"\xff\xff" + npy(_W)[10:])
_bytes("a header of parentheses", b"\x93NUMPY\x01\x00\x80\x00" + b"(" * 128 + _W.tobytes())
_header("nested parentheses", b"(" * 90 + b"4" + b")" * 90 + b", 3")
_header("long integers of Python 2", b"4L, 3L")
_header("a product in the shape", b"2*2, 3")
_header("a call in the shape", b"__import__('os').getpid(), 3")
_header("a header without padding", b"4, 3", reason=None)
_header("a header padded to 16 bytes", b"4, 3", reason=None, padding=9)
_array(
    "version 2.0 of .npy",
    None,
    Array("float32", (4, 3), "numpy.ndarray", npy(_W, version=2)),
)

_array("NaN", "non-finite", np.full_like(_W, np.nan))
_array("one NaN", "non-finite", np.where(_W.max() == _W, np.float32(np.nan), _W))
_array("one Inf", "non-finite", np.where(_W.max() == _W, np.float32(np.inf), _W))
_array("−Inf in the vector", "non-finite", np.full(3, -np.inf, np.float32), key="b")
_array(
    "a NaN with a message in its bits",
    "non-finite",
    np.full((4, 3), 0x7FC0BEEF, np.uint32).view(np.float32),
)
_array("Inf that cancels", "non-finite", np.array([np.inf, -np.inf, 0], np.float32), key="b")

_kind("no num-examples", "num-examples", lambda c: c.metric_records["metrics"].pop("num-examples"))
_metric("NaN num-examples", "num-examples", "num-examples", float("nan"))
_metric("infinite num-examples", "num-examples", "num-examples", float("inf"))
_metric("negative num-examples", "num-examples", "num-examples", -10)
_metric("num-examples that cancel all others", "num-examples", "num-examples", -110)
_metric("huge num-examples", "num-examples", "num-examples", 10**400)
_metric("num-examples of 5,000 digits", "num-examples", "num-examples", 10**5000)
_metric("a list of num-examples", "num-examples", "num-examples", [10] * 10_000)
_metric("num-examples of 2⁶⁰", "num-examples", "num-examples", 2**60)
_metric("no examples", None, "num-examples", 0)
_metric("10⁹ examples claimed", None, "num-examples", 10**9)
_metric("a metric more", None, "evil\n%s", 1e308)
_metric("a NaN metric", None, "train_loss", float("nan"))
_metric("an infinite metric", None, "train_loss", float("-inf"))
_metric("a list for a metric", None, "train_loss", [1.0, 2.0])
_metric("a metric of 400 digits", None, "train_loss", 10**400)

_array("far away", None, np.full_like(_W, 1e6))
_array("at float32's end", None, np.full_like(_W, 3e38))
_array("at float32's other end", None, np.full_like(_W, -3e38))
_array("denormal", None, np.full_like(_W, 1e-42))
_array("the step backwards, 100 ×", None, (_W - 30).astype(np.float32))
_array("zeros", None, np.zeros_like(_W))
_array("Fortran order", None, np.asfortranarray(_W))

_array("a shared tensor", None, SharedArray(torch.from_numpy(_W)))
_array("a shared tensor of another shape", "shape", SharedArray(torch.zeros(3, 4)))
_array("a shared tensor of bfloat16", "dtype", SharedArray(torch.zeros(4, 3, dtype=torch.bfloat16)))
_array("a shared tensor without values", "stype", SharedArray(torch.zeros(4, 3, device="meta")))
_array("a shared sparse tensor", "stype", SharedArray(torch.zeros(4, 3).to_sparse()))
_array("shared NaN", "non-finite", SharedArray(torch.full((4, 3), torch.nan)))


def _twice(asked: Message, honest: RecordDict) -> list[Message]:
    return [Message(honest, reply_to=asked), Message(honest, reply_to=asked)]


def _flood(asked: Message, honest: RecordDict) -> list[Message]:
    return [Message(honest, reply_to=asked) for _ in range(1000)]


HOSTILE["the same reply twice"] = HostileReply("the same reply twice", "duplicate", _twice)
HOSTILE["a thousand replies"] = HostileReply("a thousand replies", "duplicate", _flood)
