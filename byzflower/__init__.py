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
