"""What each node did over the rounds, for the operator to read and, if asked, to act on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from byzflower.strategies.rejections import Reason, Rejection

__all__ = ["Conduct", "NodeConduct", "Outcome", "append_outcomes", "outcomes_of"]

_LOG = getLogger("flwr")
_FAR = 2.0  # median distances
_MOSTLY = 0.9  # of the rounds in which it was measured

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
    server_round: int,
    asked: Iterable[int],
    accepted: Collection[int],
    rejections: Iterable[Rejection],
    *,
    used: bool = True,
    shares: Mapping[int, float] | None = None,
    distances: Mapping[int, float] | None = None,
    clipped: Collection[int] | None = None,
) -> list[Outcome]:
    """Return one outcome for every node that was asked, and for nobody else."""
    reasons = {r.node_id: r.reason for r in rejections if r.reason is not Reason.UNASKED}
    outcomes = []
    for node in asked:
        if node in reasons:
            outcomes.append(Outcome(server_round, node, "rejected", reason=reasons[node]))
        elif node not in accepted:
            outcomes.append(Outcome(server_round, node, "silent"))
        elif not used:
            outcomes.append(Outcome(server_round, node, "unused"))
        else:
            outcome = Outcome(
                server_round,
                node,
                "accepted",
                None if shares is None else shares[node],
                None if distances is None else distances[node],
                None if clipped is None else node in clipped,
            )
            outcomes.append(outcome)
    return outcomes


@dataclass
class NodeConduct:
    """Record of one node.

    Attributes
    ----------
    node_id : int
        Flower's id of the node; where SuperNodes are authenticated it stands for their key.
    asked, accepted : int
        Messages for training sent to it; updates of it that reached the rule.
    weighed : int
        Rounds in which the rule gave rows weights (coordinate-wise rules give none).
    weight : float
        Sum over those rounds of weight × number of rows: 1 a round is an even share.
    selected : int
        Rounds of those in which its weight was not zero.
    measured : int
        Rounds in which distances were measured.
    distance : float
        Sum over those rounds of its update's distance to the aggregate, relative to the round's
        median distance: about 1 a round for most nodes.
    far : int
        Rounds of those in which that was more than 2.
    clipped : int
        Rounds in which its update was clipped.
    rejections : Counter[Reason]
        Replies to training turned away, by reason.
    """

    node_id: int
    asked: int = 0
    accepted: int = 0
    weighed: int = 0
    weight: float = 0.0
    selected: int = 0
    measured: int = 0
    distance: float = 0.0
    far: int = 0
    clipped: int = 0
    rejections: Counter[Reason] = field(default_factory=Counter)

    @property
    def offences(self) -> int:
        """Replies that no honest node would have sent."""
        return sum(
            count
            for reason, count in self.rejections.items()
            if reason.proves_fault and reason is not Reason.QUARANTINED
        )

    def note(self, outcome: Outcome) -> None:
        """Take in one round."""
        self.asked += 1
        self.accepted += outcome.fate == "accepted"
        self.clipped += bool(outcome.clipped)
        if outcome.weight is not None:
            self.weighed += 1
            self.weight += outcome.weight
            self.selected += outcome.weight != 0
        if outcome.distance is not None:
            self.measured += 1
            self.distance += outcome.distance
            self.far += outcome.distance > _FAR
        if outcome.reason is not None:
            self.rejections[outcome.reason] += 1

    def to_row(self) -> dict[str, int | float | None]:
        """Return numbers by column name; averages over no rounds are None."""
        return {
            "node": self.node_id,
            "asked": self.asked,
            "accepted": self.accepted,
            "offences": self.offences,
            "weight": self.weight / self.weighed if self.weighed else None,
            "distance": self.distance / self.measured if self.measured else None,
            "clipped": self.clipped,
            **{
                str(reason): self.rejections[reason] for reason in Reason if self.rejections[reason]
            },
        }


class Conduct:
    """Records of all nodes, by node id.

    It is no list of culprits: honest nodes with unusual data lie far out, too, and an attack made
    to measure does not.

    Examples
    --------
    >>> conduct = Conduct()
    >>> conduct.note([Outcome(1, 7, "accepted", weight=1.0, distance=1.0, clipped=False)])
    >>> conduct.note([Outcome(1, 8, "rejected", reason=Reason.SHAPE)])
    >>> print(conduct.table())
    node  asked  accepted  offences  weight  distance  clipped  rejections
       8      1         0         1       -         -        0  shape: 1
       7      1         1         0    1.00      1.00        0
    """

    def __init__(self) -> None:
        self._nodes: dict[int, NodeConduct] = {}

    def __getitem__(self, node_id: int) -> NodeConduct:
        """Return one node's record; KeyError if it was never asked."""
        return self._nodes[node_id]

    def __len__(self) -> int:
        return len(self._nodes)

    def note(self, outcomes: Iterable[Outcome]) -> None:
        """Take in what nodes did in a round."""
        for outcome in outcomes:
            node = self._nodes.setdefault(outcome.node_id, NodeConduct(outcome.node_id))
            node.note(outcome)

    def offences(self, node_id: int) -> int:
        """Return how many malformed replies a node has sent."""
        node = self._nodes.get(node_id)
        return 0 if node is None else node.offences

    def quarantined(self, after: int, at_most: int) -> frozenset[int]:
        """Return the nodes with ``after`` offences or more: the ``at_most`` worst of them.

        More than f nodes that behave so are no f malicious nodes, but a mistake of the operator's;
        ignoring all of them would hand the model to whoever is left.
        """
        worst = sorted(self._nodes.values(), key=lambda node: (-node.offences, node.node_id))
        return frozenset(node.node_id for node in worst[:at_most] if node.offences >= after)

    def to_rows(self) -> list[dict[str, int | float | None]]:
        """Return one row a node, worst first: most offences, then farthest from the aggregate.

        What was never measured is None, and comes as the farthest.
        """
        rows = [node.to_row() for node in self._nodes.values()]
        return sorted(rows, key=lambda r: (-_or(r["offences"], 0), -_or(r["distance"]), r["node"]))

    def to_state(self) -> dict[int, dict[str, Any]]:
        """Return the records as a tree of plain values, for a checkpoint."""
        return {
            node_id: {
                **vars(node),
                "rejections": {str(reason): count for reason, count in node.rejections.items()},
            }
            for node_id, node in self._nodes.items()
        }

    @classmethod
    def from_state(cls, state: Mapping[int, dict[str, Any]]) -> Self:
        """Return the records that `to_state` was taken from."""
        conduct = cls()
        for node_id, values in state.items():
            rejections = Counter({Reason(k): n for k, n in values["rejections"].items()})
            conduct._nodes[node_id] = NodeConduct(**{**values, "rejections": rejections})
        return conduct

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Gather a file that ``Robust(conduct_file=…)`` wrote, over all restarts.

        A round that was run again after a crash counts once, as it went the last time. A last line
        cut short is left out.

        Raises
        ------
        OSError, ValueError
            If the file cannot be read, or a line before the last is no outcome.
        """
        *lines, _ = Path(path).read_bytes().split(b"\n")
        latest: dict[tuple[int, int], Outcome] = {}
        for number, line in enumerate(lines, start=1):
            try:
                outcome = Outcome.from_record(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path} needs an outcome a line; line {number}: {error}"
                ) from None
            latest[outcome.server_round, outcome.node_id] = outcome
        conduct = cls()
        conduct.note(latest.values())
        return conduct

    def table(self) -> str:
        """Return the rows as text."""
        columns = ["node", "asked", "accepted", "offences", "weight", "distance", "clipped"]
        lines = [[*columns, "rejections"]]
        for row in self.to_rows():
            why = ", ".join(f"{key}: {row[key]}" for key in row if key not in columns)
            lines.append([*(_cell(row[column]) for column in columns), why])
        widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
        return "\n".join(
            "  ".join(
                [*(c.rjust(w) for c, w in zip(line, widths, strict=False)), line[-1]]
            ).rstrip()
            for line in lines
        )

    def summary(self) -> str:
        """Return what stands out: who was rejected, silent, never selected or mostly far away.

        >>> conduct = Conduct()
        >>> conduct.note(Outcome(t, 8, "accepted", weight=0.0, distance=7.0) for t in (1, 2, 3))
        >>> conduct.note([Outcome(3, 9, "rejected", reason=Reason.NON_FINITE)])
        >>> print(conduct.summary())
        rejected as malformed: node 9 (non-finite: 1)
        never selected: node 8 (3 rounds)
        mostly far from the aggregate: node 8 (7.0 median distances)
        """
        nodes = [self._nodes[int(_or(row["node"], 0))] for row in self.to_rows()]
        found = {
            "rejected as malformed": [
                f"node {n.node_id} ({_counts(n.rejections)})" for n in nodes if n.offences
            ],
            "mostly silent": [
                f"node {n.node_id} ({missing} of {n.asked} rounds)"
                for n in nodes
                if (missing := n.asked - n.accepted - n.rejections.total()) > n.asked / 2
            ],
            "never selected": [
                f"node {n.node_id} ({n.weighed} rounds)"
                for n in nodes
                if n.weighed and not n.selected
            ],
            "mostly far from the aggregate": [
                f"node {n.node_id} ({n.distance / n.measured:.1f} median distances)"
                for n in nodes
                if n.measured and n.far >= _MOSTLY * n.measured
            ],
        }
        lines = [f"{what}: {', '.join(who)}" for what, who in found.items() if who]
        return "\n".join(lines) or f"nothing stands out among {len(nodes)} nodes"


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


def _or(value: float | None, otherwise: float = float("inf")) -> float:
    return otherwise if value is None else value


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.2f}"


def _counts(rejections: Counter[Reason]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in sorted(rejections.items()))
