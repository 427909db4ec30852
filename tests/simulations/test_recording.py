"""What a run leaves on disk, however it ends."""

from __future__ import annotations

import numpy as np
import pytest

from byzflower.simulations.recording import record_run
from byzflower.simulations.results import ResultsFile, read_runs


def test_a_run_leaves_config_rounds_summary_and_model(small, tmp_path):
    seen = []
    with ResultsFile(tmp_path) as results:
        summary = record_run(small(), results, seen.append)
    (run,) = read_runs(tmp_path)
    assert run.config["attack"] == "foe(tau=10)"
    assert run.config["versions"].keys() == {"byzflower", "flwr", "torch", "numpy"}
    assert [r["round"] for r in run.rounds] == [0, 1, 2, 3]
    assert {(r["rule"], r["attack"]) for r in run.rounds} == {("trimmed_mean", "foe(tau=10)")}
    assert run.summary["accuracy"] == run.rounds[-1]["accuracy"] == summary["accuracy"]
    assert run.summary["max_accuracy"] == max(r["accuracy"] for r in run.rounds)
    assert (run.summary["rounds"], len(seen)) == (3, 4)
    assert 0.1 < run.summary["chance"] < 0.11  # of ten classes nearly alike in number
    with np.load(tmp_path / f"model-trimmed_mean-seed-1-{run.config['run']}.npz") as model:
        assert {key: model[key].shape for key in model} == {"1.weight": (10, 64), "1.bias": (10,)}
        assert np.array_equal(model["1.bias"], seen[-1].model["1.bias"])


def test_an_interrupted_run_leaves_what_was_done(small, tmp_path):
    def interrupt(done):
        if done.round == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ResultsFile(tmp_path) as results:
        record_run(small(), results, interrupt)
    (run,) = read_runs(tmp_path)
    assert [r["round"] for r in run.rounds] == [0, 1, 2]
    assert (run.summary["interrupted"], run.summary["rounds"]) == (True, 2)
    assert "error" not in run.summary
    assert list(tmp_path.glob(f"model-*-{run.config['run']}.npz"))


def test_a_failed_run_leaves_what_was_done_and_the_reason(small, tmp_path):
    def fail(done):
        if done.round == 2:
            raise RuntimeError("out of\nluck")

    with pytest.raises(RuntimeError, match="luck"), ResultsFile(tmp_path) as results:
        record_run(small(), results, fail)
    (run,) = read_runs(tmp_path)
    assert [r["round"] for r in run.rounds] == [0, 1, 2]
    assert not run.finished
    assert (run.summary["error"], run.summary["rounds"]) == ("RuntimeError: out of luck", 2)
    assert list(tmp_path.glob(f"model-*-{run.config['run']}.npz"))


def test_an_interrupted_repetition_leaves_the_finished_model(small, tmp_path):
    with ResultsFile(tmp_path) as results:
        record_run(small(), results)
    (model,) = tmp_path.glob("model-*.npz")
    finished = model.read_bytes()

    def interrupt(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ResultsFile(tmp_path) as results:
        record_run(small(), results, interrupt)
    assert model.read_bytes() == finished


def test_a_summary_says_why_the_last_round_was_skipped(small, tmp_path):
    with ResultsFile(tmp_path) as results:
        summary = record_run(small(model="mlp", learning_rate=1e38), results)
    assert "NaN, Inf or numbers too large" in summary["skipped"]
