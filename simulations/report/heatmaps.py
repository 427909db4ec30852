"""Worst-case accuracy over f and heterogeneity, one heat map a rule, as ByzFL draws them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .outcomes import varying, worst_case
from .panels import Panel, drawn_axes, grid_of_axes, heat, percent

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["heatmaps"]

_MOST_MAPS = 24


def heatmaps(runs: DataFrame) -> Iterator[Panel]:
    """Yield the maps of maximal and of final accuracy, where f or the partition varies."""
    axes_of = [name for name in ("f", "partition") if name in varying(runs)]
    if not axes_of:
        return
    servers = [
        name
        for name in varying(runs)
        if name in ("rule", "client", "assumed_f", "dataset", "model", "init_scale")
    ] or ["rule"]
    by = [*servers, "partition", "f"]
    levels = servers if len(servers) > 1 else servers[0]  # pandas 2 warns of a list of one
    for measure in ("maximal", "final"):
        worst = worst_case(runs, by, measure)
        groups = list(worst.groupby(level=levels, sort=False, dropna=False))[:_MOST_MAPS]
        rows = worst.index.unique("partition")
        figure, axes = grid_of_axes(len(groups), height=1.0 + 0.35 * len(rows))
        for place, (name, group) in zip(axes, groups, strict=True):
            flat = group.droplevel(list(range(len(servers))))
            table = flat.unstack("f").sort_index(axis=1)
            table = table.reindex(index=rows)
            title = ", ".join(map(str, name if isinstance(name, tuple) else (name,)))
            drawn_axes(place, title)
            place.grid(visible=False)
            heat(place, table)
        figure.supxlabel("f, number of colluders", fontsize=9)
        figure.supylabel("partition", fontsize=9)
        listed = worst.map(percent).rename("worst case").reset_index()
        yield Panel(
            f"worst-case-{measure}",
            f"Worst-case {measure} accuracy",
            f"For each attack the {measure} test accuracy, mean over seeds; then the least over "
            "the attacks, in per cent.",
            figure,
            listed,
        )
