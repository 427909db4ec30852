"""How apps are called: a client on a message of its own, a server on a grid."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from copy import copy
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeAlias, TypeVar

from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from torch import Tensor

from byzflower.wire.arrays import SharedArray, to_tensor
from byzflower.wire.flower_internals import CLIENT_RAISED
from byzflower.wire.trees import Record

__all__ = [
    "Broadcast",
    "Client",
    "ClientThread",
    "FailureLog",
    "Server",
    "call_server",
    "detached",
    "execute",
    "warn_of_timeout",
]

Client: TypeAlias = ClientApp | Callable[[Message, Context], Message]
Server: TypeAlias = ServerApp | Callable[[Grid, Context], Any]

_Job: TypeAlias = tuple[Future[Any], Callable[[], Any]]
T = TypeVar("T")
_log = logging.getLogger(__name__)


def execute(client_app: Client, message: Message, context: Context) -> Message:
    """Return the client's reply, or an error reply with the traceback if it raises or exits.

    `KeyboardInterrupt` comes through.
    """
    try:
        reply = client_app(message, context)
        if not isinstance(reply, Message):
            raise TypeError(f"the ClientApp returned {type(reply).__name__}, not a Message")
    except (Exception, SystemExit) as exception:
        head = f"{type(exception).__name__}: {exception}".splitlines()[0]
        details = "".join(traceback.format_exception(exception))
        return Message(Error(CLIENT_RAISED, f"{head}\n{details}"), reply_to=message)
    return reply


class ClientThread:
    """A thread in which clients run, one after another, and which can be left behind.

    Nothing can end a thread from outside: where a client does not come back in time, drop this
    object and make another. The thread ends with its last client, or with the process.

    Examples
    --------
    >>> thread = ClientThread()
    >>> thread.submit(lambda: 6 * 7).result(timeout=60)
    42
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # Not an executor's: the process would wait for it at its end.
        Thread(target=_work, args=(self._jobs,), daemon=True).start()

    def __del__(self) -> None:
        self._jobs.put(None)

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Have it called; what it returns or raises, Ctrl-C included, comes with the future."""
        future: Future[T] = Future()
        self._jobs.put((future, call))
        return future


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        future, call = job
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)


class FailureLog:
    """Log each kind of client failure once; strategies log the one-line reason every time."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def note(self, reply: Message) -> None:
        """Log the traceback in an error reply that is new, and leave its first line as reason."""
        if not reply.has_error() or reply.error.code != CLIENT_RAISED:
            return
        head, _, details = (reply.error.reason or "").partition("\n")
        reply.error = Error(CLIENT_RAISED, head)
        if head not in self._seen:
            self._seen.add(head)
            _log.error("the client of node %d failed\n%s", reply.metadata.src_node_id, details)


def warn_of_timeout(node_id: int, timeout: float) -> None:
    """Log that a node's reply does not count, since it took longer than the round waits."""
    _log.warning(
        "node %d is too late: its client took longer than the timeout of %g s", node_id, timeout
    )


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


class Broadcast:
    """The content of a message, decoded once and copied for every node that receives it.

    Strategies put one `RecordDict` in the messages to all nodes. Its arrays are turned into
    tensors here, once; each node gets records and tensors of its own, so whatever a client does to
    them stays with it.

    Parameters
    ----------
    content : RecordDict
        Content of the message; left as it is.

    Examples
    --------
    >>> import torch
    >>> from byzflower.wire.arrays import to_record
    >>> content = RecordDict({"arrays": to_record({"weight": torch.zeros(2)})})
    >>> broadcast = Broadcast(content)
    >>> first, second = broadcast.copy(), broadcast.copy()
    >>> _ = to_tensor(first["arrays"]["weight"]).add_(1)
    >>> to_tensor(second["arrays"]["weight"])
    tensor([0., 0.])
    """

    def __init__(self, content: RecordDict) -> None:
        self._records: dict[str, Record | Mapping[str, Tensor | Array]] = {
            name: _decode(record) if isinstance(record, ArrayRecord) else record
            for name, record in content.items()
        }

    def copy(self) -> RecordDict:
        """Return records and tensors that nobody else holds."""
        content = RecordDict()
        for name, record in self._records.items():
            if isinstance(record, ConfigRecord | MetricRecord):
                content[name] = _copied(record)
            else:
                content[name] = _encode(record)
        return content


def detached(content: RecordDict) -> RecordDict:
    """Return the content in containers of its own: strategies may empty those they are given."""
    return RecordDict({name: record.copy() for name, record in content.items()})


def _copied(record: ConfigRecord | MetricRecord) -> ConfigRecord | MetricRecord:
    twin = record.copy()
    for key, value in record.items():
        if isinstance(value, list):  # the only values that can be modified
            twin[key] = copy(value)  # type: ignore[assignment]
    return twin


def _decode(record: ArrayRecord) -> dict[str, Tensor | Array]:
    return {key: _tensor(array) for key, array in record.items()}


def _tensor(array: Array) -> Tensor | Array:
    try:
        return to_tensor(array)
    except (TypeError, ValueError):  # bytes of another kind, for instance a tree ensemble
        return array


def _encode(values: Mapping[str, Tensor | Array]) -> ArrayRecord:
    record = ArrayRecord()
    for key, value in values.items():
        record[key] = SharedArray(value.clone()) if isinstance(value, Tensor) else copy(value)
    return record
