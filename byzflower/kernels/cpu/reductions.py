"""The compiled code of each reduction, made once per process."""

from __future__ import annotations

from functools import lru_cache

from byzflower.kernels.cpu.assembly import assembly
from byzflower.kernels.cpu.compiler import INDEX, POINTER, Function
from byzflower.kernels.reduction import Reduction

__all__ = ["Kernel", "compiled"]


class Kernel:
    """Machine code for one reduction, row count and dtype."""

    def __init__(self, reduction: Reduction, m: int, dtype: str, mixed: bool) -> None:
        code = assembly(reduction, m, dtype, mixed)
        self.work = code.work
        # run(rows, weights, counts, start, stop, out, work): see the assembly.
        self.run = Function(code.text, "reduce", *[POINTER] * 3, INDEX, INDEX, POINTER, POINTER)


@lru_cache(maxsize=256)
def compiled(reduction: Reduction, m: int, dtype: str, mixed: bool) -> Kernel:
    """Return the kernel, compiled once per process."""
    return Kernel(reduction, m, dtype, mixed)
