"""A grid whose nodes answer with whatever a test makes them answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from uuid import uuid4

import numpy as np
import pytest
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.serverapp.strategy import Strategy

from byzflower.testing.rounds import Nodes

try:  # Flower sets these while an app runs; messages cannot be made without
    from flwr.supercore.task_identity import TaskIdentity
except ImportError:  # before 1.38
    TaskIdentity = None

Answer = Callable[[Message], "RecordDict | Error | None"]


class FakeGrid(Nodes):
    """Nodes 101, 102, …; `answers[node]` makes a node's reply, None keeps it silent."""

    def __init__(self, answers: dict[int, Answer]) -> None:
        self.answers = answers

    def get_node_ids(self) -> Iterable[int]:
        return list(self.answers)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        replies = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = str(uuid4())
            content = self.answers[message.metadata.dst_node_id](message)
            if content is not None:
                replies.append(Message(content, reply_to=message))
        return replies


@pytest.fixture(autouse=True)
def _server_process() -> Iterator[None]:
    if TaskIdentity is None:
        yield
        return
    before = (TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id)
    TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id = 1, 1, 1
    yield
    TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id = before


def content(arrays: dict[str, np.ndarray], *, examples: float = 10, **metrics: float) -> RecordDict:
    record = ArrayRecord({key: Array(np.asarray(value)) for key, value in arrays.items()})
    return RecordDict(
        {"arrays": record, "metrics": MetricRecord({"num-examples": examples, **metrics})}
    )


class Round:
    """One round of a strategy: nodes 101, 102, … asked with a model, answers made by hand."""

    def __init__(self, strategy: Strategy, model: dict[str, np.ndarray], nodes: int) -> None:
        self.strategy = strategy
        self.model = model
        self.nodes = [101 + i for i in range(nodes)]
        self.number = 0
        self.asked: list[Message] = []

    def ask(self) -> list[Message]:
        self.number += 1
        grid = FakeGrid({node: lambda _: None for node in self.nodes})
        record = ArrayRecord({k: Array(np.asarray(v)) for k, v in self.model.items()})
        messages = self.strategy.configure_train(self.number, record, ConfigRecord(), grid)
        self.asked = sorted(messages, key=lambda message: message.metadata.dst_node_id)
        for message in self.asked:
            message.metadata.__dict__["_message_id"] = str(uuid4())
        return self.asked

    def replies(self, contents: Sequence[RecordDict | Error | None]) -> list[Message]:
        pairs = zip(self.asked, contents, strict=True)
        return [Message(c, reply_to=message) for message, c in pairs if c is not None]

    def run(
        self, contents: Sequence[RecordDict | Error | None]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        self.ask()
        return self.strategy.aggregate_train(self.number, self.replies(contents))


@pytest.fixture
def make_content() -> Callable[..., RecordDict]:
    return content


@pytest.fixture
def make_round() -> type[Round]:
    return Round


@pytest.fixture
def fake_grid() -> type[FakeGrid]:
    return FakeGrid
