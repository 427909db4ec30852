"""Fall of empires (FOE)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from byzflower.attack.factor import FactorAttack
from byzflower.attack.search.observation import Observation
from byzflower.registry import register

__all__ = ["FOE"]

_GRID = tuple(float(f"{0.1 * 1000 ** (k / 49):.3g}") for k in range(50))


@register("attack")
@dataclass(frozen=True)
class FOE(FactorAttack):
    """Send (1 − τ) × the honest mean; τ = 1.1 is RESAM's *empire*, τ = 2 is sign-flipping.

    Parameters
    ----------
    tau
        The factor, or ``"adaptive"``: chosen every round against the server's rule.
    grid
        Values to try for an adaptive τ: by default 50 from 0.1 to 100, evenly spaced in their
        logarithm.
    draws
        Number of draws over which the damage to a randomised rule is averaged.

    Examples
    --------
    >>> import torch
    >>> import byzflower as bf
    >>> honest = torch.tensor([[1.0], [2.0], [3.0]])
    >>> FOE(tau=3.0)(honest, f=2)
    tensor([[-4.],
            [-4.]])
    >>> bf.parse_attack("foe(tau=adaptive, grid=[1, 2, 3])")(honest, f=1, rule=bf.Mean())
    tensor([[-4.]])
    """

    name: ClassVar[str] = "foe"
    reference: ClassVar[str] = "Xie et al. 2020; ARC D.3"

    tau: float | str | None
    grid: tuple[float, ...] = _GRID
    draws: int = 8

    def line(
        self, seen: Observation, tau: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], torch.Tensor | None]:
        """Return the line (1 − τ) ḡ."""
        return 1 - tau, np.zeros_like(tau), None
