"""``byzflower bench rules``: aggregation against peers, one Gram matrix and one read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch

import byzflower as bf

from .measure import Row, compare, peak_memory
from .peers import aggregations

__all__ = ["CASES", "PIPELINE", "bench_rules", "memory_of"]

CASES = ((15, 431_080, 5), (30, 1_310_922, 6), (100, 431_080, 20))
"""(n, d, f): the papers' models, and a wide round."""

PIPELINE = "arc > nnm > geometric_median"
_COMPARED = (
    "median",
    "trimmed_mean",
    "meamed",
    "multi_krum",
    "multi_krum_star",
    "geometric_median",
    "nnm > trimmed_mean",
    "nnm > median",
    PIPELINE,
)
# Peers stop the geometric median early: agreement can only be approximate.
_TOLERANCE = {"geometric_median": 0.05, PIPELINE: 0.05}


def bench_rules(
    cases: tuple[tuple[int, int, int], ...],
    *,
    device: str = "cpu",
    repeats: int = 5,
    specs: Sequence[str] = _COMPARED,
) -> Iterator[list[Row]]:
    """Yield the rows of one rule at one size at a time."""
    for n, d, f in cases:
        rows = torch.randn(n, d, generator=torch.Generator().manual_seed(0)).to(device)
        # Faulty rows far off in one direction, so that rules have something to decide.
        rows[n - f :] = -3 * rows[: n - f].mean(dim=0) + rows[n - f :] * 0.1
        for spec in specs:
            yield _against(spec, rows, f, repeats)
        if "nnm > trimmed_mean" in specs:
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
    for library, aggregation in aggregations(spec, n, f).items():
        subjects[f"{library} {spec}"] = partial(aggregation, rows)
    allowed = dict.fromkeys(subjects, _TOLERANCE.get(spec, 1e-4))
    spread = float(rows.double().std(dim=0).norm())
    return compare(
        "rules", _case(n, d, f), subjects, repeats=repeats, tolerance=allowed, scale=spread
    )


def _untensored(_: object) -> None:
    """Drop a limit's result: it is timed, and compared with nothing."""


def _case(n: int, d: int, f: int) -> str:
    return f"n={n} d={d:,} f={f}"
