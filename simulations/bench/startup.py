"""How long commands take to start, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from tempfile import TemporaryDirectory

from .measure import Row, environment

__all__ = ["COMMANDS", "bench_startup"]

_COMMAND = "import sys; from byzflower.simulations.cli import main; main(sys.argv[1:])"
COMMANDS: dict[str, tuple[str, ...]] = {
    "import torch": ("-c", "import torch"),
    "import byzflower": ("-c", "import byzflower"),
    "parse a rule": ("-c", "import byzflower; byzflower.parse('arc > nnm > trimmed_mean')"),
    "byzflower --help": ("-c", _COMMAND, "--help"),
    "byzflower run --rounds 1": ("-c", _COMMAND, "run", "--rounds", "1", "--out", "out"),
}
"""What is measured → Python's arguments; the first is the reference."""
_TICK = 0.01
"""Seconds: what the clock of a child process counts in; less is read as nothing or as one tick."""


def bench_startup(
    commands: Mapping[str, Sequence[str]] = COMMANDS, *, repeats: int = 5
) -> list[list[Row]]:
    """Run every command in turn, ``repeats`` times after a warm-up that fills the disk's cache.

    Returns
    -------
    list of list of Row
        By the clock, and by processor time, which other processes disturb less.

    Raises
    ------
    RuntimeError
        If a command fails.
    """
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(repeats + 1):
        for name, arguments in commands.items():
            taken[name].append(_run(arguments))
    return [
        _rows(case, {name: [pair[i] for pair in pairs[1:]] for name, pairs in taken.items()})
        for i, case in enumerate(("clock", "processor time"))
    ]


def _run(arguments: Sequence[str]) -> tuple[float, float]:
    """Return the seconds by the clock and of the processor that a process takes."""
    with TemporaryDirectory(prefix="byzflower-") as folder:
        before, start = os.times(), time.perf_counter()
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        clock, after = time.perf_counter() - start, os.times()
    if done.returncode:
        raise RuntimeError(f"{arguments} ends with {done.returncode}: {done.stderr}")
    processor = sum(after[2:4]) - sum(before[2:4])
    return clock, max(processor, _TICK)


def _rows(case: str, times: Mapping[str, Sequence[float]]) -> list[Row]:
    reference, *_ = times
    return [Row.of("startup", case, name, reference, times) for name in times]
