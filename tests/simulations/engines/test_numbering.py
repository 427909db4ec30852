from __future__ import annotations

import threading

import pytest
from flwr.app import Error, Message, MetricRecord, RecordDict

from byzflower.simulations.engines import InProcessGrid, partition_ids
from byzflower.simulations.engines.numbering import (
    NumberedGrid,
    SimulationStoppedError,
    WorkerError,
)
from byzflower.wire.flower_internals import adopt_id, duplicate, relabel_source

# Partition 0 is node 41, partition 1 is node 12, partition 2 is node 30.
IDS = {1: 41, 2: 12, 3: 30}


class RandomIds(InProcessGrid):
    """Nodes with arbitrary ids whose replies come one at a time, in no particular order."""

    def __init__(self, client):
        super().__init__(client, len(IDS))
        self.asked = []

    def get_node_ids(self):
        return set(IDS.values())

    def push_messages(self, messages):
        ids = []
        for message in messages:
            self.asked.append(message.metadata.dst_node_id)
            twin = duplicate(message, message.content)
            numbers = {node: number for number, node in IDS.items()}
            twin.metadata.dst_node_id = numbers.get(message.metadata.dst_node_id, 99)
            ids += super().push_messages([twin])
            adopt_id(message, twin)
        return ids

    def send_and_receive(self, messages, *, timeout=None):
        ids = self.push_messages(messages)
        return [reply for _ in ids for reply in self.pull_messages(ids)]

    def pull_messages(self, message_ids):
        replies = super().pull_messages(
            [key for key in sorted(message_ids, reverse=True) if key in self._replies][:1]
        )
        for reply in replies:
            node = reply.metadata.src_node_id
            relabel_source(reply, IDS.get(node, node))
        return replies


def client(message, context):
    partition = context.node_config["partition-id"]
    if message.metadata.message_type == "evaluate":
        raise ValueError("no evaluation here")
    metrics = MetricRecord({"partition-id": partition})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


def numbered(inner=None, stopped=None, **options):
    return NumberedGrid(
        inner or RandomIds(client), len(IDS), stopped or threading.Event(), **options
    )


def test_partition_ids_of_random_node_ids():
    assert partition_ids(RandomIds(client)) == {41: 0, 12: 1, 30: 2}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda m, c: RecordDict(), "has no integer `partition-id`"),
        (lambda m, c: RecordDict({"m": MetricRecord({"partition-id": 0.5})}), "has no integer"),
        (lambda m, c: RecordDict({"m": MetricRecord({"partition-id": 0})}), "must be distinct"),
        (lambda m, c: 1 / 0, "node 1 did not tell its partition: ZeroDivisionError"),
    ],
)
def test_partition_ids_refuses_bad_answers(answer, error):
    def app(message, context):
        return Message(answer(message, context), reply_to=message)

    with pytest.raises(RuntimeError, match=error):
        partition_ids(InProcessGrid(app, 2))


def test_partition_ids_names_silent_nodes():
    class Silent(InProcessGrid):
        def send_and_receive(self, messages, *, timeout=None):
            return super().send_and_receive(list(messages)[1:], timeout=timeout)

    with pytest.raises(RuntimeError, match=r"nodes \[1\] did not tell their partition within 5 s"):
        partition_ids(Silent(client, 3), timeout=5)


def test_nodes_have_the_numbers_of_the_in_process_engine():
    inner = RandomIds(client)
    grid = numbered(inner)
    assert grid.get_node_ids() == [1, 2, 3]
    assert partition_ids(grid) == {1: 0, 2: 1, 3: 2}

    inner.asked.clear()
    messages = [Message(RecordDict(), node, "train") for node in (3, 1)]
    replies = grid.send_and_receive(messages)
    assert inner.asked == [30, 41]
    assert [message.metadata.dst_node_id for message in messages] == [3, 1]
    assert [reply.metadata.src_node_id for reply in replies] == [1, 3]
    assert [reply.content["metrics"]["partition-id"] for reply in replies] == [0, 2]
    assert {r.metadata.reply_to_message_id for r in replies} == {
        m.metadata.message_id for m in messages
    }


def test_client_errors_are_replies():
    (reply,) = numbered().send_and_receive([Message(RecordDict(), 2, "evaluate")])
    assert (reply.metadata.src_node_id, reply.error.reason) == (2, "ValueError: no evaluation here")


def test_a_failed_worker_ends_the_run():
    def app(message, context):
        if message.metadata.message_type == "query":
            return client(message, context)
        return Message(Error(0, "worker died"), reply_to=message)

    grid = numbered(RandomIds(app))
    with pytest.raises(WorkerError, match="a client's process failed: worker died"):
        grid.send_and_receive([Message(RecordDict(), 1, "train")])


def test_timeout_returns_what_has_come():
    class Slow(RandomIds):
        def pull_messages(self, message_ids):
            return [] if self.silent else super().pull_messages(message_ids)

    inner = Slow(client)
    inner.silent = False
    grid = numbered(inner)
    inner.silent = True
    assert grid.send_and_receive([Message(RecordDict(), 1, "train")], timeout=0.05) == []


def test_waiting_ends_when_the_engine_stops():
    stopped = threading.Event()
    grid = numbered(stopped=stopped)
    stopped.set()
    with pytest.raises(SimulationStoppedError, match="the simulation under the server app"):
        grid.send_and_receive([Message(RecordDict(), 1, "train")])

    with pytest.raises(SimulationStoppedError):
        NumberedGrid(RandomIds(client), 4, stopped)


def test_missing_nodes():
    with pytest.raises(TimeoutError, match="only 3 of 4 nodes are registered"):
        NumberedGrid(RandomIds(client), 4, threading.Event(), registration_timeout=0.0)


def test_other_grid_duties():
    inner = RandomIds(client)
    grid = numbered(inner)
    assert grid.run.run_id == inner.run_id
    grid.set_run("a run")
    assert inner.run == "a run"
    assert grid.create_message(RecordDict(), "train", 2, "g").metadata.dst_node_id == 2
