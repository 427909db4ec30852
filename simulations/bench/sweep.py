"""``byzflower bench sweep``: cells of a grid side by side, against one by one and against ByzFL."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..errors import ExperimentError
from ..frame import load_results
from ..sweep.cells import folder_of
from ..sweep.engine import run_cell
from ..sweep.grid import expand, read_grid
from ..sweep.manifest import Manifest
from ..tasks import open_dataset
from .byzfl_benchmark import accuracies, write_benchmark
from .measure import Row, environment

__all__ = ["DIGITS_CELLS", "MNIST_CELLS", "bench_peer", "bench_sweep", "run_one_by_one"]

Options = Mapping[str, Any]

DIGITS_CELLS: dict[str, Any] = {
    "rounds": 600,
    "evaluate_every": 10,
    "rule": ["nnm > trimmed_mean", "arc > nnm > trimmed_mean"],
    "attack": ["sign_flip", "foe(tau=10)"],
    "seed": [1, 2, 3, 4, 5],
}
"""20 cells."""

MNIST_CELLS: dict[str, Any] = {
    "dataset": "mnist10k",
    "model": "cnn",
    "rounds": 20,
    "evaluate_every": 10,
    "honest": 10,
    "f": [1, 2, 3],
    "partition": ["iid", "dirichlet(alpha=0.3)", "extreme"],
    "client": "momentum(beta=0.9)",
    "learning_rate": 0.1,
    "weight_decay": 1e-4,
    "batch_size": 25,
    "rule": ["arc > nnm > geometric_median", "arc > nnm > trimmed_mean"],
    "attack": ["sign_flip", "foe(tau=adaptive)", "alie(tau=adaptive)"],
    "seed": 1,
}
"""54 cells: clients, model, attacks and rules of the configuration that ByzFL writes by default."""

_AGREEMENT = 0.1
"""Largest difference of the mean over cells of the best accuracy: ByzFL draws its own batches."""
_SWEEP = "import sys; from byzflower.simulations.cli import main; main(sys.argv[1:])"
_ONE_BY_ONE = (
    "import sys; from byzflower.simulations.bench.sweep import run_one_by_one; "
    "run_one_by_one(sys.argv[1], sys.argv[2])"
)
_BYZFL = "import sys; from byzfl import run_benchmark; run_benchmark(int(sys.argv[1]))"


def bench_sweep(options: Options = DIGITS_CELLS, *, repeats: int = 3) -> list[Row]:
    """Time a sweep with a worker a CPU against a process that runs the cells one by one.

    Both start, import and load their data within the time.
    """
    subjects = {"one by one, in one process": _one_by_one, "byzflower sweep": _sweep}
    return _rows(options, subjects, repeats)


def bench_peer(options: Options = MNIST_CELLS, *, repeats: int = 1) -> list[Row] | None:
    """Time a sweep against ByzFL's ``run_benchmark`` with as many processes; None without it."""
    if find_spec("byzfl") is None:
        return None
    return _rows(options, {"byzflower sweep": _sweep, "ByzFL run_benchmark": _byzfl}, repeats)


def run_one_by_one(file: str, out: str) -> None:
    """Run the cells of a grid in this process, in the grid's order.

    Raises
    ------
    ExperimentError
        If a cell fails.
    """
    grid = read_grid(file)
    Manifest.of(grid).write(Path(out))
    for cell in grid.cells:
        outcome = run_cell(cell.experiment, folder_of(Path(out), cell.experiment))
        if outcome.cause:
            raise ExperimentError(f"cell {cell.label}: {outcome.cause}")


Run = Callable[[Options, Path], tuple[float, float]]
"""Runs a grid in a folder; returns seconds and the mean over cells of the best accuracy."""


def _rows(options: Options, subjects: Mapping[str, Run], repeats: int) -> list[Row]:
    cells = len(expand(options))
    case = f"{cells} cells: {options.get('dataset', 'digits')}, {options['rounds']} rounds"
    taken: dict[str, list[float]] = {name: [] for name in subjects}
    reached: dict[str, float] = {}
    for _ in range(repeats):
        for name, run in subjects.items():
            with TemporaryDirectory(prefix="byzflower-") as folder:
                seconds, reached[name] = run(options, Path(folder))
            taken[name].append(seconds)
    reference, *_ = subjects
    rows = []
    for name in subjects:
        difference = abs(reached[name] - reached[reference])
        agrees = difference <= _AGREEMENT
        rows.append(Row.of("sweep", case, name, reference, taken, difference, agrees))
    return rows


def _sweep(options: Options, folder: Path) -> tuple[float, float]:
    arguments = ("sweep", _written(options, folder), "--out", "out", "--no-report")
    return _seconds(folder, _SWEEP, *arguments), _reached(folder / "out")


def _one_by_one(options: Options, folder: Path) -> tuple[float, float]:
    return _seconds(folder, _ONE_BY_ONE, _written(options, folder), "out"), _reached(folder / "out")


def _byzfl(options: Options, folder: Path) -> tuple[float, float]:
    write_benchmark(options, open_dataset(expand(options)[0].experiment), folder)
    seconds = _seconds(folder, _BYZFL, str(os.cpu_count() or 1))
    return seconds, statistics.mean(accuracies(folder))


def _written(options: Options, folder: Path) -> str:
    path = folder / "grid.toml"
    # What JSON says of text, numbers and lists, TOML says alike.
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in options.items()))
    return str(path)


def _reached(folder: Path) -> float:
    return float(load_results(folder).groupby("run")["accuracy"].max().mean())


def _seconds(folder: Path, code: str, *arguments: str) -> float:
    # Ray gives its workers a lower priority than other processes have.
    variables = {**environment(), "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{arguments} ends with {done.returncode}: {done.stderr[-2000:]}")
    return seconds
