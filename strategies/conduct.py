"""What each node did over the rounds, for the operator to read and, if asked, to act on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Any, Self

from byzflower.strategies.vetting import Reason, Rejection

__all__ = ["Conduct", "NodeConduct"]


@dataclass
class NodeConduct:
    """Record of one node.

    Attributes
    ----------
    node_id : int
        Flower's id of the node.
    asked : int
        Messages for training sent to it.
    accepted : int
        Updates of it that reached the rule.
    weighed : int
        Rounds in which the rule gave rows weights (coordinate-wise rules give none).
    weight : float
        Sum over those rounds of weight × number of rows: 1 a round is an even share.
    measured : int
        Rounds in which distances were measured.
    distance : float
        Sum over those rounds of its update's distance to the aggregate, relative to the round's
        median distance: about 1 a round for most nodes.
    rejections : Counter[Reason]
        Replies to training turned away, by reason.
    """

    node_id: int
    asked: int = 0
    accepted: int = 0
    weighed: int = 0
    weight: float = 0.0
    measured: int = 0
    distance: float = 0.0
    rejections: Counter[Reason] = field(default_factory=Counter)

    @property
    def offences(self) -> int:
        """Replies that no honest node would have sent."""
        return sum(
            count
            for reason, count in self.rejections.items()
            if reason.proves_fault and reason is not Reason.QUARANTINED
        )

    def to_row(self) -> dict[str, int | float]:
        """Return numbers by column name; averages over no rounds are NaN."""
        return {
            "node": self.node_id,
            "asked": self.asked,
            "accepted": self.accepted,
            "offences": self.offences,
            "weight": self.weight / self.weighed if self.weighed else nan,
            "distance": self.distance / self.measured if self.measured else nan,
            **{
                str(reason): self.rejections[reason] for reason in Reason if self.rejections[reason]
            },
        }


class Conduct:
    """Records of all nodes, by node id.

    Examples
    --------
    >>> conduct = Conduct()
    >>> conduct.ask([7, 8])
    >>> conduct.reject(Rejection(8, Reason.SHAPE, "needs shape (2,); found (3,)"))
    >>> conduct.accept([7], distances={7: 1.0}, shares={7: 1.0})
    >>> print(conduct.table())
    node  asked  accepted  offences  weight  distance  rejections
       8      1         0         1       -         -  shape: 1
       7      1         1         0    1.00      1.00
    """

    def __init__(self) -> None:
        self._nodes: dict[int, NodeConduct] = {}

    def __getitem__(self, node_id: int) -> NodeConduct:
        """Return one node's record; KeyError if it was never asked."""
        return self._nodes[node_id]

    def __len__(self) -> int:
        return len(self._nodes)

    def offences(self, node_id: int) -> int:
        """Return how many malformed replies a node has sent."""
        node = self._nodes.get(node_id)
        return 0 if node is None else node.offences

    def ask(self, node_ids: Iterable[int]) -> None:
        """Note that the nodes were asked to train."""
        for node_id in node_ids:
            self._nodes.setdefault(node_id, NodeConduct(node_id)).asked += 1

    def accept(
        self,
        node_ids: Iterable[int],
        distances: Mapping[int, float] | None = None,
        shares: Mapping[int, float] | None = None,
    ) -> None:
        """Note the updates a rule aggregated: relative distance and share of each node."""
        for node_id in node_ids:
            node = self._nodes[node_id]
            node.accepted += 1
            if distances is not None:
                node.measured += 1
                node.distance += distances[node_id]
            if shares is not None:
                node.weighed += 1
                node.weight += shares[node_id]

    def reject(self, rejection: Rejection) -> None:
        """Note a rejection; a sender that nobody asked gets no record, so none can be flooded."""
        if rejection.node_id in self._nodes and rejection.reason is not Reason.UNASKED:
            self._nodes[rejection.node_id].rejections[rejection.reason] += 1

    def to_rows(self) -> list[dict[str, int | float]]:
        """Return one row a node, worst first: most offences, then farthest from the aggregate."""
        rows = [node.to_row() for node in self._nodes.values()]
        # A NaN distance (nothing accepted) sorts as the farthest.
        return sorted(rows, key=lambda r: (-r["offences"], -_or_inf(r["distance"]), r["node"]))

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

    def table(self) -> str:
        """Return the rows as text."""
        columns = ["node", "asked", "accepted", "offences", "weight", "distance"]
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


def _or_inf(value: float) -> float:
    return value if value == value else float("inf")  # noqa: PLR0124


def _cell(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{value:.2f}" if value == value else "-"  # noqa: PLR0124
