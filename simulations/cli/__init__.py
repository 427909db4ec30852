"""The command line ``byzflower``; every mistake of its user is one line and exit code 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from byzflower.errors import InfeasibleError, SpecError
from byzflower.simulations.errors import ExperimentError

__all__ = ["main"]

MISTAKE = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command that ``arguments`` (the process's by default) ask for, and exit."""
    try:
        import click
        import typer

        from byzflower.simulations.cli.app import app
        from byzflower.simulations.experiment import moved_option
    except ModuleNotFoundError as error:
        _fail(_missing(error))
    try:
        command = typer.main.get_command(app)
        code = command.main(
            None if arguments is None else [*arguments],
            prog_name="byzflower",
            standalone_mode=False,
        )
    except click.NoSuchOption as error:
        name = error.option_name.lstrip("-").replace("-", "_")
        _fail(moved_option(name) or error.format_message())
    except click.ClickException as error:
        _fail(error.format_message())
    except (ExperimentError, SpecError, InfeasibleError) as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "byzflower").startswith("byzflower"):
            raise
        _fail(_missing(error))
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # `byzflower list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _missing(error: ModuleNotFoundError) -> str:
    return (
        "the command line needs pip install 'byzflower[simulation]'; "
        f"found no module {error.name!r}"
    )


def _fail(message: str) -> NoReturn:
    print(f"byzflower: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(MISTAKE)
