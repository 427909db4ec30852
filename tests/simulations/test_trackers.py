"""Curves reach the tracker that a run is sent to."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from byzflower.simulations.cli.app import app
from byzflower.simulations.errors import ExperimentError
from byzflower.simulations.experiment import Experiment
from byzflower.simulations.runner import Round
from byzflower.simulations.trackers import Tracker, tracking

ROUNDS = [
    Round(0, 0.1, 2.3, {}, {}),
    Round(5, 0.6, float("nan"), {}, {"train_loss": 1.5, "drawn": "krum"}),
]


def test_tensorboard_has_the_curves(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with tracking(Tracker.tensorboard, Experiment(), tmp_path) as track:
        for done in ROUNDS:
            track(done)
    (place,) = (tmp_path / "tensorboard").iterdir()
    events = EventAccumulator(str(place)).Reload()
    accuracy = [(e.step, e.value) for e in events.Scalars("accuracy")]
    assert accuracy == [(0, pytest.approx(0.1)), (5, pytest.approx(0.6))]
    assert [e.step for e in events.Scalars("loss")] == [0]  # NaN is no point of a curve
    assert "drawn" not in events.Tags()["scalars"]


def test_weights_and_biases_gets_options_and_rounds_and_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    class Run:
        def log(self, numbers: dict[str, float], step: int) -> None:
            seen.append((step, numbers))

        def finish(self) -> None:
            seen.append("finished")

    def init(**options: Any) -> Run:
        seen.append(options)
        return Run()

    module = ModuleType("wandb")
    module.init = init  # type: ignore[attr-defined]
    module.__spec__ = pytest.__spec__  # found, as a module that is installed
    monkeypatch.setitem(sys.modules, "wandb", module)

    def interrupted() -> None:
        with tracking(Tracker.wandb, Experiment(seed=7), tmp_path) as track:
            track(ROUNDS[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    options, first, last = seen
    assert options["config"]["seed"] == 7
    assert first == (0, {"accuracy": 0.1, "loss": 2.3})
    assert last == "finished"


def test_a_tracker_that_is_not_installed_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("byzflower.simulations.trackers.find_spec", lambda name: None)
    with (
        pytest.raises(ExperimentError, match=r"byzflower\[tracking\]"),
        tracking(Tracker.wandb, Experiment(), tmp_path),
    ):
        pass


def test_an_unknown_tracker_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["run", "--track", "tensorbord", "--out", str(tmp_path)])
    assert result.exit_code != 0
    assert "tensorboard" in str(result.exception or result.output)
