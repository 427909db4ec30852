"""What the README shows runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("block", [b for b in BLOCKS if "\n...\n" not in b])
def test_examples_run(block: str) -> None:
    pytest.importorskip("typer", reason="the simulation extra is not installed")
    code = compile(block, str(README), "exec", dont_inherit=True)  # no __future__ of ours
    exec(code, {"__name__": "readme"})


def test_most_examples_are_whole() -> None:
    assert sum("\n...\n" not in block for block in BLOCKS) >= 3
