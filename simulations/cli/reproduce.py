"""``byzflower reproduce``: a paper's table or figure, run and set beside the paper's numbers."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ExperimentError
from .completion import items, papers
from .options import Quiet
from .sweep import AsJson, CheckpointEvery, Jobs, Part, RayAddress, run_grid

__all__ = ["Scale", "command"]


class Scale(StrEnum):
    """How large."""

    small = "small"
    full = "full"


def command(
    paper: Annotated[
        str | None,
        typer.Argument(
            help="resam, aggregathor, rs-byrd-saga, mixtailor or arc", autocompletion=papers
        ),
    ] = None,
    item: Annotated[
        str | None, typer.Argument(help='such as figure-1, "Table 1"', autocompletion=items)
    ] = None,
    *,
    listed: Annotated[
        bool, typer.Option("--list", help="list the items and whether they can be run here")
    ] = False,
    scale: Annotated[
        Scale, typer.Option(help="small: within ten minutes on two cores; full: as the paper")
    ] = Scale.small,
    out: Annotated[
        Path | None, typer.Option("--out", help="folder [default: runs/PAPER-ITEM-SCALE]")
    ] = None,
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", help="folder of data sets that are not embedded")
    ] = None,
    jobs: Jobs = None,
    ray_address: RayAddress = None,
    part: Part = None,
    checkpoint_every: CheckpointEvery = 25,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run what a paper's table or figure shows, and report it beside the paper's numbers.

    Goes on like a sweep, whatever stops it. The files in byzflower/simulations/papers say what is
    run.
    """
    if listed:
        _list(data_dir, as_json=as_json)
        return
    if paper is None or item is None:
        raise ExperimentError("`reproduce` needs a paper and an item; --list shows them")
    from ..reproduction.items import find_item

    found = find_item(paper, item)
    folder = out or Path("runs") / f"{found.paper}-{found.name}-{scale}"
    if found.kind != "grid":
        from ..recording import versions
        from ..report.page import Report
        from ..reproduction.measured import KINDS
        from ..sweep.manifest import command_line

        panels = KINDS[found.kind](found.scales[scale])
        report = Report(found.heading, panels, command_line(), versions(), [found.finding])
        typer.echo(f"report: {report.write(folder / 'report')}", err=True)
        if as_json:
            for panel in panels:
                rows = panel.table.assign(panel=panel.name)
                typer.echo(rows.to_json(orient="records", lines=True, force_ascii=False), nl=False)
        return
    grid = found.grid(scale, **({} if data_dir is None else {"data_dir": data_dir}))
    options: dict[str, Any] = {"jobs": jobs, "ray_address": ray_address}
    options |= {"checkpoint_every": checkpoint_every, "quiet": quiet, "as_json": as_json}
    try:
        run_grid(grid, folder, found.said(scale), part=part, report=True, **options)
    except ExperimentError as error:
        if "data director" in str(error) or "`data-dir`" in str(error):
            raise found.missing_data(scale, error) from error
        raise


def _list(data_dir: str | None, *, as_json: bool) -> None:
    import json

    from rich.markup import escape
    from rich.table import Table

    from ..reproduction.items import SCALES, all_items
    from .terminal import console

    heads = ("paper", "item", *SCALES, "what")
    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for item in all_items():
        states = (item.state(scale, data_dir) for scale in SCALES)
        row = (item.paper, item.name, *states, item.title)
        if as_json:
            typer.echo(json.dumps(dict(zip(heads, row, strict=True)), ensure_ascii=False))
        else:
            table.add_row(*map(escape, row))
    if as_json:
        return
    console().print(table)
