"""The server: FedAvg as in any Flower app, wrapped in `Robust`."""

from __future__ import annotations

import torch
from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from byzflower.strategies import Robust
from robustpytorch.task import Net, load, test

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train, and print what the final model gets right."""
    config = context.run_config
    nodes = config["num-nodes"]
    torch.manual_seed(0)
    model, testing = Net(), load(None)

    def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        model.load_state_dict(arrays.to_torch_state_dict())
        loss, accuracy = test(model, testing)
        return MetricRecord({"loss": loss, "accuracy": accuracy})

    strategy = FedAvg(fraction_evaluate=0.5, min_train_nodes=nodes, min_available_nodes=nodes)
    strategy = Robust(strategy, config["rule"], num_malicious_nodes=config["num-malicious-nodes"])
    result = strategy.start(
        grid,
        ArrayRecord(model.state_dict()),
        num_rounds=config["num-server-rounds"],
        evaluate_fn=evaluate,
    )
    model.load_state_dict(result.arrays.to_torch_state_dict())
    print(f"accuracy {test(model, testing)[1]:.3f}")
