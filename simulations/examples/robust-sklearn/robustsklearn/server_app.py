"""The server: two arrays, aggregated by a rule."""

from __future__ import annotations

from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from byzflower.strategies import Robust
from robustsklearn.task import accuracy, load, zeros

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train, and print what the final model gets right."""
    config = context.run_config
    nodes = config["num-nodes"]
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=nodes, min_available_nodes=nodes)
    strategy = Robust(strategy, config["rule"], num_malicious_nodes=config["num-malicious-nodes"])
    result = strategy.start(grid, ArrayRecord(zeros()), num_rounds=config["num-server-rounds"])
    print(f"accuracy {accuracy(result.arrays.to_numpy_ndarrays(), *load(None)):.3f}")
