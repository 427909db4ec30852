"""Names of rules, pre-aggregators and attacks; a class enters by being decorated."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

__all__ = ["attacks", "pools", "preaggregators", "register", "rules"]

_C = TypeVar("_C", bound=type[Any])
_REGISTRIES: dict[str, dict[str, type[Any]]] = {
    "rule": {},
    "preaggregator": {},
    "attack": {},
    "pool": {},
}
_PACKAGES = {
    "rule": "byzflower.rule",
    "preaggregator": "byzflower.preaggregator",
    "attack": "byzflower.attack",
    "pool": "byzflower.mixtailor",
}


def register(kind: str) -> Callable[[_C], _C]:
    """Class decorator: enter a rule, preaggregator, attack or pool under its ``name``.

    A class defined anew, as in a notebook's cell run twice, takes its predecessor's place. Its
    attribute ``reference`` names the paper; the former name, ``source``, is read with a warning.

    Raises
    ------
    ValueError
        For an unknown kind, a class without a name, or a name that another class has.
    """
    if kind not in _REGISTRIES:
        raise ValueError(f"`register` needs one of {', '.join(_REGISTRIES)}; found {kind!r}")

    def enter(cls: _C) -> _C:
        name = getattr(cls, "name", None)
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(
                f"`{cls.__qualname__}` needs a `name` that specs can hold; found {name!r}"
            )
        other = _REGISTRIES[kind].get(name, cls)
        if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"the name {name!r} names two {kind}s")
        if "source" in vars(cls) and "reference" not in vars(cls):
            message = f"`{cls.__qualname__}.source` is now called `reference`; please rename it"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            cls.reference = cls.source  # type: ignore[attr-defined]
        _REGISTRIES[kind][name] = cls
        return cls

    return enter


def _registered(kind: str) -> dict[str, type[Any]]:
    import_module(_PACKAGES[kind])  # the package imports its modules, which register
    return dict(sorted(_REGISTRIES[kind].items()))


def rules() -> dict[str, type[Any]]:
    """Spec name → class, for every aggregation rule.

    >>> import byzflower as bf
    >>> bf.rules()["krum"].needs
    'n ≥ 2f+3'
    """
    return _registered("rule")


def preaggregators() -> dict[str, type[Any]]:
    """Spec name → class, for every pre-aggregator.

    >>> sorted(preaggregators())
    ['arc', 'bucketing', 'clip', 'nnm', 'resampling']
    """
    return _registered("preaggregator")


def pools() -> dict[str, type[Any]]:
    """Spec name → class, for aggregations that draw from several, such as MixTailor.

    >>> pools()
    {'mixtailor': <class 'byzflower.mixtailor.MixTailor'>}
    """
    return _registered("pool")


def attacks() -> dict[str, type[Any]]:
    """Spec name → class, for every attack.

    >>> attacks()["alie"](tau=1.5).spec
    'alie(tau=1.5)'
    """
    return _registered("attack")
