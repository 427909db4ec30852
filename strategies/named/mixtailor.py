"""MixTailor: a rule drawn at random in every round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import byzflower as bf
from byzflower.steps import Aggregator
from byzflower.strategies.named.options import RobustOptions
from byzflower.strategies.robust import Robust
from byzflower.strategies.server_sgd import ServerSGD

__all__ = ["MixTailor"]


class MixTailor(Robust):
    """Draw one rule of a pool uniformly in each round (MixTailor, Section 3).

    An attacker who knows the pool does not know the draw, which comes from the operating system's
    entropy unless a seed is given. Clients send gradients:
    ``byzflower.clients.algorithms.Gradient()``, batches of 50.

    Parameters
    ----------
    num_malicious_nodes : int or float
        f, or a fraction of the replies.
    pool : sequence of str or Aggregator, or None
        Rules to draw from; by default the paper's 64 (Section 5).
    resampling : int or None
        Resample before every member, for heterogeneous data.
    server : ServerSGD or None
        Server step and sampling of nodes; by default the paper's Table 1: γ = 0.001, momentum
        0.9, weight decay 1e-4.
    **options
        As for `Robust`: seed, max_skipped_rounds, quarantine_after, measure_distances.
        A seed makes the draws predictable: for simulations only.

    Examples
    --------
    >>> MixTailor(num_malicious_nodes=2, pool=["krum", "median"]).rule.spec
    "mixtailor(pool=('krum', 'median'))"
    """

    def __init__(
        self,
        num_malicious_nodes: int | float,
        *,
        pool: Sequence[str | Aggregator] | None = None,
        resampling: int | None = None,
        server: ServerSGD | None = None,
        **options: Unpack[RobustOptions],
    ) -> None:
        super().__init__(
            server or ServerSGD(0.001, momentum=0.9, weight_decay=1e-4),
            bf.MixTailor(pool=pool, resampling=resampling),
            num_malicious_nodes,
            "gradient",
            **options,
        )
