"""What the arrays of a train reply are: a model or a gradient, in the reply's own words."""

from __future__ import annotations

from typing import get_args

from flwr.app import ConfigRecord, RecordDict

from byzflower.clients.algorithms import Payload

__all__ = ["check_payload", "declare", "declared"]

_RECORD = "byzflower"


def declare(content: RecordDict, payload: Payload) -> None:
    """Add to a reply the record that says what its arrays are.

    >>> content = RecordDict()
    >>> declare(content, "gradient")
    >>> dict(content["byzflower"])
    {'payload': 'gradient'}
    """
    content[_RECORD] = ConfigRecord({"payload": payload})


def declared(content: RecordDict) -> Payload | None:
    """Return what a reply says its arrays are; None if it says nothing that is known.

    >>> content = RecordDict()
    >>> declare(content, "gradient")
    >>> declared(content), declared(RecordDict())
    ('gradient', None)
    """
    record = content.get(_RECORD)
    value = record.get("payload") if isinstance(record, ConfigRecord) else None
    return next((payload for payload in get_args(Payload) if payload == value), None)


def check_payload(payload: object) -> None:
    """Refuse what is neither "model" nor "gradient"."""
    if payload not in get_args(Payload):
        raise ValueError(f"`payload` needs to be 'model' or 'gradient'; found {payload!r}")
