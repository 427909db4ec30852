"""An algorithm of one's own, as the guide shows it, on the engines that train in process."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from flwr.serverapp.strategy import FedAvg
from torch import nn

from byzflower.clients import ClientTask, Objective, make_client_app
from byzflower.simulations.engines import BatchedGrid, InProcessGrid, run_in_process
from byzflower.strategies import Robust, to_record, to_tensor
from byzflower.testing import check_client


def shown():
    text = (Path(__file__).parents[2] / "docs/guides/own-simulation.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n((?:(?!```).)*?class ProximalSGD.*?)```", text, re.DOTALL)
    found = {"__name__": __name__}
    exec(compile(block, "own-simulation.md", "exec", dont_inherit=True), found)
    return found["ProximalSGD"]


def train(algorithm, engine):
    torch.manual_seed(0)
    objective = Objective(
        nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
    )

    def load(context):
        i = context.node_config["partition-id"]
        x = torch.randn(30, 4, generator=torch.Generator().manual_seed(i))
        return ClientTask(objective, x, x[:, :3].argmax(1), i, batch_size=6)

    def serve(grid, context):
        strategy = Robust(FedAvg(fraction_evaluate=0.0), "nnm > median", 1)
        return strategy.start(grid, to_record(objective.initial()), num_rounds=15)

    result = run_in_process(serve, make_client_app(load, algorithm), 5, grid_type=engine)
    losses = [metrics["train_loss"] for metrics in result.train_metrics_clientapp.values()]
    return {name: to_tensor(array) for name, array in result.arrays.items()}, losses


def test_it_trains_the_same_model_on_both_engines():
    algorithm = shown()
    one_by_one, losses = train(algorithm(), InProcessGrid)
    batched, _ = train(algorithm(), BatchedGrid)
    torch.testing.assert_close(batched, one_by_one, rtol=1e-4, atol=1e-5)
    assert losses[-1] < 0.9 * losses[0]


def test_it_keeps_the_contract():
    # The class is made from the page here, so pickle cannot find it in a module.
    check_client(shown(), skip={"is_a_frozen_value"})


def test_its_parameters_take_part():
    algorithm = shown()
    free, _ = train(algorithm(mu=0.0), BatchedGrid)
    held, _ = train(algorithm(mu=5.0), BatchedGrid)
    torch.manual_seed(0)
    start = nn.Linear(4, 8).weight
    assert (held["0.weight"] - start).norm() < (free["0.weight"] - start).norm()
