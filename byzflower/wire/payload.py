"""What the arrays of a reply to training are, as the reply declares: model or gradient, buffers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias, get_args

from flwr.app import ConfigRecord, RecordDict

__all__ = [
    "RECORD",
    "Payload",
    "check_payload",
    "declare",
    "declared",
    "declared_as_buffer",
    "declared_buffers",
]

Payload: TypeAlias = Literal["model", "gradient"]
"""What the arrays of a reply to training are."""

RECORD = "byzflower"
"""Name of the ConfigRecord that says so, under the keys "payload" and "buffers"."""


def declare(content: RecordDict, payload: Payload, buffers: Iterable[str] | None = None) -> None:
    """Add to a reply the record that says what its arrays are.

    Parameters
    ----------
    content : RecordDict
        The reply's content, to which the record is added.
    payload : {"model", "gradient"}
        What the arrays of the parameters hold.
    buffers : iterable of str or None
        Names of the arrays that are no parameters: the client's own values of them, whatever the
        payload. ``None`` declares nothing about them.

    Examples
    --------
    >>> content = RecordDict()
    >>> declare(content, "gradient", ["running_mean"])
    >>> dict(content["byzflower"])
    {'payload': 'gradient', 'buffers': ['running_mean']}
    """
    record = ConfigRecord({"payload": payload})
    if buffers is not None:
        record["buffers"] = list(buffers)
    content[RECORD] = record


def declared(content: RecordDict) -> Payload | None:
    """Return what a reply says its arrays are; None if it says nothing that is known.

    >>> content = RecordDict()
    >>> declare(content, "gradient")
    >>> declared(content), declared(RecordDict())
    ('gradient', None)
    """
    record = content.get(RECORD)
    value = record.get("payload") if isinstance(record, ConfigRecord) else None
    return next((payload for payload in get_args(Payload) if payload == value), None)


def declared_buffers(content: RecordDict) -> frozenset[str] | None:
    """Return the names of the arrays that a reply says are no parameters; None if it does not say.

    The reply is not trusted: what is no list of strings says nothing, and names may be unknown.

    >>> content = RecordDict()
    >>> declare(content, "model", ["running_mean"])
    >>> declared_buffers(content), declared_buffers(RecordDict())
    (frozenset({'running_mean'}), None)
    """
    record = content.get(RECORD)
    value = record.get("buffers") if isinstance(record, ConfigRecord) else None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return None
    return frozenset(map(str, value))


def declared_as_buffer(content: RecordDict) -> Callable[[str], bool] | None:
    """Return whether a reply says that an array is a buffer, by name; None if it does not say.

    >>> content = RecordDict()
    >>> declare(content, "model", ["running_mean"])
    >>> is_buffer = declared_as_buffer(content)
    >>> is_buffer("running_mean"), is_buffer("weight")
    (True, False)
    """
    names = declared_buffers(content)
    return None if names is None else names.__contains__


def check_payload(payload: object) -> None:
    """Refuse what is neither "model" nor "gradient"."""
    if payload not in get_args(Payload):
        raise ValueError(f"`payload` needs to be 'model' or 'gradient'; found {payload!r}")
