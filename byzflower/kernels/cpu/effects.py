"""The closed forms of ``byzflower.attack.search.insertion`` as machine code, if it compiles.

One pass over a tile for all candidates of a family: sorted values, candidate, aggregate and
squared distance live in registers, where tensor operations write and read some thirty steps each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache, reduce
from operator import add
from typing import TypeAlias

import torch

from byzflower.kernels import Reduction
from byzflower.kernels.cpu import compiler
from byzflower.kernels.cpu.addresses import of_vectors
from byzflower.kernels.cpu.compiler import Function, available
from byzflower.kernels.cpu.element import name_of
from byzflower.kernels.cpu.emitter import INDEX, POINTER, Emitter, Type, Value
from byzflower.kernels.network import comparators

__all__ = ["WIDTH", "Fused", "fused"]

WIDTH = 16  # columns at a time; tiles are padded to a multiple
_PART = 4096  # columns summed in the rows' own precision before float64
_KINDS = {torch.float32: "float", torch.float64: "double"}
_MOST_ROWS = 128  # the code of longer networks takes seconds to compile


@lru_cache(maxsize=256)
def fused(reduction: Reduction, p: int, copies: int, dtype: torch.dtype) -> Fused | None:
    """Return the code for p rows and some copies of one more, if it can be compiled."""
    if p > _MOST_ROWS or dtype not in _KINDS or not available(name_of(dtype)):
        return None
    return Fused(reduction, p, copies, dtype)


class Fused:
    """Machine code that adds up ‖R − mean‖² and ⟨R, mean⟩ over a tile, for T candidates.

    For candidate v = a · mean + b · direction and w = row + lift · v, R is the reduction of the
    rows and ``copies`` of w, plus shift · v.
    """

    def __init__(self, reduction: Reduction, p: int, copies: int, dtype: torch.dtype) -> None:
        text = _text(_KINDS[dtype], reduction, p, copies)
        pointer, index = compiler.POINTER, compiler.INDEX
        self._run = Function(text, "effects", pointer, pointer, *[index] * 3, pointer)

    def __call__(
        self,
        rows: Sequence[torch.Tensor],
        row: torch.Tensor,
        mean: torch.Tensor,
        direction: torch.Tensor,
        scalars: torch.Tensor,
    ) -> torch.Tensor:
        """Return the two sums for each candidate, float64 (T, 2).

        Parameters
        ----------
        rows, row, mean, direction
            p rows and three more, contiguous (c,), c a multiple of ``WIDTH``.
        scalars
            a, b, lift and shift of each candidate, contiguous (T, 4), in the rows' dtype.
        """
        addresses = of_vectors((mean, direction, row, *rows))
        starts = range(0, mean.numel(), _PART)
        sums = mean.new_zeros((len(starts), len(scalars), 2, WIDTH))
        for start, part in zip(starts, sums, strict=True):
            stop = min(start + _PART, mean.numel())
            self._run(
                addresses.ctypes.data,
                scalars.data_ptr(),
                len(scalars),
                start,
                stop,
                part.data_ptr(),
            )
        return sums.double().sum(dim=(0, 3))


# Writes what becomes of the sorted rows and the copies of one more value.
_Reduced: TypeAlias = Callable[[Value], Value]


def _text(number: str, reduction: Reduction, p: int, copies: int) -> str:
    """``effects(rows, scalars, count, start, stop, sums)``: rows once, then every candidate."""
    emitter, x = Emitter(), Type(number, WIDTH)
    ranges = dict.fromkeys(("count", "start", "stop"), INDEX)
    parameters = {"rows": POINTER, "scalars": POINTER, **ranges, "sums": POINTER}
    with (
        emitter.function("effects", parameters, contract=True) as (
            rows,
            scalars,
            count,
            start,
            stop,
            sums,
        ),
        emitter.loop(start, stop, WIDTH) as columns,
    ):
        pointers = [emitter.load_pointer(rows, row) for row in range(3 + p)]
        mean, direction, row, *s = (
            emitter.load(x, emitter.place(pointer, columns.index, number)) for pointer in pointers
        )
        for i, j in comparators(p):
            s[i], s[j] = s[i].minimum(s[j]), s[i].maximum(s[j])
        reduced = (_trimmed if reduction.kind == "trimmed_mean" else _window)(
            s, reduction.count, copies
        )
        with emitter.loop(0, count) as t:
            first = emitter.place(scalars, t.index * 4, number)
            a, b, lift, shift = (
                emitter.load(x.one, emitter.place(first, i, number)).everywhere(WIDTH)
                for i in range(4)
            )
            v = a * mean + b * direction
            value = reduced(row + lift * v) + shift * v
            off = value - mean
            first = emitter.place(sums, t.index * (2 * WIDTH), number)
            for i, part in enumerate((off * off, value * mean)):
                place = emitter.place(first, i * WIDTH, number)
                emitter.store(emitter.load(x, place) + part, place)
    return emitter.text()


def _trimmed(s: list[Value], trim: int, copies: int) -> _Reduced:
    low, high = trim - copies, len(s) + copies - trim
    count = min(copies, high - trim)
    kept = reduce(add, s[trim:high])
    inverse = kept.like(1.0) / (high - trim)

    def reduced(w: Value) -> Value:
        total = kept
        if copies:
            w = w.maximum(s[low]).minimum(s[high - 1])
        for row in s[low : low + count]:
            total += w.maximum(row)
        for row in s[high - count : high]:
            total -= w.maximum(row)
        return total * inverse

    return reduced


def _window(s: list[Value], keep: int, copies: int) -> _Reduced:
    p, m = len(s), len(s) + copies
    reach = (s[-1] - s[0]) * 2.0
    least, most = s[0] - reach, s[-1] + reach
    kept = reduce(add, s[:keep])
    inverse = kept.like(1.0) / keep

    def reduced(w: Value) -> Value:
        w = w.maximum(least).minimum(most)

        @cache
        def at(i: int) -> Value:
            if copies == 0:
                return s[i]
            value = w.maximum(s[i - copies]) if i >= copies else w
            return value.minimum(s[i]) if i < p else value

        twice_median, total = at((m - 1) // 2) + at(m // 2), kept
        for row in s[max(0, keep - copies) : keep] if copies else []:
            total -= row - row.minimum(w)
        for i in range(m - keep):
            first, last = at(i), at(i + keep)
            total += (first + last < twice_median).where(last - first, 0.0)
        return total * inverse

    return reduced
