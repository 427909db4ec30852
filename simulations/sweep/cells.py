"""What determines a cell, where its results lie, and whether they are there."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from byzflower.registry import own_classes
from byzflower.statefile import atomically

from ..errors import ExperimentError
from ..experiment import Experiment
from ..recording import versions
from ..results import FILE_NAME, Run, read_runs, run_id
from ..runner import prepare
from ..tasks import open_dataset
from .grid import Cell

__all__ = [
    "check",
    "failure_of",
    "folder_of",
    "forget_failure",
    "key_of",
    "note_failure",
    "run_of",
    "sharing",
]

_FAILURE = "failure.json"


def key_of(experiment: Experiment) -> str:
    """Return sixteen hexadecimal digits that stand for everything that determines a cell.

    Its options, the versions of the packages, the data and the code of classes of one's own; not
    where the data lie.
    """
    parts = [run_id(experiment.config()), versions(), _data_of(experiment), _own_code()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def folder_of(sweep: Path, experiment: Experiment) -> Path:
    """Return the folder of a cell's results."""
    return sweep / "cells" / key_of(experiment)


def run_of(folder: Path) -> Run | None:
    """Return the records of the cell whose folder this is, if it was begun."""
    if not (folder / FILE_NAME).is_file():
        return None
    return next(iter(read_runs(folder)), None)


def check(cells: Iterable[Cell]) -> None:
    """See that every cell can run: data, partition, model and clients fit together.

    Raises
    ------
    ExperimentError
        One line with the first cell that cannot.
    """
    seen = set()
    for cell in cells:
        chosen = cell.experiment
        what = (*sharing(chosen), chosen.validation, chosen.client, chosen.device)
        if what not in seen:
            seen.add(what)
            try:
                prepare(chosen)
            except ExperimentError as error:
                raise ExperimentError(f"cell {cell.label}: {error}") from error


def sharing(experiment: Experiment) -> tuple[object, ...]:
    """Return what cells share that are best run by the same worker: data, model, partition."""
    return (
        experiment.dataset,
        experiment.model,
        experiment.partition,
        experiment.partitions,
        experiment.seed_of_data,
    )


def note_failure(folder: Path, cause: str, attempts: int) -> None:
    """Write down why a cell failed, beside its records; that may be what its folder cannot take."""
    note = json.dumps({"cause": cause, "attempts": attempts}).encode()
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with atomically(folder / _FAILURE) as file:
            file.write(note)


def failure_of(folder: Path) -> str:
    """Return the cause that was noted, or nothing."""
    try:
        return str(json.loads((folder / _FAILURE).read_bytes())["cause"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def forget_failure(folder: Path) -> None:
    """Remove that note: the cell has finished."""
    (folder / _FAILURE).unlink(missing_ok=True)


def _data_of(experiment: Experiment) -> str:
    return _hash_of_data(experiment.dataset, experiment.data_dir, experiment.download)


@lru_cache(maxsize=8)
def _hash_of_data(dataset: str, data_dir: str | None, download: bool) -> str:
    data = open_dataset(Experiment(dataset=dataset, data_dir=data_dir, download=download))
    digest = hashlib.sha256()
    for rows in (data.x_train, data.y_train, data.x_test, data.y_test):
        digest.update(rows.contiguous().numpy().data)
    return digest.hexdigest()


def _own_code() -> list[str]:
    sources = []
    for module in sorted({cls.__module__ for _, cls in own_classes()}):
        with suppress(OSError, TypeError, KeyError):  # defined in a notebook
            sources.append(inspect.getsource(sys.modules[module]))
    return sources
