"""How an aggregate came about: as numbers, as a table of the rows, and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Explanation", "StepReport"]


@dataclass(frozen=True)
class StepReport:
    """What one step did: its spec, the rows n and faults f it saw, and its own notes."""

    name: str
    spec: str
    n: int
    f: int
    note: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Explanation:
    """An aggregate and how it came about; printed, a table of the rows.

    Attributes
    ----------
    value : torch.Tensor
        The aggregate, shape (d,), in the updates' dtype and device.
    weights : torch.Tensor or None
        Weight of each of the n original rows, shape (n,), float64; ``None`` for rules that treat
        every coordinate separately.
    n_byzantine : int
        Faults that the rule assumed, after the finite check and the pre-aggregators: an
        assumption, nothing that was detected.
    kept : tuple of int
        Rows that passed the finite check.
    steps : tuple of StepReport
        One report a step, in order. A rule's ``selected`` rows are counted as they were passed
        in; after bucketing or resampling, as these leave them.
    n : int
        Rows passed in.
    distances : torch.Tensor or None
        Distance of each row to the aggregate, shape (n,), float64, where it was asked for; without
        meaning for rows that are not ``kept``.

    Examples
    --------
    >>> import byzflower as bf
    >>> rows = torch.tensor([[1.0], [2.0], [4.0], [float("nan")], [90.0]])
    >>> print(bf.parse("arc > krum_star").explain(rows, f=2))
    arc > krum_star: n = 4, f = 1 assumed
    arc: threshold 4.0, clipped 1
    krum_star: selected (2,)
    row  weight  remark
      0   0.000
      1   0.000
      2   1.000
      3       –  not finite
      4   0.000  clipped
    """

    value: torch.Tensor
    weights: torch.Tensor | None
    n_byzantine: int
    kept: tuple[int, ...]
    steps: tuple[StepReport, ...]
    n: int
    distances: torch.Tensor | None = None

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one record a row: ``row``, ``finite``, ``weight`` (or None) and ``clipped``."""
        clipped = self._clipped()
        finite = set(self.kept)
        return [
            {
                "row": row,
                "finite": row in finite,
                "weight": None
                if self.weights is None or row not in finite
                else float(self.weights[row]),
                "clipped": row in clipped,
            }
            for row in range(self.n)
        ]

    def __str__(self) -> str:
        lines = [self._title(), *self._notes(), "row  weight  remark"]
        for row in self.to_rows():
            weight = "–" if row["weight"] is None else f"{row['weight']:.3f}"
            lines.append(f"{row['row']:3}  {weight:>6}  {_remark(row)}".rstrip())
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        rows = "".join(
            f"<tr><td>{row['row']}</td>"
            f"<td>{'–' if row['weight'] is None else format(row['weight'], '.3f')}</td>"
            f"<td>{_remark(row)}</td></tr>"
            for row in self.to_rows()
        )
        told = "<br>".join(escape(line) for line in [self._title(), *self._notes()])
        head = "<tr><th>row</th><th>weight</th><th>remark</th></tr>"
        return f"<p>{told}</p><table>{head}{rows}</table>"

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw the rows' weights as bars; clipped rows are hatched, rows not finite are crosses.

        Parameters
        ----------
        axes
            Where to draw; a new figure by default. Needs matplotlib.

        Raises
        ------
        ValueError
            For a rule that treats every coordinate separately: its rows have no weights.
        """
        if self.weights is None:
            raise ValueError(
                f"`plot` needs a rule that weighs rows; found {self.steps[-1].spec}, which treats "
                "every coordinate separately"
            )
        if axes is None:
            from matplotlib import pyplot  # noqa: PLC0415 - only who draws needs it

            axes = pyplot.subplots(layout="constrained")[1]
        rows = self.to_rows()
        finite = [row for row in rows if row["finite"]]
        bars = axes.bar([r["row"] for r in finite], [r["weight"] for r in finite], color="#0072B2")
        for bar, row in zip(bars, finite, strict=True):
            if row["clipped"]:
                bar.set(hatch="//", label="clipped", edgecolor="white")
        lost = [row["row"] for row in rows if not row["finite"]]
        if lost:
            axes.scatter(lost, [0] * len(lost), marker="x", color="#D55E00", label="not finite")
        axes.axhline(1 / max(len(finite), 1), color="black", ls=":", label="weight in the mean")
        axes.set(xlabel="row", ylabel="weight", title=self._title())
        handles, labels = axes.get_legend_handles_labels()
        once = dict(zip(labels, handles, strict=True))
        axes.legend(once.values(), once.keys(), frameon=False)
        return axes

    def _clipped(self) -> set[object]:
        found: set[object] = set()
        for step in self.steps:
            rows = step.note.get("clipped_rows", ())
            found.update(rows if isinstance(rows, tuple) else ())
        return found

    def _title(self) -> str:
        chain = " > ".join(step.spec for step in self.steps)
        return f"{chain}: n = {self.steps[0].n}, f = {self.steps[0].f} assumed"

    def _notes(self) -> list[str]:
        """Return a line a step that has something to say."""
        lines = []
        for step in self.steps:
            said = [
                f"{key.replace('_', ' ')} {value}"
                for key, value in step.note.items()
                if key not in {"clipped_rows", "backend"}
            ]
            if said:
                lines.append(f"{step.spec}: {', '.join(said)}")
        return lines


def _remark(row: Mapping[str, Any]) -> str:
    if not row["finite"]:
        return "not finite"
    return "clipped" if row["clipped"] else ""
