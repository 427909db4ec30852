"""Run any ClientApp for n nodes in this process, one node after another."""

from __future__ import annotations

import gc
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar, overload

import torch
from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

from byzflower.clients.app import Nodes, TrainingApp
from byzflower.threads import torch_threads
from byzflower.wire.flower_internals import (
    NODE_UNAVAILABLE,
    Stamp,
    assume_identity,
    duplicate,
    empty_run,
)
from byzflower.wire.grid import ids_to_pull
from byzflower.wire.trees import records_to_tree, tree_to_records

from .execution import (
    Broadcast,
    Client,
    ClientThread,
    FailureLog,
    Server,
    call_server,
    detached,
    execute,
    warn_of_timeout,
)

__all__ = ["InProcessGrid", "run_in_process"]

T = TypeVar("T")
_OBJECTS_A_CLIENT = 100
"""About how many containers a client's part of a round consists of."""


class InProcessGrid(Grid):
    """Grid whose nodes run in this process: no Ray, no serialisation, no waiting.

    Nodes have the ids 1 … n in partition order and the configuration
    ``{"partition-id": i, "num-partitions": n}``; each keeps its own `Context` for the life of the
    grid. A message is executed when it is sent. Each node is taken to have a machine of its own: a
    client that itself takes longer than the timeout of `send_and_receive` costs its node the reply,
    with a warning. Nothing can end it: it goes on beside the others, in a thread that holds up no
    end of the process, and until it has come back its node answers messages with an error. Replies
    come in the order of the node ids. A client that raises, exits or returns no message makes an
    error reply, as it does on every engine; `KeyboardInterrupt` ends the run. Clients get tensors
    of their own and may modify them; the tensors of a reply are shared with the server, as
    `byzflower.wire.arrays.SharedArray` says.

    Parameters
    ----------
    client_app : ClientApp or callable
        App that every node runs, or a plain function ``(message, context) -> reply``.
    num_nodes : int
        Number of nodes n ≥ 1.
    run_config : Mapping[str, object], optional
        Configuration the clients see as ``context.run_config``.
    client_threads : int, optional
        CPU threads that torch takes for one client's computation; as many as in this process by
        default. How results are rounded depends on their number.

    Raises
    ------
    ValueError
        If `num_nodes` < 1.

    Examples
    --------
    >>> from flwr.app import MetricRecord
    >>> from byzflower.simulations.engines import partition_ids
    >>> def client(message, context):
    ...     metrics = MetricRecord({"partition-id": context.node_config["partition-id"]})
    ...     return Message(RecordDict({"metrics": metrics}), reply_to=message)
    >>> partition_ids(InProcessGrid(client, 3))
    {1: 0, 2: 1, 3: 2}
    """

    def __init__(
        self,
        client_app: Client,
        num_nodes: int,
        *,
        run_config: Mapping[str, Any] | None = None,
        client_threads: int | None = None,
    ) -> None:
        if num_nodes < 1:
            raise ValueError(f"`num_nodes` needs a value ≥ 1; found {num_nodes}")
        # Clients tell runs apart by it, and forget what they kept of another.
        self.run_id = secrets.randbits(62)
        assume_identity(self.run_id)
        self._client_app = client_app
        self._client_threads = client_threads
        self._stamp = Stamp(self.run_id)
        self._run: Any = None
        self._contexts = {
            i + 1: Context(
                self.run_id,
                i + 1,
                {"partition-id": i, "num-partitions": num_nodes},
                RecordDict(),
                dict(run_config or {}),
            )
            for i in range(num_nodes)
        }
        self._replies: dict[str, Message] = {}
        self._timeout: float | None = None
        self._thread: ClientThread | None = None
        self._late: dict[int, Future[Message]] = {}
        self._failures = FailureLog()

    @property
    def contexts(self) -> Mapping[int, Context]:
        """Each node's context, by node id."""
        return self._contexts

    def state_dict(self) -> dict[str, Any]:
        """Return every client's state, for a checkpoint of the run."""
        state = {"contexts": {i: records_to_tree(c.state) for i, c in self._contexts.items()}}
        if (nodes := self._nodes) is not None:
            state["nodes"] = {i: nodes.of(c).state_dict() for i, c in self._contexts.items()}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Give the clients the state of a checkpoint."""
        for i, tree in state["contexts"].items():
            self._contexts[i].state = tree_to_records(tree)
        if (nodes := self._nodes) is not None:
            for i, kept in state["nodes"].items():
                nodes.of(self._contexts[i]).load_state_dict(kept)

    @property
    def _nodes(self) -> Nodes | None:
        """What clients keep in this process beside their contexts."""
        return self._client_app.nodes if isinstance(self._client_app, TrainingApp) else None

    def set_run(self, run: Any) -> None:
        """Set Flower's description of the run."""
        self._run = run

    @property
    def run(self) -> Any:
        """Flower's description of the run."""
        return empty_run(self.run_id) if self._run is None else self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Return a message from the server to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """Return 1 … n."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Execute the messages; their replies wait to be pulled."""
        messages = list(messages)
        # A strategy's messages share their content: the list keeps it alive, so ids stay unique.
        shared = {id(message.content): message.content for message in messages}
        broadcasts = {key: Broadcast(content) for key, content in shared.items()}
        for message in messages:
            self._stamp.mark(message)
            reply = self._execute(message, broadcasts[id(message.content)])
            if reply is not None:
                self._store(message, reply)
        return [message.metadata.message_id for message in messages]

    def deposit(self, message: Message, content: RecordDict) -> None:
        """Take a message as executed with this reply: for engines that compute replies jointly."""
        self._stamp.mark(message)
        self._store(message, Message(content, reply_to=message))

    def pull_messages(  # type: ignore[override, unused-ignore]  # as of Flower 1.43
        self,
        reply_to_message_ids: Iterable[str] | None = None,
        *,
        message_ids: Iterable[str] | None = None,
    ) -> list[Message]:
        """Return the replies to these messages (all, by default) that have not been pulled yet."""
        wanted = ids_to_pull(reply_to_message_ids, message_ids)
        wanted = list(self._replies) if wanted is None else wanted
        replies = [self._replies.pop(key) for key in wanted if key in self._replies]
        return sorted(replies, key=lambda reply: reply.metadata.src_node_id)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Execute the messages and return their replies in the order of the node ids."""
        self._timeout = timeout
        try:
            return self.pull_messages(self.push_messages(messages))
        finally:
            self._timeout = None

    def _store(self, message: Message, reply: Message) -> None:
        self._stamp.mark(reply)
        self._replies[message.metadata.message_id] = reply

    def _execute(self, message: Message, broadcast: Broadcast) -> Message | None:
        node = message.metadata.dst_node_id
        if node not in self._contexts:
            known = f"1 … {len(self._contexts)}"
            error = Error(NODE_UNAVAILABLE, f"no node {node}: the nodes are {known}")
            return Message(error, reply_to=message)
        reply = self._run_client(duplicate(message, broadcast.copy()))
        if reply is None:
            return None
        # Bound to the message that was sent, whatever the client did to the metadata.
        if reply.has_error():
            bound = Message(reply.error, reply_to=message)
            self._failures.note(bound)
            return bound
        return Message(detached(reply.content), reply_to=message)

    def _run_client(self, received: Message) -> Message | None:
        """Return what the client answers; None if it takes too long."""
        node = received.metadata.dst_node_id
        context = self._contexts[node]
        if node in self._late and not self._late[node].done():
            reason = "its client has not come back from an earlier message"
            return Message(Error(NODE_UNAVAILABLE, reason), reply_to=received)
        with torch_threads(self._client_threads):
            if self._timeout is None:
                return execute(self._client_app, received, context)
            threads = torch.get_num_threads()  # each thread of the process has a number of its own

            def call() -> Message:
                torch.set_num_threads(threads)
                return execute(self._client_app, received, context)

            self._thread = self._thread or ClientThread()
            future = self._thread.submit(call)
            try:
                return future.result(self._timeout)
            except TimeoutError:
                self._thread, self._late[node] = None, future
                warn_of_timeout(node, self._timeout)
                return None


@overload
def run_in_process(
    server: ServerApp,
    client_app: Client,
    num_nodes: int,
    *,
    run_config: Mapping[str, Any] | None = None,
    client_threads: int | None = None,
    grid_type: type[InProcessGrid] = InProcessGrid,
) -> Context: ...
@overload
def run_in_process(
    server: Callable[[Grid, Context], T],
    client_app: Client,
    num_nodes: int,
    *,
    run_config: Mapping[str, Any] | None = None,
    client_threads: int | None = None,
    grid_type: type[InProcessGrid] = InProcessGrid,
) -> T: ...
def run_in_process(
    server: Server,
    client_app: Client,
    num_nodes: int,
    *,
    run_config: Mapping[str, Any] | None = None,
    client_threads: int | None = None,
    grid_type: type[InProcessGrid] = InProcessGrid,
) -> Any:
    """Run a server app and a client app to their end in this process.

    Parameters
    ----------
    server : ServerApp or callable
        Flower's `ServerApp`, or a plain function ``(grid, context) -> anything``.
    client_app : ClientApp
        App that every node runs.
    num_nodes : int
        Number of nodes n ≥ 1.
    run_config : Mapping[str, object], optional
        Configuration that server and clients see as ``context.run_config``.
    client_threads : int, optional
        CPU threads of one client's computation, see `InProcessGrid`.
    grid_type : type
        `InProcessGrid`, or `BatchedGrid` to train all clients of a round at once.

    Returns
    -------
    Any
        What the function returned; for a `ServerApp`, the server's context, whose ``state`` holds
        what the app stored there. Whatever the server raises, and Ctrl-C, comes through.

    Examples
    --------
    >>> from flwr.clientapp import ClientApp
    >>> run_in_process(lambda grid, context: sorted(grid.get_node_ids()), ClientApp(), 3)
    [1, 2, 3]
    """
    grid = grid_type(client_app, num_nodes, run_config=run_config, client_threads=client_threads)
    context = Context(grid.run_id, 0, {}, RecordDict(), dict(run_config or {}))
    with _patient_collector(num_nodes):
        return call_server(server, grid, context)


@contextmanager
def _patient_collector(num_nodes: int) -> Iterator[None]:
    """Let Python look for cyclic garbage about once a round, however many clients there are.

    Messages and records of a round live until its end. Looked through after every 700 objects, as
    by default, those of 10,000 clients take as long as the clients.
    """
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], _OBJECTS_A_CLIENT * num_nodes), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
