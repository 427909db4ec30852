"""A little is enough (ALIE)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from byzflower.attack.factor import FactorAttack
from byzflower.attack.search.observation import Observation
from byzflower.registry import register

__all__ = ["ALIE", "baruch_factor"]

_GRID = tuple(k / 10 for k in range(1, 51))


def baruch_factor(n: int, f: int) -> float:
    """Return z_max = Φ⁻¹((n−f−s)/(n−f)) with s = ⌊n/2 + 1⌋ − f supporters (Baruch et al. 2019).

    Colluders in a majority need no supporter; then s = 1. With a single honest worker (n − f = s)
    there is no deviation to exploit and the factor is 0.

    >>> round(baruch_factor(50, 24), 3)
    1.426
    """
    supporters = max(1, n // 2 + 1 - f)
    share = (n - f - supporters) / (n - f)
    return NormalDist().inv_cdf(share) if share > 0 else 0.0


@register("attack")
@dataclass(frozen=True)
class ALIE(FactorAttack):
    """Send the honest mean + τ × the coordinate-wise standard deviation (ddof 0).

    τ = 1 is RESAM's *little*.

    Parameters
    ----------
    tau
        The factor, or ``"adaptive"``: chosen every round against the server's rule.
    z
        ``"baruch"`` in place of τ: Φ⁻¹((n−f−s)/(n−f)), s = ⌊n/2+1⌋−f, from the round's n and f.
    grid
        Values to try for an adaptive τ: by default 0.1, 0.2 … 5.
    draws
        Number of draws over which the damage to a randomised rule is averaged.

    ddof
        1 divides the squared deviations by h − 1, not h, as the code of RESAM's and ARC's authors
        does: a factor of 1.054 at h = 10.

    Examples
    --------
    >>> import torch
    >>> import byzflower as bf
    >>> honest = torch.tensor([[1.0], [2.0], [3.0], [2.0]])
    >>> ALIE(tau=2.0)(torch.tensor([[1.0], [3.0]]), f=1)
    tensor([[4.]])
    >>> bf.parse_attack("alie(tau=adaptive, grid=[1, 9])")(honest, f=1, rule=bf.Median())
    tensor([[2.7071]])
    """

    name: ClassVar[str] = "alie"
    reference: ClassVar[str] = "Baruch et al. 2019; ARC D.3; RESAM's little"

    tau: float | str | None = None
    z: str | None = None
    grid: tuple[float, ...] = _GRID
    draws: int = 8
    ddof: int = 0

    def check_factor(self) -> None:
        """Refuse both or neither of ``tau`` and ``z``."""
        if self.z not in (None, "baruch"):
            raise ValueError(f"`{self.name}` needs z = baruch or none; found {self.z!r}")
        if (self.tau is None) == (self.z is None):
            found = "neither" if self.tau is None else "both"
            raise ValueError(
                f"`{self.name}` needs either tau or z, for instance alie(tau=1.5); found {found}"
            )
        if self.z is None:
            super().check_factor()
        if self.ddof not in (0, 1):
            raise ValueError(f"`{self.name}` needs ddof = 0 or 1; found {self.ddof!r}")

    def factor(self, seen: Observation) -> float:
        """Return τ for this round."""
        if self.z is not None:
            return baruch_factor(seen.h + seen.f, seen.f)
        return super().factor(seen)

    def line(
        self, seen: Observation, tau: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], torch.Tensor | None]:
        """Return the line ḡ + τ · standard deviation."""
        # One worker's deviation is 0 either way.
        wider = math.sqrt(seen.h / max(seen.h - self.ddof, 1))
        return np.ones_like(tau), wider * tau, seen.deviation
