"""The command line, called in this process."""

from __future__ import annotations

import pytest

from byzflower.simulations.cli import main


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Return a function: arguments → (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as exited:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return exited.value.code, captured.out, captured.err

    return run
