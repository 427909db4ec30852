"""Accuracy by round: a line for each experiment, in a band over its seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..figures import COLOURS, DASHES
from .outcomes import name_of, varying
from .panels import Panel, drawn_axes, grid_of_axes, percent

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["curves"]

_FACETS = ("dataset", "model", "partition", "n", "f", "client", "attack")
_MOST_AXES = 30


def curves(rounds: DataFrame) -> list[Panel]:
    """Return one panel: axes for each attack and setting, lines for what else varies."""
    options = varying(rounds)
    lines = [name for name in options if name not in _FACETS] or ["rule"]
    facets = [name for name in options if name not in lines]
    if "rule" not in lines and "client" in facets:
        lines, facets = [*lines, "client"], [name for name in facets if name != "client"]
    groups = list(rounds.groupby(facets, sort=False, dropna=False)) if facets else [((), rounds)]
    shown = groups[:_MOST_AXES]
    names = list(dict.fromkeys(name_of(row, lines) for _, row in rounds.iterrows()))
    style = {
        name: (COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)])
        for i, name in enumerate(names)
    }
    figure, axes = grid_of_axes(len(shown))
    rows = []
    for place, (_, group) in zip(axes, shown, strict=True):
        drawn_axes(place, name_of(group.iloc[0], facets) if facets else "")
        place.set_ylim(0, 1.02)
        for _, line in group.groupby(lines, sort=False, dropna=False):
            name = name_of(line.iloc[0], lines)
            by_round = line.groupby("round")["accuracy"]
            mean, low, high = by_round.mean(), by_round.min(), by_round.max()
            colour, dash = style[name]
            x = mean.index.to_numpy(dtype=float)
            place.plot(x, mean.to_numpy(), color=colour, linestyle=dash, linewidth=1.4, label=name)
            place.fill_between(x, low.to_numpy(), high.to_numpy(), color=colour, alpha=0.15, lw=0)
            rows.append(
                {
                    **{name: line.iloc[0][name] for name in [*facets, *lines]},
                    "seeds": line["run"].nunique(),
                    "rounds": int(mean.index[-1]),
                    "final": percent(mean.iloc[-1]),
                    "final, lowest": percent(low.iloc[-1]),
                    "final, highest": percent(high.iloc[-1]),
                    "maximal (mean over seeds)": percent(
                        line.groupby("run")["accuracy"].max().mean()
                    ),
                }
            )
    handles = {str(h.get_label()): h for place in axes for h in place.get_lines()}
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower left", fontsize=8, frameon=False
    )
    figure.supxlabel("round", fontsize=9)
    figure.supylabel("test accuracy", fontsize=9)
    text = "Test accuracy by round: mean over seeds, in a band from the worst to the best of them."
    if len(groups) > _MOST_AXES:
        text += f" The first {_MOST_AXES} of {len(groups)} settings."
    import pandas as pd  # noqa: PLC0415

    return [Panel("curves", "Accuracy by round", text, figure, pd.DataFrame(rows))]
