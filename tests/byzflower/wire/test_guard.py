"""What a malicious node uploads, on a grid that inflates it as Flower's do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

from byzflower.clients.adversary import Adversary
from byzflower.simulations.engines import InProcessGrid
from byzflower.strategies import Robust
from byzflower.strategies.rejections import Reason
from byzflower.wire.flower_internals import Allowance, Stamp, assume_identity
from byzflower.wire.grid import ForwardingGrid
from byzflower.wire.guard import BROKEN_REPLY, GuardedGrid, guarded

Upload = Callable[[Message, "UploadGrid"], Any]


class UploadGrid(Grid):
    """Nodes 1 … n; `uploads[node]` makes, or raises, what inflating the node's reply gives."""

    __module__ = "flwr.imagined"  # for `guarded`, one of Flower's own
    pull_interval = 0.01

    def __init__(self, uploads: dict[int, Upload]) -> None:
        assume_identity(1)
        self.uploads = uploads
        self.sent: dict[str, Message] = {}
        self.broken = False
        self._stamp = Stamp(1)

    run = None

    def set_run(self, run: Any) -> None:
        raise NotImplementedError

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> list[int]:
        if self.broken:
            raise ConnectionError("the SuperLink is gone")
        return list(self.uploads)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        messages = list(messages)
        for message in messages:
            self._stamp.mark(message)
            self.sent[message.metadata.message_id] = message
        return [message.metadata.message_id for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        replies = []
        for key in message_ids:
            message = self.sent[key]
            reply = self.uploads[message.metadata.dst_node_id](message, self)
            replies.extend(reply if isinstance(reply, list) else [reply])
        return replies

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        return self.pull_messages(self.push_messages(messages))


def model(value: float = 0.0) -> ArrayRecord:
    return ArrayRecord({"w": Array(np.full(3, value, np.float32))})


def honest(message: Message, grid: UploadGrid) -> Message:
    metrics = MetricRecord({"num-examples": 1})
    arrays = model(message.metadata.dst_node_id / 10)
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


def raising(error: Exception) -> Upload:
    def upload(message: Message, grid: UploadGrid) -> Message:
        raise error

    return upload


def framing(message: Message, grid: UploadGrid) -> Message:
    """Answer in the place of node 1: its id as the source, the message to it as answered."""
    victim = next(m for m in reversed(grid.sent.values()) if m.metadata.dst_node_id == 1)
    reply = Message(RecordDict({"bad": MetricRecord({"a": 1})}), reply_to=victim)
    assert reply.metadata.src_node_id == 1
    return reply


def anonymous(message: Message, grid: UploadGrid) -> Message:
    reply = framing(message, grid)
    reply.metadata.__dict__["_reply_to_message_id"] = ""
    return reply


def train_messages(grid: Grid) -> list[Message]:
    return [Message(RecordDict(), node, "train") for node in grid.get_node_ids()]


BROKEN = {
    "broken JSON": raising(ValueError("Expecting value: line 1 column 1 (char 0)")),
    "wrong oneof": raising(KeyError("content")),
    "deep nesting": raising(RecursionError("maximum recursion depth exceeded")),
    "records instead of a message": lambda message, grid: RecordDict(),
    "nothing": lambda message, grid: None,
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_cannot_be_inflated_is_an_error_of_the_node_that_was_asked(kind):
    grid = GuardedGrid(UploadGrid({1: honest, 2: BROKEN[kind], 3: honest}))
    messages = train_messages(grid)
    replies = {r.metadata.reply_to_message_id: r for r in grid.send_and_receive(messages)}
    by_node = [replies[message.metadata.message_id] for message in messages]
    assert [reply.has_error() for reply in by_node] == [False, True, False]
    assert by_node[1].error.code == BROKEN_REPLY
    assert by_node[1].metadata.src_node_id == 2


@pytest.mark.parametrize("upload", [framing, anonymous])
def test_a_reply_is_the_addressee_s_whatever_it_says(upload):
    grid = GuardedGrid(UploadGrid({1: honest, 2: upload}))
    messages = train_messages(grid)
    first, second = grid.send_and_receive(messages)
    assert "arrays" in first.content
    assert "bad" in second.content
    assert second.metadata.src_node_id == 2
    assert second.metadata.reply_to_message_id == messages[1].metadata.message_id


def test_a_failing_connection_still_raises():
    def cut(message: Message, grid: UploadGrid) -> Message:
        grid.broken = True
        raise ConnectionError("connection reset")

    inner = UploadGrid({1: honest, 2: cut})
    grid = GuardedGrid(inner)
    messages = train_messages(grid)
    with pytest.raises(ConnectionError, match="connection reset"):
        grid.send_and_receive(messages)


def test_an_error_of_the_connection_proves_nothing_about_the_node():
    grid = GuardedGrid(UploadGrid({1: raising(ConnectionError("reset")), 2: honest}))
    first, second = grid.send_and_receive(train_messages(grid))
    assert first.has_error()
    assert first.error.code != BROKEN_REPLY
    assert second.has_content()


def test_a_reply_that_is_never_uploaded_holds_nobody_up():
    released = threading.Event()

    def announced(message: Message, grid: UploadGrid) -> Any:
        assert released.wait(60)
        return []

    grid = GuardedGrid(UploadGrid({1: announced, 2: honest, 3: honest}))
    try:
        replies = grid.send_and_receive(train_messages(grid), timeout=1.5)
    finally:
        released.set()
    assert {r.metadata.src_node_id: r.has_error() for r in replies} == {1: True, 2: False, 3: False}
    assert "not complete in time" in next(r.error.reason for r in replies if r.has_error())


def test_a_node_that_is_slow_is_asked_again():
    calls = []

    def slow(message: Message, grid: UploadGrid) -> Any:
        calls.append(1)
        return [] if len(calls) < 3 else honest(message, grid)

    grid = GuardedGrid(UploadGrid({1: slow}))
    assert grid.send_and_receive(train_messages(grid))[0].has_content()
    assert len(calls) == 3


def test_a_silent_node_is_missing_at_the_timeout():
    grid = GuardedGrid(UploadGrid({1: lambda message, grid: [], 2: honest}))
    replies = grid.send_and_receive(train_messages(grid), timeout=0.2)
    assert [reply.metadata.src_node_id for reply in replies] == [2]


def amplified(times: int, size: int) -> tuple[bytes, dict[str, Any]]:
    """Return an array's bytes that name one chunk many times, and the chunk."""
    array = Array("uint8", (size,), "numpy.ndarray", bytes(size))
    chunk = array.slice_array()[0]
    array.__dict__["_chunks"] = [chunk] * times
    return array.deflate(), dict([chunk])


def test_a_chunk_named_often_is_refused_before_it_is_joined():
    content, children = amplified(times=500, size=1 << 20)
    GuardedGrid(UploadGrid({}))
    with Allowance(1 << 20), pytest.raises(ValueError, match="at most 1048576 bytes; found 5242"):
        Array.inflate(content, children)
    assert len(Array.inflate(content, children).data) == 500 << 20  # unguarded, as ever


def test_what_a_reply_inflates_adds_up_over_its_arrays():
    content, children = amplified(times=2, size=100)
    GuardedGrid(UploadGrid({}))
    with Allowance(500):
        Array.inflate(content, children)
        Array.inflate(content, children)
        with pytest.raises(ValueError, match="found 600 in its arrays"):
            Array.inflate(content, children)


def test_the_allowance_follows_the_model_that_was_sent():
    content, children = amplified(times=65, size=1 << 20)

    def upload(message: Message, grid: UploadGrid) -> Message:
        array = Array.inflate(content, children)
        return Message(RecordDict({"arrays": ArrayRecord({"w": array})}), reply_to=message)

    grid = GuardedGrid(UploadGrid({1: upload}))
    for megabytes, fails in ((0, True), (16, True), (17, False)):
        sent = ArrayRecord({"w": Array(np.zeros(megabytes << 20, np.uint8))})
        message = Message(RecordDict({"arrays": sent}), 1, "train")
        assert grid.send_and_receive([message])[0].has_error() is fails


@pytest.mark.parametrize(("argument", "value"), [("max_reply_bytes", 0), ("pull_interval", 0.0)])
def test_limits_are_positive(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` needs a value"):
        GuardedGrid(UploadGrid({}), **{argument: value})


def test_flower_s_grid_is_guarded_inside_an_adversary_and_put_back():
    inner = UploadGrid({1: honest, 2: honest})
    grid = Adversary(ForwardingGrid(inner), "sign_flip", nodes={2})
    with guarded(grid) as safe:
        assert safe is grid
        assert isinstance(grid.inner.inner, GuardedGrid)
        with guarded(grid):  # already
            assert grid.inner.inner.inner is inner
    assert grid.inner.inner is inner
    with guarded(inner) as safe:
        assert isinstance(safe, GuardedGrid)


def test_a_grid_in_process_is_left_alone():
    grid = InProcessGrid(ClientApp(), 2)
    with guarded(grid) as safe:
        assert safe is grid


@pytest.mark.parametrize("upload", [framing, anonymous, *BROKEN.values()])
def test_a_run_under_attack_costs_no_honest_node_a_round_or_an_offence(upload):
    grid = UploadGrid(dict.fromkeys(range(1, 5), honest) | {5: upload})
    strategy = Robust(FedAvg(fraction_evaluate=0.0), "median", 1, quarantine_after=2)
    result = strategy.start(grid, model(), num_rounds=4, timeout=60)
    assert not result.stopped
    assert not any(record.skipped for record in strategy.history)
    for node in range(1, 5):
        assert strategy.conduct[node].accepted == 4
        assert strategy.conduct[node].offences == 0
    assert strategy.conduct[5].accepted == 0
    assert strategy.conduct[5].offences >= 2


def test_two_contents_under_one_id_cost_nobody_an_offence():
    def twice(message: Message, grid: UploadGrid) -> list[Message]:
        return [honest(message, grid), Message(Error(0, "other"), reply_to=message)]

    grid = UploadGrid(dict.fromkeys(range(1, 5), honest) | {5: twice})
    strategy = Robust(FedAvg(fraction_evaluate=0.0), "median", 1)
    strategy.start(grid, model(), num_rounds=2, timeout=60)
    assert strategy.conduct[5].rejections == {Reason.DUPLICATE: 2}
    assert [strategy.conduct[node].offences for node in range(1, 6)] == [0] * 5
