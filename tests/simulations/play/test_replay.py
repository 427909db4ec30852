"""Results files may come from anywhere: only what is known and well-formed reaches the page."""

from __future__ import annotations

import json
from pathlib import Path

from byzflower.simulations.experiment import Experiment
from byzflower.simulations.play.replay import recorded
from byzflower.simulations.recording import record_run
from byzflower.simulations.results import FILE_NAME, ResultsFile
from byzflower.simulations.sweep.manifest import Manifest


def test_a_run_of_this_library_replays_with_weights_thresholds_and_rejections(
    tmp_path: Path,
) -> None:
    with ResultsFile(tmp_path) as results:
        for rule, attack in (("arc > krum", "foe(tau=10)"), ("median", "nan")):
            experiment = Experiment(
                rule=rule, attack=attack, n=6, f=1, rounds=2, model="softmax", partition="iid"
            )
            record_run(experiment, results)
    krum, median = recorded(tmp_path / FILE_NAME)
    assert [record["round"] for record in krum["rounds"]] == [0, 1, 2]
    last = krum["rounds"][-1]
    assert list(last["weights"]) == ["1", "2", "3", "4", "5", "6"]
    assert sorted(last["weights"].values())[:5] == [0.0] * 5
    assert last["weights"]["6"] == 0.0  # the colluder is not chosen
    assert last["threshold"] > 0
    assert 6 in last["clipped"]
    assert "weights" not in median["rounds"][-1]
    assert median["rounds"][-1]["rejections"] == {"6": "non-finite"}
    assert median["rounds"][-1]["rejected"] == 1


def test_what_is_malformed_is_left_out(tmp_path: Path) -> None:
    lines = [
        {"kind": "config", "run": "a", "rule": "x" * 1000, "n": [1], "secret": "s"},
        {"kind": "round", "run": "a", "round": "1", "accuracy": 0.5},
        {"kind": "round", "run": "a", "round": 2, "accuracy": "0.5", "loss": {}, "weights": [1]},
        {"kind": "round", "run": "a", "round": 1, "weights": {"1": [2], "2": 1.0}, "clipped": "x"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / FILE_NAME).write_text(text.replace('"loss": {}', '"loss": Infinity'))
    (run,) = recorded(tmp_path)
    assert run["config"] == {"rule": "x" * 200}
    assert run["rounds"] == [
        {"round": 1, "weights": {"2": 1.0}},
        {"round": 2},
    ]


def test_a_sweep_replays_its_cells(tmp_path: Path) -> None:
    for key, rule in (("a", "median"), ("b", "mean")):
        with ResultsFile(tmp_path / "cells" / key) as results:
            results.write("config", key, rule=rule)
            results.write("round", key, round=1, accuracy=0.5)
    Manifest("A sweep", "byzflower sweep", {"a": "first", "b": "second"}).write(tmp_path)
    assert [run["config"]["rule"] for run in recorded(tmp_path)] == ["median", "mean"]
