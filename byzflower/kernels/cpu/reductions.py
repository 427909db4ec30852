"""The whole function around a reduction's straight-line code.

``reduce(rows, base, weights, counts, start, stop, out, work)`` covers the columns start ≤ c < stop,
at least one tile of them. Per tile of columns: mix the rows into a tile (if asked), run the code
over the tile's vectors. A kernel that is ``based`` takes the base from every row as it loads it.

For mixing, ``rows`` lists the addresses of the ``counts[g]`` rows that the g-th group of
``ROWS_AT_ONCE`` mixed rows needs, group after group, and ``weights`` the group's weights of each.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import lru_cache

from byzflower.kernels.cpu import compiler
from byzflower.kernels.cpu.element import TILE, Element
from byzflower.kernels.cpu.emitter import INDEX, POINTER, Emitter, Value
from byzflower.kernels.cpu.segments import segments
from byzflower.kernels.cpu.sorting import Sorted
from byzflower.kernels.network import Window
from byzflower.kernels.reduction import Reduction

__all__ = ["ROWS_AT_ONCE", "Kernel", "compiled"]

ROWS_AT_ONCE = 6  # mixed rows: times two vectors, the accumulators that 16 registers hold
_PREFETCH_BYTES = 512


class Kernel:
    """Machine code for one reduction, row count and dtype.

    ``work`` is how many bytes of working memory each call needs.
    """

    tile = TILE

    def __init__(
        self, reduction: Reduction, m: int, dtype: str, mixed: bool, based: bool = False
    ) -> None:
        program = _Program(reduction, m, Element(dtype), mixed, based)
        text, self.work = program.text(), program.work
        pointer, index = compiler.POINTER, compiler.INDEX
        self.run = compiler.Function(text, "reduce", *[pointer] * 4, index, index, pointer, pointer)


@lru_cache(maxsize=256)
def compiled(reduction: Reduction, m: int, dtype: str, mixed: bool, based: bool = False) -> Kernel:
    """Return the kernel, compiled once per process."""
    return Kernel(reduction, m, dtype, mixed, based)


class _Program:
    """The text of one kernel."""

    def __init__(
        self, reduction: Reduction, m: int, source: Element, mixed: bool, based: bool
    ) -> None:
        self.m, self.source, self.mixed, self.based = m, source, mixed, based
        self.window = Window.of(reduction, m)
        self.element = source.mixed if mixed else source
        self.groups = -(-m // ROWS_AT_ONCE) if mixed else 0
        self.mixed_bytes = self.groups * ROWS_AT_ONCE * TILE * self.element.x.bits // 8
        self.work = self.mixed_bytes
        self.emitter = Emitter()
        # What straight-line code knows by name, in whatever function it comes to stand.
        names = ("%rows", "%base", "%mixed")
        self.rows, self.base, self.mixture = (self.emitter.named(POINTER, n) for n in names)
        self.column, self.offset = (self.emitter.named(INDEX, n) for n in ("%c", "%o"))

    def text(self) -> str:
        emitter = self.emitter
        with emitter.recording() as code:
            done = Sorted(self.window, self.m, self._load)
        parts, scratch_bytes = segments(code, [done.mean])
        self.work += scratch_bytes
        if self.mixed:
            self._mix()
        for s, part in enumerate(parts):
            with (
                self._function(f"segment{s}") as (_, _, _, scratch, tile, out),
                emitter.loop(0, TILE, self.element.x.lanes, name="%o"),
            ):
                emitter.write(INDEX, f"add {tile}, %o", name="%c")
                part.write(emitter, scratch, self.offset)
                if part is parts[-1]:
                    mean = done.mean.to(self.element.compute)
                    emitter.store(mean, emitter.place(out, self.column, self.element.compute))
        self._tiles(len(parts))
        return emitter.text()

    def _function(self, name: str) -> AbstractContextManager[list[Value]]:
        pointers = dict.fromkeys(("rows", "base", "mixed", "scratch"), POINTER)
        parameters = {**pointers, "tile": INDEX, "out": POINTER}
        return self.emitter.function(name, parameters, internal=True)

    def _load(self, row: Value | int) -> Value:
        """Load a vector of a row, of the source or of the mixed tile."""
        emitter, number = self.emitter, self.element.number
        if self.mixed:
            start = emitter.constant(INDEX, row) if isinstance(row, int) else row
            return self.element.load(
                emitter.place(self.mixture, start * TILE + self.offset, number)
            )
        place = emitter.place(emitter.load_pointer(self.rows, row), self.column, number)
        if isinstance(row, int):
            emitter.prefetch(place, _PREFETCH_BYTES)
        value = self.element.load(place)
        return value - self._of_base(self.column) if self.based else value

    def _of_base(self, column: Value) -> Value:
        return self.source.load(self.emitter.place(self.base, column, self.source.number))

    def _mix(self) -> None:
        """Mix a tile, one group of rows by two vectors at a time."""
        emitter, source, x = self.emitter, self.source, self.source.x
        pointers = dict.fromkeys(("rows", "base", "weights", "counts"), POINTER)
        cells = [(row, half) for row in range(ROWS_AT_ONCE) for half in (0, 1)]
        with (
            emitter.function(
                "mix",
                {**pointers, "tile": INDEX, "mixed": POINTER},
                contract=True,
                internal=True,
            ) as (rows, _, weights, counts, tile, mixed),
            emitter.loop(0, TILE, 2 * x.lanes) as columns,
        ):
            column = tile + columns.index
            bases = [self._of_base(column + h * x.lanes) for h in (0, 1)] if self.based else []
            with emitter.loop(0, self.groups) as group:
                first = group.carry(emitter.constant(INDEX, 0))
                listed = emitter.load(INDEX, emitter.place(counts, group.index, "i64"))
                end = first + listed
                with emitter.loop(first, end) as row:
                    sums = {cell: row.carry(emitter.constant(x, 0.0)) for cell in cells}
                    pointer = emitter.load_pointer(rows, row.index)
                    place = emitter.place(pointer, column, source.number)
                    emitter.prefetch(place, _PREFETCH_BYTES)
                    beside = emitter.place(place, x.lanes, source.number)
                    values = [source.load(place), source.load(beside)]
                    if bases:
                        values = [value - base for value, base in zip(values, bases, strict=True)]
                    weight = emitter.place(weights, row.index * ROWS_AT_ONCE, source.compute)
                    totals = {}
                    for r in range(ROWS_AT_ONCE):
                        one = emitter.load(
                            x.one, emitter.place(weight, r, source.compute)
                        ).everywhere(x.lanes)
                        for half in (0, 1):
                            totals[r, half] = sums[r, half] + one * values[half]
                            row.turn(sums[r, half], totals[r, half])
                group.turn(first, end)
                corner = group.index * (ROWS_AT_ONCE * TILE) + columns.index
                for (r, half), total in totals.items():
                    start = corner + (r * TILE + half * x.lanes)
                    emitter.store(total, emitter.place(mixed, start, source.compute))

    def _tiles(self, segment_count: int) -> None:
        """Go through the tiles of columns."""
        emitter = self.emitter
        pointers = dict.fromkeys(("rows", "base", "weights", "counts"), POINTER)
        ends = {"start": INDEX, "stop": INDEX, "out": POINTER, "work": POINTER}
        with emitter.function("reduce", {**pointers, **ends}) as (
            rows,
            base,
            weights,
            counts,
            start,
            stop,
            out,
            mixed,
        ):
            scratch = emitter.place(mixed, self.mixed_bytes)
            last = stop - TILE
            with emitter.loop(start, stop, TILE) as loop:
                # The last tile may overlap the one before it.
                tile = (loop.index > last).where(last, loop.index)
                if self.mixed:
                    emitter.call(None, "mix", rows, base, weights, counts, tile, mixed)
                for s in range(segment_count):
                    emitter.call(None, f"segment{s}", rows, base, mixed, scratch, tile, out)
