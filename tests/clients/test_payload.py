"""Replies say what they hold, on every engine and under every strategy."""

from __future__ import annotations

import pytest
import torch
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import (
    Bulyan,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedMedian,
    FedTrimmedAvg,
    FedYogi,
    Krum,
    MultiKrum,
)
from torch import nn

from byzflower.clients import (
    Adversary,
    ClientTask,
    LocalSGD,
    Momentum,
    Objective,
    make_client_app,
    nan_mod,
)
from byzflower.simulations.engines import BatchedGrid, InProcessGrid
from byzflower.strategies import Robust
from byzflower.wire.arrays import to_record, to_tensor
from byzflower.wire.payload import declared, declared_buffers

N = 7


def make_app(algorithm, model=None, mods=()):
    objective = Objective(model or nn.Linear(4, 3))

    def load(context):
        i = context.node_config["partition-id"]
        x = torch.randn(6, 4, generator=torch.Generator().manual_seed(i))
        return ClientTask(objective, x, torch.arange(6) % 3, i, batch_size=2)

    return make_client_app(load, algorithm, mods)


def attacked(inner, model=None, **options):
    """Answer a train message with nodes 6 and 7 in the adversary's hands."""
    grid = Adversary(inner, "sign_flip", {6, 7}, **options)
    content = RecordDict({"config": ConfigRecord({"server-round": 1})})
    start = {"weight": torch.arange(12.0).reshape(3, 4), "bias": torch.ones(3)}
    content["arrays"] = to_record(start if model is None else model.state_dict())
    return grid.send_and_receive([Message(content, node, "train") for node in grid.get_node_ids()])


@pytest.mark.parametrize("grid_type", [InProcessGrid, BatchedGrid])
@pytest.mark.parametrize("algorithm", [Momentum(), LocalSGD(2, 0.1)], ids=lambda a: a.payload)
def test_honest_and_forged_replies_declare_their_payload(grid_type, algorithm):
    replies = attacked(grid_type(make_app(algorithm), N))
    assert [declared(reply.content) for reply in replies] == [algorithm.payload] * N


@pytest.mark.parametrize("algorithm", [Momentum(), LocalSGD(2, 0.1)], ids=lambda a: a.payload)
def test_the_adversary_takes_replies_for_what_they_declare(algorithm):
    default = attacked(InProcessGrid(make_app(algorithm), N))
    told = attacked(InProcessGrid(make_app(algorithm), N), payload=algorithm.payload)
    for left, right in zip(default, told, strict=True):
        for name, array in left.content["arrays"].items():
            torch.testing.assert_close(
                to_tensor(array), to_tensor(right.content["arrays"][name]), rtol=0, atol=0
            )


@pytest.mark.parametrize(
    "strategy",
    [
        FedAvg,
        FedAvgM,
        FedAdam,
        FedYogi,
        FedMedian,
        FedTrimmedAvg,
        lambda **options: Krum(num_malicious_nodes=1, **options),
        lambda **options: MultiKrum(num_malicious_nodes=1, **options),
        lambda **options: Bulyan(num_malicious_nodes=1, **options),
    ],
)
def test_flowers_strategies_accept_replies_that_declare(strategy):
    model = nn.Linear(4, 3).state_dict()
    grid = InProcessGrid(make_app(LocalSGD(2, 0.1)), N)
    result = strategy(fraction_evaluate=0.0).start(grid, to_record(model), num_rounds=1)
    assert not torch.equal(to_tensor(result.arrays["weight"]), model["weight"])


@pytest.mark.parametrize(
    "record",
    [
        ConfigRecord({"payload": "weights"}),
        ConfigRecord({"payload": ["model"]}),
        ConfigRecord(),
        MetricRecord({"payload": 1}),
    ],
)
def test_what_declares_no_payload_that_is_known_declares_none(record):
    assert declared(RecordDict({"byzflower": record})) is None


@pytest.mark.parametrize("grid_type", [InProcessGrid, BatchedGrid])
@pytest.mark.parametrize("algorithm", [Momentum(), LocalSGD(2, 0.1)], ids=lambda a: a.payload)
def test_replies_declare_which_arrays_no_gradient_updates(grid_type, algorithm):
    replies = attacked(grid_type(make_app(algorithm, Positioned()), N), model=Positioned())
    assert [declared_buffers(reply.content) for reply in replies] == [{"table"}] * N
    for reply in replies:  # the adversary's among them
        assert torch.equal(to_tensor(reply.content["arrays"]["table"]), torch.ones(4))


def test_mods_leave_declared_buffers_honest():
    grid = InProcessGrid(make_app(Momentum(), Positioned(), mods=[nan_mod()]), 1)
    content = RecordDict({"config": ConfigRecord({"server-round": 1})})
    content["arrays"] = to_record(Positioned().state_dict())
    (reply,) = grid.send_and_receive([Message(content, 1, "train")])
    assert torch.equal(to_tensor(reply.content["arrays"]["table"]), torch.ones(4))
    assert to_tensor(reply.content["arrays"]["weight"]).isnan().all()


class Positioned(nn.Linear):
    """A linear layer with a constant table, whose name says nothing of what it is."""

    def __init__(self):
        super().__init__(4, 3)
        self.register_buffer("table", torch.ones(4))

    def forward(self, x):
        return super().forward(x + self.table)


@pytest.mark.parametrize(
    "record",
    [
        ConfigRecord({"payload": "model"}),
        ConfigRecord({"buffers": "weight"}),
        ConfigRecord({"buffers": [1, 2]}),
        ConfigRecord({"buffers": [b"weight"]}),
        MetricRecord({"buffers": 1}),
    ],
)
def test_what_lists_no_names_declares_no_buffers(record):
    assert declared_buffers(RecordDict({"byzflower": record})) is None


@pytest.mark.parametrize("grid_type", [InProcessGrid, BatchedGrid])
def test_a_strategy_takes_forged_replies_for_those_of_the_nodes_asked(grid_type):
    strategy = Robust(FedAvg(fraction_evaluate=0.0), "mean", num_malicious_nodes=2)
    grid = Adversary(grid_type(make_app(LocalSGD(2, 0.1)), N), "sign_flip", {6, 7})
    strategy.start(grid, to_record(nn.Linear(4, 3).state_dict()), num_rounds=2)
    assert [(entry.rows, entry.rejections) for entry in strategy.history] == [(N, ())] * 2
