"""A real deployment on loopback survives what happens to deployments."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

from byzflower.simulations.deployment import drill

APP = Path(__file__).parents[2] / "simulations" / "quickstart"


@pytest.mark.deployment
def test_a_liar_and_four_deaths_leave_a_good_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    file = drill(APP, tmp_path, said.append)
    assert said[-1].endswith("finished:completed")
    monkeypatch.syspath_prepend(str(APP))
    task = importlib.import_module("quickstart.task")
    model = task.make_model()
    with np.load(file) as archive:
        model.load_state_dict({key: torch.from_numpy(value) for key, value in archive.items()})
    assert task.accuracy(model) > 0.85
