"""Where the commands print."""

from __future__ import annotations

import sys

from rich.console import Console

__all__ = ["console", "progress_console"]

_WIDE = 10_000


def console() -> Console:
    """Return a console on stdout; only a terminal has a width that lines are folded at."""
    return Console(width=None if sys.stdout.isatty() else _WIDE)


def progress_console(*, quiet: bool) -> Console:
    """Return a console on stderr, for all that is no result; a quiet one shows nothing."""
    return Console(stderr=True, quiet=quiet)
