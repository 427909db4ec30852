"""Flower records as trees of tensors and plain values, as `byzflower.statefile` stores them."""

from __future__ import annotations

from typing import Any, TypeAlias

from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from byzflower.statefile import Tree
from byzflower.wire.arrays import to_record, to_tensor

__all__ = ["Record", "records_to_tree", "tree_to_records"]

Record: TypeAlias = ArrayRecord | MetricRecord | ConfigRecord


def records_to_tree(records: RecordDict) -> Tree:
    """Return the records as a tree that shares their tensors.

    Examples
    --------
    >>> records_to_tree(RecordDict({"m": MetricRecord({"steps": 3})}))
    {'m': ['MetricRecord', {'steps': 3}]}
    """
    return {name: [type(record).__name__, _items(record)] for name, record in records.items()}


def tree_to_records(tree: Tree) -> RecordDict:
    """Return the records that `records_to_tree` was given."""
    return RecordDict({name: _record(kind, items) for name, (kind, items) in tree.items()})


def _items(record: Any) -> dict[str, Any]:
    if isinstance(record, ArrayRecord):
        return {key: to_tensor(array) for key, array in record.items()}
    return dict(record)


def _record(kind: str, items: dict[str, Any]) -> Record:
    if kind == "ArrayRecord":
        return to_record(items)
    return MetricRecord(items) if kind == "MetricRecord" else ConfigRecord(items)
