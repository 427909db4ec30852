"""``byzflower bench rules --many``: how rules grow with the number of rows, each process alone."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import byzflower as bf

from ..figures import COLOURS, new_figure, plain
from .measure import Row, relative_difference
from .peers import aggregations

__all__ = ["COUNTS", "bench_many", "draw_growth", "measure_alone"]

COUNTS = (250, 500, 1_000, 2_000)
_D = 4_810  # parameters of the digits MLP
_OURS, _PEER = "byzflower", "ByzFL"
_SPECS = (
    "trimmed_mean",
    "multi_krum_star",
    "nnm > trimmed_mean",
    "geometric_median",
    "caf",
    "bulyan",
)
# ByzFL stops the geometric median after three steps: agreement can only be approximate.
_TOLERANCE = {"geometric_median": 0.05}
_TURNS, _PATIENCE, _SECONDS = 3, 10.0, 300
_CODE = f"import sys; from {__name__} import measure_alone; measure_alone(*sys.argv[1:])"


def bench_many(counts: Sequence[int] = COUNTS) -> Iterator[list[Row]]:
    """Yield the rows of one aggregation of n rows at a time, byzflower's and ByzFL's.

    Each is timed in a process of its own, from few rows to many, until a call takes longer than ten
    seconds. What does not fit into the memory that is free is left out.
    """
    for spec in _SPECS:
        peers = [_PEER] if _PEER in aggregations(spec, counts[0], _faults(counts[0])) else []
        found = {name: _measured(spec, name, counts) for name in (_OURS, *peers)}
        for n in found[_OURS]:
            yield _compared(spec, n, {name: part[n] for name, part in found.items() if n in part})


def _compared(spec: str, n: int, results: dict[str, dict[str, Any]]) -> list[Row]:
    reference = results[_OURS]["value"]
    spread = float(_rows(n).double().std(dim=0).norm())
    times = {name: result["seconds"] for name, result in results.items()}
    rows = []
    for name, result in results.items():
        gap = relative_difference(result["value"], reference, spread)
        agrees = gap is not None and gap <= _TOLERANCE.get(spec, 1e-3)
        rows.append(Row.of("many", f"{spec}, n={n}", name, _OURS, times, gap, agrees))
    return rows


def _measured(spec: str, library: str, counts: Sequence[int]) -> dict[int, dict[str, Any]]:
    here = str(Path(bf.__file__).parents[1])  # where this package is not installed
    path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), here)))
    with TemporaryDirectory(prefix="byzflower-") as folder:
        command = [sys.executable, "-c", _CODE, spec, library, folder, *map(str, counts)]
        with contextlib.suppress(subprocess.TimeoutExpired):  # what is done is done
            subprocess.run(
                command,
                env={**os.environ, "PYTHONPATH": path},
                capture_output=True,
                check=False,
                timeout=_SECONDS,
            )
        files = {n: Path(folder) / f"{n}.pt" for n in counts}
        return {n: torch.load(file) for n, file in files.items() if file.exists()}


def measure_alone(spec: str, library: str, folder: str, *counts: str) -> None:
    """Time aggregations in this process, within the free memory; write values and seconds."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + free, used + free))
    for n in map(int, counts):
        rows, f = _rows(n), _faults(n)
        run: Callable[[torch.Tensor], torch.Tensor] = partial(bf.parse(spec), f=f)
        if library != _OURS:
            run = aggregations(spec, n, f)[library]
        value, taken = run(rows), list[float]()
        for _ in range(_TURNS):
            start = time.perf_counter()
            run(rows)
            taken.append(time.perf_counter() - start)
        file = Path(folder) / f"{n}.pt"
        torch.save({"value": value, "seconds": taken}, file.with_suffix(".part"))
        file.with_suffix(".part").rename(file)
        if max(taken) > _PATIENCE:
            return


def draw_growth(rows: Sequence[Row], path: Path) -> None:
    """Draw seconds by n on logarithmic axes, byzflower's in full, the peer's dashed, as a PNG."""
    figure = new_figure(8.0, 4.8)
    axes = figure.add_subplot()
    for colour, spec in zip(COLOURS, _SPECS, strict=False):
        for library, dashes in ((_OURS, "-"), (_PEER, "--")):
            points = [
                (int(row.case.rpartition("=")[2]), row.seconds)
                for row in rows
                if row.case.startswith(f"{spec}, n=") and row.subject == library
            ]
            if points:
                label = f"{spec}, {library}"
                axes.plot(*zip(*points, strict=True), dashes, color=colour, marker="o", label=label)
    plain(axes)
    axes.set(xscale="log", yscale="log", xlabel="rows", ylabel="seconds")
    counts = sorted({int(row.case.rpartition("=")[2]) for row in rows})
    axes.set_xticks(counts, [f"{n:,}" for n in counts])
    axes.set_xticks([], minor=True)
    axes.set_title(f"One aggregation of d = {_D:,}, a tenth of the rows faulty")
    figure.legend(loc="outside right upper", fontsize="small")
    figure.savefig(path)


def _faults(n: int) -> int:
    return n // 10


def _rows(n: int) -> torch.Tensor:
    """Return normal rows, of which the faulty ones lie far off in one direction."""
    rows, f = torch.randn(n, _D, generator=torch.Generator().manual_seed(0)), _faults(n)
    rows[n - f :] = -3 * rows[: n - f].mean(dim=0) + rows[n - f :] * 0.1
    return rows
