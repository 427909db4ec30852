"""Kernels for one number of rows: straight-line code that sorts a vector of columns."""

from __future__ import annotations

from functools import lru_cache

from byzflower.kernels.cpu.emitter import INDEX, POINTER
from byzflower.kernels.cpu.frame import Frame, Kernel
from byzflower.kernels.cpu.segments import segments
from byzflower.kernels.cpu.sorting import Sorted
from byzflower.kernels.network import Window
from byzflower.kernels.reduction import Reduction

__all__ = ["compiled"]


@lru_cache(maxsize=256)
def compiled(reduction: Reduction, m: int, dtype: str, mixed: bool, based: bool = False) -> Kernel:
    """Return the kernel for m rows, compiled once per process, in some 5 ms a row."""
    frame = Frame(dtype, mixed=mixed, based=based)
    emitter = frame.emitter
    with emitter.recording() as code:
        mean = Sorted(Window.of(reduction, m), m, frame.load).mean
    parts, scratch_bytes = segments(code, [mean])
    pointers = dict.fromkeys(("rows", "base", "mixed", "scratch"), POINTER)
    parameters = {**pointers, "tile": INDEX, "out": POINTER}
    for s, part in enumerate(parts):
        with (
            emitter.function(f"segment{s}", parameters, internal=True) as (*_, scratch, tile, out),
            frame.vectors(tile, frame.element.x.lanes),
        ):
            part.write(emitter, scratch, frame.offset)
            if part is parts[-1]:
                frame.store(mean, out)
    with frame.tiles() as given:
        for s in range(len(parts)):
            ends = given.scratch, given.start, given.out
            arguments = frame.rows, frame.base, frame.mixture, *ends
            emitter.call(None, f"segment{s}", *arguments)
    return frame.kernel(0, scratch_bytes)
