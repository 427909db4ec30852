"""Run an experiment and write down what happens."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flwr
import numpy as np
import torch

import byzflower
from byzflower.statefile import atomically
from byzflower.strategies import Checkpoint

from .experiment import Experiment
from .results import ResultsFile, file_stem, read_runs, run_id
from .runner import Round, run_experiment
from .tasks import chance

__all__ = ["OnRound", "record_run", "versions"]

OnRound = Callable[[Round], None]


def versions() -> dict[str, str]:
    """Return the versions of what a run's numbers depend on, as its config record holds them."""
    return {module.__name__: module.__version__ for module in (byzflower, flwr, torch, np)}


def record_run(
    experiment: Experiment,
    results: ResultsFile,
    on_round: OnRound | None = None,
    *,
    checkpoint_every: int = 0,
    keep_model: bool = True,
    verbose: bool = False,
) -> dict[str, Any]:
    """Run an experiment; write its config, rounds and summary; return the summary.

    With checkpoints, a run that was killed in the middle goes on after the last one, in the same
    records: each round stands in them once.

    The last evaluated model is saved beside the results, as ``model-<rule>-seed-<seed>-<run>.npz``
    with the keys of its ``state_dict``; an interrupted repetition leaves a finished run's model
    alone. Whatever ends the run, what was done is written first.

    Parameters
    ----------
    experiment
        What to run.
    results
        Where to write.
    on_round
        Called after each record of a round, for instance to show progress.
    checkpoint_every
        Save the run after every so many rounds, in ``checkpoint-<run>-…`` beside the results, and
        remove that when it has finished; 0 for never.
    keep_model
        Whether to save the last evaluated model.
    verbose
        Whether Flower's log is shown.

    Returns
    -------
    dict
        The summary: final and best accuracy, ``chance`` (what one answer for all gets), final loss,
        rounds done, seconds; ``diverged`` is the
        first evaluated round whose loss is not finite, if there is one; ``skipped`` says
        why the last round left the model unchanged, if it did.

    Raises
    ------
    BaseException
        What ends the run early, Ctrl-C included. The summary then has ``"interrupted": true`` and,
        but for Ctrl-C, the reason as ``"error"``.
    """
    run = _Recorded(experiment, results, on_round, keep_model)
    # Other versions of anything may end with another model: their checkpoints are not this run's.
    made_by = run_id(versions())
    folder = results.path.parent / f"checkpoint-{run.identity}-{made_by}"
    checkpoint = None
    if checkpoint_every:
        checkpoint = Checkpoint(folder, checkpoint_every, companions={"records": run})
    try:
        run_experiment(experiment, run.take, checkpoint, verbose=verbose)
    except BaseException as reason:
        run.finish(reason)
        raise
    summary = run.finish()
    shutil.rmtree(folder, ignore_errors=True)
    return summary


class _Recorded:
    """A run whose records go to a file as they come."""

    def __init__(
        self,
        experiment: Experiment,
        results: ResultsFile,
        on_round: OnRound | None,
        keep_model: bool,
    ) -> None:
        self._results = results
        self._on_round = on_round
        self._keep_model = keep_model
        self._experiment = experiment
        self._config = experiment.config()
        self.identity = run_id(self._config)
        self._labels = {"rule": experiment.rule, "attack": experiment.attack}
        self._last: Round | None = None
        self._best = 0.0
        self._diverged: int | None = None
        self._started = time.perf_counter()
        self._has_config = False

    def state_dict(self) -> dict[str, Any]:
        """Return how far the records are, for a checkpoint."""
        last = self._last
        return {
            "best": self._best,
            "diverged": self._diverged,
            "seconds": time.perf_counter() - self._started,
            "last": None if last is None else {**vars(last), "notes": dict(last.notes)},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the records where they were, and drop what came after."""
        self._best = state["best"]
        self._diverged = state["diverged"]
        self._started = time.perf_counter() - state["seconds"]
        self._last = None if state["last"] is None else Round(**state["last"])
        round_reached = -1 if self._last is None else self._last.round
        self._has_config = self._results.rewind(self.identity, round_reached)

    def _write_config(self) -> None:
        if not self._has_config:
            self._has_config = True
            self._results.rewind(self.identity, None)
            self._results.write("config", self.identity, **self._config, versions=versions())

    def take(self, done: Round) -> None:
        self._write_config()
        self._last, self._best = done, max(self._best, done.accuracy)
        if self._diverged is None and not math.isfinite(done.loss):
            self._diverged = done.round
        numbers = {"round": done.round, "accuracy": done.accuracy, "loss": done.loss}
        if done.validation is not None:
            numbers["validation_accuracy"] = done.validation
        self._results.write("round", self.identity, **self._labels, **numbers, **done.notes)
        if self._on_round is not None:
            self._on_round(done)

    def finish(self, reason: BaseException | None = None) -> dict[str, Any]:
        self._write_config()
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
            summary["chance"] = chance(self._experiment)
            summary |= {key: last.notes[key] for key in ("skipped",) if key in last.notes}
            if self._diverged is not None:
                summary["diverged"] = self._diverged
            if any(share is not None for share in last.selection or ()):
                summary["selection"] = last.selection
            if self._keep_model and not (reason is not None and self._finished_before()):
                rule, seed = file_stem(self._experiment.rule), self._experiment.seed
                name = f"model-{rule}-seed-{seed}-{self.identity}.npz"
                _save(last.model, self._results.path.parent / name)
        self._results.write("summary", self.identity, **summary)
        return summary

    def _finished_before(self) -> bool:
        runs = read_runs(self._results.path.parent)
        return any(run.finished for run in runs if run.config["run"] == self.identity)


def _save(model: dict[str, torch.Tensor], path: Path) -> None:
    arrays = {key: value.cpu().numpy() for key, value in model.items()}
    with atomically(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub takes `allow_pickle` for one
