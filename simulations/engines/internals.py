"""The private names of Flower an in-process engine cannot do without, all in this one place."""

from __future__ import annotations

import itertools
import os
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from importlib import import_module
from typing import Any

from flwr.app import Message, RecordDict
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode

__all__ = [
    "CLIENT_RAISED",
    "ENGINE_FAILURES",
    "NODE_UNAVAILABLE",
    "Stamp",
    "UnsupportedFlowerError",
    "adopt_id",
    "assume_identity",
    "disable_telemetry",
    "duplicate",
    "empty_run",
    "ending_busy_clients",
    "relabel_source",
]

CLIENT_RAISED = ErrorCode.CLIENT_APP_RAISED_EXCEPTION
NODE_UNAVAILABLE = ErrorCode.NODE_UNAVAILABLE
ENGINE_FAILURES = frozenset({ErrorCode.UNKNOWN, ErrorCode.LOAD_CLIENT_APP_EXCEPTION})

_GRACE_SECONDS = 10.0
_RUN_MODULES = ("flwr.supercore.run", "flwr.common.typing")
_TELEMETRY_MODULES = ("flwr.supercore.telemetry", "flwr.common.telemetry")


class UnsupportedFlowerError(RuntimeError):
    """The installed Flower no longer has a private name that the engines rely on."""


class Stamp:
    """Give messages the unique ids that a SuperLink would give them.

    Parameters
    ----------
    run_id : int
        Run that the messages belong to.

    Examples
    --------
    >>> from flwr.app import Message, RecordDict
    >>> assume_identity(1)
    >>> message = Message(RecordDict(), dst_node_id=2, message_type="train")
    >>> Stamp(1).mark(message)
    >>> message.metadata.message_id == "", message.metadata.run_id
    (False, 1)
    """

    def __init__(self, run_id: int) -> None:
        self._run_id = run_id
        self._prefix = uuid.uuid4().hex
        self._serial = itertools.count()

    def mark(self, message: Message) -> None:
        """Set the message's id and run, and its sender where Flower leaves it open."""
        _set(message, "_message_id", f"{self._prefix}-{next(self._serial)}")
        _set(message, "_run_id", self._run_id)
        if not message.metadata.src_node_id:
            _set(message, "_src_node_id", SUPERLINK_NODE_ID)


def duplicate(message: Message, content: RecordDict) -> Message:
    """Return a message with the same metadata, which is the copy's own, and another content."""
    twin = copy(message)
    twin.__dict__["_metadata"] = copy(message.metadata)
    twin.content = content
    if twin.metadata is message.metadata:
        raise _unsupported("Message._metadata")
    return twin


def adopt_id(message: Message, sent: Message) -> None:
    """Give a message the id under which its duplicate was sent."""
    _set(message, "_message_id", sent.metadata.message_id)


def relabel_source(reply: Message, node_id: int) -> None:
    """Set the node a reply says it comes from."""
    _set(reply, "_src_node_id", node_id)


def assume_identity(run_id: int) -> None:
    """Let this process create messages: since 1.38 Flower asks for a task identity first."""
    try:
        identity = import_module("flwr.supercore.task_identity").TaskIdentity
    except ModuleNotFoundError:
        return
    try:
        _ = (identity.run_id, identity.node_id, identity.task_id)
    except RuntimeError:
        identity.run_id, identity.node_id, identity.task_id = run_id, SUPERLINK_NODE_ID, 1
    except AttributeError as error:
        raise _unsupported("TaskIdentity") from error


def empty_run(run_id: int) -> Any:
    """Return Flower's description of a run that has no app bundle."""
    for name in _RUN_MODULES:
        try:
            return import_module(name).Run.create_empty(run_id=run_id)
        except (ModuleNotFoundError, AttributeError):
            continue
    raise _unsupported("Run.create_empty")


def disable_telemetry() -> None:
    """Keep Flower from reporting runs, for the life of this process.

    Its switch is read when Flower is imported, and its reports leave from threads that may outlast
    a run, so it is not switched back.
    """
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    for name in _TELEMETRY_MODULES:
        if name in sys.modules:
            sys.modules[name].__dict__["FLWR_TELEMETRY_ENABLED"] = "0"


@contextmanager
def ending_busy_clients() -> Iterator[None]:
    """Let Flower's Ray backend end clients that are computing when it shuts Ray down.

    It ends idle workers alone. After Ctrl-C the threads that wait for busy ones would wait for
    ever, and keep this process from ending.
    """
    backend = import_module("flwr.server.superlink.fleet.vce.backend.raybackend").RayBackend
    terminate = backend.terminate

    def terminate_all(self: Any) -> None:
        deadline = time.monotonic() + _GRACE_SECONDS
        while self.pool and self.pool._future_to_actor and time.monotonic() < deadline:
            for actor in list(self.pool._future_to_actor.values()):
                import_module("ray").kill(actor)
            time.sleep(0.05)
        terminate(self)

    backend.terminate = terminate_all
    try:
        yield
    finally:
        backend.terminate = terminate


def _set(message: Message, name: str, value: object) -> None:
    fields = message.metadata.__dict__
    if name not in fields:
        raise _unsupported(f"Metadata.{name}")
    fields[name] = value


def _unsupported(name: str) -> UnsupportedFlowerError:
    version = import_module("flwr").__version__
    return UnsupportedFlowerError(
        f"the simulation engines need `{name}`, which flwr {version} does not have; "
        "byzflower is tested with flwr 1.30 to 1.41"
    )
