"""The server: it knows the adapters alone, and what they do on texts of its own."""

from __future__ import annotations

from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from byzflower.strategies import Robust
from robustlora.task import Transformer, accuracy, adapters, load_adapters

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Fine-tune, and print what the adapted model gets right."""
    config = context.run_config
    nodes = config["num-nodes"]
    model = Transformer(config["rank"])
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=nodes, min_available_nodes=nodes)
    strategy = Robust(strategy, config["rule"], num_malicious_nodes=config["num-malicious-nodes"])
    initial = ArrayRecord(adapters(model))
    result = strategy.start(grid, initial, num_rounds=config["num-server-rounds"])
    load_adapters(model, result.arrays.to_torch_state_dict())
    print(f"accuracy {accuracy(model):.3f}")
