"""Attacks, one a module."""

from __future__ import annotations

from byzflower.attack.alie import ALIE
from byzflower.attack.base import Attack
from byzflower.attack.duplicate import Duplicate
from byzflower.attack.foe import FOE
from byzflower.attack.gaussian import Gaussian
from byzflower.attack.inf import Inf
from byzflower.attack.label_flip import LabelFlip, flip_labels
from byzflower.attack.mimic import Mimic
from byzflower.attack.minmax import MinMax
from byzflower.attack.nan import NaN
from byzflower.attack.random import Random
from byzflower.attack.search.observation import Observation
from byzflower.attack.sign_flip import SignFlip
from byzflower.attack.tailored import Tailored
from byzflower.attack.zero import Zero

__all__ = [
    "ALIE",
    "FOE",
    "Attack",
    "Duplicate",
    "Gaussian",
    "Inf",
    "LabelFlip",
    "Mimic",
    "MinMax",
    "NaN",
    "Observation",
    "Random",
    "SignFlip",
    "Tailored",
    "Zero",
    "flip_labels",
]
