"""Accuracy of runs by round, as a PNG: curves, or a heat map where there are many."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from .figures import COLOURS, DASHES, new_figure, plain
from .results import Run, by_seed, options_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["accuracy_figure", "plot_accuracy"]

_WIDTH, _HEIGHT = 8.0, 4.8
"""Inches of a figure without its legend."""
_CHARACTERS = 100
"""Of a line of text that fits the width."""
_MOST_LINES = 10
"""That can be told apart."""
_COLOURS = COLOURS[:-1]  # black is for what nobody attacks


def plot_accuracy(runs: Sequence[Run], path: str | Path) -> None:
    """Write :func:`accuracy_figure` of the runs to a PNG file."""
    accuracy_figure(runs).savefig(path)


def accuracy_figure(runs: Sequence[Run]) -> Figure:
    """Draw test accuracy by round: a line for each experiment, below them the legend.

    Runs that differ in nothing but the seed are one experiment: its line is their mean, in a band
    from the worst to the best of them. Beside runs under attack those without one are drawn in
    black, for reference, and a dotted line is what a constant answer gets. More than ten
    experiments are the rows of a heat map, the best at the top.

    Parameters
    ----------
    runs
        Runs as :func:`~byzflower.simulations.results.read_runs` returns them.
    """
    lines = _lines(runs)
    return _heat_map(lines, runs) if len(lines) > _MOST_LINES else _curves(lines, runs)


@dataclass(frozen=True)
class _Line:
    """One experiment: its runs from several seeds, by round."""

    runs: list[Run]
    name: str
    reference: bool

    @cached_property
    def accuracies(self) -> dict[int, list[float]]:
        """Round → accuracy from each seed, where all have one."""
        curves = [_accuracies(run) for run in self.runs]
        return {
            t: [curve[t] for curve in curves] for t in sorted(set.intersection(*map(set, curves)))
        }

    @property
    def final(self) -> float:
        """The mean accuracy of the last round."""
        return fmean(self.accuracies[max(self.accuracies)])


def _lines(runs: Sequence[Run]) -> list[_Line]:
    common = _common(runs)
    attacked = any(run.config.get("attack") != "none" for run in runs)
    drawn = []
    for repetitions in by_seed([run for run in runs if _accuracies(run)]):
        config = repetitions[0].config
        reference = attacked and config.get("attack") == "none"
        differs = [key for key in options_of(runs) if config.get(key) != common.get(key, config)]
        told = [f"{key} = {config.get(key)}" for key in differs if not reference or key != "attack"]
        name = ", ".join([*(["no attack"] if reference else []), str(config.get("rule")), *told])
        line = _Line(repetitions, name, reference)
        if line.accuracies:
            drawn.append(line)
    return drawn


def _accuracies(run: Run) -> dict[int, float]:
    return {r["round"]: r["accuracy"] for r in run.rounds if r.get("accuracy") is not None}


def _common(runs: Sequence[Run]) -> dict[str, Any]:
    """Options in which all runs under attack agree, with their values; else all runs."""
    compared = [run for run in runs if run.config.get("attack") != "none"] or runs
    return {
        key: compared[0].config.get(key)
        for key in options_of(compared)
        if all(run.config.get(key) == compared[0].config.get(key) for run in compared)
    }


def _curves(lines: Sequence[_Line], runs: Sequence[Run]) -> Figure:
    from matplotlib.patches import Patch  # noqa: PLC0415
    from matplotlib.ticker import PercentFormatter  # noqa: PLC0415

    figure = new_figure(_WIDTH, _HEIGHT)
    axes = figure.add_subplot()
    ours = [line for line in lines if not line.reference]
    for line in lines:
        i = ours.index(line) if not line.reference else 0
        _draw(
            axes,
            line,
            "black" if line.reference else _COLOURS[i % len(_COLOURS)],
            DASHES[i // len(_COLOURS)],
        )
    _draw_chance(axes, lines)
    handles = axes.get_legend_handles_labels()[0]
    if most := max((len(line.runs) for line in lines if len(line.runs) > 1), default=0):
        handles.append(
            Patch(
                color="grey", alpha=0.3, lw=0, label=f"mean of {most} seeds, from lowest to highest"
            )
        )
    axes.set(xlabel="round", ylabel="test accuracy", ylim=(0, 1.02))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.margins(x=0.01)
    _tick_rounds(axes, lines)
    plain(axes)
    axes.set_title(_title(runs), fontsize=10, loc="left")
    if handles:
        _add_legend(figure, handles)
    return figure


def _draw(axes: Axes, line: _Line, colour: str, dash: str) -> None:
    rounds, values = list(line.accuracies), list(line.accuracies.values())
    label = textwrap.fill(f"{line.name}: {line.final:.1%}", _CHARACTERS)
    mean = [fmean(at_once) for at_once in values]
    axes.plot(rounds, mean, color=colour, linestyle=dash, linewidth=1.5, label=label)
    if len(line.runs) > 1:
        lowest, highest = ([pick(at_once) for at_once in values] for pick in (min, max))
        axes.fill_between(rounds, lowest, highest, color=colour, alpha=0.15, linewidth=0)


def _draw_chance(axes: Axes, lines: Sequence[_Line]) -> None:
    """Draw what the commonest class as every answer gets, where all runs are of the same data."""
    levels = {(run.summary or {}).get("chance") for line in lines for run in line.runs}
    if len(levels) == 1 and (level := levels.pop()) is not None:
        label = f"chance, always one class: {level:.1%}"
        axes.axhline(level, color="grey", linestyle=":", linewidth=1.2, label=label)


def _tick_rounds(axes: Axes, lines: Sequence[_Line]) -> None:
    """Mark round numbers at a distance, and the last round."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    last = max((max(line.accuracies) for line in lines), default=1)
    ticks = MaxNLocator(integer=True).tick_values(0, last)
    axes.set_xticks([*(t for t in ticks if 0 <= t <= 0.94 * last), last])


def _add_legend(figure: Figure, handles: Sequence[Any]) -> None:
    """Put the legend below the axes, in as many columns as fit, and make room for it."""
    for columns in (3, 2, 1):
        legend = figure.legend(
            handles=handles, loc="outside lower left", frameon=False, ncols=columns, fontsize=8
        )
        extent = legend.get_window_extent()
        if columns == 1 or extent.width <= _WIDTH * figure.dpi:
            figure.set_figheight(_HEIGHT + extent.height / figure.dpi)
            return
        legend.remove()


def _heat_map(lines: Sequence[_Line], runs: Sequence[Run]) -> Figure:
    from matplotlib.ticker import PercentFormatter  # noqa: PLC0415

    ordered = sorted(lines, key=lambda line: line.final, reverse=True)
    names = [textwrap.shorten(line.name, 60, placeholder=" …") for line in ordered]
    figure = new_figure(_WIDTH + 0.05 * max(map(len, names)), 1.5 + 0.2 * len(lines))
    axes = figure.add_subplot()
    for row, line in enumerate(ordered):
        rounds = list(line.accuracies)
        # A cell reaches from its round to the next one.
        width = rounds[-1] - rounds[-2] if len(rounds) > 1 else 1
        cells = [[fmean(at_once) for at_once in line.accuracies.values()]]
        edges = [*rounds, rounds[-1] + width]
        image = axes.pcolormesh(
            edges, [row - 0.5, row + 0.5], cells, cmap="cividis", vmin=0, vmax=1
        )
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    _tick_rounds(axes, ordered)
    finals = axes.secondary_yaxis("right")
    finals.set_yticks(range(len(names)), [f"{line.final:.1%}" for line in ordered], fontsize=8)
    finals.tick_params(length=0)
    axes.set_xlabel("round; at the right the last one's accuracy")
    axes.set_title(_title(runs), fontsize=10, loc="left")
    figure.colorbar(image, ax=axes, format=PercentFormatter(1.0), label="test accuracy")
    return figure


def _title(runs: Sequence[Run]) -> str:
    """Say in words what all runs have in common."""
    common = _common(runs)
    attack = common.get("attack")
    under = {None: "", "none": " without attack"}.get(attack, f" under the attack {attack}")
    n, f = common.get("n"), common.get("f")
    crowd = []
    if n is not None:
        crowd.append(
            f"{n} clients"
            if f is None or attack == "none"
            else f"{n} clients, {f} of them malicious"
        )
    elif f is not None:
        crowd.append(f"{f} malicious clients")
    of_task = (("dataset", ""), ("partition", "partition "), ("model", "model "))
    crowd += [f"{word}{common[key]}" for key, word in of_task if common.get(key) is not None]
    parts = (f"Test accuracy{under}", ", ".join(crowd))
    return "\n".join(textwrap.fill(part, _CHARACTERS) for part in parts if part)
