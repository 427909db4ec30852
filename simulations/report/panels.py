"""A figure with its table and its words, and the look that all figures share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..figures import new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

__all__ = ["Panel", "drawn_axes", "grid_of_axes", "heat", "percent"]

_WIDTH = 8.0
"""Inches."""
_MOST_NUMBERS = 20
"""Columns of a heat map whose numbers fit."""


@dataclass(frozen=True)
class Panel:
    """One figure of a report.

    Attributes
    ----------
    name : str
        Of its files.
    title, text : str
        Its heading, and what it shows in a sentence or two.
    figure : Figure or None
        The drawing; None where the table says it all.
    table : DataFrame
        The data drawn.
    """

    name: str
    title: str
    text: str
    figure: Figure | None
    table: DataFrame


def grid_of_axes(count: int, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    """Return a figure of so many axes, at most three beside each other, with one scale."""
    columns = min(count, 3)
    rows = math.ceil(count / columns)
    figure = new_figure(_WIDTH, (height + (1.2 if rows == 1 else 0)) * rows, dpi=120)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel().tolist()
    for left_over in axes[count:]:
        left_over.set_axis_off()
    return figure, axes[:count]


def drawn_axes(axes: Axes, title: str = "") -> Axes:
    """Give axes the common look."""
    import textwrap  # noqa: PLC0415

    axes.set_title(textwrap.fill(title, 38), fontsize=9, loc="left")
    plain(axes)
    axes.tick_params(labelsize=8)
    return axes


def heat(axes: Axes, table: DataFrame, low: float = 0.0, high: float = 1.0) -> Any:
    """Draw a table of shares as a heat map, with its numbers; cividis is safe for any vision."""
    import numpy as np  # noqa: PLC0415

    values = table.to_numpy(dtype=float)
    image = axes.imshow(values, cmap="cividis", vmin=low, vmax=high, aspect="auto")
    axes.set_xticks(range(len(table.columns)), [str(c) for c in table.columns], fontsize=8)
    axes.set_yticks(range(len(table.index)), [str(i) for i in table.index], fontsize=8)
    if max(map(len, map(str, table.columns))) > 6:
        axes.tick_params(axis="x", rotation=30)
    if len(table.columns) > _MOST_NUMBERS:  # they would run into each other
        return image
    for (row, column), value in np.ndenumerate(values):
        dark = value < (low + high) / 2
        axes.text(
            column,
            row,
            "–" if math.isnan(value) else f"{100 * value:.0f}",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if dark else "black",
        )
    return image


def percent(value: float) -> str:
    """Write a share.

    >>> percent(0.7512), percent(float("nan"))
    ('75.1%', '–')
    """
    return "–" if value is None or math.isnan(value) else f"{100 * value:.1f}%"
