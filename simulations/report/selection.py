"""How often rules that weigh rows selected each node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .outcomes import name_of, varying
from .panels import Panel, drawn_axes, grid_of_axes, heat

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["selection"]

_MOST_ROWS = 40


def selection(runs: DataFrame) -> Iterator[Panel]:
    """Yield the panel where rules gave weights; repetitions over seeds are averaged."""
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    weighed = runs[[_weighed(values) for values in runs["selection"]]]
    if weighed.empty:
        return
    options = varying(runs)
    named = [name_of(row, options) for _, row in weighed.iterrows()]
    shares = {
        name: np.nanmean(np.array(group["selection"].tolist(), dtype=float), axis=0)
        for name, group in weighed.assign(named=named).groupby("named", sort=False)
    }
    table = pd.DataFrame.from_dict(shares, orient="index")
    table.columns = pd.Index(range(1, table.shape[1] + 1))
    shown = table.iloc[:_MOST_ROWS]
    figure, (place,) = grid_of_axes(1, height=1.0 + 0.26 * len(shown))
    drawn_axes(place)
    place.grid(visible=False)
    heat(place, shown)
    place.set_xlabel("node; the colluders are the last f", fontsize=9)
    yield Panel(
        "selection",
        "How often each node was selected",
        "Per cent of rounds in which the rule gave the node's update a weight that is not zero.",
        figure,
        table.round(3).rename_axis("experiment").reset_index(),
    )


def _weighed(values: object) -> bool:
    return isinstance(values, list) and any(value is not None for value in values)
