"""Ours beside the paper's, with the difference."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .outcomes import worst_case
from .panels import Panel, drawn_axes, grid_of_axes, percent

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["beside"]

_MEASURES = ("maximal", "final", "worst")


def beside(runs: DataFrame, paper: Mapping[str, Any]) -> Iterator[Panel]:
    """Yield the comparison where the paper prints numbers.

    Each of ``paper["numbers"]`` names options, a measure (``maximal``, ``final``, or ``worst``, the
    worst case over attacks of the maximal accuracy) with the paper's value in per cent, and
    ``where`` it stands.
    """
    import pandas as pd  # noqa: PLC0415

    rows = []
    for number in paper.get("numbers", []):
        measure = next(name for name in _MEASURES if name in number)
        told = {k: v for k, v in number.items() if k not in (measure, "where", "bound")}
        matching = runs
        for name, value in told.items():
            matching = matching[matching[name] == value]
        ours = float("nan")
        if not matching.empty:
            over = "maximal" if measure == "worst" else measure
            ours = float(worst_case(matching, [], over).iloc[0])
        theirs = number[measure] / 100
        rows.append(
            {
                "experiment": ", ".join(f"{k} = {v}" for k, v in told.items()),
                "measure": {"worst": "worst case of the maximal"}.get(measure, measure),
                "paper": number.get("bound", "") + percent(theirs),
                "ours": percent(ours),
                "difference": "–" if math.isnan(ours) else f"{100 * (ours - theirs):+.1f}",
                "where the paper says so": number["where"],
                "_paper": theirs,
                "_ours": ours,
            }
        )
    if not rows:
        return
    table = pd.DataFrame(rows)
    figure, (place,) = grid_of_axes(1, height=1.2 + 0.28 * len(table))
    drawn_axes(place)
    heights = range(len(table))[::-1]
    place.hlines(
        heights, table["_paper"], table["_ours"].fillna(table["_paper"]), color="0.6", lw=2
    )
    place.scatter(table["_paper"], heights, marker="s", color="#D55E00", label="paper", zorder=3)
    place.scatter(table["_ours"], heights, marker="o", color="#0072B2", label="ours", zorder=3)
    place.set_yticks(heights, table["experiment"], fontsize=7)
    place.set_xlim(0, 1.02)
    place.set_xlabel("test accuracy", fontsize=9)
    figure.legend(loc="outside lower left", fontsize=8, frameon=False, ncols=2)
    yield Panel(
        "beside-the-paper",
        "Ours beside the paper's",
        "Numbers that the paper prints, and ours in the set-up above; where that is smaller than "
        "the paper's, the order of the rules is what can be compared.",
        figure,
        table.drop(columns=["_paper", "_ours"]),
    )
