"""Where the commands print their tables."""

from __future__ import annotations

import sys

from rich.console import Console

__all__ = ["console"]

_WIDE = 10_000


def console() -> Console:
    """Return a console on stdout; only a terminal has a width that lines are folded at."""
    return Console(width=None if sys.stdout.isatty() else _WIDE)
