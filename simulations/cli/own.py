"""Modules of one's own, which register rules, attacks, clients, models and so on."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path

from ..errors import ExperimentError

__all__ = ["import_own", "own_first"]


def import_own(modules: Iterable[str]) -> None:
    """Import modules, from the current folder too, as ``python -m`` does; or files by their path.

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
            if name.endswith(".py"):
                _import_file(Path(name).resolve())
            else:
                import_module(name)
        except Exception as error:  # whatever the module raises
            raise ExperimentError(
                f"`import` needs a module that can be imported; found {name}: "
                f"{type(error).__name__}: {error}"
            ) from error


def own_first(arguments: Sequence[str]) -> list[str]:
    """Put ``--import`` before the command, wherever it stands.

    >>> own_first(["run", "--n", "9", "--import", "mine", "--import=other"])
    ['--import', 'mine', '--import=other', 'run', '--n', '9']
    """
    own: list[str] = []
    rest: list[str] = []
    left = iter(arguments)
    for argument in left:
        if argument == "--":
            rest += [argument, *left]
        elif argument == "--import":
            own += [argument, *([value] if (value := next(left, None)) is not None else [])]
        else:
            (own if argument.startswith("--import=") else rest).append(argument)
    return own + rest


def _import_file(path: Path) -> None:
    """Import a file as ``python FILE`` would find its neighbours: other processes can, too."""
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    module = import_module(path.stem)
    if Path(module.__file__ or "").resolve() != path:
        raise ImportError(f"another module is called {path.stem}; rename the file")
