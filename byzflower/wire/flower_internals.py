"""The private names of Flower that this package cannot do without, all in this one place.

Each has a test in ``tests/byzflower/wire/test_flower_internals.py``, which runs on the oldest and
the newest Flower that are supported.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from importlib import import_module
from logging import LogRecord
from typing import Any

from flwr.app import Array, Message, RecordDict
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

__all__ = [
    "CLIENT_CRASHED",
    "CLIENT_RAISED",
    "NODE_UNAVAILABLE",
    "REPLY_UNAVAILABLE",
    "SUPERLINK_NODE_ID",
    "Allowance",
    "OverAllowanceError",
    "Stamp",
    "UnsupportedFlowerError",
    "assume_identity",
    "bound_transfers",
    "deflated",
    "duplicate",
    "empty_run",
    "inflated",
    "is_count_of_replies",
    "is_from_flower",
    "is_of_the_transport",
    "relabel_source",
    "valid_replies",
]

CLIENT_RAISED = ErrorCode.CLIENT_APP_RAISED_EXCEPTION
NODE_UNAVAILABLE = ErrorCode.NODE_UNAVAILABLE
REPLY_UNAVAILABLE = ErrorCode.MESSAGE_UNAVAILABLE
# Newer versions have a code of its own.
CLIENT_CRASHED: int = getattr(ErrorCode, "CLIENT_APP_CRASHED", CLIENT_RAISED)

_RUN_MODULES = ("flwr.supercore.run", "flwr.common.typing")


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


def relabel_source(reply: Message, node_id: int) -> None:
    """Set the node that a reply says it comes from."""
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


# What FedAvg and its children log about the replies of a round.
_COUNTS = "%s: Received %s results and %s failures"
_TRANSPORTS = frozenset({"grpc", "httpcore", "httpx", "requests"})
_OBJECTS = "flwr.supercore.inflatable.inflatable_object"
# Flower's errors for objects that were announced and are not there.
_UPLOADS = frozenset({"ObjectIdNotPreregisteredError", "ObjectPullError", "ObjectUnavailableError"})


def is_count_of_replies(record: LogRecord) -> bool:
    """Whether a record is FedAvg's line that says how many results and failures it received."""
    return record.msg == _COUNTS


def valid_replies(strategy: FedAvg, replies: Iterable[Message]) -> list[Message]:
    """Return the replies without errors and of one layout, counted in the log as FedAvg does."""
    try:
        check = strategy._check_and_log_replies
    except AttributeError as error:
        raise _unsupported("FedAvg._check_and_log_replies") from error
    return list(check(replies, is_train=True)[0])


def is_from_flower(grid: Grid) -> bool:
    """Whether a grid is one of Flower's own, which inflates what nodes have uploaded."""
    return type(grid).__module__.partition(".")[0] == "flwr"


def is_of_the_transport(error: BaseException) -> bool:
    """Whether an error is of the connection or an incomplete upload, not of what was uploaded."""
    kind = type(error)
    incomplete = kind.__module__.startswith("flwr.") and kind.__name__ in _UPLOADS
    module = kind.__module__.partition(".")[0]
    return isinstance(error, OSError) or incomplete or module in _TRANSPORTS


class OverAllowanceError(ValueError):
    """A reply takes more bytes than it may, or longer than it is waited for."""


class Allowance:
    """Bytes that the reply this thread is pulling may still take, on the wire and inflated.

    Parameters
    ----------
    limit : int
        Bytes each of the two may take.

    Examples
    --------
    >>> allowance = Allowance(10)
    >>> allowance.receive(6)
    >>> allowance.receive(6)
    Traceback (most recent call last):
        ...
    byzflower.wire.flower_internals.OverAllowanceError: needs at most 10 bytes; found 12 uploaded
    """

    _of_this_thread = threading.local()

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._received = 0
        self._inflated = 0
        self._lock = threading.Lock()
        self._over = threading.Event()

    def __enter__(self) -> Allowance:
        self._of_this_thread.current = self
        return self

    def __exit__(self, *_: object) -> None:
        self._of_this_thread.current = None

    @classmethod
    def current(cls) -> Allowance | None:
        """Return what the reply that this thread pulls may take; None outside a guarded pull."""
        return getattr(cls._of_this_thread, "current", None)

    def cancel(self) -> None:
        """Stop the pull at its next step: nobody waits for the reply any more."""
        self._over.set()

    def receive(self, size: int) -> None:
        """Count bytes that have come over the wire."""
        if self._over.is_set():
            raise OverAllowanceError("its upload was not complete in time")
        with self._lock:  # Flower pulls several objects at a time
            self._received += size
            if self._received > self._limit:
                found = f"{self._received} uploaded"
                raise OverAllowanceError(f"needs at most {self._limit} bytes; found {found}")

    def inflate(self, size: int) -> None:
        """Count bytes that an array is about to take."""
        self._inflated += size
        if self._inflated > self._limit:
            found = f"{self._inflated} in its arrays"
            raise OverAllowanceError(f"needs at most {self._limit} bytes; found {found}")


def bound_transfers(grid: Grid) -> None:
    """Let every `Allowance` hold where this grid pulls, for the life of the process.

    Flower inflates an array by joining the chunks that it names, as often as it names them, and
    waits for objects that were announced for up to two hours. Outside an `Allowance` nothing
    changes.
    """
    _bound_inflation()
    module = sys.modules.get(type(grid).__module__)
    make = getattr(module, "make_pull_object_fn_protobuf", None)
    if make is None or hasattr(make, "bounded"):  # a grid in memory pulls no objects
        return

    def make_bounded(*args: Any, **kwargs: Any) -> Callable[[str], bytes]:
        pull, allowance = make(*args, **kwargs), Allowance.current()
        if allowance is None:
            return pull  # type: ignore[no-any-return]

        def bounded(object_id: str) -> bytes:
            allowance.receive(0)
            content: bytes = pull(object_id)
            allowance.receive(len(content))
            return content

        return bounded

    make_bounded.bounded = True  # type: ignore[attr-defined]
    vars(module)["make_pull_object_fn_protobuf"] = make_bounded


def _bound_inflation() -> None:
    inflate = Array.inflate
    if hasattr(inflate, "bounded"):
        return

    def bounded(cls: type[Array], object_content: bytes, children: Any = None) -> Array:
        allowance = Allowance.current()
        if allowance is not None:
            allowance.inflate(_joined_size(object_content, children or {}))
        return inflate.__func__(cls, object_content, children)  # type: ignore[attr-defined, no-any-return]

    bounded.bounded = True  # type: ignore[attr-defined]
    Array.inflate = classmethod(bounded)  # type: ignore[method-assign, assignment]


def _joined_size(content: bytes, children: dict[str, Any]) -> int:
    """Return the bytes an array's chunks take when joined as often as it names them."""
    module = import_module(_OBJECTS)
    body = json.loads(module.get_object_body(content, Array))
    names = module.get_object_children_ids_from_object_content(content)
    return sum(len(children[names[i]].data) for i in body["arraychunk_ids"])


def deflated(message: Message) -> tuple[str, dict[str, bytes]]:
    """Return the id of a message's object, and the bytes of each object it consists of by id.

    They are what a node uploads for the message.
    """
    objects = import_module(_OBJECTS).get_all_nested_objects(message)
    return message.object_id, {key: item.deflate() for key, item in objects.items()}


def inflated(object_id: str, objects: Mapping[str, bytes]) -> Any:
    """Return the object that was uploaded under an id, as Flower's grids make it of the bytes.

    Whatever may be wrong with the bytes raises; what is returned need not be a message.

    Examples
    --------
    >>> from flwr.app import Message, RecordDict
    >>> assume_identity(1)
    >>> name, objects = deflated(Message(RecordDict(), dst_node_id=2, message_type="train"))
    >>> inflated(name, objects).metadata.dst_node_id
    2
    """
    inflate = import_module("flwr.supercore.inflatable.inflatable_utils")
    return inflate.inflate_object_from_contents(object_id, dict(objects))


def _set(message: Message, name: str, value: object) -> None:
    fields = message.metadata.__dict__
    if name not in fields:
        raise _unsupported(f"Metadata.{name}")
    fields[name] = value


def _unsupported(name: str) -> UnsupportedFlowerError:
    version = import_module("flwr").__version__
    return UnsupportedFlowerError(
        f"the simulation engines need `{name}`, which flwr {version} does not have; "
        "byzflower is tested with flwr 1.30 to 1.43"
    )
