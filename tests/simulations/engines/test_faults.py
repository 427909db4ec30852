"""A client that fails in any way costs its node the reply, and the others nothing."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from flwr.app import Error, Message, MetricRecord, RecordDict

from byzflower.simulations.engines import BatchedGrid, run_in_process, run_on_ray

N = 4
BAD = 2


def client(message, context):
    """Node 2 does what its message asks for; the others answer how often they were asked."""
    bad = context.node_id == BAD
    kind = message.metadata.message_type.partition(".")[2]
    if bad and kind == "raises":
        raise ValueError("it hurts")
    if bad and kind == "exits":
        raise SystemExit(3)
    if bad and kind == "returns_nothing":
        return None
    if bad and kind == "forges":
        reply = Message(RecordDict(), reply_to=message)
        reply.metadata.__dict__.update(_reply_to_message_id="another", _src_node_id=1)
        return reply
    if bad and kind == "late":
        time.sleep(1.1)  # the fault: more than the timeout of 1 s
    if bad and kind == "sleeps":
        threading.Event().wait()
    if bad and kind == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if bad and kind == "unpicklable":
        return Message(RecordDict({"metrics": Stubborn({"calls": 0})}), reply_to=message)
    counter = context.state.setdefault("counter", MetricRecord({"calls": 0}))
    counter["calls"] += 1
    metrics = MetricRecord({"calls": counter["calls"]})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


class Stubborn(MetricRecord):
    def __reduce__(self):
        raise TypeError("no pickle of this")


EVERYWHERE = {
    "raises": "ValueError: it hurts",
    "exits": "SystemExit: 3",
    "returns_nothing": "TypeError: the ClientApp returned NoneType, not a Message",
    "forges": "",
    "late": None,
}
ON_RAY = {
    "sleeps": None,
    "dies": "the client's process died",
    "unpicklable": "no reply came back",
}


def conduct(kinds: list[str]) -> Any:
    def server(grid, context):
        rounds = []
        for kind in kinds:
            timeout = 1.0 if kind in {"late", "sleeps"} else None
            messages = [Message(RecordDict(), node, f"query.{kind}") for node in range(1, N + 1)]
            replies = grid.send_and_receive(messages, timeout=timeout)
            sent = {m.metadata.message_id: m.metadata.dst_node_id for m in messages}
            rounds.append({sent[r.metadata.reply_to_message_id]: r for r in replies})
            assert [r.metadata.src_node_id for r in replies] == sorted(rounds[-1])
        return rounds

    return server


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def rounds_on(engine: Any, kinds: list[str], **options: Any) -> tuple[list[Any], list[str]]:
    handler, logger = Lines(), logging.getLogger("byzflower")
    logger.addHandler(handler)
    try:
        return engine(conduct(kinds), client, N, **options), handler.lines
    finally:
        logger.removeHandler(handler)


def check(kinds: list[str], rounds: list[dict[int, Message]], lines: list[str]) -> None:
    for number, (kind, replies) in enumerate(zip(kinds, rounds, strict=True), 1):
        reason = {**EVERYWHERE, **ON_RAY}[kind]
        for node in {1, 2, 3, 4} - {BAD}:
            assert replies[node].content["metrics"]["calls"] == number, kind
        if reason is None:
            assert BAD not in replies, kind
            assert any("node 2 is too late" in line for line in lines)
        elif reason:
            assert isinstance(replies[BAD].error, Error)
            assert replies[BAD].error.reason.startswith(reason), kind
        else:
            assert replies[BAD].has_content()


@pytest.mark.parametrize("options", [{}, {"grid_type": BatchedGrid}], ids=["single", "batched"])
def test_in_process(options):
    kinds = list(EVERYWHERE)
    rounds, lines = rounds_on(run_in_process, kinds, **options)
    check(kinds, rounds, lines)
    assert sum("Traceback" in line for line in lines) == 3


def test_in_process_a_client_that_never_returns_is_left_behind():
    rounds, lines = rounds_on(run_in_process, ["sleeps", "asked_again"])
    assert sorted(rounds[0]) == [1, 3, 4]
    assert any("node 2 is too late" in line for line in lines)
    again = rounds[1]
    assert again[BAD].error.reason == "its client has not come back from an earlier message"
    assert [again[node].content["metrics"]["calls"] for node in (1, 3, 4)] == [2, 2, 2]


def test_in_process_a_client_that_came_back_is_asked_again():
    released, came_back = threading.Event(), threading.Event()

    def slow(message, context):
        if message.metadata.message_type == "query.slow":
            released.wait()
            came_back.set()
        return Message(RecordDict(), reply_to=message)

    def server(grid, context):
        def asked(kind):
            messages = [Message(RecordDict(), 1, f"query.{kind}")]
            return grid.send_and_receive(messages, timeout=30.0 if kind == "again" else 0.01)

        assert asked("slow") == []
        released.set()
        came_back.wait()
        # Its thread hands the answer over after that.
        while (replies := asked("again"))[0].has_error():
            pass
        return replies

    (reply,) = run_in_process(server, slow, 1)
    assert reply.has_content()


def test_a_client_that_never_returns_holds_up_no_end_of_the_process():
    script = """
import threading
from flwr.app import Message, RecordDict
from byzflower.simulations.engines import run_in_process

def server(grid, context):
    return grid.send_and_receive([Message(RecordDict(), 1, "query")], timeout=0.1)

print(run_in_process(server, lambda message, context: threading.Event().wait(), 1))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "[]\n"


def test_in_process_ctrl_c_in_a_client_ends_the_run():
    def interrupted(message, context):
        raise KeyboardInterrupt

    def server(grid, context):
        return grid.send_and_receive([Message(RecordDict(), 1, "query")], timeout=60)

    with pytest.raises(KeyboardInterrupt):
        run_in_process(server, interrupted, 1)


@pytest.mark.ray
@pytest.mark.parametrize("workers", [1, 2])
def test_on_ray(workers, tolerating_ray):
    kinds = [*EVERYWHERE, *ON_RAY, *EVERYWHERE]
    with tolerating_ray():
        rounds, lines = rounds_on(run_on_ray, kinds, ray_init={"num_cpus": workers})
    check(kinds, rounds, lines)
    assert any("process of node 2's client died" in line for line in lines)


def test_a_client_that_exits_ends_no_run_of_flower_s_own_loop(make_run):
    accepted = make_run()
    assert accepted == {1: 2, 2: 0, 3: 2, 4: 2}


@pytest.fixture
def make_run():
    import numpy as np
    from flwr.app import Array, ArrayRecord
    from flwr.serverapp.strategy import FedAvg

    from byzflower.strategies import Robust

    def leaving(message, context):
        if context.node_id == BAD:
            raise SystemExit
        arrays = ArrayRecord({"w": Array(np.ones(2, np.float32))})
        metrics = MetricRecord({"num-examples": 1})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    def run():
        strategy = Robust(FedAvg(fraction_evaluate=0.0), "median", 1)
        initial = ArrayRecord({"w": Array(np.zeros(2, np.float32))})
        run_in_process(lambda grid, context: strategy.start(grid, initial, 2), leaving, N)
        return {node: strategy.conduct[node].accepted for node in range(1, N + 1)}

    return run
