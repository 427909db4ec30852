"""Attacks, one a module: the updates that omniscient, colluding clients send.

An attack is a frozen dataclass derived from :class:`Attack`; ``step`` forges the updates of one
round from the honest ones.

Fixed: ``sign_flip``, ``ipm``, ``gaussian``, ``random``, ``duplicate``, ``constant`` (nan, inf,
zero). With memory: ``mimic``. With a factor that is given or searched for against the server's own
rule: ``alie``, ``foe`` (both derive from ``factor``), ``tailored``, ``against_pool``. In the data,
not in the updates: ``label_flip``. ``search`` is the machinery of the searches, ``parsing`` reads
specs.
"""

from __future__ import annotations

from byzflower.attack.against_pool import AgainstPool
from byzflower.attack.alie import ALIE
from byzflower.attack.base import Attack
from byzflower.attack.constant import Inf, NaN, Zero
from byzflower.attack.duplicate import Duplicate
from byzflower.attack.foe import FOE
from byzflower.attack.gaussian import Gaussian
from byzflower.attack.ipm import IPM
from byzflower.attack.label_flip import LabelFlip, flip_labels
from byzflower.attack.mimic import Mimic
from byzflower.attack.own_sign_flip import OwnSignFlip
from byzflower.attack.parsing import parse_attack
from byzflower.attack.random import Random
from byzflower.attack.search.observation import Observation
from byzflower.attack.sign_flip import SignFlip
from byzflower.attack.tailored import Tailored
from byzflower.renamed import former_names

__all__ = [
    "ALIE",
    "FOE",
    "IPM",
    "AgainstPool",
    "Attack",
    "Duplicate",
    "Gaussian",
    "Inf",
    "LabelFlip",
    "Mimic",
    "NaN",
    "Observation",
    "OwnSignFlip",
    "Random",
    "SignFlip",
    "Tailored",
    "Zero",
    "flip_labels",
    "parse_attack",
]

__getattr__ = former_names(__name__, {"MinMax": ("AgainstPool", lambda: AgainstPool)})
