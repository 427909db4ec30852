"""RSA: every client moves the server's model by one fixed step in every coordinate."""

from __future__ import annotations

from typing import Unpack

from flwr.serverapp.strategy import FedAvg

from byzflower.rule import SignVotes
from byzflower.strategies.named.options import RobustOptions
from byzflower.strategies.robust import Robust
from byzflower.validation import positive
from byzflower.wire.buffers import Buffers

__all__ = ["Rsa"]


class Rsa(Robust):
    """Sign votes on the clients' models (RS-Byrd-SAGA, "Benchmark methods", RSA).

    Clients keep and send models of their own:
    ``byzflower.clients.algorithms.RSA(lam, learning_rate)`` with the same two numbers.

    Parameters
    ----------
    num_malicious_nodes : int or float
        f, or a fraction of the replies: how many rows with NaN or Inf a round survives.
    learning_rate : float
        γ > 0.
    lam : float
        Penalty λ > 0.
    server : FedAvg or None
        Sampling of nodes.
    buffers : collection of str, callable or None
        As for `Robust`.
    **options
        As for `Robust`: seed, max_skipped_rounds, quarantine_after, measure_distances.

    Examples
    --------
    >>> Rsa(num_malicious_nodes=2, learning_rate=0.5, lam=0.1).rule.spec
    'sign_votes(step=0.05)'
    """

    def __init__(
        self,
        num_malicious_nodes: int | float,
        *,
        learning_rate: float,
        lam: float,
        server: FedAvg | None = None,
        buffers: Buffers = None,
        **options: Unpack[RobustOptions],
    ) -> None:
        positive(learning_rate, "Rsa", "learning_rate")
        positive(lam, "Rsa", "lam")
        super().__init__(
            server or FedAvg(),
            SignVotes(learning_rate * lam),
            num_malicious_nodes,
            "model",
            buffers=buffers,
            **options,
        )
