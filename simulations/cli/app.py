"""The commands, one module each with a function ``command``; heavy imports stay inside it."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

import byzflower

from .once import OnceCommand
from .own import import_own

__all__ = ["app"]

# In the order `--help` lists them; a module is named as its command, but `list` is taken by Python.
COMMANDS = (
    *("run", "play", "sweep", "reproduce", "report"),
    *("certify", "bench", "conduct", "list"),
)
MODULES = {"list": "catalogue"}

app = typer.Typer(
    name="byzflower",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    suggest_commands=False,  # click suggests already
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(byzflower.__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
    modules: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            help="module or file that registers rules, attacks, models, … of one's own; repeatable",
        ),
    ] = None,
) -> None:
    """Byzantine-robust federated learning: experiments and checks."""
    if modules:
        import_own(modules)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for _name in COMMANDS:
    _module = import_module(f"byzflower.simulations.cli.{MODULES.get(_name, _name)}")
    app.command(_name, cls=OnceCommand)(_module.command)
