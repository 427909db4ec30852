"""Distributed momentum: each client sends an average of its own past gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from byzflower.registry import register
from byzflower.validation import fraction, positive

from .base import Algorithm, LocalStep, Payload, State
from .clipping import clip_norm
from .objective import Batch, Buffers, Objective, Params

__all__ = ["Momentum"]


@register("client")
@dataclass(frozen=True)
class Momentum(Algorithm):
    """Send m_t = β m_{t−1} + (1 − β) g_t, with m_0 = 0 (RESAM, eq. 5; ARC, Algorithm 3).

    Parameters
    ----------
    beta
        β in [0, 1); 0 is ``Gradient``.
    clip
        Client-side clipping parameter C > 0 or None. RESAM states C (Section 5.1, Appendix D.3)
        without saying what is clipped; as in the experiments it builds on (El Mhamdi et al.,
        2021), it is the stochastic gradient g_t, before it enters the momentum.

    Examples
    --------
    >>> Momentum(beta=0.99, clip=2.0)
    Momentum(beta=0.99, clip=2.0)
    """

    beta: float = 0.9
    clip: float | None = None

    name: ClassVar[str] = "momentum"
    payload: ClassVar[Payload] = "gradient"

    def __post_init__(self) -> None:
        fraction(self.beta, self.name, "beta")
        if self.clip is not None:
            positive(self.clip, self.name, "clip")

    def init_state(self, params: Params) -> State:
        """Return m_0 = 0, under the parameters' names."""
        return {name: torch.zeros_like(p) for name, p in params.items()}

    def local_step(
        self, objective: Objective, params: Params, buffers: Buffers, batch: Batch, state: State
    ) -> LocalStep:
        """Return m_t, which is also the new state."""
        grads, left, loss = objective.gradient(params, buffers, batch)
        grads = clip_norm(grads, self.clip)
        # lerp(m, g, 1−β) = β m + (1−β) g in one pass over memory.
        momentum = {name: torch.lerp(state[name], g, 1 - self.beta) for name, g in grads.items()}
        return LocalStep(momentum, left, momentum, {"train_loss": loss.detach()})
