"""results.jsonl: what is written comes back, also from a file cut short."""

from __future__ import annotations

import json

import pytest

from byzflower.simulations.errors import ExperimentError
from byzflower.simulations.experiment import Experiment
from byzflower.simulations.results import ResultsFile, read_records, read_runs, run_id


def write_run(folder, run, accuracies):
    with ResultsFile(folder) as results:
        results.write("config", run, rule="mean", attack="none")
        for t, accuracy in enumerate(accuracies):
            results.write("round", run, round=t, accuracy=accuracy)
        results.write("summary", run, accuracy=accuracies[-1])


def test_records_come_back(tmp_path):
    write_run(tmp_path / "new", "a", [0.1, 0.9])
    write_run(tmp_path / "new", "b", [0.2])
    first, second = read_runs(tmp_path / "new")
    assert [r["accuracy"] for r in first.rounds] == [0.1, 0.9]
    assert (second.config["rule"], second.summary["accuracy"]) == ("mean", 0.2)


def test_every_line_is_on_disk_before_the_file_is_closed(tmp_path):
    with ResultsFile(tmp_path) as results:
        results.write("config", "a", rule="mean")
        results.write("round", "a", round=1, accuracy=0.5)
        (run,) = read_runs(tmp_path)
    assert (len(run.rounds), run.summary) == (1, None)


def test_a_last_line_cut_short_is_left_out(tmp_path):
    write_run(tmp_path, "a", [0.1, 0.9])
    path = tmp_path / "results.jsonl"
    path.write_text(path.read_text()[:-9])
    (run,) = read_runs(tmp_path)
    assert (len(run.rounds), run.summary) == (2, None)


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_run_after_a_crash_is_recorded(cut, tmp_path):
    with ResultsFile(tmp_path) as results:
        results.write("config", "a", rule="mean")
        results.write("summary", "a", skipped="needs n ≥ 3")
    path = tmp_path / "results.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    write_run(tmp_path, "b", [0.5])
    first, second = read_runs(tmp_path)
    assert (first.config["rule"], first.summary) == ("mean", None)
    assert second.summary["accuracy"] == 0.5


def test_of_a_repeated_run_the_last_repetition_counts(tmp_path):
    write_run(tmp_path, "a", [0.1, 0.2, 0.3])
    write_run(tmp_path, "a", [0.7])
    (run,) = read_runs(tmp_path)
    assert [r["accuracy"] for r in run.rounds] == [0.7]


def test_an_interrupted_repetition_does_not_replace_a_finished_run(tmp_path):
    with ResultsFile(tmp_path) as results:
        results.write("config", "a", rule="mean")
        results.write("summary", "a", accuracy=0.1, interrupted=True)
    (run,) = read_runs(tmp_path)
    assert not run.finished
    write_run(tmp_path, "a", [0.1, 0.9])
    with ResultsFile(tmp_path) as results:
        results.write("config", "a", rule="mean")
        results.write("round", "a", accuracy=0.1)
        results.write("summary", "a", accuracy=0.1, interrupted=True)
    (run,) = read_runs(tmp_path)
    assert run.finished
    assert run.summary["accuracy"] == 0.9


def test_numbers_that_are_not_finite_become_null(tmp_path):
    with ResultsFile(tmp_path) as results:
        results.write("round", "a", loss=float("inf"), note={"x": [float("nan"), 1.0]})
    text = (tmp_path / "results.jsonl").read_text()
    assert json.loads(text) == {"kind": "round", "run": "a", "loss": None, "note": {"x": [None, 1]}}


def test_a_damaged_line_is_named(tmp_path):
    (tmp_path / "results.jsonl").write_text('{"kind": "config", "run": "a"}\nrubbish\n')
    with pytest.raises(ExperimentError, match="found line 2: 'rubbish'"):
        list(read_records(tmp_path))


def test_missing_results_are_named(tmp_path):
    with pytest.raises(ExperimentError, match=r"results need .*results\.jsonl; found: "):
        read_runs(tmp_path)


def test_an_unwritable_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExperimentError, match="`out` needs a writable folder of its own; found"):
        ResultsFile(tmp_path / "file")


def test_the_run_id_depends_on_what_determines_the_run():
    config = Experiment().config()
    assert run_id(config) == run_id(Experiment().config())
    assert run_id(config) == run_id(config | {"data_dir": "elsewhere"})
    assert run_id(config) != run_id(config | {"seed": 2})
