"""``byzflower play``: attacks and defences to drag about, in a browser."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["command"]


def command(
    results: Annotated[
        Path | None,
        typer.Argument(help="what `byzflower run` or `sweep` wrote, to be replayed: its folder"),
    ] = None,
    *,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="on loopback; 0 finds a free one")
    ] = 8799,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="open the page in the browser")
    ] = True,
) -> None:
    """Open a page to learn on: drag honest and malicious updates, see what every rule does.

    It also replays RESULTS, and guides a class through the subject in eight steps. Only this
    machine can open it, and it works offline. Ctrl-C ends it.
    """
    from ..play.replay import recorded
    from ..play.server import listen, serve

    if results is not None:
        recorded(results)  # what is wrong with them shows here
    with listen(port) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/{'' if results is None else '#replay'}"
        typer.echo(f"{url} (Ctrl-C ends it)")
        sys.stdout.flush()
        if browser and not _opened(url):
            typer.echo("no browser found here: open the address yourself", err=True)
        serve(listener, results)


def _opened(url: str) -> bool:
    """Open a window; never a browser that would take over this terminal."""
    import webbrowser

    screens = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    if sys.platform.startswith("linux") and not any(map(os.environ.get, screens)):
        return False
    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False
