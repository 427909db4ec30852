"""Rules, attacks, clients, models and data of one's own, by ``--import``."""

from __future__ import annotations

import sys

import pytest

from byzflower.simulations.results import read_runs
from command_line import QUICK, python

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
