"""Squared distances of rows from a vector, as machine code: each row is read once."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from torch import Tensor

from byzflower.kernels.cpu import compiler
from byzflower.kernels.cpu.addresses import Addresses
from byzflower.kernels.cpu.compiler import Function
from byzflower.kernels.cpu.element import Element, name_of
from byzflower.kernels.cpu.emitter import DOUBLE, INDEX, POINTER, Emitter

__all__ = ["STEP", "add_squares"]

STEP = 64  # columns; the number of those read is a multiple of it
_SUMS = 4  # vectors that are added up side by side: an addition takes some cycles
_TILE = 1 << 10  # columns whose squares are summed in the compute type
_PREFETCH_BYTES = 1024


def add_squares(
    out: npt.NDArray[np.float64],
    rows: Addresses,
    row: Tensor,
    base: Tensor | None,
    point: Tensor,
    *,
    columns: tuple[int, int],
) -> None:
    """Add Σ (x_c − base_c − point_c)² over columns start ≤ c < stop of each row x to ``out`` (n,).

    ``row`` is one of the rows, whose dtype the base has; ``point[0]`` belongs to column ``start``.
    """
    start, stop = columns
    function = _function(name_of(row.dtype), name_of(point.dtype), base is not None)
    function(
        rows.ctypes.data,
        0 if base is None else base.data_ptr(),
        point.data_ptr() - start * point.element_size(),
        len(rows),
        start,
        stop,
        out.ctypes.data,
    )


@cache
def _function(dtype: str, point: str, based: bool) -> Function:
    arguments = *[compiler.POINTER] * 3, *[compiler.INDEX] * 3, compiler.POINTER
    return Function(_text(Element(dtype), Element(point), based), "gaps", *arguments)


def _text(element: Element, other: Element, based: bool) -> str:
    """``gaps(rows, base, point, n, start, stop, out)``; of ``rows``, n addresses are given."""
    emitter, x = Emitter(), element.x
    pointers, numbers = ("rows", "base", "point"), ("n", "start", "stop")
    parameters = {**dict.fromkeys(pointers, POINTER), **dict.fromkeys(numbers, INDEX)}
    with emitter.function("gaps", {**parameters, "out": POINTER}, contract=True) as arguments:
        rows, base, point, n, start, stop, out = arguments
        with emitter.loop(start, stop, _TILE) as tile:
            after = tile.index + _TILE
            end = (after < stop).where(after, stop)
            with emitter.loop(0, n) as row:
                pointer = emitter.load_pointer(rows, row.index)
                with emitter.loop(tile.index, end, _SUMS * x.lanes) as column:
                    sums = [column.carry(emitter.constant(x, 0.0)) for _ in range(_SUMS)]
                    totals = []
                    for i, partial in enumerate(sums):
                        at = column.index + i * x.lanes
                        place = emitter.place(pointer, at, element.number)
                        if not i:
                            emitter.prefetch(place, _PREFETCH_BYTES)
                        gap = element.load(place)
                        if based:
                            gap = gap - element.load(emitter.place(base, at, element.number))
                        aim = other.load(emitter.place(point, at, other.number), x.lanes)
                        gap = gap - aim.to(x.number)
                        totals.append(partial + gap * gap)
                    for partial, total in zip(sums, totals, strict=True):
                        column.turn(partial, total)
                first, *rest = totals
                for total in rest:
                    first = first + total
                place = emitter.place(out, row.index, "double")
                added = emitter.load(DOUBLE, place) + first.sum().to("double")
                emitter.store(added, place)
    return emitter.text()
