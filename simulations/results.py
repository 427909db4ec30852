"""Results as JSON lines: written while a run goes on, readable wherever it stops.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder, ResultsFile(folder) as results:
...     results.write("config", "a1", rule="mean", attack="none")
...     results.write("round", "a1", rule="mean", attack="none", round=1, accuracy=0.5)
...     [(run.config["rule"], run.rounds[0]["accuracy"]) for run in read_runs(folder)]
[('mean', 0.5)]
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from byzflower.statefile import atomically, sole_writer

from .errors import ExperimentError

__all__ = [
    "FILE_NAME",
    "ResultsFile",
    "Run",
    "as_json",
    "by_seed",
    "file_stem",
    "options_of",
    "read_records",
    "read_runs",
    "run_id",
]

FILE_NAME = "results.jsonl"
# Where files lie does not determine a run.
_NOT_IN_ID = ("data_dir", "download")
# What does not make two runs different experiments, or is told apart otherwise.
_NOT_TOLD = ("kind", "run", "versions", *_NOT_IN_ID, "rule", "seed")
JsonRecord = dict[str, Any]


def run_id(config: Mapping[str, object]) -> str:
    """Return the run's identity: the same options give the same twelve hexadecimal digits."""
    determining = {key: value for key, value in config.items() if key not in _NOT_IN_ID}
    text = json.dumps(determining, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def as_json(record: Mapping[str, object]) -> str:
    """Return the record as one line of JSON; numbers that are not finite become ``null``.

    >>> as_json({"rule": "mean", "lambda_found": math.inf})
    '{"rule": "mean", "lambda_found": null}'
    """
    return json.dumps(_finite(record), ensure_ascii=False, allow_nan=False)


def file_stem(spec: str) -> str:
    """Return a spec as a file's name holds it.

    >>> file_stem("arc > nnm > multi_krum(m=5)")
    'arc-nnm-multi_krum-m-5'
    """
    return re.sub(r"[^\w.]+", "-", spec)[:80].strip("-")


class ResultsFile:
    """``results.jsonl`` in a folder, opened to append; every line is complete once written."""

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / FILE_NAME
        self._resources = ExitStack()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._resources.enter_context(sole_writer(folder))
            _end_with_a_line(self.path)
            self._file = self.path.open("a", encoding="utf-8")
        except OSError as error:
            self._resources.close()
            raise ExperimentError(
                f"`out` needs a writable folder of its own; found {folder}: {error}"
            ) from error

    def write(self, kind: str, run: str, **values: object) -> None:
        """Append one record; numbers that are not finite become ``null``."""
        self._file.write(as_json({"kind": kind, "run": run, **values}) + "\n")
        self._file.flush()

    def rewind(self, run: str, last_round: int | None) -> bool:
        """Take an unfinished run back to a round, or out of the file where ``last_round`` is None.

        A finished run stays, also where it is being repeated.

        Returns
        -------
        bool
            Whether the run is unfinished and its config there, so that its records can go on.
        """
        records = list(read_records(self.path.parent))
        mine = [i for i, record in enumerate(records) if record.get("run") == run]
        configs = [i for i in mine if records[i].get("kind") == "config"]
        latest = [i for i in mine if configs and i >= configs[-1]]
        if not latest or any(_finishes(records[i]) for i in latest):
            return False
        dropped = {
            i
            for i in latest
            if last_round is None
            or records[i].get("kind") == "summary"
            or (records[i].get("kind") == "round" and records[i].get("round", 0) > last_round)
        }
        self._file.close()
        with atomically(self.path) as file:
            kept = (record for i, record in enumerate(records) if i not in dropped)
            file.writelines(f"{as_json(record)}\n".encode() for record in kept)
        self._file = self.path.open("a", encoding="utf-8")
        return last_round is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        self._resources.close()


@dataclass
class Run:
    """The records of one run."""

    config: JsonRecord
    rounds: list[JsonRecord] = field(default_factory=list)
    summary: JsonRecord | None = None

    @property
    def finished(self) -> bool:
        """Whether it ran to its last round."""
        return self.summary is not None and _finishes(self.summary)


def read_records(folder: str | Path) -> Iterator[JsonRecord]:
    """Yield the records of a folder's results; a last line cut short is left out.

    Raises
    ------
    ExperimentError
        If there is no results file, or a line before the last is no record.
    """
    path = Path(folder) / FILE_NAME
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ExperimentError(f"results need {path}; found: {error}") from error
    for number, line in enumerate(lines[:-1], start=1):
        try:
            record = json.loads(line)
        except ValueError:  # no JSON, or no UTF-8
            record = None
        if not isinstance(record, dict):
            found = line[:80].decode(errors="replace")
            raise ExperimentError(
                f"{path} needs a JSON object a line; found line {number}: {found!r}"
            )
        yield record


def _finishes(record: JsonRecord) -> bool:
    return record.get("kind") == "summary" and not record.get("interrupted")


def _end_with_a_line(path: Path) -> None:
    """Drop a last line cut short, by a crash say, before another is written after it."""
    if path.exists():
        with path.open("r+b") as file:
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)


def read_runs(folder: str | Path) -> list[Run]:
    """Gather the records by run; of a repeated run the last finished repetition counts.

    Where none was finished, the last one counts.
    """
    repetitions: dict[str, list[Run]] = {}
    for record in read_records(folder):
        identity = str(record.get("run"))
        if record.get("kind") == "config":
            if "run" not in record:
                raise ExperimentError(
                    f"{Path(folder) / FILE_NAME} needs the configs of runs, each with its `run`; "
                    f"found one with {', '.join(record)}: choose another folder"
                )
            repetitions.setdefault(identity, []).append(Run(record))
        elif record.get("kind") == "round" and identity in repetitions:
            repetitions[identity][-1].rounds.append(record)
        elif record.get("kind") == "summary" and identity in repetitions:
            repetitions[identity][-1].summary = record
    return [
        next((run for run in reversed(runs) if run.finished), runs[-1])
        for runs in repetitions.values()
    ]


def options_of(runs: Sequence[Run]) -> list[str]:
    """Return the options that can tell experiments apart, the rule and the seed aside."""
    return list(dict.fromkeys(key for run in runs for key in run.config if key not in _NOT_TOLD))


def by_seed(runs: Sequence[Run]) -> list[list[Run]]:
    """Gather the runs that differ in nothing but the seed."""
    gathered: dict[str, list[Run]] = {}
    for run in runs:
        same = {key: run.config.get(key) for key in ("rule", *options_of(runs))}
        gathered.setdefault(repr(same), []).append(run)
    return list(gathered.values())


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
