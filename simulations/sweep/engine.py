"""Run the cells of a grid in warm worker processes: each imports and loads its data once."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from byzflower.registry import own_classes, register

from ..engines.ray import places_of, ray_running
from ..errors import ExperimentError
from ..experiment import Experiment
from ..recording import record_run
from ..results import ResultsFile
from .cells import (
    folder_of,
    forget_failure,
    note_failure,
    run_of,
    sharing,
)
from .grid import Cell

__all__ = ["Outcome", "Progress", "run_cell", "run_cells"]

State = Literal["waiting", "running", "done", "failed"]
_ATTEMPTS = 2
_PATIENCE = 60.0
"""Seconds to wait for a process that still writes to a cell's folder, such as a killed sweep's."""


@dataclass(frozen=True)
class Outcome:
    """How a cell ended.

    Attributes
    ----------
    cause : str
        Why it failed; empty if it did not.
    disk_full : bool
        Whether the cause is a full disk, which ends the sweep.
    """

    cause: str = ""
    disk_full: bool = False


@dataclass
class Progress:
    """Where a sweep is; told after every change.

    Attributes
    ----------
    states : dict of str to State
        By the cell's label.
    causes : dict of str to str
        Why cells failed, by label.
    seconds_left : float or None
        Estimated from the rounds and clients of the cells done so far; None before the first.
    """

    states: dict[str, State]
    causes: dict[str, str] = field(default_factory=dict)
    seconds_left: float | None = None

    def count(self, state: State) -> int:
        """Return how many cells are in a state."""
        return Counter(self.states.values())[state]


def run_cell(experiment: Experiment, folder: Path, checkpoint_every: int = 0) -> Outcome:
    """Run a cell to its end, in this process; one that has finished before is left alone.

    Parameters
    ----------
    experiment
        The cell.
    folder
        The cell's own folder.
    checkpoint_every
        After how many rounds to save the run: one that was killed goes on there.
    """
    try:
        with _waited_for(folder) as results:
            run = run_of(folder)
            if run is None or not run.finished:
                record_run(experiment, results, checkpoint_every=checkpoint_every, keep_model=False)
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        return Outcome(cause, isinstance(error, OSError) and error.errno == errno.ENOSPC)
    return Outcome()


def run_cells(
    cells: Sequence[Cell],
    sweep: Path,
    told: Callable[[Progress], None],
    *,
    jobs: int | None = None,
    ray_address: str | None = None,
    checkpoint_every: int = 25,
) -> Progress:
    """Run all cells that have not finished, and return how it ended.

    Parameters
    ----------
    cells
        The cells, checked.
    sweep
        Folder of the results; on a cluster one that all machines see under this name.
    told
        Called after every change.
    jobs
        Number of workers; by default one for each CPU.
    ray_address
        A cluster's address for ``ray.init``; by default Ray is started on this machine.
    checkpoint_every
        As for :func:`run_cell`.

    Raises
    ------
    OSError
        If the disk is full; what has finished is there.
    RayEngineError
        If Ray does not start.
    """
    folders = {cell: folder_of(sweep, cell.experiment) for cell in cells}
    finished = {cell for cell, folder in folders.items() if (r := run_of(folder)) and r.finished}
    progress = Progress({cell.label: "done" if cell in finished else "waiting" for cell in cells})
    told(progress)
    left = [cell for cell in cells if cell not in finished]
    if not left:
        return progress
    wanted = min(jobs or os.cpu_count() or 1, len(left))
    options: dict[str, Any] = {"num_cpus": wanted} if ray_address is None else {}
    with ray_running({**options, "address": ray_address or "local"}):
        crew = _Crew(left, folders, progress, told, checkpoint_every)
        crew.work(wanted if ray_address is None else jobs)
    return progress


def _waited_for(folder: Path) -> ResultsFile:
    """Open a cell's results, once nobody else writes to them."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return ResultsFile(folder)
        except ExperimentError as error:
            locked = isinstance(error.__cause__, BlockingIOError)
            if not locked or time.monotonic() > until:
                raise
            time.sleep(0.5)


class _Worker:
    """What runs in a worker process."""

    def __init__(self, own: Iterable[tuple[str, type[Any]]]) -> None:
        for kind, cls in own:
            register(kind)(cls)
        logging.getLogger("flwr").setLevel(logging.ERROR)

    def run(self, experiment: Experiment, folder: Path, checkpoint_every: int) -> Outcome:
        return run_cell(experiment, folder, checkpoint_every)


class _Crew:
    """The workers, and which cell each is at."""

    def __init__(
        self,
        cells: Sequence[Cell],
        folders: dict[Cell, Path],
        progress: Progress,
        told: Callable[[Progress], None],
        checkpoint_every: int,
    ) -> None:
        import ray  # noqa: PLC0415  # a heavy import

        self._ray: Any = ray
        # Neighbours in this order share data, model and partition.
        self._waiting = deque(sorted(cells, key=lambda cell: repr(sharing(cell.experiment))))
        self._folders = folders
        self._progress = progress
        self._told = told
        self._checkpoint_every = checkpoint_every
        self._attempts: Counter[Cell] = Counter()
        self._busy: dict[Any, tuple[Any, Cell]] = {}
        self._began = time.monotonic()
        self._work_done = 0
        on_gpu = any(cell.experiment.device.startswith("cuda") for cell in cells)
        alive = [node for node in self._ray.nodes() if node["Alive"]]
        self._places = sum(places_of(node, 1, 0.0) for node in alive)
        gpus = sum(node["Resources"].get("GPU", 0.0) for node in alive) if on_gpu else 0.0
        share = min(1.0, gpus / max(1, self._places))
        self._worker_type = self._ray.remote(num_cpus=1, num_gpus=share)(_Worker)

    def _start(self) -> Any:
        return self._worker_type.remote(own_classes())

    def work(self, workers: int | None) -> None:
        for _ in range(min(workers or self._places, len(self._waiting))):
            self._hand_out(self._start(), None)
        while self._busy:
            done, _ = self._ray.wait(list(self._busy), num_returns=1)
            for reference in done:
                self._take(reference)

    def _hand_out(self, worker: Any, before: Cell | None) -> None:
        """Give a worker its next cell: one that shares with its last, else one nobody is at."""
        if not self._waiting:
            self._ray.kill(worker)
            return
        others = {sharing(cell.experiment) for _, cell in self._busy.values()}
        mine = None if before is None else sharing(before.experiment)
        cell = min(
            self._waiting,
            key=lambda c: (sharing(c.experiment) != mine, sharing(c.experiment) in others),
        )
        self._waiting.remove(cell)
        self._attempts[cell] += 1
        job = (cell.experiment, self._folders[cell], self._checkpoint_every)
        self._busy[worker.run.remote(*job)] = worker, cell
        self._note(cell, "running")

    def _take(self, reference: Any) -> None:
        worker, cell = self._busy.pop(reference)
        try:
            outcome: Outcome = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            reason = str(error).strip().partition("\n")[0]
            outcome, worker = Outcome(f"its process died: {reason}"), self._start()
        folder = self._folders[cell]
        if outcome.disk_full:
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {folder}")
        if not outcome.cause:
            forget_failure(folder)
            self._note(cell, "done")
        elif self._attempts[cell] < _ATTEMPTS:
            self._waiting.append(cell)
            self._note(cell, "waiting")
        else:
            note_failure(folder, outcome.cause, self._attempts[cell])
            self._progress.causes[cell.label] = outcome.cause
            self._note(cell, "failed")
        self._hand_out(worker, cell)

    def _note(self, cell: Cell, state: State) -> None:
        self._progress.states[cell.label] = state
        if state in ("done", "failed"):
            self._work_done += _work_of(cell)
            left = [*self._waiting, *(other for _, other in self._busy.values())]
            passed = time.monotonic() - self._began
            self._progress.seconds_left = passed * sum(map(_work_of, left)) / self._work_done
        self._told(self._progress)


def _work_of(cell: Cell) -> int:
    return cell.experiment.rounds * cell.experiment.asked
