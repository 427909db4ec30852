"""What one node did in one round: the lines that `Robust(conduct_file=…)` writes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from .aggregation import Aggregation
from .history import RoundRecord
from .rejections import Reason

__all__ = ["Outcome", "append_outcomes", "outcomes_of"]

_LOG = getLogger("flwr")

Fate: TypeAlias = Literal["accepted", "rejected", "silent", "unused"]
"""What became of a node's reply; unused is a good one in a round that was skipped."""


@dataclass(frozen=True)
class Outcome:
    """What one node did in one round of training, and what the rule made of it.

    Attributes
    ----------
    server_round, node_id : int
        Which round, which node.
    fate : {"accepted", "rejected", "silent", "unused"}
        What became of the reply.
    weight : float or None
        Weight of the update × number of updates, 1 being an even share; None where the rule gives
        none, as coordinate-wise rules do.
    distance : float or None
        Distance to the aggregate in units of the round's median distance; None if not measured.
    clipped : bool or None
        Whether the update was clipped; None where the rule clips nothing.
    reason : Reason or None
        Why the reply was rejected.
    """

    server_round: int
    node_id: int
    fate: Fate
    weight: float | None = None
    distance: float | None = None
    clipped: bool | None = None
    reason: Reason | None = None

    def to_record(self) -> dict[str, int | float | str | bool]:
        """Return what is known as one JSON object.

        >>> Outcome(3, 7, "rejected", reason=Reason.SHAPE).to_record()
        {'round': 3, 'node': 7, 'fate': 'rejected', 'reason': 'shape'}
        """
        known = {"weight": self.weight, "distance": self.distance, "clipped": self.clipped}
        record: dict[str, int | float | str | bool] = {
            "round": self.server_round,
            "node": self.node_id,
            "fate": self.fate,
        }
        record |= {key: value for key, value in known.items() if value is not None}
        return record if self.reason is None else {**record, "reason": str(self.reason)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Return the outcome that `to_record` was taken from."""
        return cls(
            record["round"],
            record["node"],
            record["fate"],
            record.get("weight"),
            record.get("distance"),
            record.get("clipped"),
            Reason(record["reason"]) if "reason" in record else None,
        )


def outcomes_of(
    record: RoundRecord, aggregation: Aggregation, asked: Iterable[int]
) -> list[Outcome]:
    """Return one outcome for every node that was asked, and for nobody else."""
    number = record.server_round
    reasons = {r.node_id: r.reason for r in record.rejections if r.reason is not Reason.UNASKED}
    accepted = {reply.node_id for reply in aggregation.used}
    shares, distances = aggregation.shares, aggregation.distances
    outcomes = []
    for node in asked:
        if node in reasons:
            outcomes.append(Outcome(number, node, "rejected", reason=reasons[node]))
        elif node not in accepted:
            outcomes.append(Outcome(number, node, "silent"))
        elif record.skipped:
            outcomes.append(Outcome(number, node, "unused"))
        else:
            outcome = Outcome(
                number,
                node,
                "accepted",
                None if shares is None else shares[node],
                None if distances is None else distances[node],
                None if aggregation.clipped is None else node in aggregation.clipped,
            )
            outcomes.append(outcome)
    return outcomes


def append_outcomes(path: str | Path, outcomes: Sequence[Outcome]) -> None:
    """Append outcomes to a JSON-lines file, made with its folder if needed.

    A failure is logged and costs the run nothing.
    """
    text = "".join(json.dumps(outcome.to_record()) + "\n" for outcome in outcomes)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with Path(path).open("a+b") as file:
            _end_with_a_line(file)
            file.write(text.encode())
    except OSError as error:
        _LOG.log(ERROR, "No record of the nodes' conduct: %s", error)


def _end_with_a_line(file: Any) -> None:
    """Drop a last line that a crash cut short, before another is written after it."""
    end = file.seek(0, 2)
    start = max(0, end - 4096)
    file.seek(start)
    tail = file.read()
    if tail and not tail.endswith(b"\n"):
        file.truncate(start + tail.rfind(b"\n") + 1)
