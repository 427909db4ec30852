"""The page's server: loopback only, for this machine's browser only.

A page on the internet cannot ask it anything: foreign Host headers (DNS rebinding) are refused,
questions must be declared JSON (which another origin's page may not send without leave, and none is
given), bodies are bounded, and the content security policy lets the page load its own files alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import torch
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ..errors import ExperimentError
from ..results import as_json
from .catalogue import attacks_offered, before_offered, rules_offered
from .replay import recorded
from .scene import MOST_POINTS, Scene, SceneError, answer

__all__ = ["HOST", "listen", "make_server", "serve"]

HOST = "127.0.0.1"
_PAGES = Path(__file__).parent / "pages"
_LARGEST_BODY = 1 << 16
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def make_app(results: Path | None = None) -> Starlette:
    """Build the application; ``results`` is what the second view replays."""
    one_at_a_time = asyncio.Lock()  # a drag asks faster than a slow rule answers

    async def catalogue(request: Request) -> Response:
        offered = {
            "rules": rules_offered(),
            "before": before_offered(),
            "attacks": attacks_offered(),
            "most_points": MOST_POINTS,
        }
        return _as_response(offered)

    async def aggregate(request: Request) -> Response:
        scene = Scene.from_json(await _body(request))
        async with one_at_a_time:
            return _as_response(await run_in_threadpool(answer, scene))

    async def runs(request: Request) -> Response:
        found = [] if results is None else await run_in_threadpool(recorded, results)
        return _as_response({"folder": "" if results is None else str(results), "runs": found})

    return Starlette(
        routes=[
            Route("/api/catalogue", catalogue),
            Route("/api/aggregate", aggregate, methods=["POST"]),
            Route("/api/runs", runs),
            Mount("/", StaticFiles(directory=_PAGES, html=True)),
        ],
        middleware=[
            Middleware(_WithHeaders),
            Middleware(
                TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"], www_redirect=False
            ),
        ],
        exception_handlers={
            HTTPException: _refused,
            SceneError: _unprocessable,
            ExperimentError: _unprocessable,
        },
    )


async def _body(request: Request) -> object:
    """Read a JSON body, no more of it than is allowed."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "a question needs content-type application/json")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BODY:
            raise HTTPException(413, f"a question needs at most {_LARGEST_BODY} bytes")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400, "a question needs to be JSON") from None


def _as_response(record: dict[str, Any], status: int = 200) -> Response:
    return Response(as_json(record), status, media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _as_response({"error": error.detail}, error.status_code)


async def _unprocessable(request: Request, error: Exception) -> Response:
    return _as_response({"error": str(error)}, 422)


_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class _WithHeaders:
    """ASGI middleware: every answer carries the security headers, refusals too."""

    def __init__(self, app: Callable[[_Message, _Receive, _Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        async def send_with_headers(message: _Message) -> None:
            if message["type"] == "http.response.start":
                own = [(key.encode(), value.encode()) for key, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def listen(port: int) -> socket.socket:
    """Open a port of the loopback interface; 0 takes a free one.

    Raises
    ------
    ExperimentError
        If the port is taken or not allowed.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ExperimentError(
            f"`port` needs a free one (--port 0 finds one); found {port}: {error}"
        ) from error
    return listener


def make_server(results: Path | None = None) -> uvicorn.Server:
    """Return a server that is yet to be run with the socket that :func:`listen` opened."""
    config = uvicorn.Config(
        make_app(results),
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def serve(listener: socket.socket, results: Path | None = None) -> None:
    """Answer until Ctrl-C, which is how it is meant to end."""
    torch.set_num_threads(1)  # points in the plane: threads would only wait for each other
    with contextlib.suppress(KeyboardInterrupt):
        make_server(results).run(sockets=[listener])
