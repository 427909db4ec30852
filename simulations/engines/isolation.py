"""Give each client its own copy of a message that Flower shares between all of them."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy

from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from torch import Tensor

from byzflower.wire.arrays import SharedArray, to_tensor

__all__ = ["Broadcast", "detached"]

Record = ArrayRecord | ConfigRecord | MetricRecord


class Broadcast:
    """The content of a message, decoded once and copied for every node that receives it.

    Strategies put one `RecordDict` in the messages to all nodes. Its arrays are turned into
    tensors here, once; each node gets records and tensors of its own, so whatever a client does to
    them stays with it.

    Parameters
    ----------
    content : RecordDict
        Content of the message; left as it is.

    Examples
    --------
    >>> import torch
    >>> from byzflower.wire.arrays import to_record
    >>> content = RecordDict({"arrays": to_record({"weight": torch.zeros(2)})})
    >>> broadcast = Broadcast(content)
    >>> first, second = broadcast.copy(), broadcast.copy()
    >>> _ = to_tensor(first["arrays"]["weight"]).add_(1)
    >>> to_tensor(second["arrays"]["weight"])
    tensor([0., 0.])
    """

    def __init__(self, content: RecordDict) -> None:
        self._records: dict[str, Record | Mapping[str, Tensor | Array]] = {
            name: _decode(record) if isinstance(record, ArrayRecord) else record
            for name, record in content.items()
        }

    def copy(self) -> RecordDict:
        """Return records and tensors that nobody else holds."""
        content = RecordDict()
        for name, record in self._records.items():
            if isinstance(record, ConfigRecord | MetricRecord):
                content[name] = _copied(record)
            else:
                content[name] = _encode(record)
        return content


def detached(content: RecordDict) -> RecordDict:
    """Return the content in containers of its own: strategies may empty those they are given."""
    return RecordDict({name: record.copy() for name, record in content.items()})


def _copied(record: ConfigRecord | MetricRecord) -> ConfigRecord | MetricRecord:
    twin = record.copy()
    for key, value in record.items():
        if isinstance(value, list):  # the only values that can be modified
            twin[key] = copy(value)  # type: ignore[assignment]
    return twin


def _decode(record: ArrayRecord) -> dict[str, Tensor | Array]:
    return {key: _tensor(array) for key, array in record.items()}


def _tensor(array: Array) -> Tensor | Array:
    try:
        return to_tensor(array)
    except (TypeError, ValueError):  # bytes of another kind, for instance a tree ensemble
        return array


def _encode(values: Mapping[str, Tensor | Array]) -> ArrayRecord:
    record = ArrayRecord()
    for key, value in values.items():
        record[key] = SharedArray(value.clone()) if isinstance(value, Tensor) else copy(value)
    return record
