"""Kill runs with SIGKILL at random lines of code and resume them; print a hash of each one's end.

``killed_runs.py FOLDER KILLS app`` runs a strategy as a Flower app does, ``… run`` what
``byzflower run`` does, ``… sweep`` a worker's cells. The first line is the run that nobody kills.
Run by tests in a process of its own: children are forked, which is safe only where torch has
started no threads.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord
from flwr.serverapp.strategy import FedAdam

from byzflower.clients import ClientTask, LocalSGD, Objective, make_client_app
from byzflower.simulations.engines import run_in_process
from byzflower.simulations.experiment import Experiment
from byzflower.simulations.recording import record_run
from byzflower.simulations.results import ResultsFile, read_records
from byzflower.simulations.sweep.cells import folder_of
from byzflower.simulations.sweep.engine import run_cell
from byzflower.simulations.sweep.grid import expand
from byzflower.strategies import Checkpoint, Robust

ROUNDS = 5
WATCHED = (
    *("statefile.py", "checkpoint.py", "rounds.py", "zipfile.py", "robust.py"),
    *("recording.py", "results.py", "runner.py", "engine.py", "cells.py"),
)


def load(context: Any) -> ClientTask:
    i = context.node_config["partition-id"]
    x = torch.randn(12, 4, generator=torch.Generator().manual_seed(i))
    model = torch.nn.Linear(4, 3)
    return ClientTask(Objective(model), x, x[:, :3].argmax(1), partition_id=i, batch_size=4)


def recorded(folder: Path) -> str:
    """Return the hash of a recorded run's model and rounds."""
    options = {"rounds": ROUNDS, "n": 6, "f": 1, "model": "softmax", "partition": "iid"}
    client = {"client": "saga", "attack": "mimic(warmup=3)", "rule": "bucketing(s=2) > median"}
    with ResultsFile(folder) as results:
        record_run(Experiment.from_options({**options, **client}), results, checkpoint_every=1)
    (model,) = folder.glob("model-*.npz")
    rounds = [record for record in read_records(folder) if record["kind"] == "round"]
    arrays = [array.tobytes() for _, array in sorted(np.load(model).items())]
    return hashlib.sha256(b"".join([*arrays, repr(rounds).encode()])).hexdigest()


def swept(folder: Path) -> str:
    """Return the hash of all records of a sweep's cells, but for the seconds they took."""
    options = {"rounds": 3, "n": 6, "f": 1, "model": "softmax", "partition": "iid"}
    grid = {"rule": ["median", "krum"], "client": ["momentum", "saga"]}
    cells = [cell.experiment for cell in expand({**options, **grid, "evaluate_every": 2})]
    for cell in cells:
        outcome = run_cell(cell, folder_of(folder, cell), checkpoint_every=1)
        assert not outcome.cause, outcome.cause
    records = [list(read_records(folder_of(folder, cell))) for cell in cells]
    kept = [[{**r, "seconds": None} for r in of_cell] for of_cell in records]
    return hashlib.sha256(repr(kept).encode()).hexdigest()


def app(folder: Path) -> str:
    """Return the hash of the model that a strategy ends with."""

    def serve(grid: Any, context: Any) -> str:
        strategy = Robust(
            FedAdam(fraction_evaluate=0.0, beta_1=0.9, beta_2=0.9),
            "bucketing(s=2) > median",
            1,
            seed=1,
            checkpoint=Checkpoint(folder),
        )
        start = {"weight": torch.zeros(3, 4).numpy(), "bias": torch.zeros(3).numpy()}
        initial = ArrayRecord({key: Array(value) for key, value in start.items()})
        random.seed(0)
        arrays = strategy.start(grid, initial, num_rounds=ROUNDS).arrays
        data = b"".join(array.numpy().tobytes() for array in arrays.values())
        return hashlib.sha256(data).hexdigest()

    return str(run_in_process(serve, make_client_app(load, LocalSGD(2, 0.1)), 6))


def lines_of(run: Callable[[Path], str], folder: Path, kill_at: int | None) -> int:
    """Count the watched lines that a run executes; kill the process at one of them."""
    seen = 0

    def watch(frame: Any, event: str, arg: Any) -> Any:
        nonlocal seen
        if not frame.f_code.co_filename.endswith(WATCHED):
            return None
        if event == "line":
            seen += 1
            if seen == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return watch

    sys.settrace(watch)
    try:
        run(folder)
    finally:
        sys.settrace(None)
    return seen


def main(folder: Path, kills: int, run: Callable[[Path], str]) -> None:
    logging.getLogger("flwr").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    total = lines_of(run, folder / "counted", None)
    print("nobody", run(folder / "whole"))
    moments = random.Random(7)
    for number in range(kills):
        kill_at = moments.randint(1, total)
        child = os.fork()
        if child == 0:
            lines_of(run, folder / str(number), kill_at)
            os._exit(1)  # it was to be killed
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            raise RuntimeError(f"the run was to be killed at line {kill_at} of {total}")
        print(kill_at, run(folder / str(number)))


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        int(sys.argv[2]),
        {"app": app, "run": recorded, "sweep": swept}[sys.argv[3]],
    )
