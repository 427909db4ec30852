"""Names of before are found with a warning that says the present one; the changelog lists them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from byzflower.attack import AgainstPool
from byzflower.clients.algorithms import LocalStep
from byzflower.registry import registered

CHANGELOG = (Path(__file__).parents[1] / "CHANGELOG.md").read_text(encoding="utf-8")
FORMER = {
    "byzflower.attack.MinMax": AgainstPool,
    "byzflower.clients.ALGORITHMS": registered("client"),
    "byzflower.clients.algorithms.Step": LocalStep,
}


@pytest.mark.parametrize("name", FORMER)
def test_a_former_name_is_found_with_a_warning(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    with pytest.warns(DeprecationWarning, match=f"`{name}` is now called `"):
        found: Any = getattr(import_module(module), attribute)
    assert found == FORMER[name]
    assert f"`{name}`" in CHANGELOG


@pytest.mark.parametrize("module", ["attack", "clients", "clients.algorithms"])
def test_what_never_was_is_not_found(module: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'byzflower.{module}' has no attribute 'x'"):
        import_module(f"byzflower.{module}").x  # noqa: B018
