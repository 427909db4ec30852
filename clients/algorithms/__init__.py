"""What honest clients compute: pure functions of tensors, shared by every engine."""

from __future__ import annotations

from byzflower.clients.algorithms.base import Algorithm, Payload, State, Step
from byzflower.clients.algorithms.gradient import Gradient
from byzflower.clients.algorithms.local_sgd import LocalSGD
from byzflower.clients.algorithms.momentum import Momentum
from byzflower.clients.algorithms.objective import Batch, Buffers, Objective, Params
from byzflower.clients.algorithms.rsa import RSA
from byzflower.clients.algorithms.saga import Saga

__all__ = [
    "ALGORITHMS",
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
]

ALGORITHMS: dict[str, type[Algorithm]] = {
    algorithm.name: algorithm for algorithm in (Gradient, Momentum, LocalSGD, Saga, RSA)
}
"""Name in an experiment's ``client`` option -> class."""
