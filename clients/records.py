"""The arrays of a reply beside those that the client received: what an update is measured from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from flwr.app import Array, ArrayRecord, RecordDict
from torch import Tensor

from byzflower.wire.arrays import SharedArray, to_tensor
from byzflower.wire.buffers import buffer_names
from byzflower.wire.payload import Payload, declared, declared_as_buffer

__all__ = ["Arrays", "altered", "array_records", "counterpart"]

Arrays: TypeAlias = Mapping[str, Array]


def array_records(content: RecordDict) -> dict[str, ArrayRecord]:
    """Return the records of arrays, by name."""
    return {name: record for name, record in content.items() if isinstance(record, ArrayRecord)}


def counterpart(name: str, received: Mapping[str, Arrays]) -> Arrays:
    """Return the received arrays of that name, or the only ones (legacy apps rename theirs).

    Raises
    ------
    ValueError
        If there are several, none of that name.
    """
    if name in received:
        return received[name]
    if len(received) != 1:
        raise ValueError(f"a model payload needs the received model; found {sorted(received)}")
    return next(iter(received.values()))


def altered(
    content: RecordDict,
    received: Mapping[str, Arrays],
    change: Callable[[Tensor], Tensor],
    payload: Payload | None = None,
) -> RecordDict:
    """Return a reply whose updates have passed through ``change``, parameter by parameter.

    Parameters
    ----------
    content
        The reply; buffers stay as they are.
    received
        The arrays that the client was sent, which updates of a model payload are measured from.
    payload
        What the reply holds; by default what it declares, else "model".

    Raises
    ------
    ValueError
        If a model payload has an array that was not received.
    """
    result = RecordDict(dict(content))
    holds, is_buffer = payload or declared(content) or "model", declared_as_buffer(content)
    for name, record in array_records(content).items():
        base = counterpart(name, received) if holds == "model" else None
        result[name] = _changed(record, base, change, is_buffer)
    return result


def _changed(
    record: ArrayRecord,
    base: Arrays | None,
    change: Callable[[Tensor], Tensor],
    is_buffer: Callable[[str], bool] | None,
) -> ArrayRecord:
    tensors = {name: to_tensor(array) for name, array in record.items()}
    buffers = buffer_names(tensors, is_buffer)
    result = ArrayRecord()
    for name, tensor in tensors.items():
        if name in buffers:
            result[name] = record[name]
        elif base is None:
            result[name] = SharedArray(change(tensor))
        else:
            if name not in base:
                raise ValueError(
                    f"a model payload needs the received array {name!r}; found {[*base]}"
                )
            start = to_tensor(base[name]).to(tensor)
            result[name] = SharedArray(start + change(tensor - start))
    return result
