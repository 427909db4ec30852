"""What the shell is offered."""

from __future__ import annotations

import pytest

from byzflower.registry import KINDS, registered
from byzflower.simulations.cli.app import COMMANDS
from byzflower.simulations.cli.completion import specs


@pytest.fixture
def offered(call, monkeypatch):
    """Return a function: the words so far, the last of them begun → what bash is offered."""

    def complete(*words):
        monkeypatch.setenv("_BYZFLOWER_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "\n".join(("byzflower", *words)))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        code, out, err = call()
        assert (code, err) == (0, "")
        return out.split("\n")[:-1]

    return complete


@pytest.mark.parametrize("kind", KINDS)
def test_names_in_the_sources_are_those_registered(kind):
    own = {n for n, cls in registered(kind).items() if cls.__module__.startswith("byzflower.")}
    assert specs(kind)("") == sorted(own)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["re"], ["reproduce", "report"]),
        (["run", "--rule", "trim"], ["trimmed_mean"]),
        (["run", "--rule", '"arc > nn'], ["arc > nnm"]),
        (["run", "--import", "mine", "--n", "9", "--n", "9", "--attack", "ali"], ["alie"]),
        (["run", "--lr", ""], ["constant", "inverse_time", "step"]),
        (["run", "--engine", "b"], ["batched"]),
        (["bench", "st"], ["strategies", "startup"]),
        (["list", "bul"], ["bulyan"]),
        (["list", "rul"], ["rules"]),
        (["certify", "smea"], ["smea"]),
        (["reproduce", "arc", "table-1"], ["table-1"]),
    ],
)
def test_the_shell_is_offered_names(offered, words, found):
    assert offered(*words) == found


def test_every_command_is_offered(offered):
    assert offered("") == list(COMMANDS)


def test_completion_can_be_shown_and_installed(call, monkeypatch, tmp_path):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    code, out, _ = call("--show-completion", "bash")
    assert code == 0
    assert "complete -o default -F _byzflower_completion byzflower" in out
    code, out, _ = call("--install-completion", "bash")
    assert code == 0
    assert "byzflower" in (tmp_path / ".bashrc").read_text()
