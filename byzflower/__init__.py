"""Byzantine-robust federated learning for Flower.

``byzflower`` itself holds the mathematics (rules, pre-aggregators, attacks, theory) and never
imports Flower; ``byzflower.strategies``, ``byzflower.clients`` and ``byzflower.simulations``
build on it. Attributes load on first use, so ``import byzflower`` costs nothing.

>>> import torch
>>> import byzflower as bf
>>> updates = torch.tensor([[1.0, 2.0], [1.1, 2.1], [0.9, 1.9], [1.0, 2.0], [90.0, -90.0]])
>>> bf.parse("arc > nnm > trimmed_mean")(updates, f=1)
tensor([1., 2.])
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# In a source checkout the sub-packages are the repository's top-level folders; in a wheel they
# lie beside this file. One appended path entry serves editable installs, pytest and Ray workers.
_HERE = Path(__file__).resolve().parent
if not (_HERE / "strategies").is_dir():
    __path__.append(str(_HERE.parent))

if TYPE_CHECKING:
    from byzflower.attack import Attack
    from byzflower.errors import BudgetError, InfeasibleError, SpecError
    from byzflower.geometry import Geometry
    from byzflower.kernels import Reduction
    from byzflower.mixtailor import MixTailor
    from byzflower.plans import Mixing, Reduced, Weighted, average_of
    from byzflower.preaggregator import ARC, NNM, Bucketing, Clip, Resampling
    from byzflower.registry import attacks, preaggregators, register, rules
    from byzflower.rule import (
        CAF,
        CGE,
        MDA,
        SMEA,
        Bulyan,
        CenteredClipping,
        GeometricMedian,
        Krum,
        KrumStar,
        MeaMed,
        Mean,
        Median,
        MoNNA,
        MultiKrum,
        MultiKrumStar,
        TrimmedMean,
    )
    from byzflower.specs import parse, parse_attack
    from byzflower.steps import (
        Aggregator,
        Explanation,
        Pipeline,
        PreAggregator,
        Rule,
        StepReport,
        compose,
    )
    from byzflower.updates import Updates

_EXPORTS = {
    "byzflower.attack": ("Attack",),
    "byzflower.errors": ("BudgetError", "InfeasibleError", "SpecError"),
    "byzflower.mixtailor": ("MixTailor",),
    "byzflower.preaggregator": ("ARC", "NNM", "Bucketing", "Clip", "Resampling"),
    "byzflower.geometry": ("Geometry",),
    "byzflower.kernels": ("Reduction",),
    "byzflower.plans": ("Mixing", "Reduced", "Weighted", "average_of"),
    "byzflower.registry": ("attacks", "preaggregators", "register", "rules"),
    "byzflower.rule": (
        "CAF",
        "CGE",
        "MDA",
        "SMEA",
        "Bulyan",
        "CenteredClipping",
        "GeometricMedian",
        "Krum",
        "KrumStar",
        "MeaMed",
        "Mean",
        "Median",
        "MoNNA",
        "MultiKrum",
        "MultiKrumStar",
        "TrimmedMean",
    ),
    "byzflower.specs": ("parse", "parse_attack"),
    "byzflower.steps": (
        "Aggregator",
        "Explanation",
        "Pipeline",
        "PreAggregator",
        "Rule",
        "StepReport",
        "compose",
    ),
    "byzflower.updates": ("Updates",),
}
_SUBPACKAGES = ("certify", "clients", "simulations", "strategies", "theory")
_MODULES = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = [
    "ARC",
    "CAF",
    "CGE",
    "MDA",
    "NNM",
    "SMEA",
    "Aggregator",
    "Attack",
    "Bucketing",
    "BudgetError",
    "Bulyan",
    "CenteredClipping",
    "Clip",
    "Explanation",
    "GeometricMedian",
    "Geometry",
    "InfeasibleError",
    "Krum",
    "KrumStar",
    "MeaMed",
    "Mean",
    "Median",
    "MixTailor",
    "Mixing",
    "MoNNA",
    "MultiKrum",
    "MultiKrumStar",
    "Pipeline",
    "PreAggregator",
    "Reduced",
    "Reduction",
    "Resampling",
    "Rule",
    "SpecError",
    "StepReport",
    "TrimmedMean",
    "Updates",
    "Weighted",
    "__version__",
    "attacks",
    "average_of",
    "compose",
    "parse",
    "parse_attack",
    "preaggregators",
    "register",
    "rules",
]


def __getattr__(name: str) -> object:
    if name in _SUBPACKAGES:
        return import_module(f"byzflower.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module 'byzflower' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBPACKAGES])
