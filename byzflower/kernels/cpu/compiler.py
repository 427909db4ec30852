"""Compile a reduction for this processor, in memory, in tens of milliseconds."""

from __future__ import annotations

import ctypes
import platform
from functools import cache, lru_cache

from byzflower.kernels.cpu.assembly import assembly
from byzflower.kernels.reduction import Reduction

__all__ = ["Kernel", "available", "compiled"]


class Kernel:
    """Machine code for one reduction, row count and dtype."""

    def __init__(self, reduction: Reduction, m: int, dtype: str, mixed_from: int | None) -> None:
        import llvmlite.binding as llvm  # noqa: PLC0415

        code = assembly(reduction, m, dtype, mixed_from)
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2
        )
        self.work = code.work
        # The engine owns the code: it lives as long as this object.
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(code.text), machine)
        self._engine.finalize_object()
        pointer, index = ctypes.c_void_p, ctypes.c_int64
        signature = ctypes.CFUNCTYPE(None, pointer, pointer, index, index, pointer, pointer)
        # run(rows, weights, start, stop, out, work) fills columns start ≤ c < stop of out.
        self.run = signature(self._engine.get_function_address("reduce"))


@lru_cache(maxsize=256)
def compiled(reduction: Reduction, m: int, dtype: str, mixed_from: int | None) -> Kernel:
    """Return the kernel, compiled once per process."""
    return Kernel(reduction, m, dtype, mixed_from)


@cache
def available(dtype: str) -> bool:
    """Tell whether kernels for a dtype can be compiled here."""
    try:
        import llvmlite.binding as llvm  # noqa: PLC0415

        if dtype == "float16" and not _converts_half(llvm.get_host_cpu_features()):
            return False
        compiled(Reduction("trimmed_mean", 0), 1, dtype, None)
    except (ImportError, RuntimeError, OSError):  # not installed, too old, or no executable memory
        return False
    return True


def _converts_half(features: dict[str, bool]) -> bool:
    """Without the instruction, LLVM would call a function that nobody links."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return features.get("f16c", False)
    return platform.machine().lower() in ("arm64", "aarch64")
