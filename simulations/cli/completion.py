"""What the shell offers as values of options: found without importing what takes seconds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click

import byzflower
from byzflower.registry import PACKAGES

__all__ = ["any_name", "items", "papers", "specs"]

_PAPERS = Path(__file__).parents[1] / "papers"


def specs(*kinds: str) -> Callable[[str], list[str]]:
    """Return what completes the name of one of these kinds, in a pipeline its last step's.

    >>> specs("preaggregator", "rule")("arc > trim")
    ['arc > trimmed_mean']
    """

    def complete(incomplete: str) -> list[str]:
        before, arrow, last = incomplete.rpartition("> ")
        names = (name for kind in kinds for name in _named(kind))
        return [before + arrow + name for name in sorted(names) if name.startswith(last)]

    return complete


def any_name(incomplete: str) -> list[str]:
    """Return the names of all kinds that begin so."""
    return specs(*PACKAGES)(incomplete)


def papers() -> list[str]:
    """Return the papers whose items can be reproduced."""
    return sorted(path.name for path in _PAPERS.iterdir() if path.is_dir())


def items(ctx: click.Context) -> list[str]:
    """Return the items of the paper named before."""
    return sorted(path.stem for path in (_PAPERS / str(ctx.params.get("paper"))).glob("*.toml"))


def _named(kind: str) -> Iterator[str]:
    """Yield the names that are registered as a kind, as the sources have them."""
    _, *inside = PACKAGES[kind].split(".")
    pattern = rf'^@register\("{kind}"\)\n.*?^    name: ClassVar\[str\] = "(\w+)"'
    for folder in byzflower.__path__:
        place = Path(folder, *inside)
        for source in [*place.glob("*.py"), *place.parent.glob(f"{place.name}.py")]:
            yield from re.findall(pattern, source.read_text("utf-8"), re.DOTALL | re.MULTILINE)
