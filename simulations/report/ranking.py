"""Rules ranked over attacks: mean rank and worst case."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .outcomes import name_of, varying
from .panels import Panel, drawn_axes, grid_of_axes, percent

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["ranking"]


def ranking(runs: DataFrame) -> Iterator[Panel]:
    """Yield the ranking, where there are several rules (or clients) to rank."""
    subjects = [name for name in ("rule", "client") if name in varying(runs)]
    if not subjects:
        return
    import pandas as pd  # noqa: PLC0415

    runs = runs.assign(subject=[name_of(row, subjects) for _, row in runs.iterrows()])
    settings = [name for name in varying(runs) if name not in subjects]
    means = runs.groupby(["subject", *settings], sort=False, dropna=False)["maximal"].mean()
    table = means.reset_index()
    table["rank"] = (
        table.groupby(settings, dropna=False)["maximal"].rank(ascending=False)
        if settings
        else table["maximal"].rank(ascending=False)
    )
    by = table.groupby("subject", sort=False)
    ranked = pd.DataFrame(
        {
            "settings": by.size(),
            "mean rank": by["rank"].mean().round(2),
            "worst case": by["maximal"].min(),
            "mean": by["maximal"].mean(),
        }
    ).sort_values("mean rank")
    figure, (place,) = grid_of_axes(1, height=1.2 + 0.28 * len(ranked))
    drawn_axes(place)
    heights = range(len(ranked))[::-1]
    place.hlines(heights, ranked["worst case"], ranked["mean"], color="0.6", lw=2, zorder=1)
    place.scatter(ranked["worst case"], heights, color="#D55E00", marker="s", label="worst case")
    place.scatter(ranked["mean"], heights, color="#0072B2", marker="o", label="mean")
    labels = [f"{name}  ({row['mean rank']:.1f})" for name, row in ranked.iterrows()]
    place.set_yticks(heights, labels, fontsize=8)
    place.set_xlim(0, 1.02)
    place.set_xlabel("maximal test accuracy (in parentheses: mean rank)", fontsize=9)
    figure.legend(loc="outside lower left", fontsize=8, frameon=False, ncols=2)
    shown = ranked.reset_index()
    for column in ("worst case", "mean"):
        shown[column] = shown[column].map(percent)
    yield Panel(
        "ranking",
        "Ranking over attacks and settings",
        "In each setting and under each attack, rules are ranked by their maximal accuracy (mean "
        "over seeds; 1 is the best).",
        figure,
        shown,
    )
