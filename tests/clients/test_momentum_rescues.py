"""Momentum around local SGD brings trimmed mean through ALIE, on handwritten digits."""

from __future__ import annotations

import pytest
import torch
from flwr.serverapp.strategy import FedAvg
from torch import nn

from byzflower.clients import (
    Adversary,
    ClientTask,
    LocalSGD,
    Objective,
    make_client_app,
    momentum_mod,
)
from byzflower.simulations.engines import InProcessGrid, run_in_process
from byzflower.strategies import Robust, to_record, to_tensor

N, F, ROUNDS = 15, 6, 100


def accuracy(mods, attacked):
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    x = torch.tensor(digits.data / 16, dtype=torch.float32)
    y = torch.tensor(digits.target)
    rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    test, shares = rows[:400], torch.tensor_split(rows[400:], N - F)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    objective = Objective(model)

    def load(context):
        i = context.node_config["partition-id"]
        share = shares[i % len(shares)]
        return ClientTask(objective, x[share], y[share], i, batch_size=1)

    def serve(grid, context):
        if attacked:
            grid = Adversary(grid, "alie(tau=1.5)", range(N - F + 1, N + 1))
        strategy = Robust(FedAvg(fraction_evaluate=0.0), "trimmed_mean", F)
        result = strategy.start(grid, to_record(objective.initial()), num_rounds=ROUNDS)
        model = {name: to_tensor(array) for name, array in result.arrays.items()}
        outputs = objective.outputs(*objective.split(model), x[test])
        return (outputs.argmax(1) == y[test]).double().mean().item()

    app = make_client_app(load, LocalSGD(2, 0.3), mods)
    return run_in_process(serve, app, N, grid_type=InProcessGrid)


@pytest.mark.slow
def test_momentum_brings_trimmed_mean_through_alie():
    found = {
        "attacked, no momentum": accuracy([], True),
        "attacked, momentum 0.9": accuracy([momentum_mod(0.9)], True),
        "attacked, momentum 0.97": accuracy([momentum_mod(0.97)], True),
        "no attack, momentum 0.9": accuracy([momentum_mod(0.9)], False),
    }
    print(found)
    lost, some, more, free = found.values()
    assert lost < 0.3 < some < more < free
    assert more > 0.7
