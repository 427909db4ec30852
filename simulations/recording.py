"""Run an experiment and write down what happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flwr
import numpy as np
import torch

import byzflower
from byzflower.simulations.experiment import Experiment
from byzflower.simulations.results import ResultsFile, read_runs, run_id
from byzflower.simulations.runner import Round, run_experiment

__all__ = ["record_run", "versions"]

OnRound = Callable[[Round], None]


def versions() -> dict[str, str]:
    """Return the versions of what a run's numbers depend on, as its config record holds them."""
    return {module.__name__: module.__version__ for module in (byzflower, flwr, torch, np)}


def record_run(
    experiment: Experiment, results: ResultsFile, on_round: OnRound | None = None
) -> dict[str, Any]:
    """Run an experiment; write its config, rounds and summary; return the summary.

    The last evaluated model is saved beside the results, as ``model-<run>.npz`` with the keys of
    its ``state_dict``; an interrupted repetition leaves a finished run's model alone. Whatever
    ends the run, what was done is written first.

    Parameters
    ----------
    experiment
        What to run.
    results
        Where to write.
    on_round
        Called after each record of a round, for instance to show progress.

    Returns
    -------
    dict
        The summary: final and best accuracy, final loss, rounds done, seconds; ``skipped`` says
        why the last round left the model unchanged, if it did.

    Raises
    ------
    BaseException
        What ends the run early, Ctrl-C included. The summary then has ``"interrupted": true`` and,
        but for Ctrl-C, the reason as ``"error"``.
    """
    run = _Recorded(experiment, results, on_round)
    try:
        run_experiment(experiment, run.take)
    except BaseException as reason:
        run.finish(reason)
        raise
    return run.finish()


class _Recorded:
    """A run whose records go to a file as they come."""

    def __init__(
        self, experiment: Experiment, results: ResultsFile, on_round: OnRound | None
    ) -> None:
        self._results = results
        self._on_round = on_round
        self._run = run_id(experiment.config())
        self._labels = {"rule": experiment.rule, "attack": experiment.attack}
        self._last: Round | None = None
        self._best = 0.0
        self._started = time.perf_counter()
        results.write("config", self._run, **experiment.config(), versions=versions())

    def take(self, done: Round) -> None:
        self._last, self._best = done, max(self._best, done.accuracy)
        numbers = {"round": done.round, "accuracy": done.accuracy, "loss": done.loss}
        self._results.write("round", self._run, **self._labels, **numbers, **done.notes)
        if self._on_round is not None:
            self._on_round(done)

    def finish(self, reason: BaseException | None = None) -> dict[str, Any]:
        last = self._last
        summary: dict[str, Any] = {
            **self._labels,
            "accuracy": last.accuracy if last else None,
            "max_accuracy": self._best if last else None,
            "loss": last.loss if last else None,
            "rounds": last.round if last else 0,
            "seconds": time.perf_counter() - self._started,
        }
        if reason is not None:
            summary["interrupted"] = True
        if isinstance(reason, Exception):
            summary["error"] = " ".join(f"{type(reason).__name__}: {reason}".split())
        if last is not None:
            summary |= {key: last.notes[key] for key in ("skipped",) if key in last.notes}
            if not (reason is not None and self._finished_before()):
                _save(last.model, self._results.path.parent / f"model-{self._run}.npz")
        self._results.write("summary", self._run, **summary)
        return summary

    def _finished_before(self) -> bool:
        runs = read_runs(self._results.path.parent)
        return any(run.finished for run in runs if run.config["run"] == self._run)


def _save(model: dict[str, torch.Tensor], path: Path) -> None:
    np.savez(path, allow_pickle=False, **{key: v.cpu().numpy() for key, v in model.items()})
