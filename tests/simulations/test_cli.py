"""The command line: one line for every mistake, readable results for every run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import byzflower
from byzflower.simulations.cli import main
from byzflower.simulations.cli.app import app
from byzflower.simulations.experiment import Experiment
from byzflower.simulations.results import read_runs

QUICK = ["--model", "softmax", "--partition", "iid", "--n", "5", "--f", "1", "--rounds", "2"]


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Return a function: arguments → (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as exited:
            main(arguments)
        captured = capsys.readouterr()
        return exited.value.code, captured.out, captured.err

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rule", "krum", "--n", "8"], "`krum` needs n ≥ 2f+3 rows; found n = 8, f = 3"),
        (["--partition", "dirichlet(alpha=-1)"], "`dirichlet` needs alpha > 0; found -1"),
        (["--rule", "meann"], "unknown rule `meann` in 'meann'; did you mean `trmean`?"),
        (["--attack", "foe(sigma=1)"], "`foe` has no parameter `sigma`; it takes `tau`"),
        (["--dataset", "mnits"], "unknown data set `mnits` in 'mnits'; did you mean `mnist`?"),
        (["--dataset", "covtype", "--data-dir", "none"], "`data-dir` needs none/covtype-balanced"),
        (["--model", "mpl"], "unknown model `mpl` in 'mpl'; known: cnn, mlp, softmax, tanh_mlp"),
        (
            ["--partition", "classes(per=3)"],
            "`classes` needs per × classes = 3 × 10 clients; found 10",
        ),
        (
            ["--client", "adam"],
            "unknown client `adam` in 'adam'; known: gradient, local_sgd, momentum, rsa, saga",
        ),
        (
            ["--rule", "sign_votes", "--client", "rsa", "--attack", "against_pool"],
            "`attack` against_pool searches against the rule, which it cannot where",
        ),
        (["--device", "meta"], "`device` needs a usable device; found 'meta'"),
        (
            ["--partition", "-" * 20_000],
            "a partition is a name with parameters, such as name(parameter=1); found",
        ),
        (
            ["--n", "many"],
            "Invalid value for '--num-clients' / '--n': 'many' is not a valid integer.",
        ),
        (["--learning-rate", "-1"], "`constant` needs rate > 0; found -1"),
        (["--lr", "stepp(1)"], "unknown schedule `stepp` in 'stepp(1)'; did you mean `step`?"),
        (["--lam", "1"], '`lam` is part of `client` now; write, for instance, client = "rsa(lam'),
        (["--decay", "5:1"], "`decay` is part of `learning_rate` now; write, for instance,"),
        (["--client", "momentum(beta=1)"], "`momentum` needs beta in [0, 1); found 1"),
        (["--ruel", "mean"], "No such option '--ruel'."),
        (["--config", "no.toml"], "`config` needs a readable file; found no.toml"),
        (["--rule"], "Option '--rule' requires an argument."),
        (
            ["--client", "local_sgd", "--lr", "0.9"],
            "`learning_rate` needs a client that sends gradients",
        ),
        (["extra"], "Got unexpected extra argument (extra)"),
        (["--attack", "nan", "--attack=zero"], "`--attack` needs one value; found it 2 times"),
        (["--n", "9", "--num-clients", "8", "--n=7"], "`--n` needs one value; found it 3 times"),
        (["--out", "a", "--out", "b"], "`--out` needs one value; found it 2 times"),
        (["median"], 'Got unexpected extra argument (median); did you mean --rule "median"?'),
        (["--device", "gpu"], "`device` needs a usable device; found 'gpu'; usable here: cpu"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(call, arguments, message, tmp_path):
    code, out, err = call("run", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"byzflower: {message}")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_toml_key_names_the_nearest_option(call, tmp_path):
    (tmp_path / "bad.toml").write_text("lerning_rate = 0.1\n")
    code, _, err = call("run", "--config", "bad.toml")
    assert (code, err) == (
        2,
        "byzflower: unknown option `lerning_rate`; did you mean `learning_rate`?\n",
    )


def test_toml_may_begin_with_a_byte_order_mark_but_holds_no_table(call, tmp_path):
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbff = 20\r\n")
    assert call("run", "--config", "a.toml")[2].startswith("byzflower: `f` needs 0 ≤ f < n = 13")
    (tmp_path / "a.toml").write_text("[run]\nn = 5\n")
    code, _, err = call("run", "--config", "a.toml")
    assert (code, err.count("\n")) == (2, 1)
    assert "`config` needs options without a table; found [run] in a.toml: delete" in err


def test_data_that_can_be_downloaded_say_so(call, monkeypatch):
    monkeypatch.delenv("BYZFLOWER_DATA", raising=False)
    _, _, err = call("run", "--dataset", "mnist")
    assert "pass --data-dir or set BYZFLOWER_DATA; with --download it is filled; found" in err
    _, _, err = call("run", "--dataset", "covtype")
    assert "--download" not in err


def test_a_folder_of_another_program_is_refused(call, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "results.jsonl").write_text('{"kind": "config", "id": 3}\n')
    code, _, err = call("run", *QUICK, "--out", "x")
    assert (code, err.count("found one with kind, id: choose another")) == (2, 1)
    (tmp_path / "file").touch()
    code, _, err = call("run", *QUICK, "--out", "file")
    assert code == 2
    assert err.startswith("byzflower: `out` needs a writable folder of its own; found file")


def test_rules_run_side_by_side(call, tmp_path):
    code, out, _ = call("run", *QUICK, "--rule", "mean", "--rule", "nnm>median", "--out", "here")
    assert code == 0
    runs = read_runs(tmp_path / "here")
    assert [run.config["rule"] for run in runs] == ["mean", "nnm > median"]
    for run in runs:
        assert run.config["rule"] in out
        assert f"{run.summary['accuracy']:.1%}" in out
        assert (tmp_path / "here" / f"model-{run.config['run']}.npz").is_file()
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
    rows = [tuple(line.split()[:2]) for line in out.splitlines()]
    assert {("mean", "2"), ("median", "1")} <= set(rows)


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


def test_a_missing_dependency_says_what_to_install(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "typer", None)
    code, _, err = call("run")
    assert code == 2
    assert err == (
        "byzflower: the command line needs pip install 'byzflower[simulation]'; "
        "found no module 'typer'\n"
    )


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
    assert "How many draws of a randomised rule" in out
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
        "cifar10 CIFAR-10: 50,000",
    ):
        assert any(line.startswith(start) for line in lines), start


def test_a_table_that_nobody_looks_at_is_not_folded(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    rule = "mixtailor(pool=('krum', 'median', 'trimmed_mean', 'geometric_median', 'krum(p=3)'))"
    options = ["9" if option == "5" else option for option in QUICK]
    _, out, _ = call("run", *options, "--rule", rule, "--out", "x")
    assert [line.startswith(rule) for line in out.splitlines()] == [False, False, True]


OWN = """
from dataclasses import dataclass
import numpy as np
import byzflower as bf

@bf.register("rule")
@dataclass(frozen=True)
class Blend(bf.Rule):
    '''A rule of one's own.'''
    share: float = 0.5
    name = "blend"
    reference = "here"

    def plan(self, geometry, f):
        weights = np.full(geometry.n, (1 - self.share) / geometry.n)
        weights[0] += self.share
        return bf.Weighted(weights)

@bf.register("attack")
@dataclass(frozen=True)
class Double(bf.Attack):
    name = "double"
    reference = "here"

    def forge(self, seen, state):
        return 2 * seen.mean, None
"""


@pytest.fixture
def own_steps(monkeypatch, tmp_path):
    """Leave a module of own steps in the folder, and no trace of it in this process."""
    from byzflower import registry

    for kind in registry._REGISTRIES:
        registry.registered(kind)  # so that the copy has everything
    registries = {kind: dict(found) for kind, found in registry._REGISTRIES.items()}
    monkeypatch.setattr(registry, "_REGISTRIES", registries)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "my_steps.py").write_text(OWN)
    yield
    sys.modules.pop("my_steps", None)


@pytest.mark.usefixtures("own_steps")
def test_own_rules_and_attacks_work_from_the_command_line(call, tmp_path):
    rules = ("--rule", "blend(share=0.9)", "--rule", "nnm > blend", "--attack", "double")
    code, out, _ = call("--import", "my_steps", "run", *QUICK, *rules, "--out", "x")
    assert (code, "nnm > blend" in out) == (0, True)
    assert [run.config["rule"] for run in read_runs(tmp_path / "x")] == [
        "blend(share=0.9)",
        "nnm > blend",
    ]
    code, out, _ = call("--import", "my_steps", "list")
    assert "blend n ≥ 1 share=0.5 here A rule of one's own." in [
        " ".join(line.split()) for line in out.splitlines()
    ]
    search = ("--n", "5", "--f", "1", "--dimension", "1", "--evaluations", "40")
    code, out, _ = call("--import", "my_steps", "certify", "blend", *search)
    assert (code, "violated: " in out) == (0, True)
    saved = "blend-n5-f1-counterexample.npz"
    code, out, _ = call("--import", "my_steps", "certify", "--replay", saved)
    assert (code, out.startswith("blend: n = 5, f = 1")) == (0, True)


OF_EVERY_KIND = """
from dataclasses import dataclass
from typing import ClassVar
import numpy as np, torch
from byzflower import register
from byzflower.clients.algorithms import Gradient
from byzflower.simulations.datasets import Digits
from byzflower.simulations.models import ModelFamily
from byzflower.simulations.partitions import Partition
from byzflower.strategies import RateSchedule

@register("client")
@dataclass(frozen=True)
class Louder(Gradient):
    name = "louder"

@register("schedule")
@dataclass(frozen=True)
class Halving(RateSchedule):
    every: int = 10
    name: ClassVar[str] = "halving"

    def __call__(self, server_round):
        return 0.5 ** (1 + server_round // self.every)

@register("dataset")
@dataclass(frozen=True)
class Few(Digits):
    name = "few"

@register("model")
@dataclass(frozen=True)
class Linear(ModelFamily):
    bias: bool = True
    name: ClassVar[str] = "linear"

    def build(self, shape, num_classes):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, num_classes, self.bias))

@register("partition")
@dataclass(frozen=True)
class InOrder(Partition):
    name: ClassVar[str] = "in_order"

    def _split(self, labels, parts, seed):
        return np.array_split(np.arange(len(labels)), parts)
"""

OWN_OPTIONS = {
    "client": "louder(clip=2)",
    "learning_rate": "halving(every=1)",
    "dataset": "few",
    "model": "linear(bias=False)",
    "partition": "in_order",
}


@pytest.mark.usefixtures("own_steps")
def test_a_file_brings_clients_models_and_data_of_one_s_own(call, tmp_path):
    (tmp_path / "my_steps.py").write_text(OF_EVERY_KIND)
    options = "".join(f'{name} = "{spec}"\n' for name, spec in OWN_OPTIONS.items())
    start = 'import = ["my_steps"]\nnum_clients = 5\nf = 1\nrounds = 1\nrule = "median"\n'
    (tmp_path / "own.toml").write_text(start + options)
    assert call("run", "--config", "own.toml", "--out", "x")[0] == 0
    (run,) = read_runs(tmp_path / "x")
    assert {name: run.config[name] for name in OWN_OPTIONS} == OWN_OPTIONS
    _, out, _ = call("list", "models")
    assert "linear bias=True" in [" ".join(line.split()) for line in out.splitlines()]


@pytest.mark.usefixtures("own_steps")
@pytest.mark.parametrize("placed", [0, 1, 2])
def test_own_steps_may_lie_in_a_file_and_be_named_anywhere(call, tmp_path, placed):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "my_steps.py").rename(tmp_path / "elsewhere" / "my_steps.py")
    arguments = ["list", "rules"]
    arguments[placed:placed] = ["--import", "elsewhere/my_steps.py"]
    code, out, _ = call(*arguments)
    assert (code, "blend" in out) == (0, True)


@pytest.mark.usefixtures("own_steps")
def test_another_process_learns_what_was_registered(tmp_path):
    (tmp_path / "my_steps.py").write_text(OF_EVERY_KIND)
    code = (
        "import pickle, sys\n"
        "from byzflower.simulations.cli.own import import_own\n"
        "from byzflower.simulations.experiment import Experiment\n"
        "from byzflower.simulations.tasks import TaskLoader, split_rows\n"
        "import_own(['my_steps'])\n"
        "e = Experiment(model='linear', dataset='few', attack='none')\n"
        "open('loader', 'wb').write(pickle.dumps(TaskLoader(e, split_rows(e))))\n"
    )
    assert python("-c", code, folder=tmp_path).returncode == 0
    code = "import pickle; print(pickle.load(open('loader', 'rb')).task(0).partition_id)"
    done = python("-c", code, folder=tmp_path)
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.usefixtures("own_steps")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "ModuleNotFoundError: No module named 'missing'"),
        ("broken", "ZeroDivisionError: division by zero"),
        ("json.py", "ImportError: another module is called json; rename the file"),
        ("taken", "ValueError: the name 'krum' names two rules"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(call, tmp_path, name, reason):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "json.py").write_text("")
    taken = OWN.replace('"blend"', '"krum"')
    (tmp_path / "taken.py").write_text(taken)
    code, out, err = call("--import", name, "list")
    assert (code, out) == (2, "")
    assert err == (
        f"byzflower: `import` needs a module that can be imported; found {name}: {reason}\n"
    )


def python(*arguments, folder, encoding="utf-8"):
    """Run Python with this checkout on its path, as a user's shell would."""
    import byzflower

    root = str(Path(byzflower.__file__).resolve().parents[1])
    environment = os.environ | {"PYTHONPATH": root, "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        encoding=encoding,
        env=environment,
        cwd=folder,
        check=False,
        timeout=120,
    )


COMMAND = "import sys; from byzflower.simulations.cli import main; main(sys.argv[1:])"


def test_a_real_process_runs_and_fails_as_promised(tmp_path):
    done = python("-c", COMMAND, "run", *QUICK, "--rule", "median", "--out", "o", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "median" in done.stdout
    assert "WARNING" not in done.stderr
    assert "INFO" not in done.stderr
    lines = (tmp_path / "o/results.jsonl").read_text().splitlines()
    kinds = [json.loads(line)["kind"] for line in lines]
    assert kinds == ["config", "round", "round", "round", "summary"]
    failed = python("-c", COMMAND, "run", "--f", "20", folder=tmp_path)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr == "byzflower: `f` needs 0 ≤ f < n = 13; found 20\n"


def test_help_imports_nothing_heavy(tmp_path):
    code = (
        "import sys\n"
        "from byzflower.simulations.cli import main\n"
        "try: main(['run', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'flwr', 'sklearn', 'matplotlib', 'datasets', 'ray'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = python("-c", code, folder=tmp_path)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "arguments", [["list"], ["run", "--help"], ["run", "--rule", "krum", "--n", "8"]]
)
def test_a_console_without_the_letters_gets_their_names(tmp_path, monkeypatch, arguments):
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    done = python("-m", "byzflower", *arguments, folder=tmp_path, encoding="cp1252")
    failed = "--rule" in arguments
    assert done.returncode == (2 if failed else 0)
    assert ">=" in done.stderr if failed else done.stderr == ""
    if arguments == ["list"]:
        assert "n >= 2f+3" in done.stdout


def test_a_letter_is_written_by_what_it_means():
    from byzflower.simulations.cli.streams import prepare_streams

    prepare_streams()
    assert "λ ≥ 1 − κ/σ, é ☃".encode("ascii", "byzflower") == b"lambda >= 1 - kappa/sigma, e ?"


@pytest.mark.parametrize(
    ("redirected", "code", "told"), [(">&-", 0, ""), (">/dev/full", 2, "no sp")]
)
def test_output_that_goes_nowhere_is_no_traceback(tmp_path, redirected, code, told):
    line = f'"{sys.executable}" -m byzflower list {redirected}'
    root = str(Path(byzflower.__file__).resolve().parents[1])
    environment = os.environ | {"PYTHONPATH": root}
    done = subprocess.run(
        line,
        shell=True,
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert told in done.stderr
    assert done.stderr.count("\n") == (1 if told else 0)
