"""Imports run one way: no circles, and between the folders only as CONTRIBUTING.md allows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("byzflower", "strategies", "clients", "simulations")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "byzflower" else ("byzflower", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_name(path): path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if not {"baselines", "quickstart"} & set(path.parts)  # apps of their own
}


def imported(name: str, path: Path) -> Iterator[str]:
    """Every module that a file names in an import, wherever the import stands."""
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield inner if inner in MODULES else module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


IMPORTS = {name: set(imported(name, path)) - {name} for name, path in MODULES.items()}


def test_no_module_is_imported_by_what_it_imports() -> None:
    graph = {name: found & MODULES.keys() for name, found in IMPORTS.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)


def test_no_folder_is_imported_under_the_name_of_its_place() -> None:
    places = {(name, found) for name, all_found in IMPORTS.items() for found in all_found}
    assert not {pair for pair in places if pair[1].split(".")[0] in FOLDERS[1:]}


MATHEMATICS = ("flwr", "ray", "byzflower.wire", "byzflower.strategies", "byzflower.clients")
FORBIDDEN = {
    **{
        f"byzflower.{package}": (*MATHEMATICS, "byzflower.simulations")
        for package in ("rule", "preaggregator", "attack", "kernels", "theory", "certify")
    },
    "byzflower.wire": ("byzflower.strategies", "byzflower.clients", "byzflower.simulations"),
    "byzflower.strategies": ("byzflower.clients", "byzflower.simulations", "byzflower.testing"),
    "byzflower.clients": ("byzflower.strategies", "byzflower.simulations", "byzflower.testing"),
}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    above = {
        (name, found)
        for name, all_found in IMPORTS.items()
        if f"{name}.".startswith(f"{package}.")
        for found in all_found
        if f"{found}.".startswith(tuple(f"{other}." for other in FORBIDDEN[package]))
    }
    assert not above


def test_the_search_of_attacks_knows_no_attack() -> None:
    above = {
        found
        for name, all_found in IMPORTS.items()
        if name.startswith("byzflower.attack.search")
        for found in all_found
        if found.startswith("byzflower.attack") and not found.startswith("byzflower.attack.search")
    }
    assert not above
