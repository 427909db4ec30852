"""The example apps: each learns under attack, and its README shows what makes it so."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from byzflower.simulations.engines import run_in_process
from flower_run import flwr_run

EXAMPLES = Path(__file__).parents[2] / "simulations" / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/pyproject.toml"))
SHORT = {
    "robust-pytorch": {"num-server-rounds": 7, "learning-rate": 0.3},
    "robust-lora": {"num-server-rounds": 6},
    "robust-sklearn": {"num-server-rounds": 3},
    "robust-advanced": {"num-server-rounds": 7},
}


def configuration(name: str) -> dict[str, Any]:
    text = (EXAMPLES / name / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["tool"]["flwr"]["app"]["config"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that runs an app, imported as Flower does, and returns its accuracy."""

    def accuracy(name: str, **config: Any) -> float:
        monkeypatch.syspath_prepend(str(EXAMPLES / name))
        package = name.replace("-", "")
        server, client = (
            importlib.import_module(f"{package}.{part}_app") for part in ("server", "client")
        )
        said: list[str] = []
        monkeypatch.setattr(server, "print", said.append, raising=False)
        run_in_process(server.app, client.app, 10, run_config={**configuration(name), **config})
        return float(said[-1].removeprefix("accuracy "))

    yield accuracy
    for module in [module for module in sys.modules if module.startswith("robust")]:
        del sys.modules[module]


@pytest.mark.parametrize("name", NAMES)
def test_each_example_learns_although_two_of_ten_lie_and_not_without_its_rule(
    name: str, run: Any
) -> None:
    reached = run(name, **SHORT[name])
    assert reached > 0.7
    assert run(name, rule="mean", **SHORT[name]) < reached - 0.2


def test_the_advanced_one_keeps_journal_and_best_model_and_goes_on(
    run: Any, tmp_path: Path
) -> None:
    out = {"out": str(tmp_path)}
    run("robust-advanced", **out, **{"num-server-rounds": 2})
    best = run("robust-advanced", **out, **{"num-server-rounds": 4})
    lines = (tmp_path / "results.jsonl").read_text(encoding="utf-8").splitlines()
    rounds = [json.loads(line) for line in lines]
    assert [record["round"] for record in rounds if record["round"]] == [1, 2, 3, 4]
    assert {"accuracy", "loss", "robust-f", "robust-rejected"} <= rounds[-1].keys()
    assert best == pytest.approx(rounds[-1]["best"], abs=1e-3)
    with np.load(tmp_path / "best.npz") as model:
        assert model["0.weight"].shape == (64, 64)


@pytest.mark.parametrize("name", NAMES)
def test_its_readme_shows_the_lines_that_stand_in_the_app(name: str) -> None:
    page = (EXAMPLES / name / "README.md").read_text("utf-8")
    (diff,) = re.findall(r"```diff\n(.*?)```", page, re.DOTALL)
    files = (EXAMPLES / name / name.replace("-", "")).glob("*.py")
    code = {line.strip() for file in files for line in file.read_text("utf-8").splitlines()}
    shown = [line[1:].strip() for line in diff.splitlines() if line[0] in "+ "]
    assert all(line in code for line in shown if not line.startswith("#")), shown
    assert 2 <= sum(line.startswith("+") for line in diff.splitlines()) <= 3


@pytest.mark.parametrize("name", NAMES)
def test_flower_builds_its_bundle(name: str, tmp_path: Path) -> None:
    flwr = Path(sys.executable).with_name("flwr")
    command = [flwr, "build", "--app", EXAMPLES / name]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (bundle,) = tmp_path.glob("*.fab")
    with zipfile.ZipFile(bundle) as archive:
        assert "LICENSE" in archive.namelist()


@pytest.mark.deployment
def test_flower_s_own_simulation_runs_one(tmp_path: Path) -> None:
    app = EXAMPLES / "robust-sklearn"
    said = flwr_run(app, home=tmp_path, ports=(39490, 39492), run_config="num-server-rounds=3")
    assert "10 nodes asked, 10 replies: 0 failed, 0 rejected" in said
    assert float(said.rpartition("accuracy ")[2].split()[0]) > 0.8
