"""Run experiments with progress on the screen and results on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..errors import ExperimentError
from ..experiment import Experiment
from ..plots import plot_accuracy
from ..recording import OnRound, record_run, versions
from ..results import ResultsFile, Run, read_runs, run_id
from ..results import as_json as as_line
from ..runner import Round, prepare
from ..trackers import Tracker, tracking
from .terminal import console

__all__ = ["record"]


def record(
    chosen: Sequence[Experiment],
    folder: Path,
    checkpoint_every: int,
    *,
    verbose: bool = False,
    quiet: bool = False,
    as_json: bool = False,
    tracker: Tracker | None = None,
) -> bool:
    """Run the experiments one after another into ``folder``; return False after Ctrl-C.

    What finished there before, with the same versions of everything, is not run again; what was
    killed in the middle goes on after its last checkpoint.
    """
    # Several processes may share a terminal's stderr; the table alone goes to stdout.
    screen = Console(stderr=True, quiet=quiet)
    complete = True
    for experiment in chosen:
        prepare(experiment)
    with ResultsFile(folder) as results, _progress(screen) as progress:
        several = len({experiment.seed for experiment in chosen}) > 1
        bars = {_Bar(progress, experiment, several): experiment for experiment in chosen}
        finished = {run.config["run"]: run for run in read_runs(folder) if _still_holds(run)}
        try:
            for bar, experiment in bars.items():
                if earlier := finished.get(run_id(experiment.config())):
                    bar.fill(earlier)
                else:
                    with tracking(tracker, experiment, folder) as track:
                        record_run(
                            experiment,
                            results,
                            _both(bar.advance, track),
                            checkpoint_every=checkpoint_every,
                            verbose=verbose,
                        )
        except KeyboardInterrupt:
            complete = False
    done = _runs_of(chosen, folder)
    if as_json:
        for run in done:
            print(as_line({**run.config, **(run.summary or {})}))
    else:
        table = console()
        table.print(_title(done), soft_wrap=True, markup=False, highlight=False)
        table.print(_table(done))
    for run in done:
        if remark := _remark(run):
            screen.print(f"{run.config['rule']}: {remark}", markup=False, highlight=False)
    try:
        plot_accuracy(done, folder / "accuracy.png")
    except OSError as error:
        raise ExperimentError(f"`out` needs a writable folder; found {error}") from error
    # Without --out the same command would start in a folder of its own.
    told = f"results in {folder}" if complete else f"interrupted; --out {folder} goes on with it"
    screen.print(told, soft_wrap=True, markup=False, highlight=False)
    return complete


def _both(first: OnRound, second: OnRound) -> OnRound:
    def take(done: Round) -> None:
        first(done)
        second(done)

    return take


def _remark(run: Run) -> str:
    """Return what a run's numbers alone do not say, or nothing."""
    summary = run.summary or {}
    if (diverged := summary.get("diverged")) is not None:
        return (
            f"diverged by round {diverged}: the model's loss is no longer finite, and neither is "
            "what honest clients compute with it"
        )
    if reason := summary.get("skipped"):
        return f"the last round left the model unchanged: {reason}"
    return ""


def _still_holds(run: Run) -> bool:
    return run.finished and run.config.get("versions") == versions()


class _Bar:
    """One experiment's line of the progress display."""

    def __init__(self, progress: Progress, experiment: Experiment, several_seeds: bool) -> None:
        self._progress = progress
        name = experiment.rule + (f", seed {experiment.seed}" if several_seeds else "")
        self._task = progress.add_task(name, total=experiment.rounds, accuracy="")

    def advance(self, done: Round) -> None:
        accuracy = f"{done.accuracy:.1%}"
        self._progress.update(self._task, completed=done.round, accuracy=accuracy)

    def fill(self, earlier: Run) -> None:
        """Show a run that finished before."""
        summary = earlier.summary or {}
        accuracy = f"{summary['accuracy']:.1%}, finished before"
        self._progress.update(self._task, completed=summary["rounds"], accuracy=accuracy)


def _progress(screen: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("accuracy {task.fields[accuracy]}"),
        TimeElapsedColumn(),
        console=screen,
    )


def _runs_of(chosen: Sequence[Experiment], folder: Path) -> list[Run]:
    runs = {run.config["run"]: run for run in read_runs(folder)}
    identities = (run_id(experiment.config()) for experiment in chosen)
    return [runs[identity] for identity in identities if identity in runs]


def _table(runs: Sequence[Run]) -> Table:
    told_apart = ["seed"] if len({run.config["seed"] for run in runs}) > 1 else []
    table = Table("rule", box=None, pad_edge=False)
    for head in (*told_apart, "rounds", "final accuracy", "max accuracy", "seconds"):
        table.add_column(head, justify="right")
    for run in runs:
        summary = run.summary or {}
        accuracies = (summary.get("accuracy"), summary.get("max_accuracy"))
        table.add_row(
            escape(str(run.config["rule"])),
            *(str(run.config[key]) for key in told_apart),
            str(summary.get("rounds", "–")),
            *("–" if value is None else f"{value:.1%}" for value in accuracies),
            f"{summary.get('seconds', 0.0):.1f}",
        )
    return table


def _title(runs: Sequence[Run]) -> str:
    if not runs:
        return "nothing was run"
    config = runs[0].config
    return ", ".join(
        [f"attack {config['attack']}", f"n = {config['n']}", f"f = {config['f']}"]
        + [str(config[key]) for key in ("dataset", "partition", "model")]
    )
