"""Names of everything that a spec can hold; a class enters by being decorated.

Each kind has a package of its own, imported when its names are first asked for: naming rules and
attacks never imports Flower, which clients and the simulations need.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

__all__ = [
    "KINDS",
    "PACKAGES",
    "attacks",
    "own_classes",
    "pools",
    "preaggregators",
    "register",
    "registered",
    "rules",
]

_C = TypeVar("_C", bound=type[Any])
PACKAGES = {
    "rule": "byzflower.rule",
    "preaggregator": "byzflower.preaggregator",
    "pool": "byzflower.mixtailor",
    "attack": "byzflower.attack",
    "client": "byzflower.clients.algorithms",
    "schedule": "byzflower.strategies.schedules",
    "dataset": "byzflower.simulations.datasets",
    "model": "byzflower.simulations.models",
    "partition": "byzflower.simulations.partitions",
}
"""Kind → the package or module whose classes it holds."""
KINDS = tuple(PACKAGES)
"""What can be registered."""
_REGISTRIES: dict[str, dict[str, type[Any]]] = {kind: {} for kind in KINDS}


def register(kind: str) -> Callable[[_C], _C]:
    """Class decorator: enter a frozen dataclass under its ``name``, as one of :data:`KINDS`.

    Specs, options of the command line, ``byzflower list`` and the checks of parameters then know
    it. A class defined anew, as in a notebook's cell run twice, takes its predecessor's place. Its
    attribute ``reference`` names the paper; the former name, ``source``, is read with a warning.

    Raises
    ------
    ValueError
        For an unknown kind, a class without a name, one that is no frozen dataclass, or a name
        that another class has.
    """
    if kind not in _REGISTRIES:
        raise ValueError(f"`register` needs one of {', '.join(_REGISTRIES)}; found {kind!r}")

    def enter(cls: _C) -> _C:
        name = getattr(cls, "name", None)
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(
                f"`{cls.__qualname__}` needs a `name` that specs can hold; found {name!r}"
            )
        if not dataclasses.is_dataclass(cls) or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            raise ValueError(
                f"`{cls.__qualname__}` needs @dataclass(frozen=True) below @register; found none"
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


def registered(kind: str) -> dict[str, type[Any]]:
    """Spec name → class, for everything of one of :data:`KINDS`.

    >>> sorted(registered("preaggregator"))
    ['arc', 'bucketing', 'clip', 'nnm', 'resampling']
    """
    import_module(PACKAGES[kind])  # the package imports its modules, which register
    return dict(sorted(_REGISTRIES[kind].items()))


def own_classes() -> list[tuple[str, type[Any]]]:
    """Kind and class of what was registered from outside this package.

    Another process does not know it: whoever sends specs there sends these classes along, to be
    registered before the specs are read.
    """
    return [
        (kind, cls)
        for kind, found in _REGISTRIES.items()
        for cls in found.values()
        if not cls.__module__.startswith("byzflower.")
    ]


def rules() -> dict[str, type[Any]]:
    """Spec name → class, for every aggregation rule.

    >>> import byzflower as bf
    >>> bf.rules()["krum"].needs
    'n ≥ 2f+3'
    """
    return registered("rule")


def preaggregators() -> dict[str, type[Any]]:
    """Spec name → class, for every pre-aggregator.

    >>> sorted(preaggregators())
    ['arc', 'bucketing', 'clip', 'nnm', 'resampling']
    """
    return registered("preaggregator")


def pools() -> dict[str, type[Any]]:
    """Spec name → class, for aggregations that draw from several, such as MixTailor.

    >>> pools()
    {'mixtailor': <class 'byzflower.mixtailor.MixTailor'>}
    """
    return registered("pool")


def attacks() -> dict[str, type[Any]]:
    """Spec name → class, for every attack.

    >>> attacks()["alie"](tau=1.5).spec
    'alie(tau=1.5)'
    """
    return registered("attack")
