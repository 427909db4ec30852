# mypy: ignore-errors
# ruff: noqa: PLR0917, RUF005
# Triton compiles these functions from their source: no Python types, no unpacking, no keywords.
"""The Triton kernel: a sorting network across the rows, one column in each thread.

The network comes as a constant, so it unrolls and the column's values stay in registers; loads
of neighbouring threads are neighbours in a row.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["reduce_columns"]


@triton.jit
def _load(addresses, row, columns, inside, DTYPE: tl.constexpr):
    """Load one row's values as the compute type."""
    pointer = tl.load(addresses + row).to(tl.pointer_type(DTYPE))
    x = tl.load(pointer + columns, mask=inside, other=0.0)
    return x.to(tl.float64 if tl.float64 == DTYPE else tl.float32)


@triton.jit
def _exchange(x, LOW: tl.constexpr, HIGH: tl.constexpr):
    less = tl.minimum(x[LOW], x[HIGH])
    more = tl.maximum(x[LOW], x[HIGH])
    return x[:LOW] + (less,) + x[LOW + 1 : HIGH] + (more,) + x[HIGH + 1 :]


@triton.jit
def reduce_columns(
    addresses,
    out,
    width,
    M: tl.constexpr,
    DTYPE: tl.constexpr,
    NETWORK: tl.constexpr,
    FIRST: tl.constexpr,
    LAST: tl.constexpr,
    KEEP: tl.constexpr,
    MIDDLE: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Average, in each column, ``KEEP`` sorted neighbours starting at ``FIRST`` … ``LAST``."""
    columns = tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < width
    x = ()
    for row in tl.static_range(M):
        x = x + (_load(addresses, row, columns, inside, DTYPE),)
    for k in tl.static_range(len(NETWORK)):
        x = _exchange(x, NETWORK[k][0], NETWORK[k][1])
    total = tl.zeros((COLUMNS,), tl.float64)
    if FIRST == LAST:
        for place in tl.static_range(FIRST, FIRST + KEEP):
            total += x[place].to(tl.float64)
    else:
        a = x[MIDDLE[0]].to(tl.float64)
        b = x[MIDDLE[1]].to(tl.float64)
        # Halving first keeps float64 values near the largest from overflowing.
        median = tl.where(tl.abs(a + b) < float("inf"), (a + b) * 0.5, a * 0.5 + b * 0.5)
        for place in tl.static_range(FIRST, LAST + KEEP):
            value = x[place].to(tl.float64)
            part = value
            # Windows from i and i + 1 differ in the values at i and i + KEEP: the nearer one stays,
            # and the median itself where both are as near.
            if place < LAST:
                other = x[place + KEEP].to(tl.float64)
                part = tl.where(median - value > other - median, 0.0, part)
                total += tl.where(median - value == other - median, median - value, 0.0)
            if place >= FIRST + KEEP:
                other = x[place - KEEP].to(tl.float64)
                part = tl.where(median - other > value - median, part, 0.0)
            total += part
    mean = total / KEEP
    if tl.float64 == DTYPE:
        tl.store(out + columns, mean.to(out.dtype.element_ty), mask=inside)
    else:
        tl.store(out + columns, mean.to(tl.float32).to(out.dtype.element_ty), mask=inside)
