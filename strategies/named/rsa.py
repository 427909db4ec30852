"""RSA: every client moves the server's model by one fixed step in every coordinate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

import torch
from flwr.serverapp.strategy import FedAvg

from byzflower.geometry import Geometry
from byzflower.steps import Aggregator, Explanation, StepReport, remaining_faults
from byzflower.strategies.named.options import RobustOptions
from byzflower.strategies.robust import Robust
from byzflower.updates import Updates
from byzflower.validation import positive
from byzflower.wire.buffers import Buffers

__all__ = ["Rsa", "SignVotes"]


@dataclass(frozen=True)
class SignVotes(Aggregator):
    """Aggregate = step × Σ_w sign(x_w), coordinate by coordinate.

    With updates x_w = (client's model − server's model) and step = γλ this is RSA's server step
    x_0 ← x_0 − γλ Σ_w sign(x_0 − x_w) (RS-Byrd-SAGA, "Benchmark methods"). A faulty row moves no
    coordinate further than ``step``, whatever it sends, so any f is accepted.

    >>> SignVotes(step=0.05)(torch.tensor([[1.0, -1.0], [2.0, 0.0]]), f=0)
    tensor([ 0.1000, -0.0500])
    """

    step: float

    def __post_init__(self) -> None:
        positive(self.step, "sign_votes", "step")

    @property
    def spec(self) -> str:
        """A description; sign votes have no spec of their own."""
        return f"sign_votes(step={self.step!r})"

    def check(self, n: int, f: int) -> None:
        """Accept any number of rows and faults."""

    def explain(
        self,
        x: Updates | torch.Tensor | Sequence[torch.Tensor],
        f: int,
        *,
        rng: torch.Generator | None = None,
        center: torch.Tensor | None = None,
    ) -> Explanation:
        """Count the signs of the finite rows."""
        updates = Updates.of(x)
        geometry = Geometry.of(updates, gram=False)
        f = remaining_faults(updates, geometry, f, self)
        kept = torch.from_numpy(geometry.kept).to(updates.device)
        value = torch.empty(updates.d, dtype=updates.dtype, device=updates.device)
        for columns, chunk in updates.chunks():
            value[columns] = chunk.index_select(0, kept).sign().sum(dim=0) * self.step
        report = StepReport("sign_votes", self.spec, len(kept), f)
        return Explanation(value, None, f, tuple(geometry.kept.tolist()), (report,))


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
