"""The server: a strategy of one's own, wrapped in `Robust`; a journal; the best model kept."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from byzflower.statefile import atomically
from byzflower.strategies import Checkpoint, Robust
from robustadvanced.journal import Journal
from robustadvanced.task import load, make_model, test

app = ServerApp()


class HalvingFedAvg(FedAvg):
    """FedAvg that sends clients a learning rate, halved after every so many rounds."""

    def __init__(self, learning_rate: float, halve_every: int, nodes: int) -> None:
        super().__init__(fraction_evaluate=0.0, min_train_nodes=nodes, min_available_nodes=nodes)
        self.learning_rate, self.halve_every = learning_rate, halve_every

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Put the round's rate into the messages."""
        halvings = (server_round - 1) // self.halve_every
        config["learning-rate"] = self.learning_rate * 0.5**halvings
        return super().configure_train(server_round, arrays, config, grid)

    def state_dict(self) -> dict[str, object]:
        """Return what a checkpoint has to keep: the rate follows from the round."""
        return {}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Take it back."""


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train; keep journal, checkpoints and the best model if there is a folder for them."""
    config = context.run_config
    folder = Path(config["out"]) if config["out"] else None
    model, testing, best = make_model(), load(None), 0.0
    journal = None
    if folder:
        journal = Journal(
            folder, tensorboard=config["tensorboard"], wandb_project=config["wandb-project"]
        )

    def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        nonlocal best
        model.load_state_dict(arrays.to_torch_state_dict())
        loss, accuracy = test(model, testing)
        if folder and accuracy > best:
            with atomically(folder / "best.npz") as file:
                np.savez(file, **{name: v.numpy() for name, v in model.state_dict().items()})
        best = max(best, accuracy)
        numbers = {"loss": loss, "accuracy": accuracy, "best": best}
        if journal:
            known = strategy.history[-1].to_metrics() if strategy.history else {}
            journal.note(server_round, {**numbers, **known})
        return MetricRecord(numbers)

    inner = HalvingFedAvg(config["learning-rate"], config["halve-every"], config["num-nodes"])
    strategy = Robust(
        inner,
        config["rule"],
        num_malicious_nodes=config["num-malicious-nodes"],
        checkpoint=Checkpoint(folder / "checkpoints") if folder else None,
    )
    strategy.start(
        grid,
        ArrayRecord(model.state_dict()),
        num_rounds=config["num-server-rounds"],
        evaluate_fn=evaluate,
    )
    print(f"accuracy {best:.3f}")
