"""The function around every reduction: rows loaded, less a base or mixed, a tile at a time.

``reduce(rows, base, weights, counts, groups, m, count, start, stop, out, mixed)`` covers the
columns start ≤ c < stop, at least one tile of them, of m rows; ``count`` is the reduction's. Per
tile of columns: mix the rows into a tile (if asked), reduce the tile's vectors. A kernel that is
``based`` takes the base from every row as it loads it.

For mixing, ``rows`` lists the addresses of the ``counts[g]`` rows that the g-th of the ``groups``
of ``ROWS_AT_ONCE`` mixed rows needs, group after group, and ``weights`` the group's weights of
each. ``mixed`` is working memory: the mixed tile, then scratch, where mixing keeps its sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from byzflower.kernels.cpu import compiler
from byzflower.kernels.cpu.element import TILE, Element
from byzflower.kernels.cpu.emitter import DOUBLE, INDEX, POINTER, Emitter, Value
from byzflower.kernels.source import SUMMANDS

__all__ = ["ROWS_AT_ONCE", "Frame", "Kernel", "Tile"]

ROWS_AT_ONCE = 6  # mixed rows: times two vectors, the accumulators that 16 registers hold
_PREFETCH_BYTES = 512
_NUMBERS = ("groups", "m", "count", "start", "stop")


@dataclass(frozen=True)
class Kernel:
    """Machine code of a reduction, and the working memory that a call of it needs."""

    run: compiler.Function
    row_bytes: int
    other_bytes: int

    def work(self, m: int) -> int:
        """Bytes for m rows."""
        return self.row_bytes * m + self.other_bytes


@dataclass(frozen=True)
class Tile:
    """What the code of a tile is told: its first column, and the arguments of ``reduce``."""

    start: Value
    scratch: Value
    m: Value
    count: Value
    out: Value


class Frame:
    """The text around a reduction: ``load`` for its code, and the loop over tiles."""

    def __init__(self, dtype: str, *, mixed: bool, based: bool) -> None:
        self.source, self.mixed, self.based = Element(dtype), mixed, based
        self.element = self.source.mixed if mixed else self.source
        self.emitter = Emitter()
        # What straight-line code knows by name, in whatever function it comes to stand.
        names = ("%rows", "%base", "%mixed")
        self.rows, self.base, self.mixture = (self.emitter.named(POINTER, n) for n in names)
        self.column, self.offset = (self.emitter.named(INDEX, n) for n in ("%c", "%o"))

    def kernel(self, row_bytes: int, other_bytes: int) -> Kernel:
        """Compile it, with so much scratch memory for each row and for all together."""
        if self.mixed:
            row_bytes += self._mixed_row
            other_bytes += (ROWS_AT_ONCE - 1) * self._mixed_row
            other_bytes += ROWS_AT_ONCE * 2 * self.source.x.lanes * DOUBLE.bits // 8
        pointer, indices = compiler.POINTER, [compiler.INDEX] * len(_NUMBERS)
        arguments = *[pointer] * 4, *indices, pointer, pointer
        code = compiler.Function(self.emitter.text(), "reduce", *arguments)
        return Kernel(code, row_bytes, other_bytes)

    @property
    def _mixed_row(self) -> int:
        return TILE * self.element.x.bits // 8

    def load(self, row: Value | int, lanes: int = 0) -> Value:
        """Load a vector of a row, of the source or of the mixed tile."""
        emitter, number = self.emitter, self.element.number
        if self.mixed:
            start = emitter.constant(INDEX, row) if isinstance(row, int) else row
            place = emitter.place(self.mixture, start * TILE + self.offset, number)
            return self.element.load(place, lanes)
        place = emitter.place(emitter.load_pointer(self.rows, row), self.column, number)
        emitter.prefetch(place, _PREFETCH_BYTES)
        value = self.element.load(place, lanes)
        return value - self._of_base(self.column, lanes) if self.based else value

    def _of_base(self, column: Value, lanes: int = 0) -> Value:
        return self.source.load(self.emitter.place(self.base, column, self.source.number), lanes)

    @contextmanager
    def vectors(self, tile: Value, lanes: int) -> Iterator[None]:
        """Go through the vectors of a tile; inside, :meth:`load` reads of the one at hand."""
        with self.emitter.loop(0, TILE, lanes, name="%o"):
            self.emitter.write(INDEX, f"add {tile}, %o", name="%c")
            yield

    def store(self, mean: Value, out: Value) -> None:
        """Store the means of the vector at hand."""
        place = self.emitter.place(out, self.column, self.element.compute)
        self.emitter.store(mean.to(self.element.compute), place)

    @contextmanager
    def tiles(self) -> Iterator[Tile]:
        """Write ``reduce``; inside, say what it does with a tile."""
        emitter = self.emitter
        if self.mixed:
            self._mix()
        pointers = dict.fromkeys(("rows", "base", "weights", "counts"), POINTER)
        numbers = dict.fromkeys(_NUMBERS, INDEX)
        ends = dict.fromkeys(("out", "mixed"), POINTER)
        with emitter.function("reduce", {**pointers, **numbers, **ends}) as arguments:
            rows, base, weights, counts, groups, m, count, start, stop, out, mixed = arguments
            scratch, last = mixed, stop - TILE
            if self.mixed:
                scratch = emitter.place(mixed, groups * (ROWS_AT_ONCE * self._mixed_row))
            with emitter.loop(start, stop, TILE) as loop:
                # The last tile may overlap the one before it.
                tile = (loop.index > last).where(last, loop.index)
                if self.mixed:
                    emitter.call(None, "mix", rows, base, weights, counts, groups, tile, mixed)
                yield Tile(tile, scratch, m, count, out)

    def _mix(self) -> None:
        """Mix a tile, one group of rows by two vectors at a time; add up in double now and then."""
        emitter, source, x = self.emitter, self.source, self.source.x
        pointers = dict.fromkeys(("rows", "base", "weights", "counts"), POINTER)
        parameters = {**pointers, "groups": INDEX, "tile": INDEX, "mixed": POINTER}
        cells = [(row, half) for row in range(ROWS_AT_ONCE) for half in (0, 1)]
        with (
            emitter.function("mix", parameters, contract=True, internal=True) as arguments,
            emitter.loop(0, TILE, 2 * x.lanes) as columns,
        ):
            rows, _, weights, counts, groups, tile, mixed = arguments
            column = tile + columns.index
            bases = [self._of_base(column + h * x.lanes) for h in (0, 1)] if self.based else []
            wide = emitter.place(mixed, groups * (ROWS_AT_ONCE * self._mixed_row))
            places = {
                cell: emitter.place(wide, x.lanes * k, "double") for k, cell in enumerate(cells)
            }
            with emitter.loop(0, groups) as group:
                first = group.carry(emitter.constant(INDEX, 0))
                listed = emitter.load(INDEX, emitter.place(counts, group.index, "i64"))
                end = first + listed
                for place in places.values():
                    emitter.store(emitter.constant(x.of("double"), 0.0), place)
                with emitter.loop(first, end, SUMMANDS) as block:
                    last = block.index + SUMMANDS
                    last = (last < end).where(last, end)
                    with emitter.loop(block.index, last) as row:
                        sums = {cell: row.carry(emitter.constant(x, 0.0)) for cell in cells}
                        pointer = emitter.load_pointer(rows, row.index)
                        place = emitter.place(pointer, column, source.number)
                        emitter.prefetch(place, _PREFETCH_BYTES)
                        beside = emitter.place(place, x.lanes, source.number)
                        values = [source.load(place), source.load(beside)]
                        if bases:
                            values = [v - base for v, base in zip(values, bases, strict=True)]
                        weight = emitter.place(weights, row.index * ROWS_AT_ONCE, source.compute)
                        totals = {}
                        for r in range(ROWS_AT_ONCE):
                            one = emitter.load(
                                x.one, emitter.place(weight, r, source.compute)
                            ).everywhere(x.lanes)
                            for half in (0, 1):
                                totals[r, half] = sums[r, half] + one * values[half]
                                row.turn(sums[r, half], totals[r, half])
                    for cell, total in totals.items():
                        added = emitter.load(x.of("double"), places[cell]) + total.to("double")
                        emitter.store(added, places[cell])
                group.turn(first, end)
                corner = group.index * (ROWS_AT_ONCE * TILE) + columns.index
                for r, half in cells:
                    start = corner + (r * TILE + half * x.lanes)
                    total = emitter.load(x.of("double"), places[r, half]).to(source.compute)
                    emitter.store(total, emitter.place(mixed, start, source.compute))
