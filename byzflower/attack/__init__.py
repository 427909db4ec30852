"""Attacks, one a module."""

from __future__ import annotations

from byzflower.attack.alie import ALIE
from byzflower.attack.base import Attack
from byzflower.attack.foe import FOE
from byzflower.attack.label_flip import LabelFlip, flip_labels
from byzflower.attack.sign_flip import SignFlip

__all__ = ["ALIE", "FOE", "Attack", "LabelFlip", "SignFlip", "flip_labels"]
