"""Metrics that clients claim: medians that a minority cannot move, records that agree in form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import isfinite
from statistics import median
from typing import cast

from byzflower.wire.metrics import Metrics, MetricValue

from .rejections import Reason, Rejection, Reply, excerpt

__all__ = ["agreeing", "capped_metrics", "finite_metrics", "median_metrics"]


def finite_metrics(metrics: Metrics) -> dict[str, MetricValue]:
    """Return the metrics without those that hold NaN, Inf or an integer no float can hold.

    >>> finite_metrics({"loss": float("nan"), "accuracy": 0.5})
    {'accuracy': 0.5}
    """
    return {key: value for key, value in metrics.items() if all(map(_is_finite, _listed(value)))}


def median_metrics(claims: Sequence[Metrics]) -> dict[str, MetricValue]:
    """Return the median of every metric that more than half of the clients report.

    A value counts if it is finite and has the form (one number, or a list of some length) that
    more than half report; lists take the median entry by entry. While fewer than half of the
    clients lie, each result lies between two honest values.

    Examples
    --------
    >>> median_metrics([{"loss": 0.5}, {"loss": 0.7}, {"loss": 1e30, "note": 1}])
    {'loss': 0.7}
    """
    finite = [finite_metrics(claim) for claim in claims]
    medians: dict[str, MetricValue] = {}
    for key, length in _majority(finite, len(claims)).items():
        values = [c[key] for c in finite if key in c and _length(c[key]) == length]
        columns = [median(map(float, column)) for column in zip(*map(_listed, values), strict=True)]
        medians[key] = columns[0] if length is None else columns
    return finite_metrics(medians)  # the mean of two middle values may overflow


def capped_metrics(replies: Sequence[Reply], f: int) -> list[dict[str, MetricValue]]:
    """Return each reply's metrics, every value capped by those of the others.

    Of each number that more than half report in one form, the f smallest become the next larger
    one and the f largest the next smaller, fewer than half in all: what a minority claims then lies
    between honest values. A reply without a usable value gets the median; all have the same keys.

    Examples
    --------
    >>> claims = [{"loss": 5.0}, {"loss": 7.0}, {"loss": 6.0}, {"loss": 1e30}, {"note": 1}]
    >>> [c["loss"] for c in capped_metrics([Reply(i, {}, c) for i, c in enumerate(claims)], f=1)]
    [6.0, 7.0, 6.0, 7.0, 6.5]
    """
    finite = [finite_metrics(reply.metrics) for reply in replies]
    capped: list[dict[str, MetricValue]] = [{} for _ in replies]
    medians = median_metrics(finite)
    for key, length in _majority(finite, len(replies)).items():
        if key not in medians:
            continue
        rows = [
            _listed(own[key] if key in own and _length(own[key]) == length else medians[key])
            for own in finite
        ]
        known = [_listed(own[key]) for own in finite if key in own and _length(own[key]) == length]
        limits = [_limits(column, f) for column in zip(*known, strict=True)]
        for mine, row in zip(capped, rows, strict=True):
            values = [min(max(x, low), high) for x, (low, high) in zip(row, limits, strict=True)]
            mine[key] = cast("MetricValue", values[0] if length is None else values)
    return capped


def _limits(column: Sequence[float], f: int) -> tuple[float, float]:
    ordered = sorted(column)
    cut = min(f, (len(ordered) - 1) // 2)
    return ordered[cut], ordered[len(ordered) - 1 - cut]


def agreeing(replies: Sequence[Reply]) -> tuple[list[Reply], list[Rejection]]:
    """Keep the metrics that more than half of the replies share, and the replies that have them.

    Flower refuses to average records that differ in keys or in the length of lists, so one odd
    reply would cost the round its metrics.
    """
    forms = _majority([reply.metrics for reply in replies], len(replies))
    kept, rejections = [], []
    for reply in replies:
        odd = [
            k for k, n in forms.items() if k not in reply.metrics or _length(reply.metrics[k]) != n
        ]
        if odd:
            detail = f"needs the metrics that most replies have; found no such {excerpt(odd[0])}"
            rejections.append(Rejection(reply.node_id, Reason.METRICS, detail))
        else:
            shared = {key: reply.metrics[key] for key in forms}
            kept.append(replace(reply, metrics=shared))
    return kept, rejections


def _majority(claims: Iterable[Metrics], total: int) -> dict[str, int | None]:
    votes = Counter((key, _length(value)) for claim in claims for key, value in claim.items())
    return {key: length for (key, length), count in votes.items() if 2 * count > total}


def _length(value: MetricValue) -> int | None:
    return len(value) if isinstance(value, list) else None


def _listed(value: MetricValue) -> list[int] | list[float]:
    return value if isinstance(value, list) else [value]


def _is_finite(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:
        return False
