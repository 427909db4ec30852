"""``byzflower conduct``: what the nodes of a federation did, from the file that `Robust` keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..errors import ExperimentError

__all__ = ["command"]


def command(
    file: Annotated[Path, typer.Argument(help="file of Robust(conduct_file=…)")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object a node")] = False,
) -> None:
    """Print each node's record from FILE, over all rounds and restarts, and what stands out.

    It is no list of culprits: honest nodes with unusual data lie far out, too.
    """
    from byzflower.strategies import Conduct

    try:
        conduct = Conduct.read(file)
    except (OSError, ValueError) as error:
        raise ExperimentError(f"`file` needs a record of conduct; found {error}") from error
    if as_json:
        for row in conduct.to_rows():
            typer.echo(json.dumps(row))
        return
    typer.echo(conduct.table())
    typer.echo("")
    typer.echo(conduct.summary())
