"""The arrays of a reply beside those that the client received: what an update is measured from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from flwr.app import Array, ArrayRecord, RecordDict

__all__ = ["Arrays", "array_records", "counterpart"]

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
