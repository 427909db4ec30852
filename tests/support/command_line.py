"""The command line in processes of its own, and a run that takes a moment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import byzflower

QUICK = ["--model", "softmax", "--partition", "iid", "--n", "5", "--f", "1", "--rounds", "2"]
COMMAND = "import sys; from byzflower.simulations.cli import main; main(sys.argv[1:])"


def python(*arguments, folder, encoding="utf-8"):
    """Run Python with this checkout on its path, as a user's shell would."""
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
