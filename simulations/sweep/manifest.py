"""``sweep.json``: what a sweep's folder holds, for the report and whoever opens it later."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from byzflower.statefile import atomically

from ..errors import ExperimentError
from ..recording import versions
from .cells import key_of
from .grid import Grid

__all__ = ["FILE_NAME", "Manifest", "command_line"]

FILE_NAME = "sweep.json"


@dataclass(frozen=True)
class Manifest:
    """What was run.

    Attributes
    ----------
    title, command : str
        What a report is headed with, and the command that makes the results again.
    cells : dict of str to str
        Key → label, in the grid's order.
    choose : list of str
        Options chosen on the rows held out.
    versions : dict of str to str
        Package → version.
    paper : dict
        What the paper says of it: ``finding``, ``scale_note``, ``numbers``; empty for a sweep of
        one's own.
    """

    title: str
    command: str
    cells: dict[str, str]
    choose: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=versions)
    paper: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, grid: Grid, paper: dict[str, Any] | None = None) -> Manifest:
        """Return what is to be said of a grid that this process runs."""
        cells = {key_of(cell.experiment): cell.label for cell in grid.cells}
        return cls(grid.title, command_line(), cells, list(grid.choose), paper=paper or {})

    def write(self, folder: Path) -> None:
        """Write the file, whole or not at all."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with atomically(folder / FILE_NAME) as file:
                file.write(json.dumps(vars(self), ensure_ascii=False, indent=1).encode())
        except OSError as error:
            raise ExperimentError(
                f"`out` needs a writable folder; found {folder}: {error}"
            ) from error

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """Return what was written, or None where there is no such file.

        Raises
        ------
        ExperimentError
            If the file is no manifest.
        """
        try:
            return cls(**json.loads((folder / FILE_NAME).read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise ExperimentError(f"{folder / FILE_NAME} needs a sweep; found: {error}") from error


def command_line() -> str:
    """Return this process's command as one would type it."""
    return shlex.join(["byzflower", *sys.argv[1:]])
