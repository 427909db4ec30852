"""Order statistics of sorted rows with copies of one more value inserted, in closed form."""

from __future__ import annotations

import torch

from byzflower.kernels import Reduction
from byzflower.kernels.network import comparators

__all__ = ["inserted", "sort_rows"]


def sort_rows(rows: list[torch.Tensor]) -> list[torch.Tensor]:
    """Sort every coordinate over the rows, ascending; the rows are overwritten.

    A network of minima and maxima: several times as fast as sorting columns of a matrix.
    """
    spare = torch.empty_like(rows[0])
    for i, j in comparators(len(rows)):
        torch.minimum(rows[i], rows[j], out=spare)
        torch.maximum(rows[i], rows[j], out=rows[j])
        rows[i], spare = spare, rows[i]
    return rows


def inserted(
    ordered: list[torch.Tensor], value: torch.Tensor, copies: int, reduction: Reduction
) -> torch.Tensor:
    """Reduce p sorted rows and ``copies`` copies of another value, for each of B values.

    With s_0 ≤ … ≤ s_{p−1}, the i-th least of all is the clamp of the value to [s_{i−copies}, s_i].

    Parameters
    ----------
    ordered
        p rows of shape (c,), ascending in every coordinate.
    value
        (B, c).
    copies
        At most ``reduction.count`` for a trimmed mean; a minority, and ``reduction.count`` ≤ p,
        for values around the median. Values beyond reach of the others then change nothing.

    Returns
    -------
    torch.Tensor
        (B, c).

    Examples
    --------
    >>> ordered = [torch.tensor([0.0]), torch.tensor([1.0]), torch.tensor([5.0])]
    >>> inserted(ordered, torch.tensor([[9.0], [2.0]]), 1, Reduction("trimmed_mean", 1))
    tensor([[3.0000],
            [1.5000]])
    """
    if reduction.kind == "trimmed_mean":
        return _trimmed(ordered, value, copies, reduction.count)
    return _around_median(ordered, value, copies, reduction.count)


def _sum(rows: list[torch.Tensor]) -> torch.Tensor:
    total = rows[0].clone()
    for row in rows[1:]:
        total += row
    return total


def _trimmed(s: list[torch.Tensor], v: torch.Tensor, copies: int, trim: int) -> torch.Tensor:
    """Mean of clamp(v, s_{i−copies}, s_i) over trim ≤ i < p + copies − trim; most terms cancel."""
    p, length = len(s), len(s) + copies - 2 * trim
    if copies == 0:
        return (_sum(s[trim : p - trim]) / length).expand(v.shape)
    low, high = trim - copies, p + copies - trim - 1  # the values in reach: s_low … s_high
    # clamp(v, a, b) = max(v, a) − max(v, b) + b, and most a are the b of another term.
    count = min(copies, length)
    lower, upper = s[low : low + count], s[high - count + 1 : high + 1]
    total = _sum(s[trim : high + 1]).expand(v.shape).contiguous()
    v = v.clamp(s[low], s[high])
    term = torch.empty_like(v)
    for row in lower:
        total += torch.maximum(v, row, out=term)
    for row in upper:
        total -= torch.maximum(v, row, out=term)
    return total.div_(length)


def _around_median(s: list[torch.Tensor], v: torch.Tensor, copies: int, keep: int) -> torch.Tensor:
    """Move a window of ``keep`` values up while that brings its far end nearer the median."""
    p, m = len(s), len(s) + copies
    reach = 2 * (s[-1] - s[0])
    v = v.clamp(s[0] - reach, s[-1] + reach)  # farther from the median than all others: no matter

    def at(i: int) -> torch.Tensor:
        if copies == 0:
            return s[i].expand(v.shape)
        least = torch.maximum(v, s[i - copies]) if i >= copies else v
        return torch.minimum(least, s[i]) if i < p else least

    twice_median = at((m - 1) // 2) + at(m // 2)
    total = _sum(s[:keep]).expand(v.shape).contiguous()
    for row in s[max(0, keep - copies) : keep]:  # copies below them displace the greatest
        total -= (row - v).clamp_(min=0)
    for i in range(m - keep):
        first, last = at(i), at(i + keep)
        total += torch.where(first + last < twice_median, last - first, 0.0)
    return total.div_(keep)
