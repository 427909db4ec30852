"""Byzantine-robust federated learning for Flower.

``byzflower`` itself holds the mathematics and never imports Flower: ``rule``, ``preaggregator``
and ``attack`` (one a module), ``theory`` (what is proved) and ``certify`` (what a search finds),
``functional`` (the rules as functions) and ``testing`` (the contracts, for rules, attacks, clients
and strategies of one's own). ``strategies``, ``clients`` and ``simulations`` build on it.

Attributes load on first use, so ``import byzflower`` costs nothing; `byzflower._exports` lists
them.

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

__version__ = "0.2.0"

# In a source checkout the sub-packages are the repository's top-level folders; in a wheel they
# lie beside this file. One appended path entry serves editable installs, pytest and Ray workers.
_HERE = Path(__file__).resolve().parent
if not (_HERE / "strategies").is_dir():
    __path__.append(str(_HERE.parent))

if TYPE_CHECKING:
    from byzflower._exports import *  # noqa: F403

_SUBPACKAGES = (
    "certify",
    "clients",
    "functional",
    "simulations",
    "strategies",
    "testing",
    "theory",
)


def __getattr__(name: str) -> object:
    if name in _SUBPACKAGES:
        return import_module(f"byzflower.{name}")
    if name == "__all__":
        return [*_exported(), "__version__"]
    if name.startswith("_") or name not in _exported():  # Python asks for many a private name
        raise AttributeError(f"module 'byzflower' has no attribute {name!r}")
    globals().update(_exported())
    return globals()[name]


def __dir__() -> list[str]:
    return sorted([*_exported(), *_SUBPACKAGES, "__version__"])


def _exported() -> dict[str, object]:
    """Return every public name; importing them imports torch."""
    names = vars(import_module("byzflower._exports"))
    return {name: value for name, value in names.items() if not name.startswith("_")}
