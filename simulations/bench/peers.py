"""The same aggregations in other libraries, those that are installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, TypeAlias

import torch

__all__ = ["aggregations"]

Aggregation: TypeAlias = Callable[[torch.Tensor], torch.Tensor]


def aggregations(spec: str, n: int, f: int) -> dict[str, Aggregation]:
    """Return library → function of the (n, d) rows, for each library that has this pipeline.

    Names of functions are what peers call them; where a definition differs, results will.
    """
    libraries: dict[str, Callable[[str, int, int], Aggregation | None]] = {
        "ByzFL": _byzfl,
        "ByzPy": _byzpy,
        "Flower": _flower,
    }
    made = ((name, make(spec, n, f)) for name, make in libraries.items())
    return {name: run for name, run in made if run is not None}


def _byzfl(spec: str, n: int, f: int) -> Aggregation | None:
    if find_spec("byzfl") is None:
        return None
    import byzfl  # noqa: PLC0415  (optional)

    steps = _steps(
        spec,
        {
            "median": byzfl.Median,
            "trimmed_mean": lambda: byzfl.TrMean(f),
            "meamed": lambda: byzfl.Meamed(f),
            "multi_krum_star": lambda: byzfl.MultiKrum(f),
            "geometric_median": byzfl.GeometricMedian,
            "nnm": lambda: byzfl.NNM(f),
            "arc": lambda: byzfl.ARC(f),
        },
    )
    if steps is None:
        return None

    def run(rows: torch.Tensor) -> torch.Tensor:
        value = rows.clone() if "arc" in spec else rows  # its clipping writes into its input
        for step in steps:
            value = step(value)
        return value

    return run


def _byzpy(spec: str, n: int, f: int) -> Aggregation | None:
    if find_spec("byzpy") is None:
        return None
    from byzpy import pre_aggregators  # noqa: PLC0415  (optional)
    from byzpy.aggregators import coordinate_wise as coordinate  # noqa: PLC0415
    from byzpy.aggregators import geometric_wise as geometric  # noqa: PLC0415

    steps = _steps(
        spec,
        {
            "median": coordinate.CoordinateWiseMedian,
            "trimmed_mean": lambda: coordinate.CoordinateWiseTrimmedMean(f),
            "multi_krum_star": lambda: geometric.MultiKrum(f, n - f),
            "geometric_median": geometric.GeometricMedian,
            "nnm": lambda: pre_aggregators.NearestNeighborMixing(f),
            "arc": lambda: pre_aggregators.ARC(f),
        },
    )
    if steps is None:
        return None
    *before, rule = steps

    def run(rows: torch.Tensor) -> torch.Tensor:
        vectors: Sequence[torch.Tensor] = list(rows)
        for step in before:
            vectors = step.pre_aggregate(vectors)
        value: torch.Tensor = rule.aggregate(vectors)
        return value

    return run


def _flower(spec: str, n: int, f: int) -> Aggregation | None:
    """Return what Flower's strategies FedMedian, FedTrimmedAvg and Krum compute."""
    from flwr.server.strategy import aggregate  # noqa: PLC0415

    functions: Mapping[str, Callable[[Any], Any]] = {
        "median": aggregate.aggregate_median,
        "trimmed_mean": lambda results: aggregate.aggregate_trimmed_avg(results, (f + 0.5) / n),
        "multi_krum": lambda results: aggregate.aggregate_krum(results, f, n - f - 2),
    }
    function = functions.get(spec)
    if function is None:
        return None

    def run(rows: torch.Tensor) -> torch.Tensor:
        (value,) = function([([row.cpu().numpy()], 1) for row in rows])
        return torch.from_numpy(value).to(rows.device)

    return run


def _steps(spec: str, makers: Mapping[str, Callable[[], Any]]) -> list[Any] | None:
    names = spec.split(" > ")
    return [makers[name]() for name in names] if all(name in makers for name in names) else None
