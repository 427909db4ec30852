"""What honest clients compute: pure functions of tensors, which every engine calls.

``base`` defines an :class:`Algorithm`, ``objective`` the model and loss that it trains. One a
module: ``gradient``, ``momentum``, ``local_sgd``, ``saga``, ``rsa``. ``losses`` holds defaults,
``clipping`` and ``dropout`` what several algorithms share, ``trees`` examples that are
dictionaries or tuples of tensors. :func:`byzflower.testing.check_client` checks one of your own.
"""

from __future__ import annotations

from byzflower.renamed import former_names

from .base import Algorithm, LocalStep, Payload, State, parse_client
from .gradient import Gradient
from .local_sgd import LocalSGD
from .momentum import Momentum
from .objective import Batch, Buffers, Objective, Params
from .rsa import RSA
from .saga import Saga

__all__ = [
    "RSA",
    "Algorithm",
    "Batch",
    "Buffers",
    "Gradient",
    "LocalSGD",
    "LocalStep",
    "Momentum",
    "Objective",
    "Params",
    "Payload",
    "Saga",
    "State",
    "parse_client",
]

__getattr__ = former_names(__name__, {"Step": ("LocalStep", lambda: LocalStep)})
