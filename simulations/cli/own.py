"""Modules of one's own, which register rules, attacks, clients, models and so on."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from byzflower.simulations.errors import ExperimentError

__all__ = ["import_own"]


def import_own(modules: Iterable[str]) -> None:
    """Import modules, from the current folder too, as ``python -m`` does.

    Raises
    ------
    ExperimentError
        One line with the module and what it raised.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    for name in modules:
        try:
            import_module(name)
        except Exception as error:  # whatever the module raises
            raise ExperimentError(
                f"`import` needs a module that can be imported; found {name}: "
                f"{type(error).__name__}: {error}"
            ) from error
