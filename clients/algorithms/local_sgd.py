"""Several local steps of SGD: the client of FedAvg."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from byzflower.registry import register
from byzflower.validation import fraction, integer_at_least, positive

from .base import Algorithm, LocalStep, Payload, State
from .dropout import fold
from .objective import Batch, Buffers, Objective, Params

__all__ = ["LocalSGD"]


@register("client")
@dataclass(frozen=True)
class LocalSGD(Algorithm):
    """Send the model after τ steps θ ← θ − η v, with v ← μ v + ∇f(θ) and v = 0 at first.

    These are the updates of ``torch.optim.SGD`` on τ mini-batches; the local momentum v starts
    anew in every round. The batch is (steps, b, …).

    Parameters
    ----------
    steps
        τ ≥ 1.
    learning_rate
        η > 0.
    momentum
        μ in [0, 1).

    Examples
    --------
    >>> LocalSGD(steps=5, learning_rate=0.1).batch_shape(32)
    (5, 32)
    """

    steps: int = 1
    learning_rate: float = 0.1
    momentum: float = 0.0

    name: ClassVar[str] = "local_sgd"
    payload: ClassVar[Payload] = "model"

    def __post_init__(self) -> None:
        integer_at_least(self.steps, 1, self.name, "steps")
        positive(self.learning_rate, self.name, "learning_rate")
        fraction(self.momentum, self.name, "momentum")

    def batch_shape(self, batch_size: int) -> tuple[int, ...]:
        """Return (steps, b)."""
        return (self.steps, batch_size)

    def local_step(
        self, objective: Objective, params: Params, buffers: Buffers, batch: Batch, state: State
    ) -> LocalStep:
        """Return the model after all steps; ``train_loss`` is the mean of the steps' losses."""
        if batch.size != self.steps:
            raise ValueError(f"`local_sgd` needs a batch of {self.steps} steps; found {batch.size}")
        velocity: Params = {}
        losses = []
        for k in range(self.steps):
            one = batch.part(k, fold(batch.key, k))
            grads, buffers, loss = objective.gradient(params, buffers, one)
            losses.append(loss.detach())
            if self.momentum:
                velocity = {
                    name: g.add(velocity[name], alpha=self.momentum) if velocity else g
                    for name, g in grads.items()
                }
                grads = velocity
            params = {
                name: p.add(grads[name], alpha=-self.learning_rate) for name, p in params.items()
            }
        return LocalStep(params, buffers, state, {"train_loss": torch.stack(losses).mean()})
