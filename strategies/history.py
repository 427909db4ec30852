"""What happened in each round of training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from logging import INFO, WARNING, getLogger
from typing import Any, Self

from byzflower.explanation import StepReport
from byzflower.wire.metrics import Metrics, MetricValue

from .rejections import Reason, Rejection

__all__ = ["RoundRecord", "cause_of", "log_rejections", "log_replies", "log_round"]

_LOG = getLogger("flwr")
_LOGGED = 20  # a flood of hostile replies must not become a flood of log lines


@dataclass(frozen=True)
class RoundRecord:
    """One round, as `Robust.history` keeps it.

    Attributes
    ----------
    server_round : int
        Flower's number of the round, from 1.
    rule : str
        Spec of the aggregation.
    asked, replies, rows : int
        Nodes asked, replies that came back, updates that reached the rule.
    f : int
        Faulty rows that the rule assumed among ``rows``.
    rejections : tuple of Rejection
        Replies turned away, with node and reason.
    steps : tuple of StepReport
        What each step of the rule did: clipping threshold, rule drawn from a mixture, …
    skipped : str
        Why the model was left unchanged; empty if it was not.
    metrics : mapping
        What the inner strategy made of the clients' metrics; empty if the round was skipped.
    """

    server_round: int
    rule: str
    asked: int
    replies: int
    rows: int
    f: int
    rejections: tuple[Rejection, ...] = ()
    steps: tuple[StepReport, ...] = ()
    skipped: str = ""
    metrics: Metrics = field(default_factory=dict)

    def to_metrics(self) -> dict[str, MetricValue]:
        """Return the round's numbers, as a MetricRecord can hold them; text stays in the history.

        >>> RoundRecord(1, "median", asked=5, replies=5, rows=5, f=1).to_metrics()["robust-f"]
        1
        """
        metrics: dict[str, MetricValue] = {
            "robust-f": self.f,
            "robust-rows": self.rows,
            "robust-missing": max(0, self.asked - self.replies),
            "robust-rejected": len(self.rejections),
            "robust-skipped": int(bool(self.skipped)),
        }
        for reason, count in sorted(Counter(r.reason for r in self.rejections).items()):
            metrics[f"robust-rejected-{reason}"] = count
        for step in self.steps:
            for note, name in (("threshold", "clipping-threshold"), ("clipped", "clipped-rows")):
                value = step.note.get(note)
                if isinstance(value, int | float):
                    metrics[f"robust-{name}"] = value
        return metrics

    def to_state(self) -> dict[str, Any]:
        """Return the record as a tree of plain values, for a checkpoint."""
        steps = [{**vars(step), "note": dict(step.note)} for step in self.steps]
        rejections = [{**vars(r), "reason": str(r.reason)} for r in self.rejections]
        own = {"rejections": rejections, "steps": steps, "metrics": dict(self.metrics)}
        return {**vars(self), **own}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the record that `to_state` was taken from."""
        rejections = (
            Rejection(r["node_id"], Reason(r["reason"]), r["detail"]) for r in state["rejections"]
        )
        steps = (StepReport(**step) for step in state["steps"])
        return cls(**{**state, "rejections": tuple(rejections), "steps": tuple(steps)})


def cause_of(rejections: Sequence[Rejection], replies: Sequence[object]) -> str:
    """Return the commonest reason for which a skipped round's replies were turned away.

    >>> found = [Rejection(i, Reason.DTYPE, "'w' needs dtype float32; found 'x'") for i in (1, 2)]
    >>> cause_of(found, [1, 2, 3])
    " (2 of 3 replies rejected, most of them: 'w' needs dtype float32; found 'x')"
    """
    if not rejections:
        return ""
    reason = Counter(rejection.reason for rejection in rejections).most_common(1)[0][0]
    details = Counter(r.detail for r in rejections if r.reason is reason)
    return (
        f" ({len(rejections)} of {len(replies)} replies rejected, most of them: "
        f"{details.most_common(1)[0][0]})"
    )


def log_rejections(phase: str, rejections: Sequence[Rejection]) -> None:
    """Log who was turned away and why, a line each; client text in them is escaped and short."""
    for rejection in rejections[:_LOGGED]:
        _LOG.log(
            WARNING,
            "%s: rejected the reply of node %d (%s): %s",
            phase,
            rejection.node_id,
            rejection.reason,
            rejection.detail,
        )
    if len(rejections) > _LOGGED:
        _LOG.log(WARNING, "%s: rejected %d more replies", phase, len(rejections) - _LOGGED)


def log_round(record: RoundRecord) -> None:
    """Log how many nodes were asked and what became of their replies, in one line."""
    rule = f"; `{record.rule}` of {record.rows} updates, f = {record.f}"
    counts = record.asked, record.replies, record.rejections
    log_replies("aggregate_train", *counts, "" if record.skipped else rule)


def log_replies(
    phase: str, asked: int, replies: int, rejections: Sequence[Rejection], more: str = ""
) -> None:
    """Log the numbers of nodes asked and of replies, failed ones and those turned away."""
    failed = sum(rejection.reason is Reason.ERROR for rejection in rejections)
    _LOG.log(
        INFO,
        "%s: %d nodes asked, %d replies: %d failed, %d rejected%s",
        phase,
        asked,
        replies,
        failed,
        len(rejections) - failed,
        more,
    )
