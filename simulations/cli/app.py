"""The commands, one module each with a function ``command``; heavy imports stay inside it."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

import byzflower
from byzflower.simulations.errors import ExperimentError

__all__ = ["app"]

# In the order `--help` lists them; a module is named as its command, but `list` is taken by Python.
COMMANDS = ("run", "certify", "bench", "conduct", "list")
MODULES = {"list": "catalogue"}

app = typer.Typer(
    name="byzflower",
    add_completion=False,
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
        typer.Option("--import", help="module of own rules and attacks; repeat for several"),
    ] = None,
) -> None:
    """Byzantine-robust federated learning: experiments and checks."""
    if modules:
        _import(modules)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _import(modules: list[str]) -> None:
    """Import what registers own steps, from the current folder too, as ``python -m`` does."""
    sys.path.insert(0, str(Path.cwd()))
    for name in modules:
        try:
            import_module(name)
        except Exception as error:  # whatever the module raises
            raise ExperimentError(
                f"`import` needs a module that can be imported; found {name}: "
                f"{type(error).__name__}: {error}"
            ) from error


for _name in COMMANDS:
    _module = import_module(f"byzflower.simulations.cli.{MODULES.get(_name, _name)}")
    app.command(_name)(_module.command)
