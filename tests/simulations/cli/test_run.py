"""``byzflower run``: rules and seeds side by side, files, interruptions."""

from __future__ import annotations

import os
import re
import signal
import sys

import pytest

import byzflower
from byzflower.simulations.results import read_runs
from command_line import QUICK


def test_rules_run_side_by_side(call, tmp_path):
    code, out, _ = call("run", *QUICK, "--rule", "mean", "--rule", "nnm>median", "--out", "here")
    assert code == 0
    runs = read_runs(tmp_path / "here")
    assert [run.config["rule"] for run in runs] == ["mean", "nnm > median"]
    for run in runs:
        assert run.config["rule"] in out
        assert f"{run.summary['accuracy']:.1%}" in out
    models = [path.name.rpartition("-")[0] for path in (tmp_path / "here").glob("*.npz")]
    assert sorted(models) == ["model-mean-seed-1", "model-nnm-median-seed-1"]
    assert (tmp_path / "here" / "accuracy.png").is_file()


def test_a_rule_given_twice_runs_once(call, tmp_path):
    specs = ("--rule", "median", "--rule", "median()", "--out", "once")
    code, out, _ = call("run", *QUICK, *specs)
    assert (code, out.count("median")) == (0, 1)
    assert len(read_runs(tmp_path / "once")) == 1


def test_the_table_is_printed_where_the_picture_cannot_be_saved(call, tmp_path):
    (tmp_path / "out" / "accuracy.png").mkdir(parents=True)
    code, out, err = call("run", *QUICK, "--rule", "median", "--out", "out")
    assert code == 2
    assert "final accuracy" in out
    assert "`out` needs a writable folder; found" in err
    assert "Traceback" not in err


def test_brackets_are_shown_as_they_are(call):
    code, _, err = call("run", *QUICK, "--rule", "mean", "--out", "[bold]x")
    assert code == 0
    assert "results in [bold]x" in err


def test_the_command_line_overrides_the_file(call, tmp_path):
    (tmp_path / "small.toml").write_text(
        'rule = ["median", "mean"]\nmodel = "softmax"\nn = 5\nf = 1\nrounds = 9\n'
        'partition = "iid"\nattack = "none"\n'
    )
    code, _, _ = call("run", "--config", "small.toml", "--rounds", "1")
    assert code == 0
    runs = read_runs(tmp_path / "runs" / "small")
    assert [(run.config["rule"], run.config["rounds"]) for run in runs] == [
        ("median", 1),
        ("mean", 1),
    ]


def test_every_rule_runs_from_every_seed(call, tmp_path):
    chosen = ("--rule", "mean", "--rule", "median", "--seed", "1", "--seed", "2")
    code, out, _ = call("run", *QUICK, *chosen, "--out", "x")
    assert code == 0
    runs = [(run.config["rule"], run.config["seed"]) for run in read_runs(tmp_path / "x")]
    assert runs == [("mean", 1), ("mean", 2), ("median", 1), ("median", 2)]
    rows = [line.split() for line in out.splitlines()]
    heads = [tuple(row[:3]) for row in rows]
    assert {("mean", "2", "2"), ("median", "1", "2"), ("median", "all", "2")} <= set(heads)
    (one,), (other,) = (
        [float(row[3].rstrip("%")) for row in rows if row[:2] == ["median", seed]]
        for seed in ("1", "2")
    )
    found = re.search(r"median +all 2 +2 +([\d.]+)% \(([\d.]+)–([\d.]+)%\)", out)
    mean, low, high = map(float, found.groups())
    assert (low, high) == (min(one, other), max(one, other))
    assert mean == pytest.approx((one + other) / 2, abs=0.1)


def test_the_picture_has_what_the_folder_holds_without_attack(call, monkeypatch):
    from byzflower.simulations.cli import screen

    drawn = []
    monkeypatch.setattr(screen, "plot_accuracy", lambda runs, path: drawn.append(runs))
    attack = ("--rule", "median", "--out", "x")
    call("run", *QUICK, "--rule", "mean", "--attack", "none", "--out", "x")
    call("run", *QUICK, "--rule", "mean", "--attack", "none", "--lr", "0.1", "--out", "x")
    call("run", *QUICK, *attack)
    told = [
        (run.config["rule"], run.config["attack"], run.config["learning_rate"]) for run in drawn[2]
    ]
    assert told == [("median", "foe(tau=10)", 0.5), ("mean", "none", 0.5)]


def test_rsa_without_a_rule_has_its_own(call, tmp_path):
    assert call("run", *QUICK, "--client", "rsa", "--out", "x")[0] == 0
    (run,) = read_runs(tmp_path / "x")
    assert run.config["rule"] == "sign_votes(step=0.001)"


def test_the_engine_that_is_not_installed_is_refused_before_a_folder_is_made(
    call, monkeypatch, tmp_path
):
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = call("run", *QUICK, "--engine", "ray", "--out", "x")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("byzflower: `engine` ray needs pip install 'byzflower[simulation]'")
    assert not (tmp_path / "x").exists()


def test_the_file_may_say_where_to_and_how_loud(call, tmp_path):
    options = 'model = "softmax"\npartition = "iid"\nn = 5\nf = 1\nrounds = 1\nrule = "mean"\n'
    (tmp_path / "e.toml").write_text(options + 'out = "there"\nverbose = true\n')
    assert call("run", "--config", "e.toml")[0] == 0
    assert len(read_runs(tmp_path / "there")) == 1
    assert call("run", "--config", "e.toml", "--out", "here")[0] == 0
    assert len(read_runs(tmp_path / "here")) == 1
    (tmp_path / "e.toml").write_text(options + "out = 3\n")
    code, _, err = call("run", "--config", "e.toml")
    assert (code, err) == (2, "byzflower: `out` needs text; found 3\n")


def test_without_rule_the_three_rules_of_the_default_run(call, tmp_path):
    assert call("run", *QUICK, "--out", "x")[0] == 0
    rules = [run.config["rule"] for run in read_runs(tmp_path / "x")]
    assert rules == ["mean", "trimmed_mean", "arc > nnm > trimmed_mean"]


def test_ctrl_c_keeps_what_is_done_and_exits_130(call, tmp_path, monkeypatch):
    from byzflower.simulations.cli import screen

    def interrupt(bar, done):
        if done.round == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(screen._Bar, "advance", interrupt)
    code, out, err = call("run", *QUICK, "--rule", "mean", "--rule", "median", "--out", "x")
    assert code == 130
    (run,) = read_runs(tmp_path / "x")
    assert run.summary["interrupted"] is True
    assert [r["round"] for r in run.rounds] == [0, 1]
    assert "mean" in out
    assert "interrupted" in err
    assert (tmp_path / "x" / "accuracy.png").is_file()


@pytest.mark.parametrize("engine", ["batched", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_terminated_run_leaves_its_summary_and_exits_143(
    call, tmp_path, monkeypatch, engine, tolerating_ray
):
    from byzflower.simulations.cli import screen

    def terminate(bar, done):
        if done.round == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(screen._Bar, "advance", terminate)
    before = signal.getsignal(signal.SIGTERM)
    with tolerating_ray():
        code, _, err = call("run", *QUICK, "--rule", "mean", "--engine", engine, "--out", "x")
    assert code == 143
    (run,) = read_runs(tmp_path / "x")
    assert run.summary["interrupted"] is True
    assert run.summary["rounds"] == 1
    assert "interrupted" in err
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_same_command_goes_on_with_what_was_not_finished(call, tmp_path, monkeypatch):
    from byzflower.simulations.cli import screen

    advance = screen._Bar.advance
    seen = []

    def interrupt_the_second(bar, done):
        advance(bar, done)
        seen.append(done.round)
        if seen.count(1) == 2:
            raise KeyboardInterrupt

    command = ("run", *QUICK, "--rule", "mean", "--rule", "median", "--out", "x")
    with monkeypatch.context() as patch:
        patch.setattr(screen._Bar, "advance", interrupt_the_second)
        assert call(*command)[0] == 130
    before = (tmp_path / "x" / "results.jsonl").read_text()
    code, out, err = call(*command)
    after = (tmp_path / "x" / "results.jsonl").read_text()
    assert code == 0
    assert "finished before" in err
    assert out.count("%") == 4
    first, second = read_runs(tmp_path / "x")
    assert (first.config["rule"], second.config["rule"]) == ("mean", "median")
    assert first.finished
    assert second.finished
    # What was finished is as it was; of what was not, each round stands there once.
    assert [line for line in before.splitlines() if '"mean"' in line] == [
        line for line in after.splitlines() if '"mean"' in line
    ]
    assert after.count('"kind": "round"') == len(first.rounds) + len(second.rounds)


def test_results_of_other_versions_are_run_again(call, tmp_path):
    command = ("run", *QUICK, "--rule", "mean", "--out", "x")
    call(*command)
    path = tmp_path / "x" / "results.jsonl"
    path.write_text(path.read_text().replace(byzflower.__version__, "0.0.0"))
    lines = path.read_text().count("\n")
    assert call(*command)[0] == 0
    assert path.read_text().count("\n") == 2 * lines


def test_a_damaged_file_is_refused_before_training(call, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "results.jsonl").write_text("not json\n")
    code, _, err = call("run", *QUICK, "--rule", "mean", "--out", "x")
    assert code == 2
    assert "needs a JSON object a line" in err
    assert (tmp_path / "x" / "results.jsonl").read_text() == "not json\n"
