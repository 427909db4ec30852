"""RS-Byrd-SAGA: resampling, then the geometric median of SAGA-corrected gradients."""

from __future__ import annotations

from typing import Unpack

from byzflower.strategies.named.options import RobustOptions
from byzflower.strategies.robust import Robust
from byzflower.strategies.server_sgd import ServerSGD

__all__ = ["ByrdSaga"]


class ByrdSaga(Robust):
    """Geometric median after resampling with s-replacement (RS-Byrd-SAGA, Algorithms 1 and 2).

    Clients send corrected gradients: ``byzflower.clients.algorithms.Saga()``; with ``Gradient()``
    this is RS-Byrd-SGD. ``resampling=1`` gives Byrd-SAGA and Byrd-SGD.

    Parameters
    ----------
    num_malicious_nodes : int or float
        B, or a fraction of the replies; B < W/(2s).
    resampling : int
        s ≥ 1, how many messages each new message averages; 2 in the paper.
    server : ServerSGD or None
        Server step and sampling of nodes; γ = 0.5 by default, as for softmax regression.
    **options
        As for `Robust`: seed, max_skipped_rounds, quarantine_after, measure_distances.

    Examples
    --------
    >>> ByrdSaga(num_malicious_nodes=6).rule.spec
    'resampling(s=2) > geometric_median'
    """

    def __init__(
        self,
        num_malicious_nodes: int | float,
        *,
        resampling: int = 2,
        server: ServerSGD | None = None,
        **options: Unpack[RobustOptions],
    ) -> None:
        rule = "geometric_median"
        if resampling != 1:
            rule = f"resampling(s={resampling}) > {rule}"
        super().__init__(
            server or ServerSGD(0.5),
            rule,
            num_malicious_nodes,
            "gradient",
            **options,
        )
