"""The command in a process of its own: imports, encodings, closed outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import byzflower
from command_line import COMMAND, QUICK, python

UNUSED = {"torch._dynamo", "seaborn", "scipy", "sklearn", "matplotlib.pyplot", "ray"}
"""Modules that take a second or so to import, and that a run in one process does without."""
WATCHED = f"""import atexit, pathlib, sys
def tell(): pathlib.Path("imported").write_text(" ".join({UNUSED} & set(sys.modules)))
atexit.register(tell)
{COMMAND}"""


def test_a_real_process_runs_and_fails_as_promised(tmp_path):
    options = [o.replace("iid", "dirichlet(alpha=1)") for o in QUICK]
    done = python("-c", WATCHED, "run", *options, "--rule", "median", "--out", "o", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "imported").read_text() == ""
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
