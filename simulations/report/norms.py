"""ARC's threshold against the norms of the honest updates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .outcomes import name_of, varying
from .panels import Panel, drawn_axes, grid_of_axes

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["norms"]

_MOST_AXES = 12


def norms(rounds: DataFrame) -> Iterator[Panel]:
    """Yield the panel where runs recorded both; of several seeds, it shows the first."""
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    told = rounds[rounds["threshold"].notna() & rounds["honest_norms"].notna()]
    if told.empty:
        return
    options = varying(rounds)
    first = told[told["seed"] == told["seed"].min()]
    groups = list(first.groupby("run", sort=False))
    figure, axes = grid_of_axes(min(len(groups), _MOST_AXES))
    rows = []
    for place, (_, run) in zip(axes, groups, strict=False):
        name = name_of(run.iloc[0], options)
        drawn_axes(place, name)
        x = run["round"].to_numpy(dtype=float)
        honest = [np.asarray(values, dtype=float) for values in run["honest_norms"]]
        low, middle, high = ([f(v) for v in honest] for f in (np.min, np.median, np.max))
        place.fill_between(x, low, high, color="#56B4E9", alpha=0.35, lw=0, label="honest norms")
        place.plot(x, middle, color="#0072B2", lw=1.2, label="their median")
        place.plot(x, run["honest_mean_norm"], color="#009E73", ls=":", label="norm of their mean")
        place.plot(x, run["threshold"], color="#D55E00", ls="--", lw=1.4, label="threshold C_t")
        place.set_yscale("log")
        rows += [
            {
                "experiment": name,
                "round": int(t),
                "threshold": c,
                "least honest norm": a,
                "median honest norm": b,
                "largest honest norm": d,
                "norm of the honest mean": e,
            }
            for t, c, a, b, d, e in zip(
                x, run["threshold"], low, middle, high, run["honest_mean_norm"], strict=True
            )
        ]
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", fontsize=8, frameon=False, ncols=4)
    figure.supxlabel("round", fontsize=9)
    figure.supylabel("Euclidean norm", fontsize=9)
    text = "ARC's threshold C_t, from the smallest to the largest norm of an honest update."
    if len(groups) > _MOST_AXES:
        text += f" The first {_MOST_AXES} of {len(groups)} runs."
    yield Panel("norms", "Clipping threshold and honest norms", text, figure, pd.DataFrame(rows))
