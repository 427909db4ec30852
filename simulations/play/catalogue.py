"""What the page offers to choose from: all that is registered and can be drawn in the plane."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

from byzflower.attack import Attack
from byzflower.registry import attacks, pools, preaggregators, rules
from byzflower.specs import parse_one

__all__ = ["attack_of", "attacks_offered", "before_offered", "rules_offered"]

_FACTORS = ("tau", "scale", "std", "epsilon", "eps")
"""Parameters that say how hard an attack strikes; its first one of these is the page's slider."""
_EXAMPLES = {"s": 2, "c": 2.0}
"""Values of parameters of pre-aggregators that have no default."""
_CHAINS = ("arc > nnm",)


@cache
def rules_offered() -> dict[str, dict[str, str]]:
    """Name → what it is, for every rule and pool that needs no parameter.

    >>> rules_offered()["median"]["needs"]
    'n ≥ 2f+1'
    """
    return {
        name: {"needs": getattr(cls, "needs", ""), **_said(cls)}
        for name, cls in {**rules(), **pools()}.items()
        if not _required(cls)
    }


@cache
def before_offered() -> dict[str, dict[str, str]]:
    """Spec → what it is, for every pre-aggregator and for the chain that ARC's paper recommends.

    >>> [*before_offered()]
    ['arc', 'bucketing(s=2)', 'clip(c=2.0)', 'nnm', 'resampling(s=2)', 'arc > nnm']
    """
    offered = {}
    for cls in preaggregators().values():
        required = _required(cls)
        if set(required) <= _EXAMPLES.keys():
            offered[cls(**{name: _EXAMPLES[name] for name in required}).spec] = _said(cls)
    return offered | {chain: {"what": "One after the other.", "reference": ""} for chain in _CHAINS}


@cache
def attacks_offered() -> dict[str, dict[str, Any]]:
    """Name → what it is, its factor's name and whether it can adapt, for attacks on updates.

    >>> attacks_offered()["foe"]["factor"], attacks_offered()["foe"]["adapts"]
    ('tau', True)
    """
    offered = {}
    for name, cls in attacks().items():
        names = [field.name for field in dataclasses.fields(cls)]
        factor = next((field for field in _FACTORS if field in names), None)
        if cls.level == "update" and set(_required(cls)) <= {factor}:
            adapts = factor == "tau" and "grid" in names
            offered[name] = {"factor": factor, "adapts": adapts, **_said(cls)}
    return offered


def attack_of(name: str, factor: float | str | None) -> Attack:
    """Build an attack that is offered, with its factor: a number or ``"adaptive"``.

    >>> attack_of("sign_flip", 2.0).spec, attack_of("nan", 2.0).spec
    ('sign_flip(scale=2.0)', 'nan')
    """
    parameter = attacks_offered()[name]["factor"]
    given = "" if parameter is None or factor is None else f"({parameter}={factor})"
    return parse_one(f"{name}{given}", "attack", Attack)


def _required(cls: type[Any]) -> list[str]:
    return [
        field.name
        for field in dataclasses.fields(cls)
        if field.init
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]


def _said(cls: type[Any]) -> dict[str, str]:
    what = (cls.__doc__ or "").partition("\n")[0].replace("``", "").replace("*", "")
    return {"what": what, "reference": getattr(cls, "reference", "")}
