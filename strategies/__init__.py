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

from byzflower.wire.arrays import SharedArray, to_record, to_tensor
from byzflower.wire.buffers import buffer_median, buffer_names

from .checkpoint import Checkpoint
from .conduct import Conduct, NodeConduct
from .errors import CheckpointError, TooManySkippedRounds
from .history import RoundRecord
from .inner_strategy import Resumable
from .presets import (
    AggregaThor,
    ByrdSaga,
    MixTailor,
    Resam,
    RobustDSGD,
    Rsa,
)
from .rejections import Reason, Rejection
from .robust import Robust
from .rounds import RunResult
from .schedules import (
    ConstantSchedule,
    InverseTimeSchedule,
    RateSchedule,
    Schedule,
    StepSchedule,
    parse_schedule,
)
from .server_sgd import ServerSGD

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
