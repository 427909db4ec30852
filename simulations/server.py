"""The server's side of an experiment: its strategy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flwr.app import ArrayRecord, Message, MetricRecord
from flwr.serverapp.strategy import FedAvg

from byzflower.simulations.experiment import Experiment
from byzflower.strategies import Robust, ServerSGD

__all__ = ["Watched", "make_strategy"]


class Watched(Robust):
    """A robust strategy that keeps what its last round is worth telling at hand."""

    _metrics: MetricRecord | None = None

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Aggregate as ever, and remember the metrics."""
        arrays, self._metrics = super().aggregate_train(server_round, replies)
        return arrays, self._metrics

    def notes(self) -> dict[str, object]:
        """Return the last round's training loss, rejections, clipping threshold, rule drawn."""
        if not self.history:
            return {}
        record = self.history[-1]
        notes: dict[str, object] = {
            "train_loss": self._metrics.get("train_loss") if self._metrics else None,
            "rejected": len(record.rejections),
        }
        for step in record.steps:
            notes |= {key: step.note[key] for key in ("threshold", "drawn") if key in step.note}
        if record.skipped:
            notes["skipped"] = record.skipped
        return notes


def make_strategy(experiment: Experiment) -> Watched:
    """Build the strategy; it waits for all n clients and evaluates on none of them."""
    sampling: Any = {
        "fraction_evaluate": 0.0,
        "min_train_nodes": experiment.n,
        "min_available_nodes": experiment.n,
    }
    # A model that an attack has broken stays as it is, and its curve goes on.
    patience = experiment.rounds + 1
    return Watched(
        ServerSGD(experiment.learning_rate, momentum=experiment.server_momentum, **sampling)
        if experiment.payload == "gradient"
        else FedAvg(**sampling),
        experiment.rule,
        experiment.f,
        experiment.payload,
        seed=experiment.seed,
        max_skipped_rounds=patience,
        measure_distances=False,  # nobody reads the nodes' conduct after a simulation
    )
