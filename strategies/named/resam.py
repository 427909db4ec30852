"""RESAM: a resilient averaging rule on the clients' momentums."""

from __future__ import annotations

from typing import Unpack

from byzflower.steps import Aggregator
from byzflower.strategies.named.options import RobustOptions
from byzflower.strategies.robust import Robust
from byzflower.strategies.server_sgd import ServerSGD

__all__ = ["Resam"]


class Resam(Robust):
    """Distributed momentum with an (f, λ)-resilient averaging rule (RESAM, Algorithm 1).

    Clients send momentums: ``byzflower.clients.algorithms.Momentum(beta=0.99, clip=2.0)`` in the
    paper's experiments on MNIST, with batches of 25 and an ℓ2 penalty of 1e-4.

    Parameters
    ----------
    num_malicious_nodes : int or float
        f, or a fraction of the replies; f < n/2.
    rule : str or Aggregator
        Resilient averaging rule: mda, trimmed_mean, meamed, krum_star, multi_krum_star,
        geometric_median or median (Proposition 1).
    server : ServerSGD or None
        Server step and sampling of nodes; γ = 0.75 by default, as in Section 5.1.
    **options
        As for `Robust`: seed, max_skipped_rounds, quarantine_after, measure_distances.

    Examples
    --------
    >>> Resam(num_malicious_nodes=5, rule="mda").rule.spec
    'mda'
    """

    def __init__(
        self,
        num_malicious_nodes: int | float,
        *,
        rule: str | Aggregator = "trimmed_mean",
        server: ServerSGD | None = None,
        **options: Unpack[RobustOptions],
    ) -> None:
        super().__init__(
            server or ServerSGD(0.75),
            rule,
            num_malicious_nodes,
            "gradient",
            **options,
        )
