"""Call a server app and hand back what it returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

__all__ = ["Server", "call_server"]

Server: TypeAlias = ServerApp | Callable[[Grid, Context], Any]


def call_server(server: Server, grid: Grid, context: Context) -> Any:
    """Run the server to its end.

    Parameters
    ----------
    server : ServerApp or callable
        Flower's `ServerApp`, or a plain function ``(grid, context) -> anything``.
    grid : Grid
        Connection to the nodes.
    context : Context
        The server's context; ``context.run_config`` holds the run's configuration.

    Returns
    -------
    Any
        A function's return value. Flower drops the return value of a `ServerApp`, so for one the
        context is returned: results belong in ``context.state``.
    """
    if isinstance(server, ServerApp):
        server(grid, context)
        return context
    return server(grid, context)
