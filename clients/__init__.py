"""Clients: honest ones as a Flower app, malicious ones as mods and as a colluding adversary.

``algorithms`` holds what honest clients compute, as pure functions of tensors; ``make_client_app``
wraps one for messages; ``momentum_mod`` gives any app that returns models a momentum. Importing
this package imports Flower and PyTorch.
"""

from __future__ import annotations

from byzflower.clients.adversary import Adversary
from byzflower.clients.algorithms import (
    RSA,
    Algorithm,
    Gradient,
    LocalSGD,
    Momentum,
    Objective,
    Saga,
    parse_client,
)
from byzflower.clients.app import TrainingApp, make_client_app
from byzflower.clients.garbage import GARBAGE, garbage_mod
from byzflower.clients.mods import (
    gaussian_mod,
    inf_mod,
    nan_mod,
    scale_mod,
    sign_flip_mod,
    zero_mod,
)
from byzflower.clients.smoothing import momentum_mod
from byzflower.clients.task import ClientTask

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
