"""Reductions on CUDA: a Triton kernel whose threads hold a column each, in registers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor

from byzflower.kernels import reference
from byzflower.kernels.network import Window, network
from byzflower.kernels.reduction import Block, Reduction
from byzflower.kernels.source import Source

__all__ = ["reduce", "supports", "worthwhile"]

_MOST_ROWS = 64  # more values than that leave the registers
_CHUNK_ELEMENTS = 1 << 25


def supports(source: Source) -> bool:
    """Tell whether :func:`reduce` can do it: Triton works here, and a column fits the registers."""
    return source.device.type == "cuda" and source.m <= _MOST_ROWS and _works(source.device)


def worthwhile(source: Source) -> bool:
    """Tell whether there is enough to do to pay for compiling, some seconds for many rows."""
    return source.m * source.d >= 1 << 22


@cache
def _works(device: torch.device) -> bool:
    row, out = torch.ones(1, 1, device=device), torch.zeros(1, device=device)
    try:
        reduce(Source.of([row]), Reduction("around_median", 1), out)
    except Exception:  # no Triton, an old one, no C compiler for its launcher, an unknown device …
        return False
    return bool(out.item() == 1)


def reduce(source: Source, reduction: Reduction, out: Tensor) -> None:
    """Fill ``out`` (d,) with the reduction of the source's columns, straight from its rows."""
    window = Window.of(reduction, source.m)
    comparators = tuple((c.low, c.high) for c in network(source.m, window))
    with torch.cuda.device(out.device if out.is_cuda else -1):
        for start, rows, addresses in _pieces(source):
            target = out[start : start + rows[0].numel()]
            results = target if target.is_contiguous() else torch.empty_like(target)
            _launch(rows, addresses, results, window, comparators)
            if results is not target:
                target.copy_(results)
    if out.dtype == torch.float64 and not out.isfinite().all():  # a sum overflowed
        reference.reduce(source, reduction, out)


def _pieces(source: Source) -> Iterator[tuple[int, Block, Tensor]]:
    """Yield (first column, rows, their addresses): in place where that can be."""
    offset = 0
    in_place = source.mixing is None and all(base is None for base in source.bases)
    if in_place and all(_adjacent(block, source.rows) for block in source.blocks):
        tables = [[block[row].data_ptr() for row in source.rows] for block in source.blocks]
        # One transfer for all blocks.
        for block, table in zip(
            source.blocks, torch.tensor(tables, device=source.device), strict=True
        ):
            yield offset, block, table
            offset += block[0].numel()
        return
    for start, chunk in source.chunks(max(1, _CHUNK_ELEMENTS // source.m)):
        rows = chunk.contiguous()
        table = torch.arange(source.m, device=source.device) * rows.stride(0)
        yield start, rows, table * rows.element_size() + rows.data_ptr()


def _adjacent(block: Block, rows: tuple[int, ...]) -> bool:
    return all(block[row].is_contiguous() for row in rows)


def _launch(
    rows: Block,
    addresses: Tensor,
    out: Tensor,
    window: Window,
    comparators: tuple[tuple[int, int], ...],
) -> None:
    kernel, language = _triton()
    width, columns = rows[0].numel(), 128
    if not width:
        return
    kernel[(-(-width // columns),)](
        addresses,
        out,
        width,
        M=len(addresses),
        DTYPE=getattr(language, str(rows[0].dtype).removeprefix("torch.")),
        NETWORK=comparators,
        FIRST=window.first,
        LAST=window.last,
        KEEP=window.keep,
        MIDDLE=(min(window.middle), max(window.middle)) if window.middle else (0, 0),
        COLUMNS=columns,
        num_warps=4,
        enable_fp_fusion=False,
    )


@cache
def _triton() -> tuple[Any, Any]:
    """Load Triton, when it is first needed."""
    from triton import language  # type: ignore  # noqa: PLC0415

    from byzflower.kernels.triton_kernel import reduce_columns  # noqa: PLC0415

    return reduce_columns, language
