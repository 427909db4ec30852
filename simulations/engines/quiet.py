"""Keep the noise of Flower's simulation and Ray from the user, and their reporting switched off."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import byzflower

__all__ = ["quiet", "worker_environment"]

# Errors of clients are logged here too, several times each; the engine reports each of them once.
_NOISY_FILES = ("/flwr/simulation/", "/flwr/server/superlink/fleet/vce/")


@contextmanager
def quiet() -> Iterator[None]:
    """Drop log records of the simulation's machinery; those of strategies and apps stay."""
    logger = logging.getLogger("flwr")
    logger.addFilter(_is_wanted)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(ray|flwr)(\.|$)")
            yield
    finally:
        logger.removeFilter(_is_wanted)


@contextmanager
def worker_environment() -> Iterator[None]:
    """Let Ray's workers import what this process can, send no usage reports, restore it all."""
    # A source checkout need not be installed: workers find it where this process found it.
    root = str(Path(byzflower.__file__).resolve().parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    settings = {
        "PYTHONPATH": os.pathsep.join(filter(None, [root, inherited])),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    in_main_thread = threading.current_thread() is threading.main_thread()
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if in_main_thread:  # Ray takes the handler over and keeps it
            signal.signal(signal.SIGTERM, on_terminate)


def _is_wanted(record: logging.LogRecord) -> bool:
    path = record.pathname.replace(os.sep, "/")
    deprecation = path.endswith("/logger.py") and "run_simulation" in record.getMessage()
    return not deprecation and not any(part in path for part in _NOISY_FILES)
