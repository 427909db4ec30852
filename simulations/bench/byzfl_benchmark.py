"""The same grid for ByzFL's own ``run_benchmark``, for comparison."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from byzflower.clients.algorithms import Momentum, parse_client

from ..datasets import Dataset
from ..datasets.vision import MNIST_MEAN, MNIST_STD
from .byzfl_training import AGGREGATORS, PREAGGREGATORS

__all__ = ["accuracies", "write_benchmark"]

_ATTACKS = {
    "sign_flip": "SignFlipping",
    "foe(tau=adaptive)": "Optimal_InnerProductManipulation",
    "alie(tau=adaptive)": "Optimal_ALittleIsEnough",
}
_PARTITIONS = {
    "iid": {"name": "iid", "distribution_parameter": 0.0},
    "dirichlet(alpha=0.3)": {"name": "dirichlet_niid", "distribution_parameter": 0.3},
    "extreme": {"name": "extreme_niid", "distribution_parameter": 0.0},
}
_RESULTS = "results"


def write_benchmark(options: Mapping[str, Any], data: Dataset, folder: Path) -> None:
    """Write ``config.json`` and the data where ``run_benchmark`` reads them, started there.

    Parameters
    ----------
    options
        A grid whose rules have the same steps before the last: ``f``, ``partition``, ``rule`` and
        ``attack`` are lists.
    data
        MNIST's images, or some of them.
    folder
        Where to write.
    """
    for part, x, y in (("train", data.x_train, data.y_train), ("t10k", data.x_test, data.y_test)):
        _write_idx(folder / "data" / "MNIST" / "raw", part, x, y)
    (folder / "config.json").write_text(json.dumps(_config(options)))


def accuracies(folder: Path) -> list[float]:
    """Return the best test accuracy of every training that has finished."""
    found = sorted((folder / _RESULTS).glob("*/test_accuracy_*.txt"))
    return [float(np.loadtxt(path, delimiter=",").max()) for path in found]


def _config(options: Mapping[str, Any]) -> dict[str, Any]:
    momentum = parse_client(options["client"])
    if not isinstance(momentum, Momentum):
        raise ValueError(f"the comparison runs clients with momentum; found {options['client']}")
    steps = [rule.split(" > ") for rule in options["rule"]]
    ((before),) = {tuple(names[:-1]) for names in steps}
    return {
        "benchmark_config": {
            "training_algorithm": {"name": "DSGD", "parameters": {}},
            "nb_steps": options["rounds"],
            "device": "cpu",
            "training_seed": options["seed"],
            "nb_training_seeds": 1,
            "nb_honest_clients": options["honest"],
            "f": options["f"],
            "size_train_set": 1.0,
            "data_distribution_seed": options["seed"],
            "nb_data_distribution_seeds": 1,
            "data_distribution": [_PARTITIONS[name] for name in options["partition"]],
        },
        "model": {
            "name": f"{options['model']}_mnist",
            "dataset_name": "mnist",
            "nb_labels": 10,
            "loss": "NLLLoss",
            "learning_rate": options["learning_rate"],
            "learning_rate_decay": 1.0,
            "milestones": [],
        },
        "aggregator": _named(AGGREGATORS, [names[-1] for names in steps]),
        "pre_aggregators": _named(PREAGGREGATORS, before),
        "honest_clients": {
            "momentum": momentum.beta,
            "weight_decay": options["weight_decay"],
            "batch_size": options["batch_size"],
        },
        "attack": _named(_ATTACKS, options["attack"]),
        "evaluation_and_results": {
            "evaluation_delta": options["evaluate_every"],
            "batch_size_evaluation": 128,
            "evaluate_on_test": True,
            "store_per_client_metrics": False,
            "store_models": False,
            "data_folder": "./data",
            "results_directory": f"./{_RESULTS}",
        },
    }


def _named(table: Mapping[str, str], names: Sequence[str]) -> list[dict[str, Any]]:
    return [{"name": table[name], "parameters": {}} for name in names]


def _write_idx(folder: Path, part: str, images: Tensor, labels: Tensor) -> None:
    """Write two of MNIST's files, whose headers are big-endian."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = ((images * MNIST_STD + MNIST_MEAN) * 255).round().numpy().astype(np.uint8)
    _write(folder / f"{part}-images-idx3-ubyte", pixels.squeeze(1))
    _write(folder / f"{part}-labels-idx1-ubyte", labels.numpy().astype(np.uint8))


def _write(path: Path, values: npt.NDArray[np.uint8]) -> None:
    header = struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape)
    path.write_bytes(header + values.tobytes())
