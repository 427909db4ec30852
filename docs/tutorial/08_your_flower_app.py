"""
8. Your Flower app
==================

Everything so far in one app of Flower's Message API. The server side is three lines: import, wrap
your strategy, say how many nodes may lie.
"""

import logging

import torch
from flwr.serverapp.strategy import FedAvg

from byzflower.clients import Adversary, ClientTask, LocalSGD, Objective, make_client_app
from byzflower.simulations.engines import run_in_process
from byzflower.strategies import Robust, to_record

logging.getLogger("flwr").setLevel(logging.ERROR)  # Flower logs several lines a round

model = torch.nn.Linear(20, 3)
truth = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))


def load(context):
    """One node's data."""
    node = context.node_config["partition-id"]
    x = torch.randn(100, 20, generator=torch.Generator().manual_seed(node + 1))
    return ClientTask(Objective(model), x, (x @ truth).argmax(1), partition_id=node, batch_size=20)


x_test = torch.randn(500, 20, generator=torch.Generator().manual_seed(99))
y_test = (x_test @ truth).argmax(1)


def accuracy(arrays):
    """Share of right answers of a model as Flower carries it."""
    model.load_state_dict(arrays.to_torch_state_dict())
    return float((model(x_test).argmax(1) == y_test).float().mean())


# %%
# The same ServerApp and ClientApp, with and without ``Robust``; two of ten nodes send the opposite
# of what the others want. ``run_in_process`` runs them without Ray; on Flower's simulation and in a
# deployment the code is the same.


def serve_with(strategy):
    """Make the server of one run."""

    def serve(grid, context):
        attacked = Adversary(grid, "foe(tau=8)", {9, 10}, payload="model")
        start = {name: torch.zeros_like(v) for name, v in model.state_dict().items()}
        return strategy.start(attacked, to_record(start), num_rounds=15)

    return serve


app = make_client_app(load, LocalSGD(steps=5, learning_rate=0.2))
for name, strategy in {
    "FedAvg": FedAvg(fraction_evaluate=0),
    "Robust(FedAvg)": Robust(
        FedAvg(fraction_evaluate=0), rule="nnm > trimmed_mean", num_malicious_nodes=2
    ),
}.items():
    result = run_in_process(serve_with(strategy), app, num_nodes=10)
    print(f"{name:15} test accuracy {accuracy(result.arrays):.1%}")

# %%
# What the strategy saw of each node (not a list of culprits: a good attack looks ordinary, and an
# honest node with rare data looks odd):

print(strategy.conduct.table())
