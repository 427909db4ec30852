"""Run a server app and a client app on Flower's own Ray-backed simulation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, TypeVar, overload

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from byzflower.simulations.engines.execution import Client
from byzflower.simulations.engines.numbering import NumberedGrid
from byzflower.simulations.engines.quiet import quiet, worker_environment
from byzflower.simulations.engines.server import Server, call_server
from byzflower.simulations.engines.shipping import PARTITION_QUERY, ShippedApp
from byzflower.wire.flower_internals import disable_telemetry, ending_busy_clients

__all__ = ["RayEngineError", "run_on_ray"]

T = TypeVar("T")


class RayEngineError(RuntimeError):
    """Ray, or Flower's simulation on top of it, failed; the cause is chained."""


@overload
def run_on_ray(
    server: ServerApp,
    client_app: Client,
    num_nodes: int,
    *,
    run_config: Mapping[str, Any] | None = None,
    num_cpus: float = 1,
    num_gpus: float = 0.0,
    ray_init: Mapping[str, Any] | None = None,
    pull_interval: float = 0.01,
) -> Context: ...
@overload
def run_on_ray(
    server: Callable[[Grid, Context], T],
    client_app: Client,
    num_nodes: int,
    *,
    run_config: Mapping[str, Any] | None = None,
    num_cpus: float = 1,
    num_gpus: float = 0.0,
    ray_init: Mapping[str, Any] | None = None,
    pull_interval: float = 0.01,
) -> T: ...
def run_on_ray(
    server: Server,
    client_app: Client,
    num_nodes: int,
    *,
    run_config: Mapping[str, Any] | None = None,
    num_cpus: float = 1,
    num_gpus: float = 0.0,
    ray_init: Mapping[str, Any] | None = None,
    pull_interval: float = 0.01,
) -> Any:
    """Run a server app and a client app to their end, the clients in Ray worker processes.

    It starts Ray, waits until all nodes are registered, runs the server in a thread of this
    process, and shuts Ray down. Nodes are numbered 1 … n in partition order, as in the in-process
    engine. A worker process loads the client app once and keeps it.

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
    num_cpus : float
        CPUs each client occupies, > 0; ⌊CPUs / num_cpus⌋ clients run at a time.
    num_gpus : float
        GPUs, or share of one, each client occupies.
    ray_init : Mapping[str, object], optional
        Arguments of ``ray.init``, as JSON values: ``{"address": "auto"}`` joins a cluster (whose
        machines need this package), ``{"num_cpus": 4}`` limits a local one.
    pull_interval : float
        Seconds between two looks for replies.

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
    stopped = threading.Event()
    run = _ServerRun(server, num_nodes, dict(run_config or {}), stopped, pull_interval)
    backend = {
        "client_resources": {"num_cpus": num_cpus, "num_gpus": num_gpus},
        "init_args": {"log_to_driver": False, **(ray_init or {})},
    }
    _refuse_running_ray()
    disable_telemetry()
    with worker_environment(), quiet(), ending_busy_clients():
        try:
            _simulate(run.app(), ShippedApp(client_app, run_config), num_nodes, backend)
        except Exception as failure:
            raise RayEngineError(f"the Ray simulation failed: {_root(failure)}") from failure
        finally:
            stopped.set()
            run.join()
            _shut_down()
    return run.result()


class _ServerRun:
    """The server's side: Flower runs it in a thread and drops what it returns."""

    def __init__(
        self,
        server: Server,
        num_nodes: int,
        run_config: dict[str, Any],
        stopped: threading.Event,
        pull_interval: float,
    ) -> None:
        self._server = server
        self._num_nodes = num_nodes
        self._run_config = run_config
        self._stopped = stopped
        self._pull_interval = pull_interval
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._outcome: list[Any] = []

    def app(self) -> ServerApp:
        """Return the app to hand to Flower; it never raises."""
        app = ServerApp()
        app.main()(self._main)
        return app

    def join(self) -> None:
        """Wait for the server; it cannot wait for replies once the engine has stopped."""
        if self._thread is not None:
            self._thread.join()

    def result(self) -> Any:
        """Return what the server returned, or raise what it raised."""
        if self._error is not None:
            raise self._error
        if not self._outcome:
            raise RayEngineError("the Ray simulation ended before the server app had started")
        return self._outcome[0]

    def _main(self, grid: Grid, context: Context) -> None:
        self._thread = threading.current_thread()
        context.run_config = self._run_config
        try:
            numbered = NumberedGrid(
                grid,
                self._num_nodes,
                self._stopped,
                query=PARTITION_QUERY,
                pull_interval=self._pull_interval,
            )
            self._outcome.append(call_server(self._server, numbered, context))
        except BaseException as error:
            self._error = error


def _simulate(
    server_app: ServerApp, client_app: ShippedApp, num_nodes: int, backend: dict[str, Any]
) -> None:
    from flwr.simulation import run_simulation  # noqa: PLC0415  # imports Ray

    run_simulation(
        server_app=server_app,
        client_app=client_app,  # type: ignore[arg-type]  # Flower only ever calls it
        num_supernodes=num_nodes,
        backend_config=backend,
    )


def _check(num_nodes: int, num_cpus: float, num_gpus: float) -> None:
    if num_nodes < 1:
        raise ValueError(f"`num_nodes` needs a value ≥ 1; found {num_nodes}")
    if not num_cpus > 0:
        raise ValueError(f"`num_cpus` needs a value > 0; found {num_cpus}")
    if not num_gpus >= 0:
        raise ValueError(f"`num_gpus` needs a value ≥ 0; found {num_gpus}")
    if find_spec("ray") is None:
        raise ImportError('the `ray` engine needs Ray: pip install "byzflower[simulation]"')


def _refuse_running_ray() -> None:
    import ray  # noqa: PLC0415  # a heavy import, for this engine alone

    if ray.is_initialized():
        raise RayEngineError(
            "Ray is already running in this process, and Flower's simulation would shut it down"
        )


def _shut_down() -> None:
    import ray  # noqa: PLC0415

    ray.shutdown()


def _root(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"
