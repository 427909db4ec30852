"""The reductions with a plain sort: the fallback on every device, and what kernels must equal."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from byzflower.kernels.reduction import Reduction
from byzflower.kernels.source import Source

__all__ = ["around_median", "reduce", "trimmed_mean"]

_CHUNK_ELEMENTS = {"cpu": 1 << 19, "cuda": 1 << 25}


def _mean(x: Tensor) -> Tensor:
    """Return the mean over rows, summed in float64; finite when the rows are."""
    mean = x.mean(0, dtype=torch.float64)
    if mean.isfinite().all():
        return mean
    # Only float64 sums can overflow; scaling first costs digits of tiny values, so comes second.
    # Thirds of the largest number, rounded up, add up to more than it.
    largest = torch.finfo(torch.float64).max
    scaled = (x / len(x)).sum(0, dtype=torch.float64).clamp(-largest, largest)
    return torch.where(mean.isfinite(), mean, scaled)


def _ordered(x: Tensor) -> Tensor:
    """Sort each column; on CPUs with numpy, which has vector instructions for it."""
    if x.device.type != "cpu":
        return x.sort(0).values
    return torch.from_numpy(np.sort(x.numpy(), axis=0))


def trimmed_mean(x: Tensor, trim: int) -> Tensor:
    """Return the mean of each column's values between its ``trim`` smallest and largest.

    Parameters
    ----------
    x
        (m, c), float32 or float64, finite.
    trim
        0 ≤ 2·trim < m.

    Examples
    --------
    >>> trimmed_mean(torch.tensor([[1.0], [2.0], [4.0], [-9.0]]), trim=1)
    tensor([1.5000])
    """
    return _mean(_ordered(x)[trim : len(x) - trim]).to(x.dtype)


def around_median(x: Tensor, keep: int) -> Tensor:
    """Return the mean of each column's ``keep`` values nearest its median.

    They are neighbours in order. Where they may begin at either of two places, the values there
    being equally far from the median in float64, the mean of both choices.

    Parameters
    ----------
    x
        (m, c), float32 or float64, finite.
    keep
        1 ≤ keep ≤ m.

    Examples
    --------
    >>> around_median(torch.tensor([[1.0], [2.0], [5.0], [9.0], [-9.0]]), keep=2)
    tensor([1.5000])
    >>> around_median(torch.tensor([[0.0], [2.0], [5.0]]), keep=2), around_median(
    ...     torch.tensor([[0.0], [2.0], [4.0]]), keep=2
    ... )
    (tensor([1.]), tensor([2.]))
    """
    values = _ordered(x)
    median = _mean(values[(len(x) - 1) // 2 : len(x) // 2 + 1])
    # Neighbours from i and from i + 1 on differ in the values at i and i + keep.
    left, right = median - values[: len(x) - keep], values[keep:] - median
    first, ties = (left > right).sum(0), (left == right).sum(0)
    place = torch.arange(keep, device=x.device)[:, None]
    nearest = values.gather(0, first + place)
    return _mean(torch.where(place < ties, median, nearest.double())).to(x.dtype)


def reduce(source: Source, reduction: Reduction, out: Tensor) -> None:
    """Fill ``out`` (d,) with the reduction of the source's columns, chunk by chunk."""
    compute = trimmed_mean if reduction.kind == "trimmed_mean" else around_median
    columns = max(1, _CHUNK_ELEMENTS.get(source.device.type, 1 << 19) // source.m)
    for start, chunk in source.chunks(columns):
        out[start : start + chunk.shape[1]] = compute(chunk, reduction.count)
