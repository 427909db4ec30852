"""``byzflower run``: one experiment, for several rules side by side and from several seeds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ExperimentError, unknown
from ..experiment import Experiment, by_field, read_toml
from .options import Quiet, experiment_options, experiments
from .own import import_own

if TYPE_CHECKING:
    from ..trackers import Tracker

__all__ = ["command"]

REPEATED: dict[str, list[object]] = {
    "rule": ["mean", "trimmed_mean", "arc > nnm > trimmed_mean"],
    "seed": [Experiment.seed],
}
"""Options of which a run takes several, with their defaults."""


@experiment_options(REPEATED)
def command(
    *,
    config: Annotated[
        str | None, typer.Option("--config", help="TOML file of options; others override it")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="folder for the results [default: runs/…]")
    ] = None,
    checkpoint_every: Annotated[
        int,
        typer.Option(
            "--checkpoint-every",
            min=0,
            help="save a run after so many rounds, to go on there if it is killed; 0 for never",
        ),
    ] = 25,
    verbose: Annotated[bool, typer.Option("--verbose", help="show Flower's log")] = False,
    track: Annotated[
        str | None,
        typer.Option(
            "--track",
            help="send curves to tensorboard or wandb",
            autocompletion=lambda: ["tensorboard", "wandb"],
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="print one JSON object a run, not a table")
    ] = False,
    **options: Any,
) -> None:
    """Train under attack, for one rule or several, from one seed or several.

    Without options, three rules under one attack: mean, trimmed_mean and arc > nnm > trimmed_mean.
    Writes results.jsonl, accuracy.png and the final models into the folder. Ctrl-C stops and keeps
    what is done; the same command with --out at that folder goes on, in mid-run if one was killed.
    """
    file = read_toml(config) if config else {}
    own_out = _of(file, "out", str, "text")
    own_verbose = _of(file, "verbose", bool, "true or false")
    modules = _of(file, "import", list, "a list of modules") or []
    import_own(map(str, modules))
    chosen = experiments({**by_field(file), **options}, REPEATED)

    from .screen import show, train
    from .terminal import progress_console

    name = Path(config).stem if config else time.strftime("%Y-%m-%d-%H%M%S")
    folder = Path(out or own_out or f"runs/{name}")
    screen = progress_console(quiet=quiet)
    complete = train(
        chosen,
        folder,
        screen,
        checkpoint_every=checkpoint_every,
        verbose=bool(verbose or own_verbose),
        tracker=_tracker(track),
    )
    show(chosen, folder, screen, lines=as_json)
    # Without --out the same command would start in a folder of its own.
    told = f"results in {folder}" if complete else f"interrupted; --out {folder} goes on with it"
    screen.print(told, soft_wrap=True, markup=False, highlight=False)
    if not complete:
        raise typer.Exit(130)


def _tracker(name: str | None) -> Tracker | None:
    from ..trackers import Tracker

    if name is None:
        return None
    if name not in set(Tracker):
        raise unknown("track", name, Tracker)
    return Tracker(name)


def _of(file: dict[str, Any], name: str, kind: type, needs: str) -> Any:
    """Take an option of the command, which is none of the experiment, out of the file's."""
    value = file.pop(name, None)
    if value is not None and not isinstance(value, kind):
        raise ExperimentError(f"`{name}` needs {needs}; found {value!r}")
    return value
