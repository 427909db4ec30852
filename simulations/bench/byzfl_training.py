"""The same training run in ByzFL's own federated simulation, for comparison."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from byzflower.clients.algorithms import Momentum, parse_client

from ..experiment import Experiment
from ..tasks import open_dataset, split_rows

__all__ = ["AGGREGATORS", "PREAGGREGATORS", "byzfl_rounds"]

AGGREGATORS = {
    "trimmed_mean": "TrMean",
    "median": "Median",
    "geometric_median": "GeometricMedian",
    "multi_krum_star": "MultiKrum",
}
PREAGGREGATORS = {"arc": "ARC", "nnm": "NNM"}


def byzfl_rounds(experiment: Experiment) -> Callable[[int], float] | None:
    """Return a function that trains so many rounds and returns the test accuracy.

    ``None`` where ByzFL is not installed. Model, data, partition, batch size, momentum, step size
    and ℓ2 penalty are the experiment's; ByzFL's ``cnn_mnist`` is the same network.
    """
    if find_spec("byzfl") is None:
        return None
    import byzfl  # noqa: PLC0415  (optional)

    *before, rule = experiment.rule.split(" > ")
    aggregator = {"name": AGGREGATORS[rule], "parameters": {"f": experiment.f}}
    earlier = [{"name": PREAGGREGATORS[name], "parameters": {"f": experiment.f}} for name in before]
    optimizer: dict[str, object] = {
        "model_name": "cnn_mnist",
        "device": experiment.device,
        "optimizer_name": "SGD",
        "optimizer_params": {},
        "learning_rate": experiment.learning_rate,
        "weight_decay": experiment.weight_decay,
        "milestones": [],
        "learning_rate_decay": 1.0,
    }
    momentum = parse_client(experiment.client)
    if not isinstance(momentum, Momentum):
        raise ValueError(f"the comparison runs clients with momentum; found {experiment.client}")
    data = open_dataset(experiment)
    test = DataLoader(TensorDataset(data.x_test, data.y_test), batch_size=1000)
    clients = [
        byzfl.Client(
            {
                **optimizer,
                "loss_name": "NLLLoss",
                "LabelFlipping": False,
                "nb_labels": data.num_classes,
                "momentum": momentum.beta,
                "store_per_client_metrics": False,
                "training_dataloader": DataLoader(
                    TensorDataset(data.x_train[rows], data.y_train[rows]),
                    batch_size=experiment.batch_size,
                    shuffle=True,
                ),
            }
        )
        for rows in split_rows(experiment)
    ]
    server = byzfl.Server(
        {
            **optimizer,
            "test_loader": test,
            "aggregator_info": aggregator,
            "pre_agg_list": earlier,
        }
    )
    attacker = byzfl.ByzantineClient(_attack(experiment, aggregator, earlier))

    def run(rounds: int) -> float:
        for _ in range(rounds):
            model = server.get_dict_parameters()
            for client in clients:
                client.set_model_state(model)
                client.compute_gradients()
            honest = [client.get_flat_gradients_with_momentum() for client in clients]
            server.update_model_with_gradients(honest + attacker.apply_attack(honest))
        with torch.no_grad():
            return float(server.compute_test_accuracy())

    return run


def _attack(experiment: Experiment, aggregator: Any, earlier: Any) -> dict[str, object]:
    match = re.fullmatch(r"foe\(tau=(.+)\)", experiment.attack)
    if match is None:
        raise ValueError(f"the comparison runs foe; found {experiment.attack}")
    if match[1] in ("adaptive", "'adaptive'"):
        parameters: dict[str, object] = {
            "agg_info": aggregator,
            "aggregator_info": aggregator,
            "pre_agg_list": earlier,
            "f": experiment.f,
        }
        return {
            "name": "Optimal_InnerProductManipulation",
            "f": experiment.f,
            "parameters": parameters,
        }
    # ByzFL's inner-product manipulation sends −τ × mean; FOE sends (1 − τ) × mean.
    tau = float(match[1]) - 1
    return {
        "name": "InnerProductManipulation",
        "f": experiment.f,
        "parameters": {"tau": tau},
    }
