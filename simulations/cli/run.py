"""``byzflower run``: one experiment, for one rule or for several side by side."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from byzflower.simulations.cli.options import experiment_options, experiments

__all__ = ["command"]

DEFAULT_RULES = ["mean", "trimmed_mean", "arc > nnm > trimmed_mean"]


@experiment_options(repeated=("rule",))
def command(
    *,
    config: Annotated[
        str | None, typer.Option("--config", help="TOML file of options; others override it")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="folder for the results [default: runs/…]")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="show Flower's log")] = False,
    **options: Any,
) -> None:
    """Train under attack, for one rule or several.

    Without options, three rules under one attack: mean, trimmed_mean and arc > nnm > trimmed_mean.
    Writes results.jsonl, accuracy.png and the final models into the folder. Ctrl-C stops and keeps
    what is done; in the same folder the same command goes on with the rules not finished.
    """
    chosen = experiments(config, options, DEFAULT_RULES)

    from byzflower.simulations.cli.screen import record

    if not verbose:
        # Flower sets its logger up when it is imported, so this comes after.
        logging.getLogger("flwr").setLevel(logging.ERROR)
    name = Path(config).stem if config else time.strftime("%Y-%m-%d-%H%M%S")
    complete = record(chosen, out or Path("runs") / name)
    if not complete:
        raise typer.Exit(130)
