"""``byzflower report``: figures, tables and one page from a folder of results."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Also", "command"]


class Also(StrEnum):
    """What else to write."""

    pdf = "pdf"
    csv = "csv"
    latex = "latex"


def command(
    folder: Annotated[Path, typer.Argument(help="what run, sweep or reproduce wrote")],
    *,
    also: Annotated[
        list[Also] | None,
        typer.Option("--also", help="figures as pdf, tables as csv or latex; repeatable"),
    ] = None,
) -> None:
    """Write DIR/report: a page that needs no network, its figures as PNG and SVG, its tables.

    Accuracy by round with bands over seeds, worst-case heat maps over f and heterogeneity, the
    ranking of rules over attacks, ARC's threshold against the honest norms, how often each node was
    selected, the labels of each client, and ours beside a paper's.
    """
    from ..report.page import write_report

    page = write_report(folder, {str(kind) for kind in also or ()})
    typer.echo(f"report: {page}")
