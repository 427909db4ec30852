"""AggregaThor: multi-Krum for weak resilience, Bulyan over it for strong resilience."""

from __future__ import annotations

from typing import Literal, Unpack

from byzflower.strategies.named.options import RobustOptions
from byzflower.strategies.robust import Robust
from byzflower.strategies.server_sgd import ServerSGD

__all__ = ["AggregaThor"]

_RULES = {"weak": "multi_krum", "strong": "bulyan(inner=krum)"}


class AggregaThor(Robust):
    """Multi-Krum with m = n − f − 2, or Bulyan over Krum (AggregaThor, Theorems 1 and 2).

    Clients send gradients: ``byzflower.clients.algorithms.Gradient()``.

    Parameters
    ----------
    num_malicious_nodes : int or float
        f, or a fraction of the replies; n ≥ 2f+3 for weak and n ≥ 4f+3 for strong resilience.
    resilience : {"weak", "strong"}
        Against attackers that make the run diverge, or also against those that use the √d leeway
        of high dimension.
    server : ServerSGD or None
        Server step and sampling of nodes; γ = 0.1 by default.
    **options
        As for `Robust`: seed, max_skipped_rounds, quarantine_after, measure_distances.

    Examples
    --------
    >>> AggregaThor(num_malicious_nodes=2).rule.spec
    'multi_krum'
    """

    def __init__(
        self,
        num_malicious_nodes: int | float,
        *,
        resilience: Literal["weak", "strong"] = "weak",
        server: ServerSGD | None = None,
        **options: Unpack[RobustOptions],
    ) -> None:
        if resilience not in _RULES:
            raise ValueError(f"`resilience` needs to be weak or strong; found {resilience!r}")
        super().__init__(
            server or ServerSGD(0.1),
            _RULES[resilience],
            num_malicious_nodes,
            "gradient",
            **options,
        )
