"""Flower strategies that tolerate malicious clients.

`Robust` wraps any Flower strategy: replies are matched to nodes, vetted, aggregated by a rule, and
the inner strategy takes its step with the result. `ServerSGD` is the inner strategy for clients
that return gradients. `Resam`, `AggregaThor`, `ByrdSaga`, `MixTailor`, `RobustDSGD` and `Rsa` are
presets with their papers' defaults.

What users meet beside these: `Checkpoint` keeps a run across a crash, `Conduct` says what each node
did, `RoundRecord` what each round did, `parse_schedule` reads learning rates. Importing this
package imports Flower and PyTorch.
"""

from __future__ import annotations

from byzflower.strategies.checkpoint import Checkpoint
from byzflower.strategies.conduct import Conduct, NodeConduct
from byzflower.strategies.errors import CheckpointError, TooManySkippedRounds
from byzflower.strategies.history import RoundRecord
from byzflower.strategies.inner_strategy import Resumable
from byzflower.strategies.presets import (
    AggregaThor,
    ByrdSaga,
    MixTailor,
    Resam,
    RobustDSGD,
    Rsa,
)
from byzflower.strategies.rejections import Reason, Rejection
from byzflower.strategies.robust import Robust
from byzflower.strategies.rounds import RunResult
from byzflower.strategies.schedules import (
    ConstantSchedule,
    InverseTimeSchedule,
    RateSchedule,
    Schedule,
    StepSchedule,
    parse_schedule,
)
from byzflower.strategies.server_sgd import ServerSGD
from byzflower.wire.arrays import SharedArray, to_record, to_tensor
from byzflower.wire.buffers import buffer_median, buffer_names

__all__ = [
    "AggregaThor",
    "ByrdSaga",
    "Checkpoint",
    "CheckpointError",
    "Conduct",
    "ConstantSchedule",
    "InverseTimeSchedule",
    "MixTailor",
    "NodeConduct",
    "RateSchedule",
    "Reason",
    "Rejection",
    "Resam",
    "Resumable",
    "Robust",
    "RobustDSGD",
    "RoundRecord",
    "Rsa",
    "RunResult",
    "Schedule",
    "ServerSGD",
    "SharedArray",
    "StepSchedule",
    "TooManySkippedRounds",
    "buffer_median",
    "buffer_names",
    "parse_schedule",
    "to_record",
    "to_tensor",
]
