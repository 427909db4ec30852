"""Reductions on CPU: machine code made for each reduction, run by a few threads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from byzflower.kernels import reference
from byzflower.kernels.cpu import reductions, selection
from byzflower.kernels.cpu.addresses import Addresses, addresses, stacked
from byzflower.kernels.cpu.compiler import available
from byzflower.kernels.cpu.element import TILE, name_of
from byzflower.kernels.cpu.frame import Kernel
from byzflower.kernels.cpu.weights import Weights
from byzflower.kernels.gaps import Gaps
from byzflower.kernels.reduction import Reduction
from byzflower.kernels.source import Source, compute_dtype
from byzflower.threads import on_threads

__all__ = ["reduce", "supports", "worthwhile"]

_MOST_SORTED_ROWS = 128  # the code of longer networks takes seconds to compile
_LEAST_COLUMNS = 8  # narrower rows leave vectors idle
_SPAN_ELEMENTS = 1 << 20


def supports(source: Source) -> bool:
    """Tell whether :func:`reduce` can do it: the compiler is there, and the rows are in reach."""
    return (
        source.device.type == "cpu"
        and not source.needs_float64
        and all(available(name_of(block[0].dtype)) for block in source.blocks)
    )


def worthwhile(source: Source) -> bool:
    """Tell whether there is enough to do to pay for compiling, once some 50 ms."""
    return source.m * source.d >= 1 << 15 and source.d >= _LEAST_COLUMNS


def _sorts(source: Source) -> bool:
    """Tell whether a network of its own pays for this number of rows, at some 5 ms a row."""
    return source.m <= _MOST_SORTED_ROWS and source.d >= 16 * source.m


def reduce(
    source: Source, reduction: Reduction, out: Tensor, gaps: Gaps | None = None
) -> npt.NDArray[np.float64] | None:
    """Fill ``out`` (d,) with the reduction of the source's columns, straight from its rows.

    Return what ``gaps`` says of all columns, each part of them having just been made; or None.
    """
    squares = _run(source, reduction, out, gaps)
    if out.dtype == torch.float64 and not out.isfinite().all():  # a sum overflowed
        reference.reduce(source, reduction, out)
        return None
    return squares


def _run(
    source: Source, reduction: Reduction, out: Tensor, gaps: Gaps | None
) -> npt.NDArray[np.float64] | None:
    spans: list[_Span] = []
    offset = 0
    dtypes = {compute_dtype(block) for block in source.blocks}
    weights = {
        dtype: None if source.mixing is None else Weights.of(source.mixing, dtype)
        for dtype in dtypes
    }
    for index, block in enumerate(source.blocks):
        width = block[0].numel()
        if width:
            target = out[offset : offset + width]
            job = _Job.of(source, reduction, index, weights[compute_dtype(block)], target)
            spans.extend(job.spans(None if gaps is None else gaps.columns))
        offset += width

    if gaps is None:
        on_threads(_Span.run, spans)
        return None
    return sum(on_threads(partial(_Span.run_and_measure, gaps=gaps), spans), gaps.nothing)


@dataclass(frozen=True)
class _Job:
    """One block: its kernel, its rows' addresses (None if not readable in place), its results."""

    source: Source
    reduction: Reduction
    index: int
    kernel: Kernel
    weights: Weights | None
    addresses: Addresses | None
    out: Tensor

    @classmethod
    def of(
        cls,
        source: Source,
        reduction: Reduction,
        index: int,
        weights: Weights | None,
        out: Tensor,
    ) -> _Job:
        block, rows, based = source.blocks[index], source.indices, source.bases[index] is not None
        dtype = name_of(block[0].dtype)
        mixed = weights is not None
        if _sorts(source):
            kernel = reductions.compiled(reduction, source.m, dtype, mixed, based)
        else:
            kernel = selection.compiled(reduction.kind, dtype, mixed, based)
        if weights is not None:
            rows = rows[weights.order]
        return cls(source, reduction, index, kernel, weights, addresses(block, rows), out)

    def spans(self, columns: int | None) -> list[_Span]:
        width = self.out.numel()
        step = columns or max(TILE, _SPAN_ELEMENTS // len(self.source.rows) // TILE * TILE)
        return [_Span(self, start, min(start + step, width)) for start in range(0, width, step)]


@dataclass(frozen=True)
class _Span:
    """Some columns of a block."""

    job: _Job
    start: int
    stop: int

    def run_and_measure(self, gaps: Gaps) -> npt.NDArray[np.float64]:
        """Say what the rows' gaps to the results are, while both are in the cache."""
        self.run()
        return gaps.of(self.job.index, self.start, self.stop)

    def run(self) -> None:
        job, start, stop, width = self.job, self.start, self.stop, self.stop - self.start
        dtype = compute_dtype(job.source.blocks[job.index])
        weights, places, base = job.weights, job.addresses, job.source.bases[job.index]
        if places is None or width < TILE:
            rows = job.source.part(job.index, start, stop)
            if width < TILE:
                rows = torch.nn.functional.pad(rows, (0, TILE - width))
            if base is not None:
                base = torch.nn.functional.pad(base[start:stop], (0, rows.shape[1] - width))
            order = range(len(rows)) if weights is None else weights.order
            places, start, stop = stacked(rows, order), 0, rows.shape[1]
        target = job.out[self.start : self.stop]
        direct = width >= TILE and target.dtype == dtype and target.is_contiguous()
        results = target if direct else torch.empty(max(width, TILE), dtype=dtype)
        m = job.source.m
        work = torch.empty(job.kernel.work(m) + 64, dtype=torch.uint8)
        job.kernel.run(
            places.ctypes.data,
            0 if base is None else base.data_ptr(),
            0 if weights is None else weights.values.data_ptr(),
            0 if weights is None else weights.counts.data_ptr(),
            0 if weights is None else len(weights.counts),
            m,
            job.reduction.count,
            start,
            stop,
            # The kernel writes where it reads: column `start` of the rows goes to `results[0]`.
            results.data_ptr() - start * results.element_size(),
            -(-work.data_ptr() // 64) * 64,
        )
        if not direct:
            target.copy_(results[:width])
