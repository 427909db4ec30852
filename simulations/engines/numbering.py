"""A grid whose nodes are numbered 1 … n in partition order, over one with random node ids."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid

from byzflower.simulations.engines.execution import FailureLog
from byzflower.simulations.engines.nodes import partition_ids
from byzflower.wire.flower_internals import (
    ENGINE_FAILURES,
    adopt_id,
    duplicate,
    relabel_source,
)
from byzflower.wire.grid import ForwardingGrid

__all__ = ["NumberedGrid", "SimulationStoppedError", "WorkerError"]


class SimulationStoppedError(RuntimeError):
    """The engine under a server app has ended, so no reply will ever come."""


class WorkerError(RuntimeError):
    """A client's process died or could not load the client: the engine failed, not the client."""


class NumberedGrid(ForwardingGrid):
    """Number the nodes of another grid as the in-process engine does.

    Flower's simulation draws node ids at random. With the same ids on every engine, whatever a
    server derives from them (the order of the replies, the record of each node's conduct) is the
    same too. Which nodes Flower's strategies sample is not: they draw from Python's global
    ``random``, which only the server can seed. Waiting ends with an error as soon as the engine
    has stopped.

    Parameters
    ----------
    inner : Grid
        Connection to the nodes.
    num_nodes : int
        Number of nodes to wait for.
    stopped : threading.Event
        Set when the engine has ended.
    query : str
        Type of the message that asks a node for its partition-id.
    registration_timeout : float
        Seconds within which all nodes must be registered.
    pull_interval : float
        Seconds between two looks for replies.

    Raises
    ------
    TimeoutError
        If fewer than `num_nodes` nodes are registered in time.
    SimulationStoppedError
        If the engine ends meanwhile.
    WorkerError
        If a client's process dies or cannot load the client. What a client itself raises makes an
        error reply.
    """

    def __init__(
        self,
        inner: Grid,
        num_nodes: int,
        stopped: threading.Event,
        *,
        query: str = "query",
        registration_timeout: float = 120.0,
        pull_interval: float = 0.01,
    ) -> None:
        super().__init__(inner)
        self._stopped = stopped
        self._pull_interval = pull_interval
        self._failures = FailureLog()
        self._numbers: dict[int, int] = {}
        self._nodes: dict[int, int] = {}
        self._await_registration(num_nodes, time.monotonic() + registration_timeout)
        partitions = partition_ids(self, message_type=query, timeout=None)
        self._numbers = {node: partition + 1 for node, partition in partitions.items()}
        self._nodes = {number: node for node, number in self._numbers.items()}

    def get_node_ids(self) -> list[int]:
        """Return 1 … n."""
        return sorted(self._nodes or self.inner.get_node_ids())

    def get_nodes(self) -> Iterable[Any]:
        """Return 1 … n as Flower describes nodes."""
        return Grid.get_nodes(self)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Send messages to nodes; return the messages' ids."""
        sent: list[str] = []
        for message in messages:
            number = message.metadata.dst_node_id
            # Unknown numbers go through unchanged: Flower answers for nodes it does not know.
            twin = duplicate(message, message.content)
            twin.metadata.dst_node_id = self._nodes.get(number, number)
            sent.extend(self.inner.push_messages([twin]))
            adopt_id(message, twin)
        return sent

    def pull_messages(  # type: ignore[override, unused-ignore]  # as of Flower 1.43
        self,
        reply_to_message_ids: Iterable[str] | None = None,
        *,
        message_ids: Iterable[str] | None = None,
    ) -> list[Message]:
        """Return the replies that have come in, in the order of the node ids."""
        replies = list(super().pull_messages(reply_to_message_ids, message_ids=message_ids))
        for reply in replies:
            if reply.has_error() and reply.error.code in ENGINE_FAILURES:
                raise WorkerError(f"a client's process failed: {reply.error.reason}")
            node = reply.metadata.src_node_id
            relabel_source(reply, self._numbers.get(node, node))
            self._failures.note(reply)
        return _in_order(replies)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Send messages and wait for their replies, returned in the order of the node ids."""
        waiting = set(self.push_messages(messages))
        deadline = None if timeout is None else time.monotonic() + timeout
        replies: list[Message] = []
        while waiting and (deadline is None or time.monotonic() < deadline):
            self._check_running()
            new = self.pull_messages(waiting)
            waiting.difference_update(reply.metadata.reply_to_message_id for reply in new)
            replies.extend(new)
            if waiting:
                self._stopped.wait(self._pull_interval)
        return _in_order(replies)

    def _await_registration(self, num_nodes: int, deadline: float) -> None:
        while (found := len(list(self.inner.get_node_ids()))) < num_nodes:
            self._check_running()
            if time.monotonic() > deadline:
                raise TimeoutError(f"only {found} of {num_nodes} nodes are registered")
            self._stopped.wait(self._pull_interval)

    def _check_running(self) -> None:
        if self._stopped.is_set():
            raise SimulationStoppedError("the simulation under the server app has ended")


def _in_order(replies: list[Message]) -> list[Message]:
    return sorted(replies, key=lambda reply: reply.metadata.src_node_id)
