"""The batched engine trains what the in-process engine trains, and falls back where it cannot."""

from __future__ import annotations

import logging

import pytest
import torch
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import nn

from byzflower.clients import (
    ClientTask,
    Gradient,
    LocalSGD,
    Momentum,
    Objective,
    Saga,
    make_client_app,
    nan_mod,
)
from byzflower.clients.augmentation import random_flip
from byzflower.simulations.engines import BatchedGrid, InProcessGrid
from byzflower.updates import stacked_view
from byzflower.wire.arrays import to_record, to_tensor

N, ROUNDS = 6, 20


def plain():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def normalised():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def dropping():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, 3))


def convolutional():
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)
    )


def drawing():
    """Draws from PyTorch's own generator, which no module tells."""

    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, x):
            hidden = nn.functional.dropout(self.first(x).relu(), 0.4, self.training)
            return self.last(hidden)

    return Dropping()


def flat(model):
    return lambda: nn.Sequential(nn.Flatten(), model())


def make_app(model, algorithm, *, examples=lambda i: 30, batch=lambda i: 8, mods=(), augment=None):
    """An app whose clients share one objective, as an experiment's do."""
    torch.manual_seed(0)
    objective = Objective(model(), l2=1e-3)

    def load(context):
        i = context.node_config["partition-id"]
        generator = torch.Generator().manual_seed(i)
        x = torch.randn(examples(i), 6, generator=generator)
        y = torch.randint(3, (examples(i),), generator=generator)
        x = x if augment is None else x.view(-1, 1, 2, 3)
        return ClientTask(
            objective, x, y, partition_id=i, batch_size=batch(i), seed=5, augment=augment
        )

    return make_client_app(load, algorithm, mods), objective


def send(grid, model, server_round, nodes=None):
    content = RecordDict({"config": ConfigRecord({"server-round": server_round})})
    content["arrays"] = to_record(model)
    nodes = grid.get_node_ids() if nodes is None else nodes
    return grid.send_and_receive([Message(content, node, "train") for node in nodes])


def trajectory(grid_type, model, algorithm, rounds=ROUNDS, **options):
    """The global model of every round, when the server averages what clients send."""
    app, objective = make_app(model, algorithm, **options)
    grid = grid_type(app, N)
    current, models = objective.initial(), []
    for server_round in range(1, rounds + 1):
        replies = send(grid, current, server_round)
        assert not any(reply.has_error() for reply in replies)
        new = {}
        for name, value in current.items():
            sent = torch.stack(
                [to_tensor(r.content["arrays"][name]).to(torch.float64) for r in replies]
            ).mean(0)
            if name in objective.names and algorithm.payload == "gradient":
                sent = value - 0.3 * sent
            new[name] = sent.to(value.dtype)
        current = new
        models.append(current)
    return models


MODELS = [plain, normalised, dropping, drawing, convolutional]
ALGORITHMS = [Gradient(clip=1.0), Momentum(beta=0.9), LocalSGD(3, 0.05, momentum=0.5), Saga()]


@pytest.mark.parametrize(
    ("model", "algorithm"),
    # SAGA has no per-example gradients under BatchNorm, and refuses such models.
    [(m, a) for m in MODELS for a in ALGORITHMS if (m, a) != (normalised, Saga())],
)
def test_same_model_as_in_process_in_every_round(model, algorithm):
    compare(model, algorithm)


@pytest.mark.parametrize("algorithm", [Momentum(beta=0.9), LocalSGD(3, 0.05)])
def test_same_flips_as_in_process(algorithm):
    compare(flat(plain), algorithm, augment=random_flip)


def compare(model, algorithm, **options):
    batched = trajectory(BatchedGrid, model, algorithm, **options)
    one_by_one = trajectory(InProcessGrid, model, algorithm, **options)
    for left, right in zip(batched, one_by_one, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


def test_clients_with_other_batches_form_groups_of_their_own():
    options = {"examples": lambda i: 30 if i < 4 else 5, "batch": lambda i: 8 if i % 2 else 4}
    batched = trajectory(BatchedGrid, plain, Momentum(), 5, **options)
    one_by_one = trajectory(InProcessGrid, plain, Momentum(), 5, **options)
    torch.testing.assert_close(batched, one_by_one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("memory_budget", [1, 2**31])
def test_a_group_that_is_split_does_the_same(monkeypatch, memory_budget):
    app, objective = make_app(plain, Momentum())
    whole, split = BatchedGrid(app, N), BatchedGrid(app, N, memory_budget=memory_budget)
    if memory_budget > 1:  # many clients
        monkeypatch.setattr("byzflower.simulations.engines.batched._ENOUGH", N // 2)
        monkeypatch.setattr("byzflower.simulations.engines.batched._NEARBY", 1)
    for server_round in (1, 2):
        for left, right in zip(
            send(whole, objective.initial(), server_round),
            send(split, objective.initial(), server_round),
            strict=True,
        ):
            for name in objective.names:
                torch.testing.assert_close(
                    to_tensor(left.content["arrays"][name]),
                    to_tensor(right.content["arrays"][name]),
                )


def test_clients_that_miss_rounds_keep_their_momentum():
    results = []
    for grid_type in (BatchedGrid, InProcessGrid):
        app, objective = make_app(plain, Momentum())
        grid = grid_type(app, N)
        send(grid, objective.initial(), 1)
        send(grid, objective.initial(), 2, nodes=[2, 5])
        replies = send(grid, objective.initial(), 3, nodes=[5, 1, 2])
        results.append([to_tensor(reply.content["arrays"]["0.weight"]) for reply in replies])
    torch.testing.assert_close(results[0], results[1])


def test_replies_are_views_of_one_stacked_result():
    app, objective = make_app(plain, Momentum())
    replies = send(BatchedGrid(app, N), objective.initial(), 1)
    for name in objective.names:
        rows = [to_tensor(reply.content["arrays"][name]) for reply in replies]
        assert stacked_view(rows) is not None


def test_a_failing_client_answers_with_its_error_and_the_others_train():
    app, objective = make_app(plain, Momentum(), examples=lambda i: 0 if i == 2 else 30)
    replies = send(BatchedGrid(app, N), objective.initial(), 1)
    assert [reply.has_error() for reply in replies] == [False, False, True, False, False, False]
    assert "at least one" in replies[2].error.reason


def test_a_first_client_whose_step_fails_does_not_end_the_run():
    # BatchNorm refuses a batch of one example.
    app, objective = make_app(normalised, Momentum(), examples=lambda i: 30 if i else 1)
    replies = send(BatchedGrid(app, 3), objective.initial(), 1)
    assert [reply.has_error() for reply in replies] == [True, False, False]


def test_training_leaves_the_global_generator_as_it_was():
    app, objective = make_app(drawing, Momentum())
    before = torch.random.get_rng_state()
    send(BatchedGrid(app, N), objective.initial(), 1)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_wrong_broadcast_gives_every_client_its_error():
    app, objective = make_app(plain, Momentum())
    model = objective.initial()
    model["0.weight"] = torch.zeros(2, 2)
    replies = send(BatchedGrid(app, N), model, 1)
    assert all("arrays['0.weight'] needs shape" in reply.error.reason for reply in replies)


def test_a_model_that_vmap_cannot_run_is_trained_one_by_one():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(6, 3)

        def forward(self, x):
            out = self.linear(x)
            return out * 2 if out.sum().item() > 0 else out

    batched = trajectory(BatchedGrid, Branching, Gradient(), 2)
    torch.testing.assert_close(batched, trajectory(InProcessGrid, Branching, Gradient(), 2))


def test_foreign_apps_run_one_after_another_and_say_so_once(caplog):
    app = ClientApp()

    @app.train()
    def train(message, context):
        return Message(RecordDict({"metrics": MetricRecord({"num-examples": 1})}), reply_to=message)

    with caplog.at_level(logging.INFO, logger="byzflower"):
        grid = BatchedGrid(app, 3)
        for server_round in (1, 2):
            assert len(send(grid, {"w": torch.zeros(2)}, server_round)) == 3
    assert [r.getMessage() for r in caplog.records] == [
        "the ClientApp is not made by make_client_app: its clients run one after another"
    ]


def test_mods_are_honoured(caplog):
    app, objective = make_app(plain, Gradient(), mods=[nan_mod()])
    with caplog.at_level(logging.INFO, logger="byzflower"):
        replies = send(BatchedGrid(app, 2), objective.initial(), 1)
    assert "wrapped in mods" in caplog.text
    assert all(to_tensor(r.content["arrays"]["0.weight"]).isnan().any() for r in replies)


def test_queries_and_unknown_nodes_are_answered():
    app, objective = make_app(plain, Gradient())
    grid = BatchedGrid(app, 2)
    (reply,) = grid.send_and_receive([Message(RecordDict(), 2, "query")])
    assert reply.content["metrics"]["partition-id"] == 1
    replies = send(grid, objective.initial(), 1, nodes=[1, 9])
    assert sorted(reply.has_error() for reply in replies) == [False, True]


@pytest.mark.cuda
def test_same_model_on_cuda():
    models = []
    for device in ("cpu", "cuda"):
        objective = Objective(convolutional().to(device))

        def load(context, objective=objective, device=device):
            i = context.node_config["partition-id"]
            generator = torch.Generator().manual_seed(i)
            x = torch.randn(30, 6, generator=generator)
            y = torch.randint(3, (30,), generator=generator)
            return ClientTask(objective, x, y, partition_id=i, batch_size=8, device=device)

        torch.manual_seed(0)
        start = convolutional().state_dict()
        grid = BatchedGrid(make_client_app(load, Momentum()), N)
        replies = send(grid, {k: v.to(device) for k, v in start.items()}, 1)
        assert all(
            to_tensor(a).device.type == device
            for r in replies
            for a in r.content["arrays"].values()
        )
        models.append([to_tensor(r.content["arrays"]["1.weight"]).cpu() for r in replies])
    torch.testing.assert_close(models[0], models[1], rtol=1e-4, atol=1e-5)
