"""Results as a pandas frame with one schema, whatever made them: a run, a sweep, a reproduction."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ExperimentError
from .experiment import Experiment
from .results import FILE_NAME, Run, read_runs

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["OPTIONS", "load_results", "runs_in"]

OPTIONS = tuple(field.name for field in dataclasses.fields(Experiment))
"""Columns that hold the options of the run, under the names of `Experiment`'s fields."""
_NUMBERS = (
    *("round", "accuracy", "loss", "validation_accuracy", "train_loss", "rejected"),
    *("threshold", "honest_mean_norm"),
)
_OBJECTS = ("honest_norms", "drawn", "skipped")
_OF_RUN = ("finished", "seconds", "selection", "error")


def load_results(path: str | Path) -> DataFrame:
    """Return one row for every evaluated round of every run.

    Parameters
    ----------
    path
        A folder that ``byzflower run``, ``sweep`` or ``reproduce`` wrote, or a results.jsonl. A
        last line cut short is left out.

    Returns
    -------
    pandas.DataFrame
        Columns, NaN or None where there is nothing:

        - ``run``, the run's identity, and a column for each option (``rule``, ``f``, ``seed``, …);
        - ``round``, 0 for the initial model; ``accuracy`` and ``loss`` on the test set,
          ``validation_accuracy`` on the rows held out;
        - ``train_loss``, the clients' median; ``rejected``, replies turned away;
        - ``threshold``, ARC's, ``honest_norms``, a list by node, ``honest_mean_norm``, the norm
          of the honest updates' mean; ``drawn``, the rule that a pool drew; ``skipped``, why the
          round left the model as it was;
        - of the whole run: ``finished``, ``seconds``, ``error``, and ``selection``, a list by
          node: the share of rounds in which the rule gave it a weight.

    Raises
    ------
    ExperimentError
        If there are no results, or a line before the last is no record.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from byzflower.simulations.recording import record_run
    >>> from byzflower.simulations.results import ResultsFile
    >>> with TemporaryDirectory() as folder:
    ...     with ResultsFile(folder) as results:
    ...         summary = record_run(Experiment(rounds=2, rule="median"), results)
    ...     frame = load_results(folder)
    >>> frame[["rule", "round"]].values.tolist()
    [['median', 0], ['median', 1], ['median', 2]]
    """
    import pandas as pd  # noqa: PLC0415

    rows = [row for run in runs_in(path) for row in _rows(run)]
    columns = ["run", *OPTIONS, *_NUMBERS, *_OBJECTS, *_OF_RUN]
    frame = pd.DataFrame(rows, columns=columns)
    for name in _NUMBERS:
        whole = name in ("round", "rejected")
        frame[name] = pd.to_numeric(frame[name]).astype("Int64" if whole else "float64")
    return frame


def _rows(run: Run) -> Iterator[dict[str, Any]]:
    summary = run.summary or {}
    of_run = {name: summary.get(name) for name in ("seconds", "selection", "error")}
    of_run |= {"finished": run.finished, "run": run.config["run"]}
    for record in run.rounds:
        own = {name: record.get(name) for name in (*_NUMBERS, *_OBJECTS)}
        yield {**{name: run.config.get(name) for name in OPTIONS}, **own, **of_run}


def runs_in(path: str | Path) -> Iterator[Run]:
    """Yield the runs of a results.jsonl, its folder or a sweep's, as :func:`load_results` takes it.

    Raises
    ------
    ExperimentError
        As :func:`load_results`.
    """
    from .sweep.manifest import Manifest  # noqa: PLC0415

    path = Path(path)
    if path.is_file():
        path = path.parent
    manifest = Manifest.read(path)
    if manifest is None:
        yield from read_runs(path)
        return
    begun = [path / "cells" / key for key in manifest.cells]
    begun = [folder for folder in begun if (folder / FILE_NAME).is_file()]
    if not begun:
        raise ExperimentError(f"results need a cell that was begun; found none in {path}")
    for folder in begun:
        yield from read_runs(folder)
