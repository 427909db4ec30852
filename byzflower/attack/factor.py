"""Attacks with one factor τ, given or chosen every round against the server's own rule."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from byzflower.attack.base import Attack
from byzflower.attack.search.effect import Candidates
from byzflower.attack.search.grid import checked_grid
from byzflower.attack.search.observation import Observation
from byzflower.attack.search.pool import expected
from byzflower.validation import integer_at_least, real

__all__ = ["FactorAttack"]


@dataclass(frozen=True)
class FactorAttack(Attack):
    """Send a point of a line, at the factor ``tau``.

    With ``tau="adaptive"`` (ARC D.3), each round takes the τ of ``grid`` that maximises
    ‖honest mean − aggregate‖ for the server's own rule, in ties the lowest. The server's f is
    assumed to be the number of colluders. If the rule is random (bucketing, resampling, a MixTailor
    pool), the colluders know its distribution but not the outcome: they maximise the mean square
    over ``draws`` draws of their own, the same ones for every τ.

    A search costs about two to three aggregations for all candidates together.
    """

    tau: float | str | None
    grid: tuple[float, ...]
    draws: int

    def __post_init__(self) -> None:
        self.check_factor()
        object.__setattr__(self, "grid", checked_grid(self.grid, self.name))
        integer_at_least(self.draws, 1, self.name, "draws")

    def check_factor(self) -> None:
        """Refuse a τ that is neither a finite number nor ``"adaptive"``."""
        if isinstance(self.tau, str):
            if self.tau != "adaptive":
                raise ValueError(
                    f"`{self.name}` needs a number or adaptive for tau; found {self.tau!r}"
                )
        else:
            real(self.tau, self.name, "tau")

    @property
    def needs_rule(self) -> bool:
        """Whether τ is chosen against the server's rule."""
        return self.tau == "adaptive"

    @abstractmethod
    def line(
        self, seen: Observation, tau: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], torch.Tensor | None]:
        """Return a, b, of τ's shape (T,), and u (d,): at τ, a × honest mean + b × u is sent.

        u is ``None`` where b = 0.
        """

    def factor(self, seen: Observation) -> float:
        """Return τ for this round: the given one, or the most damaging of the grid."""
        if isinstance(self.tau, int | float):
            return self.tau
        along_mean, along, direction = self.line(seen, np.array(self.grid))
        candidates = Candidates(seen, along_mean, along, direction)
        return self.grid[expected(candidates, self.draws).most_damaging()]

    def forge(self, seen: Observation, state: Any) -> tuple[torch.Tensor, Any]:
        """Return the point of the line at τ."""
        along_mean, along, direction = self.line(seen, np.array([self.factor(seen)]))
        rows = seen.mean * float(along_mean[0])
        if direction is not None:
            rows = rows + direction * float(along[0])
        return rows, None
