"""RSA: clients and server hold models of their own, drawn together by an ℓ1 penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from byzflower.registry import register
from byzflower.rule import SignVotes
from byzflower.validation import positive

from .base import Algorithm, LocalStep, Payload, State
from .objective import Batch, Buffers, Objective, Params

__all__ = ["RSA"]


@register("client")
@dataclass(frozen=True)
class RSA(Algorithm):
    """Keep x_w and send it after x_w ← x_w − γ (∇f(x_w) + λ sign(x_w − x_0)).

    x_0 is the model received and x_w starts there. Source: RS-Byrd-SAGA, Section "Benchmark
    methods", RSA. Departure: there the server's step k uses the clients' x_w of step k; here the
    reply of round k already carries x_w of step k + 1, so that it is one local step fresher. The
    server's step is ``byzflower.strategies.Rsa``.

    Parameters
    ----------
    lam
        λ > 0, the penalty; each client moves the server by at most γλ in every coordinate.
    learning_rate
        γ > 0.

    Examples
    --------
    >>> RSA(lam=0.01, learning_rate=0.1).payload
    'model'
    """

    lam: float = 0.01
    learning_rate: float = 0.1

    name: ClassVar[str] = "rsa"
    payload: ClassVar[Payload] = "model"

    def __post_init__(self) -> None:
        positive(self.lam, self.name, "lam")
        positive(self.learning_rate, self.name, "learning_rate")

    @property
    def own_rule(self) -> str:
        """The server's step x_0 ← x_0 + γλ Σ_w sign(x_w − x_0)."""
        return SignVotes(step=self.learning_rate * self.lam).spec

    def init_state(self, params: Params) -> State:
        """Return x_w = x_0, a copy under the parameters' names."""
        return {name: p.clone() for name, p in params.items()}

    def local_step(
        self, objective: Objective, params: Params, buffers: Buffers, batch: Batch, state: State
    ) -> LocalStep:
        """Return the new x_w, which is also the new state."""
        grads, left, loss = objective.gradient(state, buffers, batch)
        own = {}
        for name, x in state.items():
            direction = grads[name].add(torch.sign(x - params[name]), alpha=self.lam)
            own[name] = x.add(direction, alpha=-self.learning_rate)
        return LocalStep(own, left, own, {"train_loss": loss.detach()})
