"""What README and the guides show runs as it stands there; every page of the catalogue is there."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from byzflower.registry import registered

ROOT = Path(__file__).parents[1]
GUIDES = sorted((ROOT / "docs/guides").glob("*.md"))


def blocks(path: Path) -> list[str]:
    """The Python blocks of a Markdown page that are whole."""
    found = re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [block for block in found if "\n...\n" not in block]


@pytest.mark.parametrize("block", blocks(ROOT / "README.md"))
def test_examples_of_the_readme_run(block: str) -> None:
    run(block, {"__name__": "readme"})


@pytest.mark.parametrize("guide", [g for g in GUIDES if blocks(g)], ids=lambda guide: guide.stem)
def test_guides_run_from_their_first_block_to_the_last(
    guide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A module, as a reader's file is one: what it defines can be pickled.
    module = ModuleType("guide_" + guide.stem.replace("-", "_"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in blocks(guide):
        run(block, vars(module))


def run(block: str, names: dict[str, object]) -> None:
    pytest.importorskip("typer", reason="the simulation extra is not installed")
    code = compile(block, "a document", "exec", dont_inherit=True)  # no __future__ of ours
    exec(code, names)


def test_most_examples_are_whole() -> None:
    assert len(blocks(ROOT / "README.md")) >= 2
    assert sum(map(len, map(blocks, GUIDES))) >= 7


def test_the_catalogue_has_a_formula_for_each() -> None:
    pages = tomllib.loads((ROOT / "docs/catalogue.toml").read_text(encoding="utf-8"))
    for kind in ("rule", "pool", "preaggregator", "attack", "client", "schedule"):
        ours = {n for n, c in registered(kind).items() if c.__module__.startswith("byzflower.")}
        assert ours <= {name for name, page in pages[kind].items() if "formula" in page}
    partitions = registered("partition").items()
    assert {n for n, c in partitions if c.__module__.startswith("byzflower.")} <= set(
        pages["partition"]
    )
