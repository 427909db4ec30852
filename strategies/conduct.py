"""What each node did over the rounds, for the operator to read and, if asked, to act on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from .outcomes import Outcome
from .rejections import Reason

__all__ = ["Conduct", "NodeConduct"]

_FAR = 2.0  # median distances
_MOSTLY = 0.9  # of the rounds in which it was measured


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

    ``latest`` holds what each did in the round noted last.

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
        self.latest: tuple[Outcome, ...] = ()

    def __getitem__(self, node_id: int) -> NodeConduct:
        """Return one node's record; KeyError if it was never asked."""
        return self._nodes[node_id]

    def __len__(self) -> int:
        return len(self._nodes)

    def note(self, outcomes: Iterable[Outcome]) -> None:
        """Take in what nodes did in a round."""
        self.latest = tuple(outcomes)
        for outcome in self.latest:
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


def _or(value: float | None, otherwise: float = float("inf")) -> float:
    return otherwise if value is None else value


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.2f}"


def _counts(rejections: Counter[Reason]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in sorted(rejections.items()))
