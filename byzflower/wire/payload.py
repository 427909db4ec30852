"""What the arrays of a reply to training are: a model or a gradient, as the reply declares."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from flwr.app import ConfigRecord, RecordDict

__all__ = ["RECORD", "Payload", "check_payload", "declare", "declared"]

Payload: TypeAlias = Literal["model", "gradient"]
"""What the arrays of a reply to training are."""

RECORD = "byzflower"
"""Name of the ConfigRecord that says so, under the key "payload"."""


def declare(content: RecordDict, payload: Payload) -> None:
    """Add to a reply the record that says what its arrays are.

    >>> content = RecordDict()
    >>> declare(content, "gradient")
    >>> dict(content["byzflower"])
    {'payload': 'gradient'}
    """
    content[RECORD] = ConfigRecord({"payload": payload})


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


def check_payload(payload: object) -> None:
    """Refuse what is neither "model" nor "gradient"."""
    if payload not in get_args(Payload):
        raise ValueError(f"`payload` needs to be 'model' or 'gradient'; found {payload!r}")
