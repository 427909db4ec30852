"""Clients: honest ones as a Flower app, malicious ones as mods and as a colluding adversary.

Honest: ``algorithms`` holds what clients compute, as pure functions of tensors; ``task`` what one
client has; ``app`` with ``node`` turn both into a ``ClientApp``; ``sampling`` draws batches and
``table`` keeps SAGA's gradients. ``smoothing`` gives any app that returns models a momentum.

Malicious: ``mods`` change a client's own update, ``garbage`` makes its reply malformed, and
``adversary`` is a grid that answers for all colluders of a round.

Importing this package imports Flower and PyTorch.
"""

from __future__ import annotations

from byzflower.registry import registered
from byzflower.renamed import former_names

from .adversary import Adversary
from .algorithms import (
    RSA,
    Algorithm,
    Gradient,
    LocalSGD,
    Momentum,
    Objective,
    Saga,
    parse_client,
)
from .app import TrainingApp, make_client_app
from .garbage import GARBAGE, garbage_mod
from .mods import (
    constant_mod,
    gaussian_mod,
    inf_mod,
    nan_mod,
    scale_mod,
    sign_flip_mod,
    zero_mod,
)
from .smoothing import momentum_mod
from .task import ClientTask

__all__ = [
    "GARBAGE",
    "RSA",
    "Adversary",
    "Algorithm",
    "ClientTask",
    "Gradient",
    "LocalSGD",
    "Momentum",
    "Objective",
    "Saga",
    "TrainingApp",
    "constant_mod",
    "garbage_mod",
    "gaussian_mod",
    "inf_mod",
    "make_client_app",
    "momentum_mod",
    "nan_mod",
    "parse_client",
    "scale_mod",
    "sign_flip_mod",
    "zero_mod",
]

__getattr__ = former_names(
    __name__,
    {"ALGORITHMS": ('byzflower.registry.registered("client")', lambda: registered("client"))},
)
