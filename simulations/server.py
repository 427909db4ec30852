"""The server's side of an experiment: its strategy."""

from __future__ import annotations

from typing import Any

from flwr.serverapp.strategy import FedAvg

from byzflower.specs import parse
from byzflower.strategies import Robust, ServerSGD
from byzflower.strategies.trust import trusted_row

from .experiment import RISK, Experiment

__all__ = ["make_strategy", "notes_of", "selection_of"]


def notes_of(strategy: Robust) -> dict[str, object]:
    """Return the last round's training loss, rejections, clipping threshold, rule drawn.

    Where there are such, also by node: ``weights`` × number of updates, for rules that weigh whole
    updates; nodes ``clipped``; reasons of ``rejections``.
    """
    if not strategy.history:
        return {}
    record = strategy.history[-1]
    notes: dict[str, object] = {
        "train_loss": record.metrics.get("train_loss"),
        "rejected": len(record.rejections),
    }
    for step in record.steps:
        notes |= {key: step.note[key] for key in ("threshold", "drawn") if key in step.note}
    if record.skipped:
        notes["skipped"] = record.skipped
    nodes = sorted(strategy.conduct.latest, key=lambda outcome: outcome.node_id)
    by_node: dict[str, object] = {
        "weights": {str(o.node_id): round(o.weight, 3) for o in nodes if o.weight is not None},
        "clipped": [o.node_id for o in nodes if o.clipped],
        "rejections": {str(o.node_id): str(o.reason) for o in nodes if o.reason is not None},
    }
    return notes | {key: value for key, value in by_node.items() if value}


def selection_of(strategy: Robust, n: int) -> list[float | None]:
    """Return, by node 1 … n, the share of rounds in which the rule gave it a weight, where it did.

    None for a node that was never weighed.
    """
    asked = {row["node"] for row in strategy.conduct.to_rows()}
    nodes = [strategy.conduct[node] if node in asked else None for node in range(1, n + 1)]
    return [node.selected / node.weighed if node and node.weighed else None for node in nodes]


def make_strategy(experiment: Experiment) -> Robust:
    """Build the strategy; it waits until all n clients are there and evaluates on none of them."""
    sampling: Any = {
        "fraction_evaluate": 0.0,
        "fraction_train": experiment.fraction_train,
        "min_train_nodes": experiment.asked,
        "min_available_nodes": experiment.n,
    }
    # A model that an attack has broken stays as it is, and its curve goes on.
    patience = experiment.rounds + 1
    rule = parse(experiment.rule)
    trusted = trusted_row(rule)  # clients are the nodes 1 … n
    return Robust(
        ServerSGD(
            experiment.learning_rate,
            momentum=experiment.server_momentum,
            weight_decay=experiment.server_weight_decay,
            **sampling,
        )
        if experiment.payload == "gradient"
        else FedAvg(**sampling),
        rule,
        experiment.f_of_rule,
        experiment.payload,
        trusted_node=None if trusted is None else trusted + 1,
        risk=RISK,
        seed=experiment.seed,
        max_skipped_rounds=patience,
        measure_distances=False,  # nobody reads the nodes' conduct after a simulation
    )
