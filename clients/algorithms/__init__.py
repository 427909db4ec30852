"""What honest clients compute: pure functions of tensors, shared by every engine."""

from __future__ import annotations

from byzflower.clients.algorithms.base import Algorithm, Payload, State, Step, parse_client
from byzflower.clients.algorithms.gradient import Gradient
from byzflower.clients.algorithms.local_sgd import LocalSGD
from byzflower.clients.algorithms.momentum import Momentum
from byzflower.clients.algorithms.objective import Batch, Buffers, Objective, Params
from byzflower.clients.algorithms.rsa import RSA
from byzflower.clients.algorithms.saga import Saga

__all__ = [
    "RSA",
    "Algorithm",
    "Batch",
    "Buffers",
    "Gradient",
    "LocalSGD",
    "Momentum",
    "Objective",
    "Params",
    "Payload",
    "Saga",
    "State",
    "Step",
    "parse_client",
]
