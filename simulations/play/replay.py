"""A run's results as the page draws them; the file may come from anywhere: values are checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import ExperimentError
from ..frame import runs_in
from ..results import Run

__all__ = ["recorded"]

_Kind: TypeAlias = type[int] | type[float] | type[str]
_Kinds: TypeAlias = dict[str, _Kind]

_LONGEST = 200
_MOST_RUNS = 200
_CONFIG: _Kinds = {
    **dict.fromkeys(("n", "f", "seed"), int),
    **dict.fromkeys(("rule", "attack", "dataset", "partition", "model", "client"), str),
}
_ROUND: _Kinds = {
    **dict.fromkeys(("round", "rejected"), int),
    **dict.fromkeys(("accuracy", "loss", "threshold"), float),
    **dict.fromkeys(("drawn", "skipped"), str),
}
_BY_NODE: _Kinds = {"weights": float, "rejections": str}


def recorded(path: Path) -> list[dict[str, Any]]:
    """Return every run's options and rounds, of each record only what is known and well-formed.

    Parameters
    ----------
    path
        A results.jsonl, its folder or a sweep's, of which the first 200 cells are taken.

    Raises
    ------
    ExperimentError
        If there are no runs, or they cannot be read.
    """
    runs = [_of(run) for run in islice(runs_in(path), _MOST_RUNS)]
    if not runs:
        raise ExperimentError(f"`results` needs at least one run; found none in {path}")
    return runs


def _of(run: Run) -> dict[str, Any]:
    rounds = [_round(record) for record in run.rounds if isinstance(record.get("round"), int)]
    return {
        "config": _known(run.config, _CONFIG),
        "finished": run.finished,
        "rounds": sorted(rounds, key=lambda record: int(record["round"])),
    }


def _round(record: Mapping[str, Any]) -> dict[str, Any]:
    known = _known(record, _ROUND)
    for name, kind in _BY_NODE.items():
        if isinstance(record.get(name), dict):
            known[name] = _known(record[name], dict.fromkeys(record[name], kind))
    if isinstance(record.get("clipped"), list):
        known["clipped"] = [node for node in record["clipped"] if isinstance(node, int)]
    return known


def _known(record: Mapping[str, Any], kinds: _Kinds) -> dict[str, Any]:
    """Return the values that are of their kind; long text is cut, numbers are finite."""
    found = {name: _checked(record.get(name), kind) for name, kind in kinds.items()}
    return {name: value for name, value in found.items() if value is not None}


def _checked(value: object, kind: _Kind) -> str | int | float | None:
    if kind is str:
        return value[:_LONGEST] if isinstance(value, str) else None
    if kind is int:
        return value if isinstance(value, int) else None
    return value if isinstance(value, int | float) and math.isfinite(value) else None
