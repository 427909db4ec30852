"""Timing that survives a noisy machine: subjects in turn, medians, and pairwise ratios."""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

import byzflower

__all__ = [
    "Row",
    "compare",
    "environment",
    "high_water",
    "median_ratio",
    "peak_memory",
    "relative_difference",
    "resident",
    "timed",
]

_Result = TypeVar("_Result")

_PATIENCE = 10.0


@dataclass(frozen=True)
class Row:
    """One subject of one case: its time and, against the reference subject, its ratio.

    ``ratio`` is the median over repetitions of (this subject's time / the reference's time in the
    same repetition), and ``None`` where the results disagree: then the two did not do the same
    work, and a ratio would say nothing. Where measured, ``peak_mb`` is the most memory it took, and
    ``of_parts`` the ratio to what its parts take one by one.
    """

    suite: str
    case: str
    subject: str
    reference: str
    seconds: float
    fastest: float
    slowest: float
    ratio: float | None
    difference: float | None
    peak_mb: float | None = None
    of_parts: float | None = None

    @classmethod
    def of(  # noqa: PLR0917
        cls,
        suite: str,
        case: str,
        subject: str,
        reference: str,
        times: Mapping[str, Sequence[float]],
        difference: float | None = None,
        agrees: bool = True,
    ) -> Row:
        """Return the row of one subject of those whose seconds are given, in the same turns."""
        taken = times[subject]
        return cls(
            suite,
            case,
            subject,
            reference,
            statistics.median(taken),
            min(taken),
            max(taken),
            median_ratio(taken, times[reference]) if agrees else None,
            difference,
        )


def median_ratio(taken: Sequence[float], reference: Sequence[float]) -> float:
    """Return the median of the ratios of times that were taken in the same turns.

    >>> median_ratio([2.0, 6.0, 9.0], [1.0, 2.0, 3.0])
    3.0
    """
    return statistics.median(mine / base for mine, base in zip(taken, reference, strict=False))


def compare(
    suite: str,
    case: str,
    subjects: Mapping[str, Callable[[], torch.Tensor | None]],
    *,
    repeats: int = 7,
    tolerance: float | Mapping[str, float] = 1e-4,
    scale: float | None = None,
) -> list[Row]:
    """Run every subject in turn, ``repeats`` times after a warm-up; the first is the reference.

    A subject that has taken ``_PATIENCE`` seconds is not repeated further.

    Parameters
    ----------
    subjects
        Name → function. A function that returns a tensor is checked against the reference's
        tensor; one that returns ``None`` (a limit, such as reading the data) is only timed.
    tolerance
        Largest relative difference of results that counts as agreement, for all or by subject.
    scale
        What differences are relative to; the norm of the reference's result by default.
    """
    reference, *_ = subjects
    results, times = timed(subjects, repeats=repeats, clock=time.perf_counter)
    rows = []
    for name in times:
        difference = relative_difference(results[name], results[reference], scale)
        allowed = tolerance if isinstance(tolerance, float) else tolerance.get(name, 1e-4)
        agrees = difference is None or difference <= allowed
        rows.append(Row.of(suite, case, name, reference, times, difference, agrees))
    return rows


def timed(
    subjects: Mapping[str, Callable[[], torch.Tensor | None]],
    *,
    repeats: int,
    clock: Callable[[], float],
) -> tuple[dict[str, torch.Tensor | None], dict[str, list[float]]]:
    """Return every subject's result, of a warm-up, and its seconds in each turn."""
    results = {name: run() for name, run in subjects.items()}
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(repeats):
        gc.collect()
        for name, run in subjects.items():
            if sum(times[name]) > _PATIENCE:
                continue
            start = clock()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times[name].append(clock() - start)
    return results, times


def relative_difference(
    result: torch.Tensor | None, reference: torch.Tensor | None, scale: float | None = None
) -> float | None:
    """Return ‖result − reference‖ / scale, or ``None`` where one of them is no tensor."""
    if result is None or reference is None:
        return None
    gap = float((result.double() - reference.double()).norm())
    return gap / (scale or float(reference.double().norm()) or 1.0)


def environment() -> dict[str, str]:
    """Return variables under which another process finds this package, installed or not."""
    here = str(Path(byzflower.__file__).parents[1])
    path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), here)))
    return {**os.environ, "PYTHONPATH": path}


def peak_memory(run: Callable[[], object]) -> float | None:
    """Return the most memory, in MB, that a call holds beyond what was held before it.

    Reads the kernel's own account (Linux); ``None`` elsewhere.
    """
    run()  # caches and compiled kernels are not the call's
    before = resident()
    peak, _ = high_water(run)
    return None if peak is None or before is None else peak - before


def resident() -> float | None:
    """Return the memory that this process holds, in MB, when it has given back what is free.

    Reads the kernel's own account (Linux); ``None`` elsewhere.
    """
    if not _STATUS.exists():
        return None
    _give_back()
    return _megabytes("VmRSS")


def high_water(run: Callable[[], _Result]) -> tuple[float | None, _Result]:
    """Return the most memory that this process holds during a call, in MB, and its result."""
    if not _STATUS.exists():
        return None, run()
    _give_back()
    _RESET.write_text("5")  # sets the high-water mark to the present size
    result = run()
    return _megabytes("VmHWM"), result


_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _give_back() -> None:
    """Let what is free leave the process: the C library keeps it, and would use it unseen."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _megabytes(key: str) -> float:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1000
    raise RuntimeError(f"{_STATUS} has no {key}")
