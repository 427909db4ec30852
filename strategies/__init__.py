"""Flower strategies that survive malicious clients.

`Robust` wraps any Flower strategy; `ServerSGD` is the inner strategy for clients that return
gradients. Importing this package imports Flower and PyTorch.
"""

from __future__ import annotations

from byzflower.strategies.arrays import SharedArray, to_record, to_tensor
from byzflower.strategies.buffers import buffer_median, buffer_names
from byzflower.strategies.conduct import Conduct, NodeConduct
from byzflower.strategies.errors import TooManySkippedRounds
from byzflower.strategies.history import RoundRecord
from byzflower.strategies.robust import Robust
from byzflower.strategies.schedules import Schedule, StepSchedule
from byzflower.strategies.server_sgd import ServerSGD
from byzflower.strategies.vetting import Reason, Rejection

__all__ = [
    "Conduct",
    "NodeConduct",
    "Reason",
    "Rejection",
    "Robust",
    "RoundRecord",
    "Schedule",
    "ServerSGD",
    "SharedArray",
    "StepSchedule",
    "TooManySkippedRounds",
    "buffer_median",
    "buffer_names",
    "to_record",
    "to_tensor",
]
