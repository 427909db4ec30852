"""Where a run's numbers go: a file of JSON lines, and TensorBoard or Weights & Biases if asked."""

from __future__ import annotations

import json
from pathlib import Path


class Journal:
    """Takes numbers by round.

    Parameters
    ----------
    folder
        Where ``results.jsonl`` and TensorBoard's events go.
    tensorboard
        Whether to write events; needs ``pip install tensorboard``.
    wandb_project
        Project at Weights & Biases, "" for none; needs ``pip install wandb`` and an account, or
        WANDB_MODE=offline.
    """

    def __init__(self, folder: Path, *, tensorboard: bool = False, wandb_project: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "results.jsonl"
        self._events = self._run = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  # optional

            self._events = SummaryWriter(str(folder))
        if wandb_project:
            import wandb  # noqa: PLC0415  # optional

            self._run = wandb.init(project=wandb_project, dir=str(folder))

    def note(self, server_round: int, numbers: dict[str, float]) -> None:
        """Write one round's numbers."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"round": server_round, **numbers}) + "\n")
        if self._events is not None:
            for name, value in numbers.items():
                self._events.add_scalar(name, value, server_round)
            self._events.flush()
        if self._run is not None:
            self._run.log(numbers, step=server_round)
