"""The server: FedAvg, wrapped in `Robust`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from byzflower.statefile import atomically
from byzflower.strategies import Checkpoint, Robust
from quickstart.task import accuracy, make_model

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train for the configured rounds and keep what was learned."""
    config = context.run_config
    nodes = int(config["num-nodes"])
    folder = Path(str(config["out"])) if config["out"] else None
    model = make_model()

    def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        model.load_state_dict(arrays.to_torch_state_dict())
        return MetricRecord({"accuracy": accuracy(model)})

    inner = FedAvg(fraction_evaluate=0.0, min_train_nodes=nodes, min_available_nodes=nodes)
    strategy = Robust(
        inner,
        rule=str(config["rule"]),
        num_malicious_nodes=int(config["num-malicious-nodes"]),
        checkpoint=Checkpoint(folder / "checkpoints") if folder else None,
    )
    result = strategy.start(
        grid,
        ArrayRecord(model.state_dict()),
        num_rounds=int(config["num-server-rounds"]),
        timeout=float(config["round-timeout"]),
        evaluate_fn=evaluate,
    )
    print(strategy.conduct.table())
    model.load_state_dict(result.arrays.to_torch_state_dict())
    print(f"accuracy {accuracy(model):.3f}")
    if folder:
        state = {key: value.numpy() for key, value in model.state_dict().items()}
        with atomically(folder / "model.npz") as file:
            np.savez(file, **state)
