"""Malicious clients that send malformed replies, which a server has to reject."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict

if TYPE_CHECKING:  # Flower 1.30 does not have these names
    from flwr.clientapp.typing import ClientAppCallable, Mod

__all__ = ["GARBAGE", "garbage_mod"]

_Spoil = Callable[[RecordDict], None]
_OnArray = Callable[[Array], Array]


def garbage_mod(kind: str) -> Mod:
    """Return a mod that spoils the replies to train messages in one way.

    Parameters
    ----------
    kind
        A name in ``GARBAGE``: of the reply's arrays, all or the first are spoilt in shape
        ("extra_dimension", "flattened", "transposed", "wrong_shape", "zero_size"), in dtype
        ("complex", "float16", "float64", "integers", "strings", "structs"), or in their bytes
        ("no_bytes", "object_pickle", "random_bytes", "truncated", "unknown_stype",
        "wrong_header"); or keys and records are ("empty", "extra_arrays", "extra_config",
        "extra_key", "extra_metric", "missing_key", "no_arrays", "no_metrics", "renamed_arrays");
        or the count of examples is ("huge_num_examples", "list_num_examples",
        "nan_num_examples", "negative_num_examples", "no_num_examples", "zero_num_examples").
        "error" raises, so that Flower answers with an error.

    Raises
    ------
    ValueError
        If the kind is unknown.

    Examples
    --------
    >>> from flwr.clientapp import ClientApp
    >>> app = ClientApp(mods=[garbage_mod("truncated")])
    """
    if kind not in GARBAGE:
        raise ValueError(
            f"`garbage_mod` needs a kind from {', '.join(sorted(GARBAGE))}; found {kind!r}"
        )
    spoil = GARBAGE[kind]

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        reply = call_next(message, context)
        if message.metadata.message_type.split(".")[0] == "train" and reply.has_content():
            content = RecordDict(dict(reply.content))
            spoil(content)
            reply.content = content
        return reply

    return mod


def _arrays_of(content: RecordDict) -> tuple[str, ArrayRecord]:
    return next((n, r) for n, r in content.items() if isinstance(r, ArrayRecord))


def _metrics_of(content: RecordDict) -> tuple[str, MetricRecord]:
    return next((n, r) for n, r in content.items() if isinstance(r, MetricRecord))


def _every_array(change: _OnArray) -> _Spoil:
    def spoil(content: RecordDict) -> None:
        name, record = _arrays_of(content)
        content[name] = _record({key: change(array) for key, array in record.items()})

    return spoil


def _numbers(change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> _Spoil:
    return _every_array(lambda array: Array(np.ascontiguousarray(change(array.numpy()))))


def _bytes(change: Callable[[bytes], bytes]) -> _Spoil:
    return _every_array(
        lambda array: Array(array.dtype, tuple(array.shape), array.stype, change(array.data))
    )


def _record(arrays: dict[str, Array]) -> ArrayRecord:
    # The constructor would read every array, garbage included.
    record = ArrayRecord()
    for key, array in arrays.items():
        record[key] = array
    return record


def _keys(change: Callable[[dict[str, Array]], None]) -> _Spoil:
    def spoil(content: RecordDict) -> None:
        name, record = _arrays_of(content)
        arrays = dict(record)
        change(arrays)
        content[name] = _record(arrays)

    return spoil


def _metrics(**values: float | list[float] | None) -> _Spoil:
    """Set metrics, with - for _; None removes one."""

    def spoil(content: RecordDict) -> None:
        name, record = _metrics_of(content)
        metrics = dict(record)
        for key, value in values.items():
            metrics.pop(key.replace("_", "-"), None)
            if value is not None:
                metrics[key.replace("_", "-")] = value
        content[name] = MetricRecord(metrics)

    return spoil


def _drop(find: Callable[[RecordDict], tuple[str, object]]) -> _Spoil:
    def spoil(content: RecordDict) -> None:
        del content[find(content)[0]]

    return spoil


def _drop_first(arrays: dict[str, Array]) -> None:
    del arrays[next(iter(arrays))]


def _rename_arrays(content: RecordDict) -> None:
    name, record = _arrays_of(content)
    del content[name]
    content[f"{name}-renamed"] = record


def _copy_arrays(content: RecordDict) -> None:
    name, record = _arrays_of(content)
    content[f"{name}-again"] = record


def _fail(content: RecordDict) -> None:
    raise RuntimeError("this client fails on purpose")


def _npy(descr: str, shape: str, data: bytes) -> bytes:
    """Return the bytes of a .npy file with this header."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    padded = header.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + data


def _unknown_stype(array: Array) -> Array:
    return Array(array.dtype, tuple(array.shape), "cloudpickle", array.data)


GARBAGE: dict[str, _Spoil] = {
    "complex": _numbers(lambda a: a.astype(np.complex64) * 1j),
    "empty": lambda content: content.clear(),
    "error": _fail,
    "extra_arrays": _copy_arrays,
    "extra_config": lambda content: content.update({"garbage": ConfigRecord({"x": 1})}),
    "extra_dimension": _numbers(lambda a: a[None]),
    "extra_key": _keys(lambda arrays: arrays.update(garbage=Array(np.ones(3)))),
    "extra_metric": _metrics(garbage=1.0),
    "flattened": _numbers(lambda a: a.reshape(-1)),
    "float16": _numbers(lambda a: a.astype(np.float16)),
    "float64": _numbers(lambda a: a.astype(np.float64)),
    "huge_num_examples": _metrics(num_examples=1e308),
    "integers": _numbers(lambda a: np.ones(a.shape, dtype=np.int32)),
    "list_num_examples": _metrics(num_examples=[1.0, 2.0]),
    "missing_key": _keys(_drop_first),
    "nan_num_examples": _metrics(num_examples=float("nan")),
    "negative_num_examples": _metrics(num_examples=-1e9),
    "no_arrays": _drop(_arrays_of),
    "no_bytes": _bytes(lambda data: b""),
    "no_metrics": _drop(_metrics_of),
    "no_num_examples": _metrics(num_examples=None),
    "object_pickle": _bytes(lambda data: _npy("|O", "(1,)", data)),
    "random_bytes": _bytes(lambda data: bytes(range(256)) * (len(data) // 256 + 1)),
    "renamed_arrays": _rename_arrays,
    "strings": _numbers(lambda a: np.full(a.shape, "garbage")),
    "structs": _numbers(lambda a: np.zeros(a.shape, dtype=[("x", "f4"), ("y", "i4")])),
    "transposed": _numbers(np.transpose),
    "truncated": _bytes(lambda data: data[: len(data) // 2]),
    "unknown_stype": _every_array(_unknown_stype),
    "wrong_header": _bytes(lambda data: _npy("<f8", "(1099511627776,)", data)),
    "wrong_shape": _numbers(lambda a: np.ones((*a.shape, 2), dtype=a.dtype)),
    "zero_num_examples": _metrics(num_examples=0.0),
    "zero_size": _numbers(lambda a: np.zeros((0, *a.shape), dtype=a.dtype)),
}
"""Kind -> what it does to a reply's content."""
