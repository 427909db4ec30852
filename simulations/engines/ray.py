"""Run the clients of a server app in Ray worker processes, on one machine or a cluster."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

import byzflower
from byzflower.wire.flower_internals import (
    CLIENT_CRASHED,
    NODE_UNAVAILABLE,
    assume_identity,
    duplicate,
)
from byzflower.wire.grid import ids_to_pull

from .execution import (
    Client,
    Server,
    call_server,
    execute,
    warn_of_timeout,
)
from .inprocess import InProcessGrid

__all__ = ["RayEngineError", "RayGrid", "places_of", "ray_running", "run_on_ray"]

T = TypeVar("T")
_log = getLogger(__name__)
_MOST_FAILED_STARTS = 3
_LONGEST_WAIT = 1.0


class RayEngineError(RuntimeError):
    """Ray, or the start of a client's process on it, failed; the cause is chained."""


class RayGrid(InProcessGrid):
    """Grid whose clients run in Ray worker processes, as on Flower's own simulation.

    What a message holds is pickled once for all nodes that get it; a node's context travels with
    each message and comes back with the reply, so any worker serves any node. A worker loads the
    client app once. A worker that dies costs its node the reply, an error, and is replaced. Each
    node is taken to have a machine of its own: the timeout of `send_and_receive` begins for a
    message when a worker takes it up, and a worker that is not done by then is ended and replaced.

    Parameters
    ----------
    client_app, num_nodes, run_config, client_threads
        As for `InProcessGrid`; the app travels by cloudpickle.
    num_cpus, num_gpus : float
        What each client occupies; so many workers run as Ray's nodes hold, at most one a client.

    Raises
    ------
    RayEngineError
        If no node of Ray has what a client occupies, or workers cannot load the app.
    """

    def __init__(
        self,
        client_app: Client,
        num_nodes: int,
        *,
        run_config: Mapping[str, Any] | None = None,
        client_threads: int | None = None,
        num_cpus: float = 1,
        num_gpus: float = 0.0,
    ) -> None:
        super().__init__(
            client_app, num_nodes, run_config=run_config, client_threads=client_threads
        )
        self._ray: Any = import_module("ray")  # a heavy import, for this engine alone
        alive = [node for node in self._ray.nodes() if node["Alive"]]
        places = sum(places_of(node, num_cpus, num_gpus) for node in alive)
        if not places:
            raise RayEngineError(
                f"a client needs {num_cpus:g} CPUs and {num_gpus:g} GPUs; no node of Ray has them"
            )
        self._worker_type = self._ray.remote(num_cpus=num_cpus, num_gpus=num_gpus)(_Worker)
        self._app_reference = self._ray.put(client_app)
        self._failed_starts = 0
        self._queue: deque[_Job] = deque()
        self._busy: dict[Any, _Job] = {}
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        for _ in range(min(places, num_nodes)):
            self._start_worker()

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Hand the messages to the workers; further ones wait for a worker to be free."""
        messages = list(messages)
        shared = {id(message.content): message.content for message in messages}
        references = {key: self._ray.put(content) for key, content in shared.items()}
        for message in messages:
            self._stamp.mark(message)
            node = message.metadata.dst_node_id
            if node in self.contexts:
                self._queue.append(_Job(message, references[id(message.content)]))
            else:
                known = f"1 … {len(self.contexts)}"
                self._answer(message, Error(NODE_UNAVAILABLE, f"no node {node}: {known}"))
        self._advance(0)
        return [message.metadata.message_id for message in messages]

    def pull_messages(  # type: ignore[override, unused-ignore]  # as of Flower 1.43
        self,
        reply_to_message_ids: Iterable[str] | None = None,
        *,
        message_ids: Iterable[str] | None = None,
    ) -> list[Message]:
        """Return the replies to these messages (all, by default) that have come in."""
        self._advance(0)
        wanted = ids_to_pull(reply_to_message_ids, message_ids)
        return super().pull_messages(wanted)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Have the messages executed and return the replies in the order of the node ids."""
        sent = self.push_messages(messages)
        waiting = {key for key in sent if key not in self._replies}
        while waiting:
            self._advance(_LONGEST_WAIT if timeout is None else self._left(timeout))
            if timeout is not None:
                waiting -= self._give_up(waiting, timeout)
            waiting = {key for key in waiting if key not in self._replies}
        return super().pull_messages(sent)

    @property
    def _nodes(self) -> None:
        """Nothing: clients run in other processes, which share it through files."""

    def close(self) -> None:
        """End all workers, busy ones included."""
        jobs = [job.worker for job in self._busy.values()]
        for worker in [*jobs, *self._starting.values(), *self._idle]:
            self._ray.kill(worker)
        self._busy, self._starting, self._idle = {}, {}, []

    def _start_worker(self) -> None:
        worker: Any = self._worker_type.remote(
            self._app_reference, self.run_id, self._client_threads
        )
        self._starting[worker.ready.remote()] = worker

    def _advance(self, seconds: float) -> None:
        """Wait so long for one thing to happen, take what has happened, hand out messages."""
        self._dispatch()
        pending = [*self._busy, *self._starting]
        if not pending:
            return
        done, _ = self._ray.wait(pending, num_returns=1, timeout=seconds)
        if done:  # and whatever else is done by now
            done, _ = self._ray.wait(pending, num_returns=len(pending), timeout=0)
        for reference in done:
            if reference in self._starting:
                self._take_worker(reference)
            else:
                self._take_reply(reference)
        self._dispatch()

    def _dispatch(self) -> None:
        waiting: list[_Job] = []
        # A node's context must be back before its next message.
        taken = {job.node for job in self._busy.values()}
        while self._queue and self._idle:
            job = self._queue.popleft()
            if job.node in taken:
                waiting.append(job)
                continue
            taken.add(job.node)
            job.worker, job.began = self._idle.pop(), time.monotonic()
            bare = duplicate(job.message, RecordDict())
            reference = job.worker.run.remote(bare, job.content, self.contexts[job.node])
            self._busy[reference] = job
        self._queue.extendleft(reversed(waiting))

    def _take_worker(self, reference: Any) -> None:
        worker = self._starting.pop(reference)
        try:
            self._ray.get(reference)
        except Exception as error:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_FAILED_STARTS:
                message = f"a client's process cannot load the client: {_root(error)}"
                raise RayEngineError(message) from error
            self._start_worker()
        else:
            self._failed_starts = 0
            self._idle.append(worker)

    def _take_reply(self, reference: Any) -> None:
        job = self._busy.pop(reference)
        try:
            content, error, state = self._ray.get(reference)
        except self._ray.exceptions.RayActorError:
            _log.warning("the process of node %d's client died; a new one takes over", job.node)
            self._answer(job.message, Error(CLIENT_CRASHED, "the client's process died"))
            self._start_worker()
            return
        except Exception as failure:  # a reply that cannot be pickled, or not be unpickled
            error, content = Error(CLIENT_CRASHED, f"no reply came back: {_root(failure)}"), None
        else:
            self.contexts[job.node].state = state
        self._idle.append(job.worker)
        self._answer(job.message, content if error is None else error)

    def _answer(self, message: Message, answer: RecordDict | Error) -> None:
        # Bound to the message that was sent, whatever the client did to the metadata.
        reply = Message(answer, reply_to=message)
        self._failures.note(reply)
        self._store(message, reply)

    def _left(self, timeout: float) -> float:
        """Return how long to wait until the next worker is too late."""
        ends = [job.began + timeout for job in self._busy.values()]
        left = min(ends, default=float("inf")) - time.monotonic()
        return min(max(left, 0.0), _LONGEST_WAIT)

    def _give_up(self, waiting: set[str], timeout: float) -> set[str]:
        """End the workers that are too late; return the messages they were at."""
        now = time.monotonic()
        late = {
            reference: job
            for reference, job in self._busy.items()
            if job.message.metadata.message_id in waiting and now >= job.began + timeout
        }
        for reference, job in late.items():
            del self._busy[reference]
            warn_of_timeout(job.node, timeout)
            self._ray.kill(job.worker)
            self._start_worker()
        return {job.message.metadata.message_id for job in late.values()}


@dataclass
class _Job:
    """A message to a node, the reference to its content, and who works on it since when."""

    message: Message
    content: Any
    worker: Any = None
    began: float = 0.0

    @property
    def node(self) -> int:
        return self.message.metadata.dst_node_id


class _Worker:
    """What runs in a worker process: the client app, loaded once."""

    def __init__(self, client_app: Client, run_id: int, client_threads: int | None) -> None:
        assume_identity(run_id)
        if client_threads is not None:
            torch.set_num_threads(client_threads)
        self._client_app = client_app

    def ready(self) -> None:
        """Return when the app is loaded."""

    def run(
        self, message: Message, content: RecordDict, context: Context
    ) -> tuple[RecordDict | None, Error | None, RecordDict]:
        """Return the reply's content or error, and the node's state."""
        message.content = content
        reply = execute(self._client_app, message, context)
        error = copy(reply.error) if reply.has_error() else None
        return None if error else reply.content, error, context.state


@overload
def run_on_ray(
    server: ServerApp,
    client_app: Client,
    num_nodes: int,
    *,
    run_config: Mapping[str, Any] | None = None,
    client_threads: int | None = None,
    num_cpus: float = 1,
    num_gpus: float = 0.0,
    ray_init: Mapping[str, Any] | None = None,
) -> Context: ...
@overload
def run_on_ray(
    server: Callable[[Grid, Context], T],
    client_app: Client,
    num_nodes: int,
    *,
    run_config: Mapping[str, Any] | None = None,
    client_threads: int | None = None,
    num_cpus: float = 1,
    num_gpus: float = 0.0,
    ray_init: Mapping[str, Any] | None = None,
) -> T: ...
def run_on_ray(
    server: Server,
    client_app: Client,
    num_nodes: int,
    *,
    run_config: Mapping[str, Any] | None = None,
    client_threads: int | None = None,
    num_cpus: float = 1,
    num_gpus: float = 0.0,
    ray_init: Mapping[str, Any] | None = None,
) -> Any:
    """Run a server app and a client app to their end, the clients in Ray worker processes.

    It starts Ray, calls the server in this thread with a `RayGrid`, and shuts Ray down. Nodes are
    numbered 1 … n in partition order, as in the in-process engine.

    Parameters
    ----------
    server : ServerApp or callable
        Flower's `ServerApp`, or a plain function ``(grid, context) -> anything``.
    client_app : ClientApp or callable
        App that every node runs, or a plain function ``(message, context) -> reply``; it travels
        by cloudpickle.
    num_nodes : int
        Number of nodes n ≥ 1.
    run_config : Mapping[str, object], optional
        Configuration that server and clients see as ``context.run_config``.
    client_threads : int, optional
        CPU threads of one client's computation, see `InProcessGrid`; Ray's choice by default.
    num_cpus : float
        CPUs each client occupies, > 0; ⌊CPUs / num_cpus⌋ clients run at a time.
    num_gpus : float
        GPUs, or share of one, each client occupies.
    ray_init : Mapping[str, object], optional
        Arguments of ``ray.init``: ``{"address": "auto"}`` joins a cluster (whose machines need this
        package), ``{"num_cpus": 4}`` limits a local one.

    Returns
    -------
    Any
        What the function returned; for a `ServerApp`, the server's context, whose ``state`` holds
        what the app stored there.

    Raises
    ------
    ImportError
        If Ray is not installed.
    ValueError
        If `num_nodes` < 1, `num_cpus` ≤ 0 or `num_gpus` < 0.
    RayEngineError
        If Ray is already running in this process, or fails.
    BaseException
        Whatever the server raises.
    """
    _check(num_nodes, num_cpus, num_gpus)
    with ray_running(ray_init or {}):
        grid = RayGrid(
            client_app,
            num_nodes,
            run_config=run_config,
            client_threads=client_threads,
            num_cpus=num_cpus,
            num_gpus=num_gpus,
        )
        context = Context(grid.run_id, 0, {}, RecordDict(), dict(run_config or {}))
        try:
            return call_server(server, grid, context)
        finally:
            grid.close()


@contextmanager
def ray_running(options: Mapping[str, Any]) -> Iterator[None]:
    """Start Ray, or join a cluster, with ``ray.init(**options)``; shut it down after the block.

    Its workers import what this process can; this process keeps its answer to SIGTERM.

    Raises
    ------
    RayEngineError
        If Ray is already running in this process, or does not start.
    """
    with _worker_environment(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"ray(\.|$)")
        import ray  # noqa: PLC0415  # a heavy import, for this engine alone

        if ray.is_initialized():
            raise RayEngineError("Ray is already running in this process")
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": ERROR}
        with _signals_kept():
            try:
                ray.init(**{**quiet, **options})
            except Exception as failure:
                raise RayEngineError(f"Ray does not start: {_root(failure)}") from failure
        try:
            yield
        finally:
            with _signals_kept():
                ray.shutdown()


@contextmanager
def _worker_environment() -> Iterator[None]:
    """Let Ray's workers import what this process can, send no usage reports, restore it all."""
    # A source checkout need not be installed: workers find it where this process found it.
    root = str(Path(byzflower.__file__).resolve().parent.parent)
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = dict.fromkeys(filter(None, [root, *sys.path, *inherited]))
    settings = {
        "PYTHONPATH": os.pathsep.join(paths),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Put back this process's answer to SIGTERM, which Ray takes over."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    answer = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, answer)


def places_of(node: Mapping[str, Any], num_cpus: float, num_gpus: float) -> int:
    """Return how many clients a node of Ray holds at a time."""
    found = node["Resources"]
    places = found.get("CPU", 0.0) / num_cpus
    return int(min(places, found.get("GPU", 0.0) / num_gpus) if num_gpus else places)


def _check(num_nodes: int, num_cpus: float, num_gpus: float) -> None:
    if num_nodes < 1:
        raise ValueError(f"`num_nodes` needs a value ≥ 1; found {num_nodes}")
    if not num_cpus > 0:
        raise ValueError(f"`num_cpus` needs a value > 0; found {num_cpus}")
    if not num_gpus >= 0:
        raise ValueError(f"`num_gpus` needs a value ≥ 0; found {num_gpus}")
    if find_spec("ray") is None:
        raise ImportError('the `ray` engine needs Ray: pip install "byzflower[simulation]"')


def _root(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"
