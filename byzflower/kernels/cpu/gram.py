"""Inner products of rows about one of them, as machine code: one read of the rows.

Centring a tile of columns and multiplying it happens in the cache. Products of pairs are summed in
float32 within a tile, across tiles in float64; each pair is multiplied once, not twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from byzflower.kernels.cpu import compiler
from byzflower.kernels.cpu.addresses import Addresses, addresses, stacked
from byzflower.kernels.cpu.compiler import Function, available
from byzflower.kernels.cpu.element import Element, name_of
from byzflower.kernels.cpu.emitter import DOUBLE, INDEX, POINTER, Emitter, Value
from byzflower.kernels.reduction import Block
from byzflower.symmetric import mirrored

__all__ = ["CentredRows"]

_ROWS, _COLUMNS = 4, 3  # products at a time: as many accumulators as 16 registers leave room for
_GAP = 16  # keeps rows whose length is a power of two out of each other's cache lines
_TILE_ELEMENTS = 1 << 16  # a quarter of a MiB, about half of a core's cache
_WIDEST_TILE = 512
_PREFETCH_BYTES = 1024


class CentredRows:
    """n rows, given as column ranges of blocks, all of one dtype but float64.

    Parameters
    ----------
    pieces
        The ranges, each n tensors of c elements or an (n, c) tensor; read in place where a row's
        elements are adjacent.
    bases
        For each range a vector of c elements that is taken from its rows, in their dtype; None
        where there is none in any.
    """

    def __init__(self, pieces: Sequence[Block], bases: Sequence[Tensor] | None = None) -> None:
        self.n = len(pieces[0])
        self._function = _function(name_of(pieces[0][0].dtype), bases is not None)
        self._ranges: list[tuple[Addresses, int]] = []
        self._copies: list[Tensor] = []
        width = Element(name_of(pieces[0][0].dtype)).x.lanes
        rests = []
        for i, piece in enumerate(pieces):
            rows = piece if bases is None else (*piece, bases[i])
            columns = piece[0].numel()
            whole = columns - columns % width
            if whole:
                self._ranges.append((self._in_place(rows), whole))
            if whole < columns:
                rests.append(torch.stack([row[whole:] for row in rows]))
        if rests:
            rest = torch.cat(rests, dim=1)
            rest = torch.nn.functional.pad(rest, (0, -rest.shape[1] % width))
            self._ranges.append((self._in_place(rest), rest.shape[1]))

    @staticmethod
    def supports(piece: Block) -> bool:
        """Tell whether code for such rows can be made here."""
        row = piece[0]
        return (
            row.device.type == "cpu"
            and row.dtype != torch.float64
            and available(name_of(row.dtype))
        )

    def _in_place(self, piece: Block) -> Addresses:
        found = addresses(piece, range(len(piece)))
        if found is None:
            copy = torch.stack([*piece])
            found = stacked(copy, range(len(piece)))
            piece = copy
        # An address keeps nothing alive.
        self._copies.extend([piece] if isinstance(piece, Tensor) else piece)
        return found

    def products(self, middle: int) -> npt.NDArray[np.float64]:
        """Gram matrix of (r, x_1 − r, …, x_n − r) for r = row ``middle``, shape (n + 1, n + 1).

        With bases b the rows x are y − b, and y_i − y_j takes the place of x_i − x_j.
        """
        count = self.n + 1
        side = max(-(-count // size) * size for size in (_ROWS, _COLUMNS))
        tile = min(_WIDEST_TILE, max(1, _TILE_ELEMENTS // side // 64) * 64)
        work = np.zeros(side * (tile + _GAP), dtype=np.float32)
        out = np.zeros((side, side))
        for rows, columns in self._ranges:
            self._function(
                rows.ctypes.data,
                self.n,
                middle,
                columns,
                tile,
                side,
                work.ctypes.data,
                out.ctypes.data,
            )
        return mirrored(out[:count, :count])


@cache
def _function(dtype: str, based: bool) -> Function:
    arguments = compiler.POINTER, *[compiler.INDEX] * 5, *[compiler.POINTER] * 2
    return Function(_text(Element(dtype), based), "gram", *arguments)


def _text(element: Element, based: bool = False) -> str:
    """``gram(rows, n, middle, columns, tile, side, work, out)`` adds the products to ``out``.

    ``rows`` lists n addresses and, if there is a base, its address after them; ``work`` holds
    ``side`` rows of a centred tile, those beyond n + 1 zeros; of ``out`` only the lower triangle is
    complete. ``columns`` is a multiple of a vector's width.
    """
    emitter = Emitter()
    numbers = dict.fromkeys(("n", "middle", "columns", "tile", "side"), INDEX)
    parameters = {"rows": POINTER, **numbers, "work": POINTER, "out": POINTER}
    with emitter.function("gram", parameters, contract=True) as (
        rows,
        n,
        middle,
        columns,
        tile,
        side,
        work,
        out,
    ):
        stride = tile + _GAP
        centre = emitter.load_pointer(rows, middle)
        with emitter.loop(0, columns, tile) as tiles:
            left = columns - tiles.index
            width = (left < tile).where(left, tile)
            tile_of = _Tile(element, tiles.index, width, work, stride)
            tile_of.centre(rows, n, centre)
            if based:
                tile_of.take_from_centre(emitter.load_pointer(rows, n))
            tile_of.multiply(n + 1, out, side)
    return emitter.text()


@dataclass(frozen=True)
class _Tile:
    """Code for ``width`` columns from ``start`` on; centred, a row's are ``stride`` apart."""

    element: Element
    start: Value
    width: Value
    work: Value
    stride: Value

    def centre(self, rows: Value, n: Value, centre: Value) -> None:
        """Write the centre's tile of columns, then each row's difference to it, to ``work``."""
        element, work, emitter = self.element, self.work, rows.emitter
        lanes = element.x.lanes
        place = emitter.place(centre, self.start, element.number)
        with emitter.loop(0, self.width, lanes) as column:
            value = element.load(emitter.place(place, column.index, element.number))
            emitter.store(value, emitter.place(work, column.index, "float"))
        with emitter.loop(0, n) as row:
            pointer = emitter.load_pointer(rows, row.index)
            source = emitter.place(pointer, self.start, element.number)
            target = emitter.place(work, (row.index + 1) * self.stride, "float")
            with emitter.loop(0, self.width, lanes) as column:
                place = emitter.place(source, column.index, element.number)
                emitter.prefetch(place, _PREFETCH_BYTES)
                middle = emitter.load(element.x, emitter.place(work, column.index, "float"))
                difference = element.load(place) - middle
                emitter.store(difference, emitter.place(target, column.index, "float"))

    def take_from_centre(self, base: Value) -> None:
        """Take the base from the centre; in the rows' differences to the centre it cancels."""
        element, work, emitter = self.element, self.work, base.emitter
        source = emitter.place(base, self.start, element.number)
        with emitter.loop(0, self.width, element.x.lanes) as column:
            target = emitter.place(work, column.index, "float")
            value = element.load(emitter.place(source, column.index, element.number))
            emitter.store(emitter.load(element.x, target) - value, target)

    def multiply(self, count: Value, out: Value, side: Value) -> None:
        """Add a tile's products, a few rows by a few columns of the lower triangle at a time."""
        work, emitter, x = self.work, out.emitter, self.element.x
        cells = [(a, b) for a in range(_ROWS) for b in range(_COLUMNS)]
        with emitter.loop(0, count, _ROWS) as i:
            after = i.index + _ROWS
            diagonal = (after < count).where(after, count)
            with emitter.loop(0, diagonal, _COLUMNS) as j:
                left = [i.index + a for a in range(_ROWS)]
                right = [j.index + b for b in range(_COLUMNS)]
                starts = [emitter.place(work, row * self.stride, "float") for row in left + right]
                with emitter.loop(0, self.width, x.lanes) as k:
                    sums = {cell: k.carry(emitter.constant(x, 0.0)) for cell in cells}
                    loads = [emitter.load(x, emitter.place(s, k.index, "float")) for s in starts]
                    totals = {(a, b): sums[a, b] + loads[a] * loads[_ROWS + b] for a, b in cells}
                    for cell in cells:
                        k.turn(sums[cell], totals[cell])
                for (a, b), total in totals.items():
                    place = emitter.place(out, left[a] * side + right[b], "double")
                    added = emitter.load(DOUBLE, place) + total.sum().to("double")
                    emitter.store(added, place)
