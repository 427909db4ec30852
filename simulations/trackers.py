"""A run's curves, sent to TensorBoard or Weights & Biases while it goes on."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

from .errors import ExperimentError
from .experiment import Experiment
from .results import run_id
from .runner import Round

__all__ = ["Tracker", "tracking"]


class Tracker(StrEnum):
    """What curves are sent to."""

    tensorboard = "tensorboard"
    wandb = "wandb"


@contextmanager
def tracking(
    tracker: Tracker | None, experiment: Experiment, folder: Path
) -> Iterator[Callable[[Round], None]]:
    """Open a run at the tracker; yield what takes its rounds.

    TensorBoard's files lie in ``folder/tensorboard``, a folder a run; Weights & Biases gets the
    project "byzflower" unless ``WANDB_PROJECT`` names another, and the options as configuration.

    Parameters
    ----------
    tracker
        Where to; ``None`` for nowhere.

    Raises
    ------
    ExperimentError
        If the tracker's package is not installed.
    """
    if tracker is None:
        yield lambda done: None
        return
    if find_spec(tracker) is None:
        raise ExperimentError(
            f"`track` {tracker} needs pip install 'byzflower[tracking]'; found no module "
            f"{tracker.value!r}"
        )
    name = f"{experiment.rule}, seed {experiment.seed}, {run_id(experiment.config())}"
    send = _tensorboard if tracker is Tracker.tensorboard else _wandb
    with send(name, experiment, folder) as log:
        yield lambda done: log(_numbers(done), done.round)


_Log = Callable[[dict[str, float], int], None]


@contextmanager
def _tensorboard(name: str, experiment: Experiment, folder: Path) -> Iterator[_Log]:
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - optional

    place = folder / "tensorboard" / run_id(experiment.config())
    with SummaryWriter(place) as writer:
        writer.add_text("run", name)

        def log(numbers: dict[str, float], step: int) -> None:
            for key, value in numbers.items():
                writer.add_scalar(key, value, step)

        yield log


@contextmanager
def _wandb(name: str, experiment: Experiment, folder: Path) -> Iterator[_Log]:
    import wandb  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - optional

    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "byzflower"),
        name=name,
        config=experiment.config(),
        dir=folder,
    )
    try:
        yield lambda numbers, step: run.log(numbers, step=step)
    finally:
        run.finish()


def _numbers(done: Round) -> dict[str, float]:
    """Return what of a round can be drawn as a curve."""
    notes = {key: value for key, value in done.notes.items() if isinstance(value, int | float)}
    numbers = {"accuracy": done.accuracy, "loss": done.loss, **notes}
    return {key: float(value) for key, value in numbers.items() if math.isfinite(value)}
