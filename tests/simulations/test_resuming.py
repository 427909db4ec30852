"""A run that was killed in the middle ends as if it had not been: model, rounds and summary."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from byzflower.simulations.errors import ExperimentError
from byzflower.simulations.experiment import Experiment
from byzflower.simulations.recording import record_run
from byzflower.simulations.results import ResultsFile, read_records

OPTIONS: dict[str, Any] = {"rounds": 11, "n": 7, "f": 1, "evaluate_every": 2}
EXPERIMENTS: dict[str, dict[str, Any]] = {
    "momentum": {"client": "momentum", "rule": "arc > nnm > median"},
    "saga": {"client": "saga", "model": "softmax", "rule": "resampling(s=2) > geometric_median"},
    "local sgd": {"client": "local_sgd", "rule": "bucketing(s=2) > median"},
    "rsa": {"client": "rsa", "rule": "sign_votes"},
    "center": {"rule": "centered_clipping(tau=0.5)", "attack": "foe(tau=adaptive)"},
    "mimic": {"rule": "median", "attack": "mimic(warmup=3)"},
    "server momentum": {"rule": "mixtailor(pool=[median, krum])", "server_momentum": 0.9},
}


class StoppedError(Exception):
    """Ends a run in the middle."""


def experiment(name: str, engine: str) -> Experiment:
    options = {"partition": "iid", "attack": "sign_flip", **OPTIONS, **EXPERIMENTS[name]}
    return Experiment.from_options({**options, "engine": engine})


def recorded(chosen: Experiment, folder: Path, stop_after: int | None = None) -> Any:
    def on_round(done: Any) -> None:
        if done.round == stop_after:
            raise StoppedError

    with ResultsFile(folder) as results:
        summary = record_run(chosen, results, on_round, checkpoint_every=3)
    records = [record for record in read_records(folder) if record["kind"] == "round"]
    (model,) = folder.glob("model-*.npz")
    with np.load(model) as archive:
        arrays = {key: value.tobytes() for key, value in archive.items()}
    summary.pop("seconds")
    return arrays, records, summary


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("engine", ["batched", "inprocess"])
def test_a_stopped_run_ends_bit_for_bit_as_if_it_had_not(
    name: str, engine: str, tmp_path: Path
) -> None:
    chosen = experiment(name, engine)
    expected = recorded(chosen, tmp_path / "whole")
    for stop_after in (0, 8):  # before the first checkpoint, and after the one of round 6
        with pytest.raises(StoppedError):
            recorded(chosen, tmp_path / "stopped", stop_after)
    assert recorded(chosen, tmp_path / "stopped") == expected
    assert [record["round"] for record in expected[1]] == [0, 2, 4, 6, 8, 10, 11]
    assert not list((tmp_path / "stopped").glob("checkpoint-*"))


def test_two_runs_cannot_write_into_one_folder(tmp_path: Path) -> None:
    with (
        ResultsFile(tmp_path),
        pytest.raises(ExperimentError, match=r"process \d+ is writing to"),
    ):
        ResultsFile(tmp_path)
    ResultsFile(tmp_path).__exit__(None, None, None)


def test_a_full_disk_leaves_no_half_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with ResultsFile(tmp_path) as results, pytest.raises(OSError, match="No space"):
        record_run(experiment("momentum", "batched"), results)
    assert not list(tmp_path.glob("*.npz*"))


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("name", ["momentum", "saga"])  # state in contexts, and in files
def test_a_stopped_run_on_ray_ends_as_one_that_was_not(
    name: str, tmp_path: Path, tolerating_ray: Any
) -> None:
    expected = recorded(experiment(name, "inprocess"), tmp_path / "whole")
    chosen = experiment(name, "ray")
    with tolerating_ray():
        with pytest.raises(StoppedError):
            recorded(chosen, tmp_path / "stopped", stop_after=8)
        arrays, records, _ = recorded(chosen, tmp_path / "stopped")
    assert arrays == expected[0]
    assert [record["round"] for record in records] == [0, 2, 4, 6, 8, 10, 11]
    assert [record["loss"] for record in records] == [record["loss"] for record in expected[1]]


@pytest.mark.slow
def test_kill_9_in_byzflower_run_costs_no_round_twice(tmp_path: Path) -> None:
    options = ["--rounds", "60", "--rule", "median", "--rule", "nnm > median", "--client", "saga"]
    options += ["--model", "softmax", "--checkpoint-every", "4", "--partition", "iid"]

    def start(folder: Path) -> subprocess.Popen[bytes]:
        code = "from byzflower.simulations.cli import main; main()"
        command = [sys.executable, "-c", code, "run", *options, "--out", str(folder)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    assert start(tmp_path / "whole").wait() == 0
    killed = tmp_path / "killed"
    for marks in (20, 70):  # lines of results: in the first rule's rounds, in the second's
        process = start(killed)
        while process.poll() is None:
            file = killed / "results.jsonl"
            if file.exists() and file.read_bytes().count(b"\n") >= marks:
                process.send_signal(signal.SIGKILL)
                process.wait()
        assert process.returncode == -signal.SIGKILL
    assert start(killed).wait() == 0

    def results(folder: Path) -> list[tuple[Any, ...]]:
        return [
            (record["run"], record["round"], record["accuracy"], record["loss"])
            for record in read_records(folder)
            if record["kind"] == "round"
        ]

    assert results(killed) == results(tmp_path / "whole")
    for path in (tmp_path / "whole").glob("model-*.npz"):
        with np.load(path) as whole, np.load(killed / path.name) as resumed:
            for key in whole.files:
                assert whole[key].tobytes() == resumed[key].tobytes()
