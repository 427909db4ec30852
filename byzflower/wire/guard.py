"""A grid on which nothing that a node uploads can end a run, or be taken for another node's."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from logging import getLogger
from threading import Event, Thread
from typing import Any

from flwr.app import Array, Error, Message, RecordDict
from flwr.serverapp import Grid

from byzflower.wire.flower_internals import (
    REPLY_UNAVAILABLE,
    Allowance,
    bound_transfers,
    is_from_flower,
    is_of_the_transport,
)
from byzflower.wire.grid import ForwardingGrid

__all__ = ["BROKEN_REPLY", "GuardedGrid", "guarded"]

BROKEN_REPLY = 1000
"""Code of the error in place of a reply that no honest node uploads; Flower's codes are small."""

_LOG = getLogger(__name__)
# A model in another dtype takes up to four times its bytes; metrics and names take some, too.
_TIMES_THE_MODEL = 4
_SMALLEST_LIMIT = 16 << 20
# A pull that takes longer goes on beside the others.
_PATIENCE = 1.0


class GuardedGrid(ForwardingGrid):
    """Pull each reply by itself, and take it for the addressee's whatever it says.

    Flower's grids inflate what nodes have uploaded, many replies at a time: one that cannot be
    inflated raises out of `Grid.send_and_receive` and ends the run, and whom a reply comes from and
    which message it answers is read in the uploaded object, so a node answers for others. Here

    - what raises becomes an error reply of the node that was asked, with the code `BROKEN_REPLY`;
    - a reply belongs to the message under whose id it was pulled, so it can only be evidence
      about the node which that message was sent to;
    - a reply that takes more bytes than `max_reply_bytes`, on the wire or inflated, is broken
      before they are allocated;
    - a reply that was announced and is not uploaded holds nobody up, and is an error at the
      timeout.

    What is wrong with the connection itself still raises. `Robust.start` guards Flower's own grids
    (see `guarded`); other strategies take ``GuardedGrid(grid)`` in place of the grid.

    Parameters
    ----------
    grid : Grid
        One of Flower's grids, or one that answers `push_messages` and `pull_messages`.
    max_reply_bytes : int, optional
        Most bytes that one reply may take; by default four times what was sent, at least 16 MiB.
    pull_interval : float, optional
        Seconds between two looks for replies; by default the inner grid's, if it says so, else 1.

    Raises
    ------
    ValueError
        If a limit is not positive.

    Examples
    --------
    >>> from flwr.app import MetricRecord
    >>> from byzflower.simulations.engines import InProcessGrid
    >>> def client(message, context):
    ...     return Message(RecordDict({"metrics": MetricRecord({"a": 1})}), reply_to=message)
    >>> grid = GuardedGrid(InProcessGrid(client, 2))
    >>> messages = [Message(RecordDict(), node, "train") for node in grid.get_node_ids()]
    >>> [reply.metadata.src_node_id for reply in grid.send_and_receive(messages)]
    [1, 2]
    """

    def __init__(
        self,
        grid: Grid,
        *,
        max_reply_bytes: int | None = None,
        pull_interval: float | None = None,
    ) -> None:
        super().__init__(grid)
        if max_reply_bytes is not None and max_reply_bytes < 1:
            raise ValueError(f"`max_reply_bytes` needs a value ≥ 1; found {max_reply_bytes}")
        if pull_interval is not None and not pull_interval > 0:
            raise ValueError(f"`pull_interval` needs a value > 0; found {pull_interval}")
        self._limit = max_reply_bytes
        known = float(getattr(grid, "pull_interval", 1.0))
        self._interval = known if pull_interval is None else pull_interval
        bound_transfers(grid)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Send messages and wait for their replies, each by itself."""
        messages = list(messages)
        limit = _limit(messages) if self._limit is None else self._limit
        waiting = self._push(messages)
        deadline = None if timeout is None else time.monotonic() + timeout
        pulls: dict[str, _Pull] = {}
        replies: list[Message] = []
        while waiting and not _is_past(deadline):
            began = time.monotonic()
            for key, sent in list(waiting.items()):
                if _is_past(deadline):
                    break
                if key not in pulls:
                    pulls[key] = _Pull(self.inner, key, limit)
                    pulls[key].wait(_PATIENCE if deadline is None else _left(deadline))
                if not pulls[key].done:
                    continue
                found = self._bound(pulls.pop(key), sent)
                replies.extend(found)
                if found:
                    del waiting[key]
            if waiting:
                # Every pass asks for each reply by itself; at most half of the time goes there.
                pause = max(self._interval, time.monotonic() - began)
                time.sleep(pause if deadline is None else min(pause, _left(deadline)))
        for key, pull in pulls.items():
            pull.cancel()
            if key in waiting:
                error = Error(REPLY_UNAVAILABLE, "the upload was not complete in time")
                replies.append(Message(error, reply_to=waiting[key]))
        return replies

    def _push(self, messages: list[Message]) -> dict[str, Message]:
        """Return the messages that were sent, by id."""
        ids = list(self.inner.push_messages(messages))
        if len(ids) == len(messages):  # an id is None where a message could not be sent
            return {key: sent for key, sent in zip(ids, messages, strict=True) if key}
        known = set(ids)
        return {m.metadata.message_id: m for m in messages if m.metadata.message_id in known}

    def _bound(self, pull: _Pull, sent: Message) -> list[Message]:
        error = pull.error
        if error is not None and is_of_the_transport(error):
            # Nothing about the reply, if the server is there; else the connection is broken.
            try:
                list(self.inner.get_node_ids())
            except Exception:
                raise error from None
            return [Message(Error(REPLY_UNAVAILABLE, _said(error)), reply_to=sent)]
        if error is not None:
            return [Message(Error(BROKEN_REPLY, _said(error)), reply_to=sent)]
        return [_addressed(reply, sent) for reply in pull.replies]


class _Pull:
    """The replies to one message, pulled in a thread of its own: it may take very long."""

    def __init__(self, grid: Grid, message_id: str, limit: int) -> None:
        self.replies: list[Message] = []
        self.error: BaseException | None = None
        self._allowance = Allowance(limit)
        self._finished = Event()
        Thread(target=self._run, args=(grid, message_id), daemon=True).start()

    @property
    def done(self) -> bool:
        return self._finished.is_set()

    def wait(self, seconds: float) -> None:
        self._finished.wait(min(seconds, _PATIENCE))

    def cancel(self) -> None:
        self._allowance.cancel()

    def _run(self, grid: Grid, message_id: str) -> None:
        try:
            with self._allowance:
                self.replies = list(grid.pull_messages([message_id]))
        except BaseException as error:
            self.error = error
        finally:
            self._finished.set()


@contextmanager
def guarded(grid: Grid) -> Iterator[Grid]:
    """Guard Flower's own grid, inside whatever forwards to it, for as long as the block takes.

    An `Adversary` (any `ForwardingGrid`) stays outermost: it answers for its colluders in
    `send_and_receive`, which the guard would never call. Grids that are not Flower's are left as
    they are; wrap them in `GuardedGrid` where their nodes are not to be trusted.

    Examples
    --------
    >>> from byzflower.simulations.engines import InProcessGrid
    >>> grid = InProcessGrid(lambda message, context: None, 1)
    >>> with guarded(grid) as safe:
    ...     safe is grid
    True
    """
    outer: ForwardingGrid | None = None
    inmost = grid
    while isinstance(inmost, ForwardingGrid) and not isinstance(inmost, GuardedGrid):
        outer, inmost = inmost, inmost.inner
    if not is_from_flower(inmost):
        yield grid
    elif outer is None:
        yield GuardedGrid(inmost)
    else:
        outer.inner = GuardedGrid(inmost)
        try:
            yield grid
        finally:
            outer.inner = inmost


def _addressed(reply: Any, sent: Message) -> Message:
    """Return the reply as one to this message, or an error if it is no reply."""
    try:
        if reply.has_error():
            code, reason = reply.error.code, reply.error.reason
            error = Error(code if isinstance(code, int) else BROKEN_REPLY, str(reason or ""))
            return Message(error, reply_to=sent)
        if not isinstance(reply.content, RecordDict):
            raise TypeError(f"needs records; found {type(reply.content).__name__}")
        return Message(reply.content, reply_to=sent)
    except Exception as problem:
        return Message(Error(BROKEN_REPLY, _said(problem)), reply_to=sent)


def _limit(messages: list[Message]) -> int:
    contents = {id(message.content): message.content for message in messages}
    sizes = (
        sum(_size(a) for record in content.array_records.values() for a in record.values())
        for content in contents.values()
    )
    return max(_SMALLEST_LIMIT, _TIMES_THE_MODEL * max(sizes, default=0))


def _size(array: Array) -> int:
    tensor = getattr(array, "tensor", None)  # a `SharedArray`, whose bytes need not be made
    return int(tensor.nbytes) if tensor is not None else len(array.data)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]


def _is_past(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())
