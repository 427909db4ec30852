"""Accuracy curves of runs, as a PNG."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from .figures import COLOURS, DASHES, new_figure, plain
from .results import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["accuracy_figure", "plot_accuracy"]

_MARKERS = ("", "o", "s", "^", "v", "D")
_WIDTH, _HEIGHT = 8.0, 4.8
"""Inches of a figure without its legend."""
_CHARACTERS = 100
"""Of a line of text that fits the width."""
# What does not make two runs different experiments, or is told apart otherwise.
_UNNAMED = ("kind", "run", "versions", "data_dir", "download", "rule", "seed")


def plot_accuracy(runs: Sequence[Run], path: str | Path) -> None:
    """Write :func:`accuracy_figure` of the runs to a PNG file."""
    accuracy_figure(runs).savefig(path)


def accuracy_figure(runs: Sequence[Run]) -> Figure:
    """Draw test accuracy by round: a line for each experiment, below them the legend.

    Runs that differ in nothing but the seed are one experiment: its line is their mean, in a band
    from the worst to the best of them. The figure is as much higher as its legend needs, so the
    axes keep their size.

    Parameters
    ----------
    runs
        Runs as :func:`~byzflower.simulations.results.read_runs` returns them.
    """
    figure = new_figure(_WIDTH, _HEIGHT)
    axes = figure.add_subplot()
    varying = [key for key in _options(runs) if key not in _common(runs)]
    for i, repetitions in enumerate(_experiments(runs)):
        _draw(axes, repetitions, varying, i)
    _decorate(axes, runs)
    if axes.get_lines():
        _add_legend(figure, axes)
    return figure


def _experiments(runs: Sequence[Run]) -> list[list[Run]]:
    """Gather the runs that differ in nothing but the seed; leave out those without a round."""
    gathered: dict[str, list[Run]] = {}
    for run in runs:
        if _accuracies(run):
            same = {key: run.config.get(key) for key in ("rule", *_options(runs))}
            gathered.setdefault(repr(same), []).append(run)
    return list(gathered.values())


def _accuracies(run: Run) -> dict[int, float]:
    return {r["round"]: r["accuracy"] for r in run.rounds if r.get("accuracy") is not None}


def _options(runs: Sequence[Run]) -> list[str]:
    """Options that can tell experiments apart, the rule aside."""
    return list(dict.fromkeys(key for run in runs for key in run.config if key not in _UNNAMED))


def _common(runs: Sequence[Run]) -> dict[str, Any]:
    """Options in which all runs agree, with their values."""
    return {
        key: runs[0].config.get(key)
        for key in _options(runs)
        if all(run.config.get(key) == runs[0].config.get(key) for run in runs)
    }


def _draw(axes: Axes, repetitions: Sequence[Run], varying: Sequence[str], i: int) -> None:
    curves = [_accuracies(run) for run in repetitions]
    rounds = sorted(set.intersection(*map(set, curves)))
    if not rounds:
        return
    values = [[curve[t] for curve in curves] for t in rounds]
    mean = [fmean(at_once) for at_once in values]
    colour = COLOURS[i % len(COLOURS)]
    dash, marker = i // len(COLOURS), i // len(COLOURS) // len(DASHES)
    axes.plot(
        rounds,
        mean,
        color=colour,
        linestyle=DASHES[dash % len(DASHES)],
        marker=_MARKERS[marker % len(_MARKERS)],
        markevery=max(1, len(rounds) // 10),
        markersize=4,
        linewidth=1.5,
        label=_label(repetitions, varying, mean[-1]),
    )
    if len(curves) > 1:
        lowest, highest = ([pick(at_once) for at_once in values] for pick in (min, max))
        axes.fill_between(rounds, lowest, highest, color=colour, alpha=0.15, linewidth=0)


def _label(repetitions: Sequence[Run], varying: Sequence[str], final: float) -> str:
    config = repetitions[0].config
    options = (f"{key} = {config.get(key)}" for key in varying)
    name = ", ".join([str(config.get("rule")), *options])
    if len(repetitions) > 1:
        name += f" (mean of {len(repetitions)} seeds, band: min–max)"
    return textwrap.fill(f"{name}: {final:.1%}", _CHARACTERS)


def _decorate(axes: Axes, runs: Sequence[Run]) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter  # noqa: PLC0415

    axes.set(xlabel="round", ylabel="test accuracy", ylim=(0, 1.02))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.01)
    plain(axes)
    axes.set_title(_title(runs), fontsize=10, loc="left")


def _add_legend(figure: Figure, axes: Axes) -> None:
    """Put the legend below the axes, in as many columns as fit, and make room for it."""
    for columns in (3, 2, 1):
        legend = figure.legend(loc="outside lower left", frameon=False, ncols=columns, fontsize=8)
        extent = legend.get_window_extent()
        if columns == 1 or extent.width <= _WIDTH * figure.dpi:
            figure.set_figheight(_HEIGHT + extent.height / figure.dpi)
            return
        legend.remove()


def _title(runs: Sequence[Run]) -> str:
    """Return what all runs have in common."""
    common = _common(runs)
    attack = common.pop("attack", None)
    threat = [] if attack is None else ["no attack" if attack == "none" else f"attack {attack}"]
    threat += [f"{key} = {common[key]}" for key in ("n", "f") if key in common]
    task = [str(common[key]) for key in ("dataset", "partition", "model") if key in common]
    lines = (textwrap.fill(", ".join(part), _CHARACTERS) for part in (threat, task) if part)
    return "\n".join(lines)
