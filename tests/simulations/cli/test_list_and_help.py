"""``byzflower list`` and ``--help``."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from byzflower.simulations.cli.app import app
from byzflower.simulations.experiment import Experiment
from command_line import QUICK


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["run", "--help"], ["run", "-h"], ["--version"]]
)
def test_help_and_version_exit_0(call, arguments):
    code, out, _ = call(*arguments)
    assert code == 0
    assert out


def test_every_option_of_an_experiment_is_an_option_of_run():
    out = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "200"}).output
    for name in Experiment.__dataclass_fields__:
        assert re.search(rf"--{name.replace('_', '-')}\b", out)
    for name in ("num-clients", "num-byzantine", "batch-size", "weight-decay", "lr"):
        assert f"--{name}" in out


def test_list_names_everything_with_its_range(call):
    code, out, _ = call("list")
    assert code == 0
    for word in (
        "trimmed_mean",
        "n ≥ 2f+1",
        "arc",
        "mixtailor",
        "foe",
        "momentum",
        "covtype",
        "tanh_mlp",
    ):
        assert word in out
    code, out, _ = call("list", "partitions")
    assert "classes" in out
    assert "trimmed_mean" not in out
    code, _, err = call("list", "rule")
    assert (code, err.count("\n")) == (2, 1)
    assert "did you mean `rules`?" in err


def test_list_shows_one_entry_whole(call):
    code, out, err = call("list", "alie")
    assert (code, err) == (0, "")
    assert out.startswith("alie (attack)\nparameters: tau=")
    assert "Send the honest mean" in out
    assert "Number of draws over which" in out
    assert "trimmed_mean" not in out


def test_list_tells_what_a_step_takes_in_one_line(call):
    _, out, _ = call("list")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    for start in (
        "foe tau, grid=(0.1, 0.115, …, 100.0), draws=8 Xie et al. 2020; ARC D.3 Send (1 − τ)",
        "multi_krum n ≥ 2f+3 m=None Blanchard et al. 2017; AggregaThor §2 Average of the m rows",
        "mixtailor as its pool pool=None, resampling=None, faults=same, without=() MixTailor §3,",
        "dirichlet alpha, min_size=1 Yurochkin et al. 2019 Each class divided",
        "local_sgd steps=1, learning_rate=0.1, momentum=0.0 Send the model",
        "step initial, changes=() Constant learning rates",
        "mlp width=None One hidden ReLU layer",
        "cifar10 flip=random CIFAR-10: 50,000",
    ):
        assert any(line.startswith(start) for line in lines), start


def test_a_table_that_nobody_looks_at_is_not_folded(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    rule = "mixtailor(pool=('krum', 'median', 'trimmed_mean', 'geometric_median', 'krum(p=3)'))"
    options = ["9" if option == "5" else option for option in QUICK]
    _, out, _ = call("run", *options, "--rule", rule, "--out", "x")
    assert [line.startswith(rule) for line in out.splitlines()] == [False, False, True]
