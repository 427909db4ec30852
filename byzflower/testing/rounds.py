"""One training round of a strategy with answers made by hand, without a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from byzflower.wire.flower_internals import Stamp, assume_identity

__all__ = ["NODES", "Nodes", "Round"]

NODES = tuple(range(101, 113))
"""Twelve nodes: eleven honest ones and, in their middle, the attacker."""


class Nodes(Grid):
    """A grid that knows its nodes; nothing is sent."""

    def set_run(self, run: Any) -> None:
        """Raise: there is no run."""
        raise NotImplementedError

    @property
    def run(self) -> Any:
        """Raise: there is no run."""
        raise NotImplementedError

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        """Raise: messages are made without a grid."""
        raise NotImplementedError

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Raise: nothing is sent."""
        raise NotImplementedError

    def pull_messages(self, *args: Any, **kwargs: Any) -> Iterable[Message]:
        """Raise: nothing is sent."""
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        """Return the ids of the twelve nodes."""
        return list(NODES)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Raise: nothing is sent."""
        raise NotImplementedError


class Round:
    """The messages with which a strategy asks its nodes, and what it makes of the answers."""

    def __init__(
        self, strategy: Strategy, model: Mapping[str, npt.NDArray[Any]], number: int = 1
    ) -> None:
        assume_identity(1)
        record = ArrayRecord({key: Array(value) for key, value in model.items()})
        messages = list(strategy.configure_train(number, record, ConfigRecord(), Nodes()))
        stamp = Stamp(1)
        for message in messages:
            stamp.mark(message)
        self.asked = sorted(messages, key=lambda message: message.metadata.dst_node_id)
        self._strategy, self._number = strategy, number

    def end(self, replies: Iterable[Message]) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Hand in the answers and return the new model and the metrics."""
        return self._strategy.aggregate_train(self._number, list(replies))
