"""Partial participation: how many of a round's k sampled clients may be Byzantine.

A round samples k of N clients uniformly without replacement, and F of the N are Byzantine: the
number of Byzantine ones in the sample is hypergeometric. The rule needs an f that is exceeded with
probability less than δ.
"""

from __future__ import annotations

import math
from fractions import Fraction

from byzflower.theory.domain import need

__all__ = ["excess_probability", "faults_per_round"]


def excess_probability(N: int, F: int, k: int, f: int) -> Fraction:
    """Exact probability that more than f of the k sampled clients are Byzantine.

    P[X > f] = Σ_{x>f} C(F, x) C(N−F, k−x) / C(N, k), in integers.

    Raises
    ------
    InfeasibleError
        Unless 0 ≤ F ≤ N and 1 ≤ k ≤ N.

    >>> excess_probability(10, 3, 4, 1)
    Fraction(1, 3)
    """
    _check(N, F, k)
    low = max(0, k - (N - F), f + 1)
    if low > min(k, F):
        return Fraction(0)
    return Fraction(sum(_counts(N, F, k, low)), math.comb(N, k))


def faults_per_round(N: int, F: int, k: int, delta: float | Fraction) -> int:
    """Smallest f such that more than f of the k clients are Byzantine with probability < δ.

    For all of T rounds, pass δ/T (union bound). Probabilities are exact; a float δ is taken as the
    binary fraction that it is.

    Raises
    ------
    InfeasibleError
        Unless 0 ≤ F ≤ N, 1 ≤ k ≤ N and 0 < δ ≤ 1.

    >>> faults_per_round(1000, 100, 50, delta=1e-6)
    17
    >>> faults_per_round(20, 4, 20, delta=1e-6)
    4
    """
    _check(N, F, k)
    need("faults per round", "0 < δ ≤ 1", 0 < delta <= 1, δ=delta)
    limit = Fraction(delta) * math.comb(N, k)
    low = max(0, k - (N - F))
    tail, f = 0, min(k, F)
    # walk down from the top: the tail above f stays below δ until the answer is passed
    for count in reversed(_counts(N, F, k, low)):
        if tail + count >= limit:
            break
        tail += count
        f -= 1
    # below the least value X can take the tail is 1, which only δ > 1 would allow
    return max(f, low)


def _counts(N: int, F: int, k: int, low: int) -> list[int]:
    """C(F, x)·C(N−F, k−x) for x = low … min(k, F), each from the one before."""
    count = math.comb(F, low) * math.comb(N - F, k - low)
    counts = [count]
    for x in range(low, min(k, F)):
        # exact: the quotient is the next count, an integer
        count = count * (F - x) * (k - x) // ((x + 1) * (N - F - k + x + 1))
        counts.append(count)
    return counts


def _check(N: int, F: int, k: int) -> None:
    holds = 0 <= F <= N and 1 <= k <= N
    need("sampling", "0 ≤ F ≤ N and 1 ≤ k ≤ N", holds, N=N, F=F, k=k)
