"""One mini-batch gradient: distributed SGD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from byzflower.registry import register
from byzflower.validation import positive

from .base import Algorithm, LocalStep, Payload, State
from .clipping import clip_norm
from .objective import Batch, Buffers, Objective, Params

__all__ = ["Gradient"]


@register("client")
@dataclass(frozen=True)
class Gradient(Algorithm):
    """Send g_t = ∇f(θ_t) on one mini-batch, clipped to ℓ2 norm C if asked.

    Parameters
    ----------
    clip
        C > 0, RESAM's client-side clipping parameter (2 on MNIST, 5 on CIFAR-10; Section 5.1), or
        None. It acts on the gradient of the regularised loss.

    Examples
    --------
    >>> Gradient(clip=2.0).payload
    'gradient'
    """

    clip: float | None = None

    name: ClassVar[str] = "gradient"
    payload: ClassVar[Payload] = "gradient"

    def __post_init__(self) -> None:
        if self.clip is not None:
            positive(self.clip, self.name, "clip")

    def local_step(
        self, objective: Objective, params: Params, buffers: Buffers, batch: Batch, state: State
    ) -> LocalStep:
        """Return the (clipped) gradient; the state passes through."""
        grads, left, loss = objective.gradient(params, buffers, batch)
        return LocalStep(clip_norm(grads, self.clip), left, state, {"train_loss": loss.detach()})
