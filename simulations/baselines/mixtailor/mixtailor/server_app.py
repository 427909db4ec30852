"""mixtailor: the server, and the adversary between it and the workers."""

import time

from byzflower.clients import Adversary
from byzflower.simulations.engines import partition_ids
from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp

from mixtailor.dataset import load_test
from mixtailor.model import make_model, test
from mixtailor.strategy import make_strategy
from mixtailor.utils import save

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train under attack, testing now and then, and keep the accuracies."""
    config, began = context.run_config, time.monotonic()
    rounds, every = (
        int(config[key]) for key in ("num-server-rounds", "evaluate-every")
    )
    model = make_model(str(config["dataset"]), int(config["seed"]))
    images, labels = load_test(config)
    accuracies: dict[int, float] = {}

    def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord | None:
        if server_round % every and server_round < rounds:
            return None
        model.load_state_dict(arrays.to_torch_state_dict())
        accuracies[server_round] = test(model, images, labels)
        return MetricRecord({"accuracy": accuracies[server_round]})

    nodes = list(partition_ids(grid, timeout=600))  # Flower numbers nodes at random
    strategy = make_strategy(config, len(nodes))
    if config["attack"] != "none":
        grid = Adversary(
            grid,
            str(config["attack"]),
            nodes[len(nodes) - int(config["num-malicious-nodes"]) :],
            rule=strategy.rule,
            seed=int(config["seed"]),
        )
    strategy.start(
        grid,
        ArrayRecord(model.state_dict()),
        num_rounds=rounds,
        evaluate_fn=evaluate,
    )
    save(str(config["out"]), dict(config), accuracies, time.monotonic() - began)
