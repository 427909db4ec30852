"""The command line ``byzflower``; every mistake of its user is one line and exit code 2."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from byzflower.errors import InfeasibleError, SpecError

from ..errors import ExperimentError
from .own import own_first
from .streams import prepare_streams

__all__ = ["main"]

MISTAKE = 2
INTERRUPTED = 130
TERMINATED = 143


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command that ``arguments`` (the process's by default) ask for, and exit."""
    prepare_streams()
    asked = own_first(sys.argv[1:] if arguments is None else arguments)
    try:
        import click
        import typer

        from ..experiment import moved_option
        from .app import app
        from .options import misplaced
    except ModuleNotFoundError as error:
        _fail(_missing(error))
    terminated: list[int] = []
    try:
        command = typer.main.get_command(app)
        command.rich_markup_mode = None  # type: ignore[attr-defined]  # half of --help's time
        with _terminable() as terminated:
            code = command.main(asked, prog_name="byzflower", standalone_mode=False)
            sys.stdout.flush()
    except click.NoSuchOption as error:
        name = error.option_name.lstrip("-").replace("-", "_")
        _fail(moved_option(name) or error.format_message())
    except click.ClickException as error:
        message = error.format_message()
        _fail(message + misplaced(message))
    except (ExperimentError, SpecError, InfeasibleError) as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "byzflower").startswith("byzflower"):
            raise
        _fail(_missing(error))
    except (KeyboardInterrupt, click.Abort):
        sys.exit(TERMINATED if terminated else INTERRUPTED)
    except BrokenPipeError:  # `byzflower list | head`
        _discard_output()
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _discard_output()
        _fail(f"no space is left to write: {error}")
    if terminated:
        sys.exit(TERMINATED)
    sys.exit(code if isinstance(code, int) else 0)


def _discard_output() -> None:
    """Keep Python from writing what is left at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    return f"this command needs pip install 'byzflower[simulation]'; found no module {error.name!r}"


def _fail(message: str) -> NoReturn:
    print(f"byzflower: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(MISTAKE)
