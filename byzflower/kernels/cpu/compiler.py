"""Compile a reduction for this processor, in memory, in tens of milliseconds."""

from __future__ import annotations

import ctypes
import platform
from functools import cache, lru_cache
from typing import Any

from byzflower.kernels.cpu.assembly import assembly
from byzflower.kernels.reduction import Reduction

__all__ = ["Kernel", "available", "compiled", "loaded"]


class Kernel:
    """Machine code for one reduction, row count and dtype."""

    def __init__(self, reduction: Reduction, m: int, dtype: str, mixed: bool) -> None:
        llvm = loaded()
        code = assembly(reduction, m, dtype, mixed)
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2
        )
        self.work = code.work
        module = llvm.parse_assembly(code.text)
        module.verify()  # raises, where compiling would abort the process
        # The engine owns the code: it lives as long as this object.
        self._engine = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        pointer, index = ctypes.c_void_p, ctypes.c_int64
        signature = ctypes.CFUNCTYPE(None, *[pointer] * 3, index, index, pointer, pointer)
        # run(rows, weights, counts, start, stop, out, work): see the assembly.
        self.run = signature(self._engine.get_function_address("reduce"))


@lru_cache(maxsize=256)
def compiled(reduction: Reduction, m: int, dtype: str, mixed: bool) -> Kernel:
    """Return the kernel, compiled once per process."""
    return Kernel(reduction, m, dtype, mixed)


@cache
def available(dtype: str) -> bool:
    """Tell whether kernels for a dtype can be compiled here."""
    try:
        features = loaded().get_host_cpu_features()
        if dtype == "float16" and not _converts_half(features):
            return False
        compiled(Reduction("trimmed_mean", 0), 1, dtype, False)
    except (ImportError, RuntimeError, OSError):  # not installed, too old, or no executable memory
        return False
    return True


@cache
def loaded() -> Any:
    """Load the compiler, when it is first needed."""
    from llvmlite import binding  # type: ignore  # noqa: PLC0415

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding


def _converts_half(features: dict[str, bool]) -> bool:
    """Without the instruction, LLVM would call a function that nobody links."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return features.get("f16c", False)
    return platform.machine().lower() in ("arm64", "aarch64")
