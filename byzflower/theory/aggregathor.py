"""AggregaThor: Multi-Krum, its composition with Bulyan, their cost (Damaskinos et al. 2019).

The statement of Lemma 1 has m = n−f−2 as the denominator of the last fraction in η², its proof has
n−2f−2. This module follows the proof: a row chosen by Krum has at least δ_c(k) ≥ n−2f−2 correct
rows among its n−f−2 neighbours, the sums are divided by δ_c(k), and the bound takes its least
value. With m the step would not follow. Both agree at f = 0.
"""

from __future__ import annotations

import math

from byzflower.theory.domain import need, need_rows

__all__ = ["cone_sine", "eta", "max_faults", "selected_rows", "slowdown"]


def eta(n: int, f: int) -> float:
    """η(n, f) = √(2(n − f + (f·m + f²(m+1))/(n−2f−2))) with m = n−f−2 (proof of Lemma 1).

    Raises
    ------
    InfeasibleError
        Unless n ≥ 2f+3.

    >>> round(eta(11, 2) ** 2, 6), round(eta(11, 0) ** 2, 6)
    (36.4, 22.0)
    """
    need_rows("η", n, f, offset=3)
    m = n - f - 2
    return math.sqrt(2 * (n - f + (f * m + f**2 * (m + 1)) / (n - 2 * f - 2)))


def cone_sine(n: int, f: int, d: int, sigma: float, gradient_norm: float) -> float:
    """Sin α = η(n, f)·√d·σ / ‖g‖: the correct cone of Multi-Krum's output (Lemma 1).

    Raises
    ------
    InfeasibleError
        Unless η(n, f)·√d·σ < ‖g‖, which the lemma requires.

    >>> round(cone_sine(11, 2, d=100, sigma=0.01, gradient_norm=1.0), 4)
    0.6033
    """
    radius = eta(n, f) * math.sqrt(d) * sigma
    need("α", "η(n, f)·√d·σ < ‖g‖", radius < gradient_norm, radius=radius, norm=gradient_norm)
    return radius / gradient_norm


def max_faults(n: int, *, strong: bool = False) -> int:
    """Largest f: ⌊(n−3)/2⌋ for weak resilience (2f+2 < n), ⌊(n−3)/4⌋ for strong (Theorem 2).

    Section 2 opens with f ≤ (n−2)/2; Lemma 1 needs 2f+2 < n, and at n = 2f+2 η divides by 0.

    >>> max_faults(19), max_faults(19, strong=True)
    (8, 4)
    """
    need("a bound on f", "n ≥ 3", n >= 3, n=n)
    return (n - 3) // (4 if strong else 2)


def selected_rows(n: int, f: int, *, strong: bool = False) -> int:
    """Return m̃, the most rows that may be averaged: n−f−2 (Multi-Krum), n−2f−2 (AggregaThor).

    >>> selected_rows(19, 4), selected_rows(19, 4, strong=True)
    (13, 9)
    """
    need_rows("m", n, f, factor=4 if strong else 2, offset=3)
    return n - (2 if strong else 1) * f - 2


def slowdown(n: int, f: int, *, strong: bool = False, m: int | None = None) -> float:
    """√(m/n): speed relative to averaging when no client is faulty (Theorems 1 and 2, part ii).

    Parameters
    ----------
    strong
        False for Multi-Krum alone (weak resilience), true with Bulyan (strong resilience).
    m
        Rows averaged; the largest allowed by default.

    >>> round(slowdown(19, 4), 3), round(slowdown(19, 4, strong=True), 3)
    (0.827, 0.688)
    """
    most = selected_rows(n, f, strong=strong)
    chosen = most if m is None else m
    need("slowdown", f"1 ≤ m ≤ {most}", 1 <= chosen <= most, n=n, f=f, m=chosen)
    return math.sqrt(chosen / n)
