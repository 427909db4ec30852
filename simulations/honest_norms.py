"""How long the honest updates of each round are, to set the clipping threshold against."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from flwr.app import Message, MessageType
from flwr.serverapp import Grid

from byzflower.clients.adversary.forgery import Forgery
from byzflower.preaggregator import ARC
from byzflower.steps import Aggregator
from byzflower.wire.grid import ForwardingGrid
from byzflower.wire.payload import Payload

__all__ = ["HonestNorms", "clips_adaptively"]


def clips_adaptively(rule: Aggregator) -> bool:
    """Whether the rule contains ARC, whose threshold follows the norms.

    >>> import byzflower as bf
    >>> clips_adaptively(bf.parse("arc > nnm > median")), clips_adaptively(bf.parse("median"))
    (True, False)
    """
    return any(isinstance(step, ARC) for step in getattr(rule, "before", ()))


class HonestNorms(ForwardingGrid):
    """Grid that keeps the Euclidean norms of a round's honest updates and of their mean.

    Parameters
    ----------
    grid
        Connection to the nodes; an adversary goes around this one.
    honest
        Number of honest nodes; they are the nodes 1 … ``honest``.
    payload
        What replies hold.

    Attributes
    ----------
    notes : dict
        ``honest_norms``, by node, and ``honest_mean_norm`` of the last round of training.
    """

    def __init__(self, grid: Grid, honest: int, payload: Payload) -> None:
        super().__init__(grid)
        self.notes: dict[str, object] = {}
        self._honest = honest
        self._payload = payload

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Send the messages, and measure the honest replies to those that ask for training."""
        messages = list(messages)
        replies = list(self.inner.send_and_receive(messages, timeout=timeout))
        training = [m for m in messages if m.metadata.message_type == MessageType.TRAIN]
        if training:
            received = training[0].content if self._payload == "model" else None
            honest = [r for r in replies if r.metadata.src_node_id <= self._honest]
            self._measure(Forgery(honest, received, None).updates)
        return replies

    def _measure(self, updates: torch.Tensor | None) -> None:
        self.notes = {}
        if updates is not None:
            norms = torch.linalg.vector_norm(updates, dim=1, dtype=torch.float64)
            mean = torch.linalg.vector_norm(updates.mean(dim=0), dtype=torch.float64)
            self.notes = {"honest_norms": norms.tolist(), "honest_mean_norm": float(mean)}
