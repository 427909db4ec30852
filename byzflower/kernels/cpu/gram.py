"""Inner products of rows about one of them, as machine code: one read of the rows.

Centring a tile of columns and multiplying it happens in the cache. Products of pairs are summed in
float32 within a tile, across tiles in float64; each pair is multiplied once, not twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from byzflower.kernels.cpu.addresses import Addresses, addresses, stacked
from byzflower.kernels.cpu.compiler import INDEX, POINTER, Function, available
from byzflower.kernels.cpu.element import Element, name_of
from byzflower.kernels.reduction import Block

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
    """

    def __init__(self, pieces: Sequence[Block]) -> None:
        self.n = len(pieces[0])
        self._function = _function(name_of(pieces[0][0].dtype))
        self._ranges: list[tuple[Addresses, int]] = []
        self._copies: list[Tensor] = []
        width = Element(name_of(pieces[0][0].dtype)).width
        rests = []
        for piece in pieces:
            columns = piece[0].numel()
            whole = columns - columns % width
            if whole:
                self._ranges.append((self._in_place(piece), whole))
            if whole < columns:
                rests.append(torch.stack([row[whole:] for row in piece]))
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
        found = addresses(piece, range(self.n))
        if found is None:
            copy = torch.stack([*piece])
            found = stacked(copy, range(self.n))
            piece = copy
        # An address keeps nothing alive.
        self._copies.extend([piece] if isinstance(piece, Tensor) else piece)
        return found

    def products(self, middle: int) -> npt.NDArray[np.float64]:
        """Gram matrix of (r, x_1 − r, …, x_n − r) for r = row ``middle``, shape (n + 1, n + 1)."""
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
        lower = np.tril(out[:count, :count])
        return lower + np.tril(lower, -1).T


@cache
def _function(dtype: str) -> Function:
    return Function(_text(Element(dtype)), "gram", POINTER, *[INDEX] * 5, POINTER, POINTER)


def _text(element: Element) -> str:
    """``gram(rows, n, middle, columns, tile, side, work, out)`` adds the products to ``out``.

    ``work`` holds ``side`` rows of a centred tile, those beyond n + 1 zeros; of ``out`` only the
    lower triangle is complete. ``columns`` is a multiple of a vector's width.
    """
    x, width, bits = element.x, element.width, element.bits
    cells = [(a, b) for a in range(_ROWS) for b in range(_COLUMNS)]
    rows = [(f"a{a}", f"add i64 %i, {a}") for a in range(_ROWS)]
    rows += [(f"b{b}", f"add i64 %j, {b}") for b in range(_COLUMNS)]
    starts = "".join(
        f"""
    %{name}.row = {row}
    %{name}.first = mul i64 %{name}.row, %stride
    %{name}.start = getelementptr float, ptr %work, i64 %{name}.first"""
        for name, row in rows
    )
    loads = "".join(
        f"""
    %{name}.p = getelementptr float, ptr %{name}.start, i64 %k
    %{name} = load {x}, ptr %{name}.p, align 4"""
        for name, _ in rows
    )
    sums = "".join(
        f"""
    %s{a}{b} = phi {x} [ zeroinitializer, %cell ], [ %t{a}{b}, %products ]"""
        for a, b in cells
    )
    products = "".join(
        f"""
    %p{a}{b} = fmul contract {x} %a{a}, %b{b}
    %t{a}{b} = fadd contract {x} %s{a}{b}, %p{a}{b}"""
        for a, b in cells
    )
    totals = "".join(
        f"""
    %o{a}{b}.first = mul i64 %a{a}.row, %side
    %o{a}{b}.place = add i64 %o{a}{b}.first, %b{b}.row
    %o{a}{b}.p = getelementptr double, ptr %out, i64 %o{a}{b}.place
    %o{a}{b}.x = call reassoc float @llvm.vector.reduce.fadd.v{width}f32(float -0.0, {x} %t{a}{b})
    %o{a}{b}.d = fpext float %o{a}{b}.x to double
    %o{a}{b}.old = load double, ptr %o{a}{b}.p
    %o{a}{b}.new = fadd double %o{a}{b}.old, %o{a}{b}.d
    store double %o{a}{b}.new, ptr %o{a}{b}.p"""
        for a, b in cells
    )
    return f"""
define void @gram(ptr noalias %rows, i64 %n, i64 %middle, i64 %columns, i64 %tile, i64 %side,
                  ptr noalias %work, ptr noalias %out) {{
entry:
    %stride = add i64 %tile, {_GAP}
    %count = add i64 %n, 1
    %r.q = getelementptr ptr, ptr %rows, i64 %middle
    %r = load ptr, ptr %r.q
    br label %tiles
tiles:
    %start = phi i64 [ 0, %entry ], [ %start.next, %tiles.end ]
    %left = sub i64 %columns, %start
    %is.last = icmp ult i64 %left, %tile
    %w = select i1 %is.last, i64 %left, i64 %tile
    %r.start = getelementptr i{bits}, ptr %r, i64 %start
    br label %centre
centre:
    %c = phi i64 [ 0, %tiles ], [ %c.next, %centre ]
    %c.p = getelementptr i{bits}, ptr %r.start, i64 %c
    {element.load("%c.x", "%c.p")}
    %c.o = getelementptr float, ptr %work, i64 %c
    store {x} %c.x, ptr %c.o, align 4
    %c.next = add i64 %c, {width}
    %c.more = icmp ult i64 %c.next, %w
    br i1 %c.more, label %centre, label %rows.each
rows.each:
    %row = phi i64 [ 0, %centre ], [ %row.next, %rows.end ]
    %x.q = getelementptr ptr, ptr %rows, i64 %row
    %x.row = load ptr, ptr %x.q
    %x.start = getelementptr i{bits}, ptr %x.row, i64 %start
    %row.next = add i64 %row, 1
    %y.first = mul i64 %row.next, %stride
    %y.start = getelementptr float, ptr %work, i64 %y.first
    br label %subtract
subtract:
    %d = phi i64 [ 0, %rows.each ], [ %d.next, %subtract ]
    %d.p = getelementptr i{bits}, ptr %x.start, i64 %d
    %d.ahead = getelementptr i8, ptr %d.p, i64 {_PREFETCH_BYTES}
    call void @llvm.prefetch.p0(ptr %d.ahead, i32 0, i32 3, i32 1)
    {element.load("%d.x", "%d.p")}
    %d.rp = getelementptr float, ptr %work, i64 %d
    %d.r = load {x}, ptr %d.rp, align 4
    %d.y = fsub {x} %d.x, %d.r
    %d.o = getelementptr float, ptr %y.start, i64 %d
    store {x} %d.y, ptr %d.o, align 4
    %d.next = add i64 %d, {width}
    %d.more = icmp ult i64 %d.next, %w
    br i1 %d.more, label %subtract, label %rows.end
rows.end:
    %row.more = icmp ult i64 %row.next, %n
    br i1 %row.more, label %rows.each, label %cells
cells:
    %i = phi i64 [ 0, %rows.end ], [ %i.next, %cells.end ]
    %i.next = add i64 %i, {_ROWS}
    %i.short = icmp ult i64 %i.next, %count
    %diagonal = select i1 %i.short, i64 %i.next, i64 %count
    br label %cell
cell:
    %j = phi i64 [ 0, %cells ], [ %j.next, %cell.end ]{starts}
    br label %products
products:
    %k = phi i64 [ 0, %cell ], [ %k.next, %products ]{sums}{loads}{products}
    %k.next = add i64 %k, {width}
    %k.more = icmp ult i64 %k.next, %w
    br i1 %k.more, label %products, label %cell.end
cell.end:{totals}
    %j.next = add i64 %j, {_COLUMNS}
    %j.more = icmp ult i64 %j.next, %diagonal
    br i1 %j.more, label %cell, label %cells.end
cells.end:
    br i1 %i.short, label %cells, label %tiles.end
tiles.end:
    %start.next = add i64 %start, %tile
    %start.more = icmp ult i64 %start.next, %columns
    br i1 %start.more, label %tiles, label %done
done:
    ret void
}}
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)
declare float @llvm.vector.reduce.fadd.v{width}f32(float, {x})
"""
