"""Number types: how rows are loaded, and what vectors of columns are made of."""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["TILE", "Element", "address", "name_of"]

TILE = 64  # columns; a multiple of every vector's width
_VECTOR_BYTES = 32


@dataclass(frozen=True)
class Element:
    """The number type of the rows, and the vector types that follow from it."""

    dtype: str

    @property
    def bits(self) -> int:
        """Size in the rows."""
        return {"float16": 16, "bfloat16": 16, "float32": 32, "float64": 64}[self.dtype]

    @property
    def compute(self) -> str:
        """What values are compared and mixed in; sums are always double."""
        return "double" if self.dtype == "float64" else "float"

    @property
    def mixed(self) -> Element:
        """The type of rows after mixing."""
        return Element("float64" if self.dtype == "float64" else "float32")

    @property
    def x_bits(self) -> int:
        """Size of the compute type."""
        return max(32, self.bits)

    @property
    def width(self) -> int:
        """Columns in a vector."""
        return 8 * _VECTOR_BYTES // self.x_bits

    @property
    def x(self) -> str:
        """Vector of the compute type."""
        return f"<{self.width} x {self.compute}>"

    @property
    def d(self) -> str:
        """Vector of double."""
        return f"<{self.width} x double>"

    def vector(self, kind: str, value: object) -> str:
        """Return a constant vector."""
        return "<" + ", ".join([f"{kind} {value}"] * self.width) + ">"

    def load(self, value: str, pointer: str) -> str:
        """Load a vector of a row as the compute type."""
        if self.dtype == "float16":
            half = f"<{self.width} x half>"
            return f"""
                {value}.h = load {half}, ptr {pointer}, align 2
                {value} = fpext {half} {value}.h to {self.x}"""
        if self.dtype == "bfloat16":
            short, word = f"<{self.width} x i16>", f"<{self.width} x i32>"
            return f"""
                {value}.h = load {short}, ptr {pointer}, align 2
                {value}.w = zext {short} {value}.h to {word}
                {value}.s = shl {word} {value}.w, {self.vector("i32", 16)}
                {value} = bitcast {word} {value}.s to {self.x}"""
        return f"{value} = load {self.x}, ptr {pointer}, align {self.bits // 8}"

    def widen(self, wide: str, value: str) -> str:
        """Make doubles of a vector."""
        cast = "bitcast" if self.compute == "double" else "fpext"
        return f"{wide} = {cast} {self.x} {value} to {self.d}"

    def narrow(self, value: str, wide: str) -> str:
        """Bring doubles back to the compute type."""
        cast = "bitcast" if self.compute == "double" else "fptrunc"
        return f"{value} = {cast} {self.d} {wide} to {self.x}"


def name_of(dtype: torch.dtype) -> str:
    """Return the name that an :class:`Element` is made from.

    >>> name_of(torch.float32)
    'float32'
    """
    return str(dtype).removeprefix("torch.")


def address(pointer: str, row: str, element: Element, mixed: bool, unique: str) -> str:
    """Point at column %c of a row of the source, or of the mixed tile."""
    if mixed:
        return f"""
            {unique}.i = mul i64 {row}, {TILE}
            {unique}.j = add i64 {unique}.i, %c
            {unique}.k = sub i64 {unique}.j, %tile
            {pointer} = getelementptr {element.compute}, ptr %mixed, i64 {unique}.k"""
    return f"""
        {unique}.q = getelementptr ptr, ptr %rows, i64 {row}
        {unique}.p = load ptr, ptr {unique}.q, !invariant.load !0
        {pointer} = getelementptr i{element.bits}, ptr {unique}.p, i64 %c"""
