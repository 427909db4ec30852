"""Number types: how rows are loaded, and what vectors of columns are made of."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from byzflower.kernels.cpu.emitter import Type, Value

__all__ = ["TILE", "Element", "name_of"]

TILE = 64  # columns; a multiple of every vector's width
_VECTOR_BITS = 256
_STORED = {"float16": "half", "bfloat16": "i16", "float32": "float", "float64": "double"}


@dataclass(frozen=True)
class Element:
    """The number type of the rows, and the vector types that follow from it."""

    dtype: str

    @property
    def number(self) -> str:
        """What the rows hold."""
        return _STORED[self.dtype]

    @property
    def compute(self) -> str:
        """What values are compared and mixed in; sums are always double."""
        return "double" if self.dtype == "float64" else "float"

    @property
    def x(self) -> Type:
        """Vector of the compute type."""
        return Type(self.compute, _VECTOR_BITS // Type(self.compute).bits)

    @property
    def mixed(self) -> Element:
        """The type of rows after mixing."""
        return Element("float64" if self.dtype == "float64" else "float32")

    def load(self, pointer: Value, lanes: int = 0) -> Value:
        """Load so many numbers of a row, by default a vector of them, as the compute type."""
        stored = pointer.emitter.load(Type(self.number, lanes or self.x.lanes), pointer)
        if self.dtype == "bfloat16":  # the upper half of a float32
            return (stored.to("i32") << 16).bits_as("float")
        return stored.to(self.compute)


def name_of(dtype: torch.dtype) -> str:
    """Return the name that an :class:`Element` is made from.

    >>> name_of(torch.float32)
    'float32'
    """
    return str(dtype).removeprefix("torch.")
