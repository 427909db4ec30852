"""Which node holds which partition."""

from __future__ import annotations

import pytest
from flwr.app import Message, MetricRecord, RecordDict

from byzflower.simulations.engines import InProcessGrid, partition_ids


def client(message, context):
    metrics = MetricRecord({"partition-id": context.node_config["partition-id"]})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


class RandomIds(InProcessGrid):
    """Nodes with ids like those that Flower draws."""

    def __init__(self, app, ids):
        super().__init__(app, len(ids))
        self._contexts = dict(zip(ids, self._contexts.values(), strict=True))


def test_partition_ids_of_random_node_ids():
    found = partition_ids(RandomIds(client, [41, 12, 30]))
    assert list(found.items()) == [(41, 0), (12, 1), (30, 2)]


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
