"""What commands print with --json is one object a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from byzflower.simulations.cli.app import app
from byzflower.simulations.sweep.cells import folder_of
from byzflower.simulations.sweep.engine import run_cell
from byzflower.simulations.sweep.grid import expand


def objects(*arguments: str) -> list[dict[str, object]]:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_list_has_a_line_a_name() -> None:
    names = {(entry["kind"], entry["name"]) for entry in objects("list", "--json")}
    assert {("rule", "krum"), ("attack", "foe"), ("client", "momentum")} <= names
    (krum,) = objects("list", "krum", "--json")
    assert krum["needs"] == "n ≥ 2f+3"


def test_run_has_a_line_a_run_and_quiet_says_nothing_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ("--rounds", "2", "--rule", "median", "--rule", "krum", "--out", str(tmp_path))
    runs = objects("run", *options, "--json", "--quiet")
    assert [run["rule"] for run in runs] == ["median", "krum"]
    assert all(isinstance(run["accuracy"], float) for run in runs)
    assert capfd.readouterr().err == ""


def test_a_run_that_diverges_says_in_which_round(tmp_path: Path) -> None:
    options = ("--rounds", "3", "--rule", "mean", "--attack", "nan", "--f", "3")
    (healthy,) = objects("run", *options, "--out", str(tmp_path / "a"), "--json")
    assert "diverged" not in healthy
    options = ("--rounds", "3", "--rule", "mean", "--attack", "sign_flip", "--lr", "1e30")
    result = CliRunner().invoke(app, ["run", *options, "--out", str(tmp_path / "b")])
    assert "mean: diverged by round 1" in " ".join(result.stderr.split())
    (broken,) = objects("run", *options, "--out", str(tmp_path / "b"), "--json")
    assert broken["diverged"] == 1


def test_sweep_has_a_line_a_cell_and_quiet_says_nothing_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    grid = {"rounds": 1, "n": 5, "f": 1, "model": "softmax", "rule": ["median", "mean"]}
    for cell in expand(grid):
        run_cell(cell.experiment, folder_of(tmp_path / "out", cell.experiment))
    lines = [f"{key} = {json.dumps(value)}" for key, value in grid.items()]
    (tmp_path / "grid.toml").write_text("\n".join(lines))
    cells = objects(
        *("sweep", str(tmp_path / "grid.toml"), "--out", str(tmp_path / "out")),
        *("--json", "--quiet", "--no-report"),
    )
    assert [(cell["cell"], cell["rule"]) for cell in cells] == [
        ("rule = median", "median"),
        ("rule = mean", "mean"),
    ]
    assert all(isinstance(cell["accuracy"], float) for cell in cells)
    assert capfd.readouterr().err == ""


def test_reproduce_has_a_line_a_row(tmp_path: Path) -> None:
    rows = objects("reproduce", "rs-byrd-saga", "figure-2", "--out", str(tmp_path), "--json")
    assert {row["panel"] for row in rows} == {"learning-error"}
    assert (tmp_path / "report" / "index.html").is_file()
