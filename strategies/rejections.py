"""Replies as vetting leaves them: well-formed, or turned away for a reason."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from flwr.app import ConfigRecord, MetricRecord, RecordDict
from torch import Tensor

from byzflower.wire.metrics import Metrics

__all__ = ["Reason", "Rejection", "Reply", "excerpt"]


class Reason(StrEnum):
    """Why a reply was rejected."""

    ERROR = "error"
    UNASKED = "unasked"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"
    RECORDS = "records"
    KEYS = "keys"
    SHAPE = "shape"
    DTYPE = "dtype"
    STYPE = "stype"
    BYTES = "bytes"
    NON_FINITE = "non-finite"
    NUM_EXAMPLES = "num-examples"
    METRICS = "metrics"
    PAYLOAD = "payload"
    UNREADABLE = "unreadable"

    @property
    def proves_fault(self) -> bool:
        """Whether an honest node would never have sent this: only such a reply counts against f.

        An error may be an honest node's crash, and another payload the operator's mistake; a reply
        nobody asked for comes on top of those that were; of two in one node's name, another node
        may have sent either.
        """
        return self not in {Reason.ERROR, Reason.UNASKED, Reason.PAYLOAD, Reason.DUPLICATE}


@dataclass(frozen=True)
class Rejection:
    """A reply that was turned away.

    Attributes
    ----------
    node_id : int
        Node that was asked (or, for a reply nobody asked for, that claims to have sent it).
    reason : Reason
        Category, counted in each round's metrics.
    detail : str
        What was required and what was found; client text in it is escaped and shortened.
    """

    node_id: int
    reason: Reason
    detail: str

    @property
    def proves_fault(self) -> bool:
        """Whether the reason proves one, see `Reason.proves_fault`."""
        return self.reason.proves_fault


@dataclass(frozen=True)
class Reply:
    """A well-formed reply.

    Attributes
    ----------
    node_id : int
        Node that was asked.
    tensors : mapping of str to Tensor
        Its arrays, in the model's layout; empty for evaluation.
    metrics : mapping
        Its metrics.
    metrics_name : str
        Name of the record that holds them.
    configs : mapping of str to ConfigRecord
        What else it says; nothing in it is read here.
    buffers : frozenset of str or None
        Names of the arrays that it declares to be no parameters; ``None`` if it does not say.
    """

    node_id: int
    tensors: Mapping[str, Tensor]
    metrics: Metrics
    metrics_name: str = "metrics"
    configs: Mapping[str, ConfigRecord] = field(default_factory=dict)
    buffers: frozenset[str] | None = None

    def with_metrics(self, metrics: Metrics) -> RecordDict:
        """Return the reply's records without arrays, with these metrics in place of its own."""
        return RecordDict({**self.configs, self.metrics_name: MetricRecord(dict(metrics))})


def excerpt(value: object, limit: int = 60) -> str:
    r"""Return client text safe for a log line: escaped, in ASCII, on one line, short.

    >>> excerpt("w\n[INFO] all is well")
    "'w\\n[INFO] all is well'"
    >>> excerpt((3, 4))
    '(3, 4)'
    """
    if isinstance(value, str):
        return ascii(value[:limit]) + ("…" if len(value) > limit else "")
    try:
        text = reprlib.repr(value)
    except ValueError:  # an integer of thousands of digits
        text = type(value).__name__
    return ascii(text[:limit])[1:-1] + ("…" if len(text) > limit else "")
