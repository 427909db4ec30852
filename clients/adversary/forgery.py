"""From honest replies to a matrix of updates, and from a forged update back to a reply."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from functools import cached_property, reduce
from statistics import median_low
from typing import TypeAlias, cast

import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from torch import Tensor

from byzflower.geometry import finite_rows
from byzflower.updates import Updates, stacked_view
from byzflower.wire.arrays import to_record, to_tensor
from byzflower.wire.buffers import BufferNames, buffer_names
from byzflower.wire.payload import declared_as_buffer

from ..records import array_records

__all__ = ["Forgery"]

StateDict: TypeAlias = dict[str, Tensor]


class Forgery:
    """The honest updates of a round, and replies that look like theirs.

    Parameters
    ----------
    replies : Iterable[Message]
        The honest nodes' replies, in any order.
    received : RecordDict or None
        What the nodes were sent, if replies hold models: an update is reply − received model.
    buffers : collection of str, callable or None
        Arrays that are no parameters; by default what the first honest reply declares.

    Attributes
    ----------
    updates : Tensor or None
        Honest updates, (h, d), ordered by node id: the floating-point parameters, one after
        another, in float32 or, where a parameter is, float64. ``None`` if there is none.
    ignored : tuple[int, ...]
        Sources of the replies that are of no use.

    Raises
    ------
    ValueError
        If replies hold models and `received` has no model of their layout.
    """

    def __init__(
        self, replies: Iterable[Message], received: RecordDict | None, buffers: BufferNames
    ) -> None:
        self.updates: Tensor | None = None
        in_order = sorted(replies, key=lambda reply: reply.metadata.src_node_id)
        honest = _of_one_layout([(reply, _read(reply)) for reply in in_order])
        if honest:
            self._first = honest[0][1]
            if buffers is None:
                buffers = declared_as_buffer(honest[0][0].content)
            names = buffer_names(self._first, buffers)
            self._parameters = [name for name in self._first if name not in names]
            self._base = None if received is None else _matching(received, self._first)
            rows = self._rows([model for _, model in honest])
            finite = finite_rows(Updates.of(rows)).tolist()
            honest = [pair for pair, good in zip(honest, finite, strict=True) if good]
            if honest and self._parameters:
                self.updates = rows if all(finite) else rows[torch.tensor(finite)]
        self._contents = [reply.content for reply, _ in honest]
        used = {id(reply) for reply, _ in honest}
        self.ignored = tuple(r.metadata.src_node_id for r in in_order if id(r) not in used)

    def _rows(self, models: list[StateDict]) -> Tensor:
        parts = [self._first[name] for name in self._parameters]
        dtype = reduce(torch.promote_types, (part.dtype for part in parts), torch.float32)
        blocks = [torch.empty(len(models), 0, dtype=dtype)] if not parts else []
        for name in self._parameters:
            arrays = [model[name] for model in models]
            stacked = stacked_view(arrays)  # free, where an engine trained all clients at once
            block = (torch.stack(arrays) if stacked is None else stacked).to(dtype)
            if self._base is not None:
                block = block - self._base[name].to(block)
            blocks.append(block.reshape(len(models), -1))
        return torch.cat(blocks, dim=1)

    def content(self, update: Tensor) -> RecordDict:
        """Return a reply with this update (d,): what an honest node would send, had it made it."""
        arrays = dict(self._first)
        offset = 0
        for name in self._parameters:
            like = self._first[name]
            value = update[offset : offset + like.numel()].view(like.shape)
            offset += like.numel()
            if self._base is not None:
                value = value + self._base[name].to(value)
            arrays[name] = value.to(like.dtype)
        content = RecordDict()
        for name in self._contents[0]:
            other = self._other_records.get(name)
            content[name] = to_record(arrays) if other is None else deepcopy(other)
        return content

    @cached_property
    def _other_records(self) -> RecordDict:
        """What a reply says beside its arrays: each metric the honest ones' (lower) median."""
        others = RecordDict()
        for name, record in self._contents[0].items():
            if isinstance(record, MetricRecord):
                others[name] = _typical([content.get(name) for content in self._contents], record)
            elif not isinstance(record, ArrayRecord):
                others[name] = deepcopy(record)
        return others


def _read(reply: Message) -> StateDict | None:
    records = {} if reply.has_error() else array_records(reply.content)
    if len(records) != 1:
        return None
    (record,) = records.values()
    try:
        return {name: to_tensor(array) for name, array in record.items()} or None
    except Exception:  # bytes of a faulty client can fail in any way
        return None


def _of_one_layout(
    pairs: list[tuple[Message, StateDict | None]],
) -> list[tuple[Message, StateDict]]:
    """Return the readable replies of the commonest layout; a faulty honest node has its own."""
    groups: dict[object, list[tuple[Message, StateDict]]] = {}
    for reply, model in pairs:
        if model is not None:
            layout = frozenset((name, x.shape, x.dtype) for name, x in model.items())
            groups.setdefault(layout, []).append((reply, model))
    return max(groups.values(), key=len, default=[])


def _matching(received: RecordDict, model: StateDict) -> StateDict:
    shapes = {name: value.shape for name, value in model.items()}
    for record in array_records(received).values():
        if {name: torch.Size(array.shape) for name, array in record.items()} == shapes:
            return {name: to_tensor(array) for name, array in record.items()}
    raise ValueError(
        "payload 'model' needs replies with the received model's keys and shapes; "
        f"found {sorted(model)} in a reply to {sorted(received)}"
    )


def _typical(records: list[object], like: MetricRecord) -> MetricRecord:
    typical = deepcopy(like)
    for key, value in like.items():
        if isinstance(value, int | float):
            found = [r.get(key) for r in records if isinstance(r, MetricRecord)]
            values = [number for number in found if isinstance(number, type(value))]
            typical[key] = cast("int | float", median_low(cast("list[float]", values)))
    return typical
