"""Run experiments with progress on the screen and results on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..errors import ExperimentError
from ..experiment import Experiment
from ..plots import plot_accuracy
from ..recording import OnRound, record_run, versions
from ..results import ResultsFile, Run, as_json, by_seed, options_of, read_runs, run_id
from ..runner import Round, prepare
from ..trackers import Tracker, tracking
from .terminal import console

__all__ = ["show", "train"]


def train(
    chosen: Sequence[Experiment],
    folder: Path,
    screen: Console,
    *,
    checkpoint_every: int,
    verbose: bool = False,
    tracker: Tracker | None = None,
) -> bool:
    """Run the experiments one after another into ``folder``; return False after Ctrl-C.

    What finished there before, with the same versions of everything, is not run again; what was
    killed in the middle goes on after its last checkpoint. The screen shows the progress.
    """
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
            return False
    return True


def show(
    chosen: Sequence[Experiment], folder: Path, screen: Console, *, lines: bool = False
) -> None:
    """Print the experiments' table, or an object a run, and remarks; draw their picture."""
    done = _runs_of(chosen, folder)
    if lines:
        for run in done:
            print(as_json({**run.config, **(run.summary or {})}))
    else:
        table = console()
        table.print(_title(done), soft_wrap=True, markup=False, highlight=False)
        table.print(_table(done))
    for run in done:
        if remark := _remark(run):
            screen.print(f"{run.config['rule']}: {remark}", markup=False, highlight=False)
    try:
        plot_accuracy([*done, *_without_attack(done, folder)], folder / "accuracy.png")
    except OSError as error:
        raise ExperimentError(f"`out` needs a writable folder; found {error}") from error


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


def _without_attack(done: Sequence[Run], folder: Path) -> list[Run]:
    """Return the folder's runs that show what the same training reaches where nobody attacks."""

    def rest(run: Run) -> dict[str, object]:
        ours = set(options_of([run])) - {"attack", "f", "assumed_f"}
        return {key: run.config[key] for key in ours}

    trained = [rest(run) for run in done if run.config["attack"] != "none"]
    others = [run for run in read_runs(folder) if run.config.get("attack") == "none"]
    return [run for run in others if run not in done and rest(run) in trained]


def _table(runs: Sequence[Run]) -> Table:
    several = len({run.config["seed"] for run in runs}) > 1
    table = Table("rule", box=None, pad_edge=False)
    for head in (
        *(["seed"] if several else []),
        "rounds",
        "final accuracy",
        "max accuracy",
        "seconds",
    ):
        table.add_column(head, justify="right")
    for repetitions in by_seed(runs):
        for run in repetitions:
            seed = [str(run.config["seed"])] if several else []
            table.add_row(*_row([run], seed, lambda values: f"{values[0]:.1%}"))
        if len(repetitions) > 1:
            table.add_row(*_row(repetitions, [f"all {len(repetitions)}"], _mean_and_range))
    return table


def _row(
    runs: Sequence[Run], seed: Sequence[str], write: Callable[[Sequence[float]], str]
) -> Iterable[str]:
    summaries = [run.summary or {} for run in runs]
    yield escape(str(runs[0].config["rule"]))
    yield from seed
    yield "/".join(dict.fromkeys(str(summary.get("rounds", "–")) for summary in summaries))
    for key in ("accuracy", "max_accuracy"):
        known = [summary[key] for summary in summaries if summary.get(key) is not None]
        yield write(known) if known else "–"
    yield f"{sum(summary.get('seconds', 0.0) for summary in summaries):.1f}"


def _mean_and_range(shares: Sequence[float]) -> str:
    return f"{fmean(shares):.1%} ({100 * min(shares):.1f}–{max(shares):.1%})"


def _title(runs: Sequence[Run]) -> str:
    if not runs:
        return "nothing was run"
    config = runs[0].config
    return ", ".join(
        [f"attack {config['attack']}", f"n = {config['n']}", f"f = {config['f']}"]
        + [str(config[key]) for key in ("dataset", "partition", "model")]
    )
