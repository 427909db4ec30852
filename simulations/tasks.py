"""What each client of an experiment gets: its share of the data, the objective, the algorithm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context
from torch import Tensor

import byzflower as bf
from byzflower.attack import Attack, flip_labels
from byzflower.clients.algorithms import Algorithm, Gradient, Objective, parse_client
from byzflower.clients.augmentation import random_flip
from byzflower.clients.task import ClientTask, JointTask
from byzflower.registry import own_classes, register

from .datasets import Dataset, load_dataset
from .errors import ExperimentError
from .experiment import Experiment
from .models import build_model
from .partitions import RowIndices, parse_partition

__all__ = [
    "TaskLoader",
    "chance",
    "make_algorithm",
    "open_dataset",
    "open_objective",
    "split_rows",
    "validation_rows",
]

_HELD_OUT = 1  # apart from what else is drawn from the seed


class TaskLoader:
    """Gives a node its task; picklable, so that every process of an engine loads its own data.

    Colluders are the partitions n − f … n − 1. Where they hold no data of their own, colluder
    j reads the honest share j mod (n − f): only attacks in which colluders train ever use it.

    Parameters
    ----------
    experiment
        The experiment.
    shares
        Row numbers, as :func:`split_rows` returns them.
    state_dir
        Folder for large client state, for engines with several processes.
    """

    def __init__(
        self, experiment: Experiment, shares: Sequence[RowIndices], state_dir: Path | None = None
    ) -> None:
        self.experiment = experiment
        self.shares = shares
        self.state_dir = state_dir

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self).items() if name[0] != "_"}
        return {**kept, "own_classes": own_classes()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for kind, cls in state.pop("own_classes"):
            register(kind)(cls)
        vars(self).update(state)

    def __call__(self, context: Context) -> ClientTask:
        """Return the task of the node whose ``node_config`` has the partition-id."""
        return self.task(int(context.node_config["partition-id"]))

    def task(self, partition_id: int) -> ClientTask:
        """Return the task of one partition, its labels flipped where the attack says so.

        Colluders that flip labels send the honest clients' mean gradient on flipped labels, or
        train on a share with flipped labels; see :class:`~byzflower.attack.LabelFlip`.
        """
        experiment = self.experiment
        data = open_dataset(experiment)
        rows = self.shares[partition_id % len(self.shares)]
        task = ClientTask(
            open_objective(experiment),
            _taken(data.x_train, rows),
            _taken(data.y_train, rows),
            partition_id=partition_id,
            batch_size=experiment.batch_size,
            seed=experiment.seed,
            device=experiment.device,
            state_dir=self.state_dir,
            augment=random_flip if data.flips else None,
        )
        if partition_id < experiment.honest or not (attack := _poisons_data(experiment)):
            return task
        if not attack.trains_once:
            return self._flipped(task)
        # What it sends is no honest client's state: a gradient stays one, without momentum.
        client = parse_client(experiment.client)
        computes = Gradient(getattr(client, "clip", None)) if client.payload == "gradient" else None
        return JointTask(
            **{f.name: getattr(task, f.name) for f in fields(task) if f.name != "algorithm"},
            algorithm=computes,
            of=self._flipped_honest,
        )

    @cached_property
    def _flipped_honest(self) -> tuple[ClientTask, ...]:
        """The honest clients' tasks with flipped labels, which all colluders share."""
        return tuple(self._flipped(self.task(i)) for i in range(self.experiment.honest))

    def _flipped(self, task: ClientTask) -> ClientTask:
        classes = open_dataset(self.experiment).num_classes
        return task.with_labels(lambda labels: flip_labels(labels, classes))


def split_rows(experiment: Experiment) -> list[RowIndices]:
    """Divide the training rows that are not held out among the clients that hold data."""
    labels = open_dataset(experiment).y_train.cpu().numpy()
    kept = np.setdiff1d(np.arange(len(labels)), validation_rows(experiment))
    shares = parse_partition(experiment.partition).split(
        labels[kept], experiment.partitions, experiment.seed_of_data
    )
    return [kept[share] for share in shares]


def chance(experiment: Experiment) -> float:
    """Return the accuracy of a model that answers with the test set's commonest class, always."""
    labels = open_dataset(experiment).y_test.cpu().numpy()
    return float(np.bincount(labels).max() / len(labels))


def validation_rows(experiment: Experiment) -> RowIndices:
    """Return the numbers of the training rows that are held out: a random ``validation`` share."""
    rows = len(open_dataset(experiment).y_train)
    rng = np.random.default_rng([experiment.seed_of_data, _HELD_OUT])
    return rng.permutation(rows)[: round(rows * experiment.validation)]


def make_algorithm(experiment: Experiment) -> Algorithm:
    """Build what honest clients compute."""
    algorithm = parse_client(experiment.client)
    if algorithm.per_sample and open_objective(experiment).mixes_examples:
        raise ExperimentError(
            f"`client` {algorithm.name} needs a model without batch normalisation; "
            f"found {experiment.model} on {experiment.dataset}"
        )
    if algorithm.per_sample and open_dataset(experiment).flips:
        raise ExperimentError(
            f"`client` {algorithm.name} needs the same images in every round; "
            f"found {experiment.dataset}, which flips them at random: pass flip=none"
        )
    return algorithm


def open_dataset(experiment: Experiment) -> Dataset:
    """Return the experiment's data on its device; read once a process."""
    return _load(
        experiment.dataset, experiment.data_dir, experiment.download, str(experiment.device)
    )


@lru_cache(maxsize=2)
def _load(name: str, data_dir: str | None, download: bool, device: str) -> Dataset:
    return load_dataset(name, data_dir, download=download).to(device)


@lru_cache(maxsize=2)
def open_objective(experiment: Experiment) -> Objective:
    """Return model, loss and penalty; one object for all clients of a process."""
    data = open_dataset(experiment)
    model = build_model(
        experiment.model, data.shape, data.num_classes, experiment.seed, experiment.init_scale
    )
    return Objective(
        model.to(experiment.device),
        l2=experiment.weight_decay,
        squared=experiment.penalty == "squared",
    )


def _taken(tensor: Tensor, rows: RowIndices) -> Tensor:
    """Return these rows: of all rows in order, as every client of `shared` has, no copy."""
    everything = len(rows) == len(tensor) and np.array_equal(rows, np.arange(len(rows)))
    return tensor if everything else tensor[rows]


def _poisons_data(experiment: Experiment) -> Attack | None:
    """Return the attack if it acts on the colluders' data."""
    attack = None if experiment.attack == "none" else bf.parse_attack(experiment.attack)
    return attack if attack is not None and attack.level == "data" else None
