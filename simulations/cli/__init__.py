"""The command line ``byzflower``; every mistake of its user is one line and exit code 2."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from byzflower.errors import InfeasibleError, SpecError
from byzflower.simulations.errors import ExperimentError

__all__ = ["main"]

MISTAKE = 2
INTERRUPTED = 130
TERMINATED = 143


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command that ``arguments`` (the process's by default) ask for, and exit."""
    try:
        import click
        import typer

        from byzflower.simulations.cli.app import app
        from byzflower.simulations.experiment import moved_option
    except ModuleNotFoundError as error:
        _fail(_missing(error))
    terminated: list[int] = []
    try:
        command = typer.main.get_command(app)
        command.rich_markup_mode = None  # type: ignore[attr-defined]  # half of --help's time
        with _terminable() as terminated:
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
        sys.exit(TERMINATED if terminated else INTERRUPTED)
    except BrokenPipeError:  # `byzflower list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    if terminated:
        sys.exit(TERMINATED)
    sys.exit(code if isinstance(code, int) else 0)


@contextmanager
def _terminable() -> Iterator[list[int]]:
    """Let SIGTERM unwind as Ctrl-C does, so that a run leaves its summary and ends its workers."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def terminate(number: int, frame: object) -> NoReturn:
        received.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)


def _missing(error: ModuleNotFoundError) -> str:
    return (
        "the command line needs pip install 'byzflower[simulation]'; "
        f"found no module {error.name!r}"
    )


def _fail(message: str) -> NoReturn:
    print(f"byzflower: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(MISTAKE)
