"""Robust-DSGD with adaptive robust clipping."""

from __future__ import annotations

from typing import Unpack

from byzflower.steps import Aggregator
from byzflower.strategies.named.options import RobustOptions
from byzflower.strategies.robust import Robust
from byzflower.strategies.server_sgd import ServerSGD

__all__ = ["RobustDSGD"]


class RobustDSGD(Robust):
    """Clip adaptively, mix nearest neighbours, aggregate momentums (ARC, Algorithms 2 and 3).

    Clients send momentums: ``byzflower.clients.algorithms.Momentum(beta=0.9)``; batches of 25 and
    an ℓ2 penalty of 1e-4 on (Fashion-)MNIST.

    Parameters
    ----------
    num_malicious_nodes : int or float
        f, or a fraction of the replies; f < n/2.
    rule : str or Aggregator
        Aggregation; the paper uses ``arc > nnm >`` trimmed_mean, geometric_median, median or
        multi_krum_star.
    server : ServerSGD or None
        Server step and sampling of nodes; γ = 0.1 by default, as on (Fashion-)MNIST. On CIFAR-10:
        ``ServerSGD(StepSchedule(0.05, {1500: 0.00082}))``.
    **options
        As for `Robust`: seed, max_skipped_rounds, quarantine_after, measure_distances.

    Examples
    --------
    >>> RobustDSGD(num_malicious_nodes=1).rule.spec
    'arc > nnm > trimmed_mean'
    """

    def __init__(
        self,
        num_malicious_nodes: int | float,
        *,
        rule: str | Aggregator = "arc > nnm > trimmed_mean",
        server: ServerSGD | None = None,
        **options: Unpack[RobustOptions],
    ) -> None:
        super().__init__(
            server or ServerSGD(0.1),
            rule,
            num_malicious_nodes,
            "gradient",
            **options,
        )
