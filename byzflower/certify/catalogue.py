"""Starts from the attack catalogue: what known attacks send, over a grid of their factors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from byzflower.attack.parsing import parse_attack
from byzflower.certify.ratio import Array
from byzflower.registry import attacks
from byzflower.steps import Aggregator

__all__ = ["attacked"]

_SPECS = (
    *(f"alie(tau={tau})" for tau in (-3.0, -1.5, -1.0, -0.5, 0.5, 1.0, 1.5, 3.0)),
    *(f"foe(tau={tau})" for tau in (-2.0, 0.5, 1.1, 2.0, 10.0)),
    *(f"sign_flip(scale={scale})" for scale in (1.0, 5.0)),
    *(f"tailored(eps={eps})" for eps in (0.1, 10.0)),
    *("mimic", "duplicate", "zero"),
)


def attacked(n: int, f: int, d: int, rng: np.random.Generator, rule: Aggregator) -> Iterator[Array]:
    """Honest rows about two origins and, for each known attack, what it would send."""
    known = attacks()
    specs = [spec for spec in _SPECS if spec.partition("(")[0] in known]
    draws = torch.Generator().manual_seed(int(rng.integers(2**31)))
    for offset in (0.0, 1.0):
        honest = torch.from_numpy(rng.standard_normal((n - f, d)) + offset)
        for spec in specs if f else ():
            sent = parse_attack(spec)(honest, f, rng=draws, rule=rule)
            yield torch.cat([honest, sent]).numpy()
