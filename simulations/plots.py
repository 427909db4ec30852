"""Accuracy curves of runs, as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from byzflower.simulations.results import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_accuracy"]

# Okabe and Ito's palette: told apart with any colour vision.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", ":")


def plot_accuracy(runs: Sequence[Run], path: str | Path) -> None:
    """Draw each run's test accuracy by round, one line a run.

    Parameters
    ----------
    runs
        Runs as :func:`~byzflower.simulations.results.read_runs` returns them.
    path
        PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(8, 4.8), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    varying = _varying(runs)
    for i, run in enumerate(runs):
        points = [(r["round"], r["accuracy"]) for r in run.rounds if r.get("accuracy") is not None]
        if points:
            rounds, accuracies = zip(*points, strict=True)
            axes.plot(
                rounds,
                accuracies,
                color=_COLOURS[i % len(_COLOURS)],
                linestyle=_DASHES[i // len(_COLOURS) % len(_DASHES)],
                linewidth=1.8,
                label=f"{_label(run, varying)}: {accuracies[-1]:.1%}",
            )
    _decorate(axes, runs, varying)
    figure.savefig(path)


def _decorate(axes: Axes, runs: Sequence[Run], varying: Sequence[str]) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter  # noqa: PLC0415

    axes.set(xlabel="round", ylabel="test accuracy", ylim=(0, 1.02))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.01)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(_title(runs, varying), fontsize=11, loc="left")
    if axes.get_lines():
        # Below the axes the legend never hides a curve.
        columns = 1 if max(len(str(line.get_label())) for line in axes.get_lines()) > 40 else 3
        axes.figure.legend(loc="outside lower left", frameon=False, ncols=columns)


def _varying(runs: Sequence[Run]) -> list[str]:
    """Options in which the runs differ, the rule apart."""
    keys = runs[0].config if runs else {}
    return [
        key
        for key in keys
        if key not in ("kind", "run", "rule")
        and any(run.config.get(key) != runs[0].config[key] for run in runs)
    ]


def _label(run: Run, varying: Sequence[str]) -> str:
    rest = [f"{key} = {run.config.get(key)}" for key in varying]
    return ", ".join([str(run.config.get("rule")), *rest])


def _title(runs: Sequence[Run], varying: Sequence[str]) -> str:
    if not runs:
        return ""
    config = runs[0].config
    attack = "no attack" if config.get("attack") == "none" else f"attack {config.get('attack')}"
    threat = f"{config.get('n')} clients, {config.get('f')} of them Byzantine"
    data = f"{config.get('dataset')}, {config.get('partition')}, model {config.get('model')}"
    parts = [threat, data]
    if "attack" not in varying:
        parts.insert(0, attack)
    return "\n".join([", ".join(parts[:-1]), parts[-1]])
