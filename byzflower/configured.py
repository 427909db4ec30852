"""Base class of everything that specs describe, and the text of a spec."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

__all__ = ["Configured", "written"]


class Configured:
    """Base of everything that a spec can name: rules, attacks, clients, data sets, models, ….

    A sub-class is a frozen dataclass whose fields are its parameters, with a ``name``.
    """

    name: ClassVar[str]

    @property
    def spec(self) -> str:
        """The object as text that builds it again: its name and non-default parameters."""
        return written(self.name, self)

    def __str__(self) -> str:
        return self.spec


def written(name: str, configured: Any) -> str:
    """Write a dataclass as a spec: its name and the parameters that are not the default.

    >>> import byzflower as bf
    >>> written("krum", bf.Krum(p=3))
    'krum(p=3)'
    """
    changed = [
        f"{f.name}={_literal(getattr(configured, f.name))}"
        for f in dataclasses.fields(configured)
        if f.init and getattr(configured, f.name) != f.default
    ]
    return f"{name}({', '.join(changed)})" if changed else name


def _literal(value: object) -> str:
    if isinstance(value, str) and value.isidentifier():
        return value
    if isinstance(value, tuple):
        return f"({', '.join(repr(_plain(item)) for item in value)}{',' * (len(value) == 1)})"
    return repr(_plain(value))


def _plain(value: object) -> object:
    """Return what the parser reads: specs as text, numpy's floats as Python's."""
    spec = getattr(value, "spec", None)
    if isinstance(spec, str):
        return spec
    return float(value) if isinstance(value, float) else value
