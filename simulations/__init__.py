"""Data sets, partitions, models, engines and experiments: everything around a training run.

Nothing is imported here, so that the command line starts at once; import from the modules. Only
``load_results``, the way to whatever was recorded, is at hand here, too, and loads when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .frame import load_results

__all__ = ["load_results"]


def __getattr__(name: str) -> Any:
    if name == "load_results":
        from .frame import load_results  # noqa: PLC0415

        return load_results
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
