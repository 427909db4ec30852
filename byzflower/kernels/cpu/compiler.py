"""Compile LLVM text for this processor, in memory, in tens of milliseconds."""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from typing import Any

__all__ = ["INDEX", "POINTER", "Function", "available"]

POINTER, INDEX = ctypes.c_void_p, ctypes.c_int64

_PROBE = "define void @probe() { ret void }"


class Function:
    """Machine code of one function of some LLVM text, called without the interpreter's lock.

    Attributes
    ----------
    text : str
        The LLVM text it was made from.
    """

    def __init__(self, text: str, name: str, *arguments: Any) -> None:
        llvm, self.text = _loaded(), text
        machine = _machine()
        module = llvm.parse_assembly(text)
        module.verify()  # raises, where compiling would abort the process
        # The engine owns the code: it lives as long as this object.
        self._engine = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        self._call = ctypes.CFUNCTYPE(None, *arguments)(self._engine.get_function_address(name))

    def assembly(self) -> str:
        """Return the code as this processor's assembly language, to read."""
        module: str = _machine().emit_assembly(_loaded().parse_assembly(self.text))
        return module

    def __call__(self, *arguments: int) -> None:
        """Run it; pointers are given as addresses."""
        self._call(*arguments)


def _machine() -> Any:
    llvm = _loaded()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2
    )


@cache
def available(dtype: str) -> bool:
    """Tell whether code for a dtype can be compiled here."""
    try:
        features = _loaded().get_host_cpu_features()
        if dtype == "float16" and not _converts_half(features):
            return False
        Function(_PROBE, "probe")()
    except (ImportError, RuntimeError, OSError):  # not installed, too old, or no executable memory
        return False
    return True


@cache
def _loaded() -> Any:
    """Load the compiler, when it is first needed."""
    from llvmlite import binding  # type: ignore  # noqa: PLC0415  (optional)

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding


def _converts_half(features: dict[str, bool]) -> bool:
    """Without the instruction, LLVM would call a function that nobody links."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return features.get("f16c", False)
    return platform.machine().lower() in ("arm64", "aarch64")
