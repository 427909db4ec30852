"""Cells run once each, whatever happens in between."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from byzflower.simulations.cli import main
from byzflower.simulations.engines.ray import RayEngineError
from byzflower.simulations.results import ResultsFile, read_records
from byzflower.simulations.sweep import engine
from byzflower.simulations.sweep.cells import folder_of, run_of
from byzflower.simulations.sweep.engine import run_cell, run_cells
from byzflower.simulations.sweep.grid import expand

QUICK = {"rounds": 2, "model": "softmax", "partition": "iid", "n": 5, "f": 1}


def test_a_finished_cell_never_runs_again(small, tmp_path, monkeypatch):
    assert not run_cell(small(), tmp_path).cause
    before = (tmp_path / "results.jsonl").read_bytes()
    monkeypatch.setattr(engine, "record_run", lambda *given, **options: 1 / 0)
    assert not run_cell(small(), tmp_path).cause
    assert (tmp_path / "results.jsonl").read_bytes() == before


def test_a_cell_cut_short_goes_on(small, tmp_path):
    run_cell(small(), tmp_path / "whole")
    run_cell(small(), tmp_path / "cut")
    path = tmp_path / "cut" / "results.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    assert not run_of(tmp_path / "cut").finished
    run_cell(small(), tmp_path / "cut")
    whole, cut = (run_of(tmp_path / name) for name in ("whole", "cut"))
    assert cut.rounds == whole.rounds
    assert cut.finished


def test_failures_have_their_cause_and_a_full_disk_is_told_apart(small, tmp_path, monkeypatch):
    def fail(error):
        def raising(*given, **options):
            raise error

        monkeypatch.setattr(ResultsFile, "write", raising)
        return run_cell(small(), tmp_path)

    assert fail(RuntimeError("out of\nluck")).cause == "RuntimeError: out of luck"
    assert fail(OSError(errno.ENOSPC, "No space left")).disk_full
    assert not fail(OSError(errno.EIO, "broken")).disk_full


@pytest.mark.slow
@pytest.mark.ray
def test_a_sweep_on_ray(tmp_path, tolerating_ray):
    cells = expand({**QUICK, "rule": ["median", "krum"], "seed": [1, 2]})
    blocked, finished, *_ = (folder_of(tmp_path, cell.experiment) for cell in cells)
    blocked.parent.mkdir(parents=True)
    blocked.write_text("in the way")
    run_cell(cells[1].experiment, finished)
    before = list(read_records(finished))
    states = []
    with tolerating_ray():
        ended = run_cells(cells, tmp_path, lambda p: states.append(dict(p.states)), jobs=2)
    assert (ended.count("done"), ended.count("failed")) == (3, 1)
    assert "needs a writable folder" in ended.causes[cells[0].label]
    taken_up = [b for a, b in pairwise(states) if a != b]
    assert sum(state[cells[0].label] == "running" for state in taken_up) >= 2  # tried again
    assert list(read_records(finished)) == before
    assert states[0][cells[1].label] == "done"


@pytest.mark.slow
def test_a_sweep_killed_at_ten_moments_ends_as_one_that_was_not(tmp_path):
    script = Path(__file__).parent.parent / "strategies" / "killed_runs.py"
    command = [sys.executable, str(script), str(tmp_path), "10", "sweep"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr[-2000:]
    ends = [line.split() for line in found.stdout.splitlines()]
    assert len(ends) == 11
    assert len({hashed for _, hashed in ends}) == 1


def test_a_cluster_that_does_not_answer_is_one_line(tmp_path, monkeypatch, capsys):
    def refused(cells, sweep, told, **options):
        raise RayEngineError("Ray does not start: nobody at 10.0.0.1:6379")

    monkeypatch.setattr(engine, "run_cells", refused)
    file = tmp_path / "grid.toml"
    file.write_text("rounds = 1\nseed = [1, 2]\n")
    with pytest.raises(SystemExit) as ended:
        main(["sweep", str(file), "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert "nobody at 10.0.0.1:6379\n" in capsys.readouterr().err


def test_the_manifest_names_every_cell(tmp_path):
    from byzflower.simulations.sweep.grid import Grid
    from byzflower.simulations.sweep.manifest import Manifest

    cells = tuple(expand({**QUICK, "seed": [1, 2]}))
    Manifest.of(Grid("two seeds", cells)).write(tmp_path)
    found = Manifest.read(tmp_path)
    assert (found.title, list(found.cells.values())) == ("two seeds", ["seed = 1", "seed = 2"])
    assert json.loads((tmp_path / "sweep.json").read_text())["versions"]["byzflower"]
