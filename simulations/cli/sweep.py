"""``byzflower sweep``: a grid of experiments on all cores or a cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ExperimentError
from .options import Quiet
from .own import import_own

if TYPE_CHECKING:
    from ..sweep.engine import Progress
    from ..sweep.grid import Cell, Grid

__all__ = ["AsJson", "CheckpointEvery", "Jobs", "Part", "RayAddress", "command", "run_grid"]

Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, help="worker processes [default: one a CPU]")
]
RayAddress = Annotated[
    str | None,
    typer.Option("--ray-address", help="run on this Ray cluster, whose machines all see --out"),
]
Part = Annotated[
    str | None, typer.Option("--part", help="run one part of the cells only, such as 3/10")
]
CheckpointEvery = Annotated[
    int,
    typer.Option(
        "--checkpoint-every", min=0, help="save running cells after so many rounds; 0 for never"
    ),
]

AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object a cell at the end")]


def command(
    file: Annotated[Path, typer.Argument(help="TOML file of options; every list is an axis")],
    *,
    out: Annotated[
        Path | None, typer.Option("--out", help="folder for the results [default: runs/FILE]")
    ] = None,
    jobs: Jobs = None,
    ray_address: RayAddress = None,
    part: Part = None,
    checkpoint_every: CheckpointEvery = 25,
    report: Annotated[bool, typer.Option(help="write the report at the end")] = True,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run every combination of a file's lists, each once.

    All cells are checked first. What has finished is never run again: after Ctrl-C, a full disk or
    SIGKILL the same command goes on. A cell that fails is tried once more, then noted with its
    cause, and the others run on.
    """
    from ..sweep.grid import read_grid

    grid = read_grid(file, import_own)
    folder = out or Path("runs") / file.stem
    told = {"quiet": quiet, "as_json": as_json}
    options: dict[str, Any] = {"jobs": jobs, "ray_address": ray_address}
    options["checkpoint_every"] = checkpoint_every
    run_grid(grid, folder, {}, part=part, report=report, **told, **options)


def run_grid(
    grid: Grid,
    folder: Path,
    paper: dict[str, Any],
    *,
    part: str | None,
    report: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Check and run cells with their progress on the screen, then write the report of all.

    Raises
    ------
    ExperimentError
        If a cell cannot run, or Ray does not start.
    typer.Exit
        With 130 after Ctrl-C, with 1 if cells failed.
    """
    from ..engines.ray import RayEngineError
    from ..sweep.cells import check
    from ..sweep.engine import run_cells
    from ..sweep.manifest import Manifest
    from .terminal import progress_console

    screen = progress_console(quiet=quiet)
    chosen = _part(grid.cells, part)
    check(grid.cells)
    Manifest.of(grid, paper).write(folder)
    try:
        with _display(screen) as display:
            bar = display.add_task("", total=len(chosen), told="")
            ended = run_cells(chosen, folder, lambda p: _show(display, bar, p), **options)
    except KeyboardInterrupt:
        screen.print(f"interrupted; the same command goes on in {folder}", soft_wrap=True)
        raise typer.Exit(130) from None
    except RayEngineError as error:
        raise ExperimentError(str(error)) from error
    for label, cause in ended.causes.items():
        typer.echo(f"failed twice: {label}: {cause}", err=True)
    if as_json:
        _print_objects(chosen, folder, ended.causes)
    screen.print(f"results in {folder}", soft_wrap=True, markup=False, highlight=False)
    if report and part is None:
        from ..report.page import write_report

        screen.print(f"report: {write_report(folder)}", soft_wrap=True, highlight=False)
    if ended.causes:
        raise typer.Exit(1)


def _print_objects(cells: Sequence[Cell], sweep: Path, causes: Mapping[str, str]) -> None:
    from ..results import as_json
    from ..sweep.cells import folder_of, run_of

    for cell in cells:
        run = run_of(folder_of(sweep, cell.experiment))
        found = {} if run is None else {**run.config, **(run.summary or {})}
        failed = {"failed": causes[cell.label]} if cell.label in causes else {}
        typer.echo(as_json({"cell": cell.label, **found, **failed}))


def _part(cells: Sequence[Cell], part: str | None) -> Sequence[Cell]:
    """Return every k-th cell, as ``--part i/k`` says."""
    if part is None:
        return cells
    found = re.fullmatch(r"(\d+)/(\d+)", part)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ExperimentError(f"`part` needs i/k with 1 ≤ i ≤ k; found {part!r}")
    return cells[int(found[1]) - 1 :: int(found[2])]


def _display(screen: Any) -> Any:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TextColumn("{task.fields[told]}"), TimeElapsedColumn())
    return Progress(*columns, console=screen)


def _show(display: Any, bar: Any, progress: Progress) -> None:
    done, failed = progress.count("done"), progress.count("failed")
    told = [
        f"{done} of {len(progress.states)} cells done",
        f"{progress.count('running')} running",
        f"{failed} failed",
    ]
    if progress.seconds_left is not None:
        told.append(f"{_clock(progress.seconds_left)} left")
    display.update(bar, completed=done + failed, told=", ".join(told))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
