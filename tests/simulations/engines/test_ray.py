"""One start of Ray serves all quick tests: it takes longer than everything else together."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import Message, MetricRecord, RecordDict
from torch import nn

import byzflower
from byzflower.clients.adversary import Adversary
from byzflower.clients.algorithms import Momentum, Objective
from byzflower.clients.app import make_client_app
from byzflower.clients.task import ClientTask
from byzflower.simulations.engines import partition_ids, run_in_process, run_on_ray
from byzflower.strategies import Robust, ServerSGD
from byzflower.wire.arrays import to_record, to_tensor

pytest.importorskip("ray")

N, F, ROUNDS = 5, 1, 20


@dataclass
class Run:
    """What one engine's server saw, and how its run ended."""

    partitions: dict[int, int] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    models: list[dict[str, torch.Tensor]] = field(default_factory=list)
    failures: list[Message] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    thread: threading.Thread | None = None
    error: BaseException | None = None
    logged: list[str] = field(default_factory=list)


def client_app():
    """Momentum clients on data of their own; closures, so that they pickle by value."""

    def load(context):
        partition = context.node_config["partition-id"]
        generator = torch.Generator().manual_seed(partition)
        x = torch.randn(40, 6, generator=generator)
        y = torch.randint(3, (40,), generator=generator)
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.BatchNorm1d(8), nn.Linear(8, 3))
        return ClientTask(Objective(model), x, y, partition_id=partition, batch_size=8, seed=3)

    honest = make_client_app(load, Momentum(beta=0.9))
    calls = []

    def client(message, context):
        if message.metadata.message_type == "query.fail":
            raise ValueError(f"client of partition {context.node_config['partition-id']}")
        if message.metadata.message_type == "query.calls":
            calls.append(1)
            metrics = MetricRecord({"calls": len(calls)})
            return Message(RecordDict({"metrics": metrics}), reply_to=message)
        return honest(message, context)

    return client


def make_server(run: Run):
    def server(grid, context):
        run.thread = threading.current_thread()
        run.config = dict(context.run_config)
        run.partitions = partition_ids(grid)
        nodes = sorted(grid.get_node_ids())
        run.failures = grid.send_and_receive(
            [Message(RecordDict(), node, "query.fail") for node in nodes]
        )
        for _ in range(3):
            messages = [Message(RecordDict(), nodes[0], "query.calls")]
            (reply,) = grid.send_and_receive(messages)
            run.calls.append(reply.content["metrics"]["calls"])

        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.BatchNorm1d(8), nn.Linear(8, 3))
        strategy = Robust(
            ServerSGD(0.5, fraction_evaluate=0.0, min_train_nodes=N, min_available_nodes=N),
            "nnm > trimmed_mean",
            num_malicious_nodes=F,
            payload="gradient",
        )
        adversary = Adversary(grid, "foe(tau=5)", nodes[-F:], payload="gradient")

        def keep(server_round, arrays):
            run.models.append({name: to_tensor(array) for name, array in arrays.items()})

        strategy.start(adversary, to_record(model.state_dict()), ROUNDS, evaluate_fn=keep)
        raise KeyError("the server crashed")

    return server


class _Collect(logging.Handler):
    def __init__(self, into: list[str]) -> None:
        super().__init__()
        self.into = into

    def emit(self, record: logging.LogRecord) -> None:
        self.into.append(record.getMessage())


def conduct(engine, **options) -> Run:
    run = Run()
    handler = _Collect(run.logged)
    loggers = [logging.getLogger("flwr"), logging.getLogger("byzflower")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        engine(make_server(run), client_app(), N, run_config={"rounds": ROUNDS}, **options)
    except Exception as error:
        run.error = error
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    return run


@pytest.fixture(scope="module")
def in_process() -> Run:
    return conduct(run_in_process)


@pytest.fixture(scope="module")
def on_ray(tolerating_ray) -> Run:
    with tolerating_ray():
        return conduct(run_on_ray, ray_init={"num_cpus": 2})


@pytest.mark.ray
def test_same_experiment_same_model_every_round(in_process, on_ray):
    assert len(on_ray.models) == len(in_process.models) == ROUNDS + 1
    for ours, theirs in zip(in_process.models, on_ray.models, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            torch.testing.assert_close(theirs[name], value, rtol=0, atol=1e-5)
    first, last = in_process.models[0], in_process.models[-1]
    assert not torch.allclose(first["0.weight"], last["0.weight"], atol=0.05)


@pytest.mark.ray
def test_nodes_and_configuration_are_the_same(in_process, on_ray):
    assert on_ray.partitions == in_process.partitions == {i + 1: i for i in range(N)}
    assert on_ray.config == in_process.config == {"rounds": ROUNDS}


@pytest.mark.ray
def test_a_crashing_server_raises_its_own_error(on_ray):
    assert isinstance(on_ray.error, KeyError)
    assert on_ray.error.args == ("the server crashed",)


@pytest.mark.ray
def test_crashing_clients_give_error_replies(in_process, on_ray):
    reasons = [f"ValueError: client of partition {i}" for i in range(N)]
    for run in (in_process, on_ray):
        assert [reply.error.reason for reply in run.failures] == reasons
        assert sum("Traceback" in line for line in run.logged) == N


@pytest.mark.ray
def test_a_worker_keeps_the_client_app(on_ray):
    # Two workers share the messages; an app unpickled for each message would answer 1 each time.
    assert max(on_ray.calls) > 1


@pytest.mark.ray
def test_nothing_is_left_behind(on_ray):
    import ray

    assert not ray.is_initialized()
    assert on_ray.thread is threading.main_thread()


@pytest.mark.ray
def test_the_machinery_is_silent(on_ray):
    assert not [line for line in on_ray.logged if "deprecated" in line or "Ray" in line]


INTERRUPTED = """
import signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's is ignored
from flwr.app import Message, RecordDict
from byzflower.simulations.engines import run_on_ray

def client(message, context):
    with open(sys.argv[1], "w") as pipe:
        pipe.write("computing")
    threading.Event().wait()

def server(grid, context):
    grid.send_and_receive([Message(RecordDict(), 1, "train")])

run_on_ray(server, client, 1, ray_init={"num_cpus": 1})
"""


@pytest.mark.ray
@pytest.mark.slow
def test_ctrl_c_ends_a_run_whose_clients_are_computing(tmp_path):
    pipe, script = tmp_path / "pipe", tmp_path / "run.py"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR)
    script.write_text(INTERRUPTED.replace("sys.argv[1]", repr(str(pipe))))
    root = str(Path(byzflower.__file__).parent.parent)
    with subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": root},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            computing, _, _ = select.select([reader], [], [], 120)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=120)
        finally:
            process.kill()
    os.close(reader)
    assert computing
    assert process.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"num_nodes": 0}, "`num_nodes` needs a value ≥ 1; found 0"),
        ({"num_nodes": 2, "num_cpus": 0}, "`num_cpus` needs a value > 0; found 0"),
        ({"num_nodes": 2, "num_gpus": -1}, "`num_gpus` needs a value ≥ 0; found -1"),
    ],
)
def test_bad_options(options, error):
    with pytest.raises(ValueError, match=error):
        run_on_ray(lambda grid, context: None, client_app(), **options)
