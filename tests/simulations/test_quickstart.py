"""The quickstart app: robust where plain averaging is not, resumable, in Flower's form."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from byzflower.simulations.engines import run_in_process
from flower_run import flwr_run

APP = Path(__file__).parents[2] / "simulations" / "quickstart"
CONFIG = {
    "rule": "arc > nnm > trimmed_mean",
    "num-malicious-nodes": 2,
    "num-server-rounds": 6,
    "num-nodes": 10,
    "round-timeout": 60.0,
    "attack": "sign_flip",
    "out": "",
}


@pytest.fixture
def quickstart(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import the app as Flower does, from its own folder, and forget it afterwards."""
    monkeypatch.syspath_prepend(str(APP))

    def run(**config: Any) -> float:
        server, client, task = (
            importlib.import_module(f"quickstart.{name}")
            for name in ("server_app", "client_app", "task")
        )
        with pytest.MonkeyPatch.context() as patch:
            found: list[object] = []
            patch.setattr(server, "print", found.append, raising=False)
            run_in_process(server.app, client.app, 10, run_config={**CONFIG, **config})
        assert task.accuracy(task.make_model()) < 0.3
        return float(str(found[-1]).removeprefix("accuracy "))

    yield run
    for name in [name for name in sys.modules if name.partition(".")[0] == "quickstart"]:
        del sys.modules[name]


def test_the_robust_rule_learns_where_the_mean_does_not(quickstart: Any) -> None:
    assert quickstart(rule="mean") < 0.5
    assert quickstart() > 0.85


@pytest.mark.parametrize("attack", ["scale", "gaussian", "nan", "garbage", "none"])
def test_every_attack_is_survived(attack: str, quickstart: Any) -> None:
    assert quickstart(attack=attack) > 0.85


def test_an_unknown_attack_makes_the_liars_fail_with_the_known_ones(quickstart: Any) -> None:
    assert quickstart(attack="sing_flip") > 0.85  # their errors cost the run nothing


def test_it_keeps_its_model_and_goes_on_after_its_checkpoints(
    quickstart: Any, tmp_path: Path
) -> None:
    once = quickstart(out=str(tmp_path / "once"))
    quickstart(out=str(tmp_path / "twice"), **{"num-server-rounds": 3})
    assert quickstart(out=str(tmp_path / "twice")) == once
    with (
        np.load(tmp_path / "once/model.npz") as whole,
        np.load(tmp_path / "twice/model.npz") as one,
    ):
        for key in whole.files:
            assert np.array_equal(whole[key], one[key]), key


def test_flower_builds_its_bundle_and_finds_the_documented_configuration(tmp_path: Path) -> None:
    flwr = Path(sys.executable).with_name("flwr")
    subprocess.run([flwr, "build", "--app", APP], cwd=tmp_path, check=True, capture_output=True)
    (bundle,) = tmp_path.glob("*.fab")
    with zipfile.ZipFile(bundle) as archive:
        names = archive.namelist()
        app = tomllib.loads(archive.read("pyproject.toml").decode())["tool"]["flwr"]["app"]
    assert {"LICENSE", "quickstart/client_app.py", "quickstart/server_app.py"} <= set(names)
    assert app["config"].keys() == CONFIG.keys()


@pytest.mark.deployment
def test_flwr_run_trains_it_in_flower_s_own_simulation(tmp_path: Path) -> None:
    said = flwr_run(
        APP,
        home=tmp_path,
        ports=(39480, 39482),
        run_config="num-server-rounds=3 attack='garbage'",
    )
    assert "10 nodes asked, 10 replies: 0 failed, 2 rejected" in said
    assert float(said.rpartition("accuracy ")[2].split()[0]) > 0.6
