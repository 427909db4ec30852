"""A run as a checkpoint keeps it: what the next round depends on, and what there is to show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flwr.app import ArrayRecord, MetricRecord
from flwr.serverapp.strategy import Strategy

from byzflower.wire.arrays import to_record, to_tensor
from byzflower.wire.payload import Payload

from .inner_strategy import Resumable, inner_state, restore_inner_state
from .rounds import RunResult
from .run_state import RunState

__all__ = ["SavedRun"]

_METRICS = (
    "train_metrics_clientapp",
    "evaluate_metrics_clientapp",
    "evaluate_metrics_serverapp",
)


@dataclass(frozen=True)
class SavedRun:
    """How the parts of one run go into a tree of plain values and tensors, and come out of it.

    Parameters
    ----------
    inner : Strategy
        Strategy whose memory is saved.
    rule : str
        Spec of the aggregation.
    payload : {"model", "gradient"}
        What replies hold.
    companions : mapping of str to Resumable
        What else is saved with the run, by name.
    """

    inner: Strategy
    rule: str
    payload: Payload
    companions: Mapping[str, Resumable]

    def identity(self, arrays: ArrayRecord) -> dict[str, Any]:
        """Return what must be the same for a checkpoint to be this run's."""
        return {
            "rule": self.rule,
            "payload": self.payload,
            "inner": type(self.inner).__qualname__,
            "model": {key: [a.dtype, list(a.shape)] for key, a in arrays.items()},
        }

    def to_tree(
        self,
        identity: dict[str, Any],
        server_round: int,
        arrays: ArrayRecord,
        result: RunResult,
        state: RunState,
    ) -> dict[str, Any]:
        """Return the run as it is after a round that ended with these arrays."""
        return {
            "identity": identity,
            "round": server_round,
            "model": {key: to_tensor(array) for key, array in arrays.items()},
            "metrics": {
                name: {number: dict(record) for number, record in getattr(result, name).items()}
                for name in _METRICS
            },
            "inner": inner_state(self.inner),
            "companions": {name: other.state_dict() for name, other in self.companions.items()},
            "robust": state.to_tree(),
        }

    def restore(self, tree: dict[str, Any], seed: int | None) -> tuple[RunResult, RunState]:
        """Give the inner strategy and the companions their memory; return the run's."""
        state = RunState.from_tree(tree["robust"], seed)
        restore_inner_state(self.inner, tree["inner"])
        for name, other in self.companions.items():
            other.load_state_dict(tree["companions"][name])
        result = RunResult(to_record(tree["model"]))
        for name, rounds in tree["metrics"].items():
            records = {number: MetricRecord(metrics) for number, metrics in rounds.items()}
            setattr(result, name, records)
        return result, state
