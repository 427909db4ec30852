"""The page's server, really listening, in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from byzflower.simulations.results import ResultsFile

pytest.importorskip("uvicorn", reason="the simulation extra is not installed")
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short runs, one of which says what a hostile file could say."""
    folder = tmp_path_factory.mktemp("results")
    with ResultsFile(folder) as file:
        for run, rule in (("a1", "krum"), ("b2", HOSTILE)):
            config = {"rule": rule, "attack": "foe(tau=10)", "n": 4, "f": 1, "dataset": "digits"}
            file.write("config", run, **config)
            for number in range(4):
                notes = {
                    "threshold": 1.5 + number,
                    "rejected": 1,
                    "weights": {"1": 0.0, "2": 4.0, "3": 0.0, "4": 0.0},
                    "rejections": {"4": "non-finite"},
                }
                file.write("round", run, round=number, accuracy=number / 4, loss=1.0, **notes)
            file.write("summary", run, accuracy=0.75)
    return folder


@pytest.fixture(scope="session")
def address(results: Path) -> Iterator[tuple[str, int]]:
    """Host and port of a running server."""
    from byzflower.simulations.play.server import HOST, listen, make_server

    listener = listen(0)
    server = make_server(results)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    yield HOST, listener.getsockname()[1]
    server.should_exit = True
    thread.join(timeout=10)
    assert not thread.is_alive()
    listener.close()
