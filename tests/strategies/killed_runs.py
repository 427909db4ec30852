"""Kill runs with SIGKILL at random lines of code and resume them; print each final model's hash.

The first line is the run that nobody kills. Run by test_checkpoint.py in a process of its own:
children are forked, which is safe only where torch has started no threads.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from flwr.app import Array, ArrayRecord
from flwr.serverapp.strategy import FedAdam

from byzflower.clients import ClientTask, LocalSGD, Objective, make_client_app
from byzflower.simulations.engines import run_in_process
from byzflower.strategies import Checkpoint, Robust

ROUNDS = 5
WATCHED = ("statefile.py", "checkpoint.py", "rounds.py", "zipfile.py", "robust.py")


def load(context: Any) -> ClientTask:
    i = context.node_config["partition-id"]
    x = torch.randn(12, 4, generator=torch.Generator().manual_seed(i))
    model = torch.nn.Linear(4, 3)
    return ClientTask(Objective(model), x, x[:, :3].argmax(1), partition_id=i, batch_size=4)


def run(folder: Path) -> str:
    def serve(grid: Any, context: Any) -> str:
        strategy = Robust(
            FedAdam(fraction_evaluate=0.0, beta_1=0.9, beta_2=0.9),
            "bucketing(s=2) > median",
            1,
            seed=1,
            checkpoint=Checkpoint(folder),
        )
        start = {"weight": torch.zeros(3, 4).numpy(), "bias": torch.zeros(3).numpy()}
        initial = ArrayRecord({key: Array(value) for key, value in start.items()})
        random.seed(0)
        arrays = strategy.start(grid, initial, num_rounds=ROUNDS).arrays
        data = b"".join(array.numpy().tobytes() for array in arrays.values())
        return hashlib.sha256(data).hexdigest()

    return str(run_in_process(serve, make_client_app(load, LocalSGD(2, 0.1)), 6))


def lines_of(folder: Path, kill_at: int | None) -> int:
    """Count the watched lines that a run executes; kill the process at one of them."""
    seen = 0

    def watch(frame: Any, event: str, arg: Any) -> Any:
        nonlocal seen
        if not frame.f_code.co_filename.endswith(WATCHED):
            return None
        if event == "line":
            seen += 1
            if seen == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return watch

    sys.settrace(watch)
    try:
        run(folder)
    finally:
        sys.settrace(None)
    return seen


def main(folder: Path, kills: int) -> None:
    logging.getLogger("flwr").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    total = lines_of(folder / "counted", None)
    print("nobody", run(folder / "whole"))
    moments = random.Random(7)
    for number in range(kills):
        kill_at = moments.randint(1, total)
        child = os.fork()
        if child == 0:
            lines_of(folder / str(number), kill_at)
            os._exit(1)  # it was to be killed
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            raise RuntimeError(f"the run was to be killed at line {kill_at} of {total}")
        print(kill_at, run(folder / str(number)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
