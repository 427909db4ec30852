"""Carry out an experiment: one server, one ClientApp, any engine."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from flwr.app import ArrayRecord, Context
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from torch import Tensor
from torch.nn.functional import cross_entropy

from byzflower.clients.adversary import Adversary
from byzflower.clients.algorithms import Algorithm, Params
from byzflower.clients.app import make_client_app
from byzflower.clients.table import TableFiles
from byzflower.strategies import Checkpoint, Robust
from byzflower.threads import torch_threads
from byzflower.wire.arrays import to_record, to_tensor

from .engines import run_in_process
from .engines.batched import BatchedGrid
from .errors import ExperimentError
from .experiment import Experiment
from .honest_norms import HonestNorms, clips_adaptively
from .partitions import RowIndices
from .server import make_strategy, notes_of, selection_of
from .tasks import (
    TaskLoader,
    make_algorithm,
    open_dataset,
    open_objective,
    split_rows,
    validation_rows,
)

__all__ = ["Round", "prepare", "run_experiment"]

_TEST_BATCH = 1000
_TABLES_IN_MEMORY = 1 << 30
"""Bytes of all clients' SAGA tables, beyond which they lie in files of the temporary folder."""


@dataclass(frozen=True)
class Round:
    """What is known after a round; round 0 is the initial model.

    Attributes
    ----------
    accuracy, loss : float
        On the test set; the loss of a broken model may be inf or NaN.
    model : dict of str to Tensor
        The global model's ``state_dict``; shared, not to be modified.
    notes : dict
        What the clients and the strategy report: ``train_loss``, rejected replies, the clipping
        threshold and the honest norms beside it, the rule drawn.
    validation : float or None
        Accuracy on the training rows that were held out, if any were.
    selection : list of (float or None) or None
        After the last round, by node: the share of rounds in which the rule gave it a weight; None
        for one that was never weighed, as coordinate-wise rules weigh nobody.
    """

    round: int
    accuracy: float
    loss: float
    model: Params
    notes: dict[str, object] = field(default_factory=dict)
    validation: float | None = None
    selection: list[float | None] | None = None


def prepare(experiment: Experiment) -> tuple[list[RowIndices], Algorithm]:
    """Load the data, divide them and build the model: whatever can be wrong shows before a run.

    Raises
    ------
    ExperimentError
        If data are missing, or data, model, clients and partition do not fit together, or the
        engine is not installed.
    """
    if experiment.engine == "ray" and find_spec("ray") is None:
        raise ExperimentError(
            "`engine` ray needs pip install 'byzflower[simulation]'; found no module 'ray'"
        )
    shares = split_rows(experiment)
    open_objective(experiment)
    return shares, make_algorithm(experiment)


def run_experiment(
    experiment: Experiment,
    on_round: Callable[[Round], None],
    checkpoint: Checkpoint | None = None,
    *,
    verbose: bool = False,
) -> Params:
    """Run an experiment to its end and return the final model.

    Parameters
    ----------
    experiment
        What to run.
    on_round
        Called after round 0, every ``evaluate_every`` rounds and the last one. What it raises ends
        the run and comes through, as does Ctrl-C.
    checkpoint
        Where the run is saved, its clients and colluders included, and after which of its rounds
        it goes on; ends with the same model as if it had never stopped.
    verbose
        Whether Flower's log, several lines a round, is shown; errors always are.

    Raises
    ------
    ExperimentError
        As :func:`prepare`.

    Examples
    --------
    >>> accuracies = []
    >>> experiment = Experiment(partition="iid", attack="none", rounds=40, evaluate_every=40)
    >>> model = run_experiment(experiment, lambda done: accuracies.append(done.accuracy))
    >>> len(accuracies), accuracies[-1] > 0.5
    (2, True)
    """
    shares, algorithm = prepare(experiment)

    def serve(grid: Grid, context: Context) -> Params:
        companions: dict[str, Any] = {"clients": grid}
        if state_dir is not None and experiment.engine == "ray":  # else the nodes save them
            companions["tables"] = TableFiles(state_dir, context.run_id)
        kept = checkpoint and replace(
            checkpoint, companions={**companions, **checkpoint.companions}
        )
        return _serve(experiment, strategy, grid, on_round, kept)

    with (
        _log_level(logging.NOTSET if verbose else logging.ERROR),
        torch_threads(experiment.threads),
        TemporaryDirectory(prefix="byzflower-") as folder,
    ):
        strategy = make_strategy(experiment)
        # One process keeps client state in memory, up to a limit; several share it in a folder.
        apart = experiment.engine == "ray" or _table_bytes(experiment, shares) > _TABLES_IN_MEMORY
        state_dir = Path(folder) if apart else None
        loader = TaskLoader(experiment, shares, state_dir)
        app = make_client_app(loader, algorithm)
        return _ENGINES[experiment.engine](serve, app, experiment)


def _table_bytes(experiment: Experiment, shares: Sequence[RowIndices]) -> int:
    """Return the bytes of all clients' tables of gradients; 0 for clients without one."""
    if not make_algorithm(experiment).per_sample:
        return 0
    parameters = open_objective(experiment).model.parameters()
    row = sum(p.numel() * p.element_size() for p in parameters)
    return row * sum(len(share) for share in shares)


@contextmanager
def _log_level(least: int) -> Iterator[None]:
    """Let Flower's logger say nothing below ``least``."""
    logger = logging.getLogger("flwr")
    before = logger.level
    logger.setLevel(max(before, least))
    try:
        yield
    finally:
        logger.setLevel(before)


def _serve(
    experiment: Experiment,
    strategy: Robust,
    grid: Grid,
    on_round: Callable[[Round], None],
    checkpoint: Checkpoint | None,
) -> Params:
    norms = None
    if clips_adaptively(strategy.rule):
        norms = grid = HonestNorms(grid, experiment.honest, experiment.payload)
    if experiment.attack != "none":
        grid = Adversary(
            grid,
            experiment.attack,
            nodes=range(experiment.honest + 1, experiment.n + 1),
            rule=strategy.rule,
            payload=strategy.payload,
            seed=experiment.seed,
        )
        if checkpoint is not None:
            companions = {**checkpoint.companions, "adversary": grid}
            checkpoint = replace(checkpoint, companions=companions)
    strategy.checkpoint = checkpoint

    data, held_out = open_dataset(experiment), validation_rows(experiment)

    def evaluate(server_round: int, arrays: ArrayRecord) -> None:
        last = server_round == experiment.rounds
        if server_round % experiment.evaluate_every == 0 or last:
            model = _state_dict(arrays)
            accuracy, loss = _test(experiment, model, data.x_test, data.y_test)
            done = Round(server_round, accuracy, loss, model, notes_of(strategy))
            if norms is not None:
                done.notes.update(norms.notes)
            if len(held_out):
                rows = data.x_train[held_out], data.y_train[held_out]
                done = replace(done, validation=_test(experiment, model, *rows)[0])
            if last:
                done = replace(done, selection=selection_of(strategy, experiment.n))
            on_round(done)

    initial = to_record(open_objective(experiment).initial())
    result = strategy.start(grid, initial, num_rounds=experiment.rounds, evaluate_fn=evaluate)
    return _state_dict(result.arrays)


def _state_dict(arrays: ArrayRecord) -> Params:
    return {key: to_tensor(array) for key, array in arrays.items()}


@torch_threads(1)  # the loss is to have the same bits for any number of threads
@torch.no_grad()
def _test(
    experiment: Experiment, model: Params, inputs: Tensor, labels: Tensor
) -> tuple[float, float]:
    """Return accuracy and mean cross-entropy on these rows."""
    objective = open_objective(experiment)
    params, buffers = objective.split({k: v.to(experiment.device) for k, v in model.items()})
    correct, loss = torch.zeros((), device=experiment.device), 0.0
    for start in range(0, len(labels), _TEST_BATCH):
        x, y = (part[start : start + _TEST_BATCH] for part in (inputs, labels))
        logits = objective.outputs(params, buffers, x)
        loss += float(cross_entropy(logits, y, reduction="sum"))
        correct += (logits.argmax(1) == y).sum()
    return float(correct) / len(labels), loss / len(labels)


Serve = Callable[[Grid, Context], Params]


def _in_process(serve: Serve, app: ClientApp, experiment: Experiment) -> Params:
    return run_in_process(serve, app, experiment.n, client_threads=1)


def _batched(serve: Serve, app: ClientApp, experiment: Experiment) -> Params:
    return run_in_process(serve, app, experiment.n, grid_type=BatchedGrid, client_threads=1)


def _on_ray(serve: Serve, app: ClientApp, experiment: Experiment) -> Params:
    from .engines.ray import run_on_ray  # noqa: PLC0415  # imports Ray

    # As many clients as there are CPUs run at a time; they divide a GPU evenly.
    share = 1 / (os.cpu_count() or 1) if experiment.device.startswith("cuda") else 0.0
    return run_on_ray(serve, app, experiment.n, num_gpus=share, client_threads=1)


_ENGINES: dict[str, Callable[[Serve, ClientApp, Experiment], Params]] = {
    "batched": _batched,
    "inprocess": _in_process,
    "ray": _on_ray,
}
