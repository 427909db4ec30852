"""From an attack's spec to the attack."""

from __future__ import annotations

from byzflower.attack.base import Attack
from byzflower.specs import parse_one

__all__ = ["parse_attack"]


def parse_attack(spec: str | Attack) -> Attack:
    """Build the attack that a spec string describes.

    Raises
    ------
    SpecError
        For an unknown name or parameter, or a value out of range.

    >>> parse_attack("alie(tau=1.5)").spec
    'alie(tau=1.5)'
    """
    return parse_one(spec, "attack", Attack)
