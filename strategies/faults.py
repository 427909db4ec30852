"""How many of a round's nodes may be malicious: from the federation to those that were asked."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

from byzflower.theory import faults_per_round

__all__ = ["FaultBound"]


@dataclass(frozen=True)
class FaultBound:
    """A bound on the malicious nodes of a federation.

    Parameters
    ----------
    nodes : int or float
        A count F ≥ 0, or a fraction in [0, 0.5) of the nodes.
    risk : float
        Where only some nodes are asked: the chance in [0, 1) that more malicious ones than
        `within` says are asked in any round of a run; 0 assumes that all of them are asked in every
        round.

    Raises
    ------
    TypeError, ValueError
        If one of the two is none of these.

    Examples
    --------
    >>> FaultBound(0.2, risk=0.001).within(asked=10, federation=10)
    2
    >>> FaultBound(4, risk=0.01).within(asked=10, federation=40, rounds=100)
    4
    >>> FaultBound(100, risk=0.01).within(asked=50, federation=1000, rounds=100)
    14
    """

    nodes: int | float
    risk: float

    def __post_init__(self) -> None:
        bound = self.nodes
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            raise TypeError(f"`num_malicious_nodes` needs an int or a float; found {bound!r}")
        if bound < 0 or (isinstance(bound, float) and not bound < 0.5):
            raise ValueError(
                f"`num_malicious_nodes` needs a count ≥ 0 or a fraction in [0, 0.5); "
                f"found {bound!r}"
            )
        if not isinstance(self.risk, int | float) or not 0 <= self.risk < 1:
            raise ValueError(f"`risk` needs a number in [0, 1); found {self.risk!r}")

    def of(self, federation: int) -> int:
        """Return F, the bound among all nodes of the federation."""
        if isinstance(self.nodes, int):
            return self.nodes
        # 0.29 × 100 is 28.999999999999996 in floating point.
        return floor(self.nodes * federation + 1e-9)

    def within(self, asked: int, federation: int, rounds: int = 1) -> int:
        """Return f, the bound among the nodes asked in one of a run's rounds.

        The nodes of a round are drawn uniformly, so that the number of malicious ones is
        hypergeometric; the risk is divided over the rounds (union bound).
        """
        federation = max(asked, federation)
        malicious = self.of(federation)
        if asked in (0, federation) or self.risk == 0:
            return malicious if asked == federation else min(malicious, asked)
        if malicious > federation:
            return asked
        return faults_per_round(federation, malicious, asked, self.risk / max(1, rounds))
