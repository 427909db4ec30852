"""``byzflower bench rules``: aggregation against ByzFL, one Gram matrix and one read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import torch

import byzflower as bf
from byzflower.simulations.bench.measure import Row, compare, peak_memory

__all__ = ["CASES", "PIPELINE", "bench_rules", "memory_of"]

CASES = ((15, 431_080, 5), (30, 1_310_922, 6), (100, 431_080, 20))
"""(n, d, f): the papers' models, and a wide round."""

PIPELINE = "arc > nnm > geometric_median"
_COMPARED = (
    "median",
    "trimmed_mean",
    "meamed",
    "multi_krum_star",
    "geometric_median",
    "nnm > trimmed_mean",
    "nnm > median",
    PIPELINE,
)
# ByzFL stops the geometric median after three steps: agreement can only be approximate.
_TOLERANCE = {"geometric_median": 0.05, PIPELINE: 0.05}


def bench_rules(
    *, device: str = "cpu", repeats: int = 5, cases: tuple[tuple[int, int, int], ...] = CASES
) -> Iterator[list[Row]]:
    """Yield the rows of one rule at one size at a time."""
    for n, d, f in cases:
        rows = torch.randn(n, d, generator=torch.Generator().manual_seed(0)).to(device)
        # Faulty rows far off in one direction, so that rules have something to decide.
        rows[n - f :] = -3 * rows[: n - f].mean(dim=0) + rows[n - f :] * 0.1
        for spec in _COMPARED:
            yield _against(spec, rows, f, repeats)
        yield _mixing_cost(rows, f, repeats)


def memory_of(n: int, d: int, f: int, *, spec: str = PIPELINE) -> float | None:
    """Return the memory in MB that an aggregation holds beyond its inputs."""
    rows = torch.randn(n, d)
    rule = bf.parse(spec)
    return peak_memory(lambda: rule(rows, f))


def _mixing_cost(rows: torch.Tensor, f: int, repeats: int) -> list[Row]:
    """Compare the trimmed mean of mixed rows with that of the rows as they are."""
    plain, mixed = bf.parse("trimmed_mean"), bf.parse("nnm > trimmed_mean")
    subjects: dict[str, Callable[[], torch.Tensor | None]] = {
        "trimmed_mean": lambda: plain(rows, f),
        "nnm > trimmed_mean": lambda: _untensored(mixed(rows, f)),
    }
    n, d = rows.shape
    return compare("rules", _case(n, d, f), subjects, repeats=repeats)


def _against(spec: str, rows: torch.Tensor, f: int, repeats: int) -> list[Row]:
    rule = bf.parse(spec)
    n, d = rows.shape
    subjects: dict[str, Callable[[], torch.Tensor | None]] = {
        spec: lambda: rule(rows, f),
        "one read of the data": lambda: _untensored(rows.sum()),
        "one X @ X.T": lambda: _untensored(rows @ rows.T),
    }
    peer = _byzfl(spec, f)
    if peer is not None:
        subjects[f"ByzFL {spec}"] = lambda: peer(rows)
    allowed = {f"ByzFL {spec}": _TOLERANCE.get(spec, 1e-4)}
    spread = float(rows.double().std(dim=0).norm())
    return compare(
        "rules", _case(n, d, f), subjects, repeats=repeats, tolerance=allowed, scale=spread
    )


def _untensored(_: object) -> None:
    """Drop a limit's result: it is timed, and compared with nothing."""


def _case(n: int, d: int, f: int) -> str:
    return f"n={n} d={d:,} f={f}"


def _byzfl(spec: str, f: int) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Build the same pipeline of ByzFL's, where it is installed and has one."""
    if find_spec("byzfl") is None:
        return None
    import byzfl  # noqa: PLC0415  (optional)

    makers: dict[str, Callable[[], Any]] = {
        "median": byzfl.Median,
        "trimmed_mean": lambda: byzfl.TrMean(f),
        "meamed": lambda: byzfl.Meamed(f),
        "multi_krum_star": lambda: byzfl.MultiKrum(f),
        "geometric_median": byzfl.GeometricMedian,
        "nnm": lambda: byzfl.NNM(f),
        "arc": lambda: byzfl.ARC(f),
    }
    names = spec.split(" > ")
    if any(name not in makers for name in names):
        return None
    steps = [makers[name]() for name in names]

    def run(rows: torch.Tensor) -> torch.Tensor:
        value = rows.clone() if "arc" in names else rows  # ByzFL's clipping writes into its input
        for step in steps:
            value = step(value)
        return value

    return run
