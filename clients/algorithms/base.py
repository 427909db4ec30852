"""The contract of a client algorithm.

An algorithm is a frozen dataclass of hyper-parameters with one pure method ``local_step``. A
ClientApp calls it for one client; an engine maps it over many with ``torch.func.vmap``::

    def step(buffers, batch, state):
        return algorithm.local_step(objective, params, buffers, batch, state)

    vmap(step, in_dims=(None, 0, 0), randomness="different")(buffers, batch, state)

with the fields of ``batch`` and of ``state`` stacked along a new first dimension (``params`` and
``buffers``, the model all clients received, are not batched). The ``LocalStep`` that it gets has
that dimension in all tensors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor

from byzflower.configured import Configured
from byzflower.specs import parse_one
from byzflower.wire.payload import Payload

from .objective import Batch, Buffers, Objective, Params

__all__ = ["Algorithm", "LocalStep", "Payload", "State", "parse_client"]

State = dict[str, Tensor]


class LocalStep(NamedTuple):
    """What a local step gives.

    ``update`` (keys and shapes of the parameters) is what the client sends: a model or a gradient,
    as the algorithm's ``payload`` says. ``buffers`` are the model's buffers after the step,
    ``state`` goes into the client's next step, and ``metrics`` holds 0-dimensional tensors:
    ``train_loss``, the objective on the batch before the step.
    """

    update: Params
    buffers: Buffers
    state: State
    metrics: dict[str, Tensor]


class Algorithm(Configured, ABC):
    """What a client does with the model it receives."""

    payload: ClassVar[Payload]
    per_sample: ClassVar[bool] = False
    """Whether the state of a step is read from, and written to, a ``GradientTable``."""

    @property
    def own_rule(self) -> str | None:
        """Spec of the rule that the algorithm is defined together with; None where any serves."""
        return None

    def batch_shape(self, batch_size: int) -> tuple[int, ...]:
        """Return the leading dimensions of a batch: (b,), or (steps, b)."""
        return (batch_size,)

    def init_state(self, params: Params) -> State:
        """Return the state before the first step; {} for an algorithm without memory."""
        return {}

    @abstractmethod
    def local_step(
        self, objective: Objective, params: Params, buffers: Buffers, batch: Batch, state: State
    ) -> LocalStep:
        """Return what the client sends and keeps; pure, and free of data-dependent branches."""


def parse_client(spec: str | Algorithm) -> Algorithm:
    """Build what clients compute from a spec such as ``"momentum(beta=0.9, clip=2)"``.

    Raises
    ------
    SpecError
        For an unknown name or parameter, or a value out of range.

    >>> parse_client("local_sgd(steps=5, lr=0.1)")
    LocalSGD(steps=5, learning_rate=0.1, momentum=0.0)
    """
    return parse_one(spec, "client", Algorithm)
