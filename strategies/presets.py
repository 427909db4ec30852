"""The papers' algorithms by name: `Robust` with a rule, a server step and their defaults.

What clients have to send stands with each. Every preset takes the options of `Robust` that its
algorithm does not fix, such as ``seed``, ``checkpoint`` or ``conduct_file``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from flwr.serverapp.strategy import FedAvg

import byzflower as bf
from byzflower.rule import SignVotes
from byzflower.steps import Aggregator
from byzflower.validation import positive

from .robust import Robust
from .server_sgd import ServerSGD

__all__ = ["AggregaThor", "ByrdSaga", "MixTailor", "Resam", "RobustDSGD", "Rsa"]

_RESILIENCE = {"weak": "multi_krum", "strong": "bulyan(inner=multi_krum)"}


class Resam(Robust):
    """Distributed momentum with an (f, λ)-resilient averaging rule (RESAM, Algorithm 1).

    Clients send momentums: ``byzflower.clients.algorithms.Momentum(beta=0.99, clip=2.0)`` in the
    paper's experiments on MNIST, with batches of 25 and an ℓ2 penalty of 1e-4.

    Parameters
    ----------
    num_malicious_nodes : int or float
        f, or a fraction of the nodes; f < n/2.
    rule : str or Aggregator
        Resilient averaging rule: mda, trimmed_mean, meamed, krum_star, multi_krum_star,
        geometric_median or median (Proposition 1).
    server : ServerSGD or None
        Server step and sampling of nodes; γ = 0.75 by default, as in Section 5.1.
    **options
        As for `Robust`.

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
        **options: Any,
    ) -> None:
        server = server or ServerSGD(0.75)
        super().__init__(server, rule, num_malicious_nodes, "gradient", **options)


class RobustDSGD(Robust):
    """Clip adaptively, mix nearest neighbours, aggregate momentums (ARC, Algorithms 2 and 3).

    Clients send momentums: ``byzflower.clients.algorithms.Momentum(beta=0.9)``; batches of 25 and
    an ℓ2 penalty of 1e-4 on (Fashion-)MNIST.

    Parameters
    ----------
    num_malicious_nodes : int or float
        f, or a fraction of the nodes; f < n/2.
    rule : str or Aggregator
        Aggregation; the paper uses ``arc > nnm >`` trimmed_mean, geometric_median, median or
        multi_krum_star.
    server : ServerSGD or None
        Server step and sampling of nodes; γ = 0.1 by default, as on (Fashion-)MNIST. On CIFAR-10:
        ``ServerSGD(StepSchedule(0.05, {1500: 0.00082}))``.
    **options
        As for `Robust`.

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
        **options: Any,
    ) -> None:
        server = server or ServerSGD(0.1)
        super().__init__(server, rule, num_malicious_nodes, "gradient", **options)


class AggregaThor(Robust):
    """Multi-Krum with m = n − f − 2, or Bulyan over Krum (AggregaThor, Theorems 1 and 2).

    Clients send gradients: ``byzflower.clients.algorithms.Gradient()``. What the rules
    cost where nobody is malicious: :func:`byzflower.theory.aggregathor.slowdown`.

    Parameters
    ----------
    num_malicious_nodes : int or float
        f, or a fraction of the nodes; n ≥ 2f+3 for weak and n ≥ 4f+3 for strong resilience.
    resilience : {"weak", "strong"}
        Against attackers that make the run diverge, or also against those that use the √d leeway
        of high dimension.
    server : ServerSGD or None
        Server step and sampling of nodes; γ = 0.1 by default.
    **options
        As for `Robust`.

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
        **options: Any,
    ) -> None:
        if resilience not in _RESILIENCE:
            raise ValueError(f"`resilience` needs to be weak or strong; found {resilience!r}")
        server, rule = server or ServerSGD(0.1), _RESILIENCE[resilience]
        super().__init__(server, rule, num_malicious_nodes, "gradient", **options)


class ByrdSaga(Robust):
    """Geometric median after resampling with s-replacement (RS-Byrd-SAGA, Algorithms 1 and 2).

    Clients send corrected gradients: ``byzflower.clients.algorithms.Saga()``; with ``Gradient()``
    this is RS-Byrd-SGD. ``resampling=1`` gives Byrd-SAGA and Byrd-SGD.

    Parameters
    ----------
    num_malicious_nodes : int or float
        B, or a fraction of the nodes; B < W/(2s).
    resampling : int
        s ≥ 1, how many messages each new message averages; 2 in the paper.
    server : ServerSGD or None
        Server step and sampling of nodes; γ = 0.5 by default, as for softmax regression.
    **options
        As for `Robust`.

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
        **options: Any,
    ) -> None:
        before = "" if resampling == 1 else f"resampling(s={resampling}) > "
        server, rule = server or ServerSGD(0.5), f"{before}geometric_median"
        super().__init__(server, rule, num_malicious_nodes, "gradient", **options)


class MixTailor(Robust):
    """Draw one rule of a pool uniformly in each round (MixTailor, Section 3).

    An attacker who knows the pool does not know the draw, which comes from the operating system's
    entropy unless a seed is given. Clients send gradients:
    ``byzflower.clients.algorithms.Gradient()``, batches of 50.

    Parameters
    ----------
    num_malicious_nodes : int or float
        f, or a fraction of the nodes.
    pool : sequence of str or Aggregator, or None
        Rules to draw from; by default the paper's 64 (Section 5).
    resampling : int or None
        Resample before every member, for heterogeneous data; members go on assuming f, as in the
        paper's experiments.
    without : str or sequence of str
        Rules whose members leave the pool (appendix A.8).
    server : ServerSGD or None
        Server step and sampling of nodes; by default the paper's Table 1: γ = 0.001, momentum
        0.9, weight decay 1e-4.
    **options
        As for `Robust`. A seed makes the draws predictable: for simulations only.

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
        without: str | Sequence[str] = (),
        server: ServerSGD | None = None,
        **options: Any,
    ) -> None:
        server = server or ServerSGD(0.001, momentum=0.9, weight_decay=1e-4)
        rule = bf.MixTailor(pool=pool, resampling=resampling, without=without)
        super().__init__(server, rule, num_malicious_nodes, "gradient", **options)


class Rsa(Robust):
    """Sign votes on the clients' models (RS-Byrd-SAGA, "Benchmark methods", RSA).

    Clients keep and send models of their own:
    ``byzflower.clients.algorithms.RSA(lam, learning_rate)`` with the same two numbers.

    Parameters
    ----------
    num_malicious_nodes : int or float
        f, or a fraction of the nodes: how many rows with NaN or Inf a round survives.
    learning_rate : float
        γ > 0.
    lam : float
        Penalty λ > 0.
    server : FedAvg or None
        Sampling of nodes.
    **options
        As for `Robust`.

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
        **options: Any,
    ) -> None:
        positive(learning_rate, "Rsa", "learning_rate")
        positive(lam, "Rsa", "lam")
        server, rule = server or FedAvg(), SignVotes(learning_rate * lam)
        super().__init__(server, rule, num_malicious_nodes, "model", **options)
