"""RESAM: the resilience coefficient λ of each rule (Farhadkhani et al. 2022).

A rule R is (f, λ)-resilient averaging (Definition 2) when for all x_1…x_n and every S of n−f rows

    ‖R(x) − x̄_S‖ ≤ λ · max_{i,j∈S} ‖x_i − x_j‖.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from byzflower.theory.domain import need, need_rows

__all__ = [
    "RESILIENT_RULES",
    "Convergence",
    "convergence",
    "coordinate_factor",
    "lower_bound",
    "multi_krum_star",
    "rate",
    "resilience_coefficient",
]


def coordinate_factor(n: int, f: int, d: int | None = None) -> float:
    """Δ = min{2√(n−f), √d} (Table 1); ``d=None`` is the bound that holds in every dimension.

    Source: Lemma 5, the price of bounding a diameter coordinate by coordinate.

    >>> coordinate_factor(11, 2, d=4), coordinate_factor(11, 2)
    (2.0, 6.0)
    """
    need_rows("Δ", n, f, factor=1)
    free = 2 * math.sqrt(n - f)
    if d is None:
        return free
    need("Δ", "d ≥ 1", d >= 1, d=d)
    return min(free, math.sqrt(d))


def lower_bound(n: int, f: int) -> float:
    """No rule has a λ below f/(n−f) (Proposition 2, 0 ≤ f < n).

    >>> lower_bound(15, 5)
    0.5
    """
    need_rows("lower bound of λ", n, f, factor=1)
    return f / (n - f)


def multi_krum_star(n: int, f: int, q: int) -> float:
    """λ of Multi-Krum*_q: (1 + √((n−f)/(n−2f))) · min{1, (n−q)/(n−f)} (Proposition 6).

    Raises
    ------
    InfeasibleError
        Unless n ≥ 2f+1 and 1 ≤ q ≤ n−f.

    >>> round(multi_krum_star(15, 5, q=1), 4), round(multi_krum_star(15, 5, q=10), 4)
    (2.4142, 1.2071)
    """
    need_rows("λ of multi_krum_star", n, f)
    need("λ of multi_krum_star", "1 ≤ q ≤ n−f", 1 <= q <= n - f, n=n, f=f, q=q)
    return (1 + math.sqrt((n - f) / (n - 2 * f))) * min(1.0, (n - q) / (n - f))


# Table 1, as functions of (n, f, Δ).
_TABLE: dict[str, Callable[[int, int, float], float]] = {
    "mda": lambda n, f, _: 2 * f / (n - f),
    "trimmed_mean": lambda n, f, delta: f / (n - f) * delta,
    "meamed": lambda n, f, delta: 2 * f / (n - f) * delta,
    "krum_star": lambda n, f, _: 1 + math.sqrt((n - f) / (n - 2 * f)),
    "geometric_median": lambda n, f, _: 1 + (n - f) / math.sqrt((n - 2 * f) * n),
    "median": lambda n, f, delta: n / (2 * (n - f)) * delta,
}
RESILIENT_RULES: tuple[str, ...] = tuple(_TABLE)


def resilience_coefficient(rule: str, n: int, f: int, d: int | None = None) -> float:
    """λ of Table 1 (Propositions 3–8) for the rule of that spec name, n ≥ 2f+1.

    Parameters
    ----------
    rule
        One of ``RESILIENT_RULES``.
    d
        The dimension; ``None`` gives the bound that holds in every dimension.

    Raises
    ------
    InfeasibleError
        If n < 2f+1, or the paper proves no λ for the rule.

    >>> resilience_coefficient("mda", 15, 5)
    1.0
    >>> resilience_coefficient("trimmed_mean", 15, 5, d=4)
    1.0
    >>> resilience_coefficient("cge", 15, 5)
    Traceback (most recent call last):
    ...
    byzflower.errors.InfeasibleError: λ needs a rule of RESAM's Table 1; found rule = cge
    """
    need("λ", "a rule of RESAM's Table 1", rule in _TABLE, rule=rule)
    need_rows(f"λ of {rule}", n, f)
    return _TABLE[rule](n, f, coordinate_factor(n, f, d))


def rate(lam: float, n: int, f: int) -> float:
    """1/(n−f) + λ²(n−f): what multiplies σ²/T under the root of the convergence rate (Corollary 1).

    Its second term is the κ column of Table 2, up to constants.

    >>> rate(0.5, 15, 5)
    2.6
    """
    need_rows("rate", n, f, factor=1)
    return 1 / (n - f) + lam**2 * (n - f)


@dataclass(frozen=True)
class Convergence:
    """What Theorem 1 promises: with these parameters E‖∇Q(θ̂)‖² ≤ ``bound``.

    Attributes
    ----------
    learning_rate
        γ, the same in every step.
    beta
        β = √(1 − 24γL), the momentum coefficient.
    least_rounds
        The least T for which the theorem holds.
    bound
        Of the mean squared gradient norm over T steps.
    """

    learning_rate: float
    beta: float
    least_rounds: float
    bound: float


def convergence(
    lam: float, n: int, f: int, *, rounds: int, sigma: float, L: float, gap: float, gradient: float
) -> Convergence:
    """Theorem 1: convergence of distributed momentum with an (f, λ)-resilient rule.

    With a_o = 4(2 ``gap`` + ``gradient``²/(8L)), a_1 = 6912 L and a_2 = 288 L,

        γ = √(a_o(n−f) / (a_1λ²(n−f)² + a_2)) / (σ√T),   T ≥ a_o L / (12σ²λ²(n−f)),
        E‖∇Q(θ̂)‖² ≤ 2√((a_1λ²(n−f) + a_2/(n−f)) a_oσ²/T) + (a_2σ²/(n−f)) γ/T.

    The last fraction's root has (n−f)² in the proof, as γ has, and (n−f) in the statement; the
    proof decides.

    Parameters
    ----------
    lam
        λ > 0 of the rule.
    rounds
        T.
    sigma
        σ > 0: E‖g − ∇Q‖² ≤ σ² for a stochastic gradient g (Assumption 2).
    L
        Lipschitz constant of ∇Q.
    gap, gradient
        Q(θ_1) − min Q and ‖∇Q(θ_1)‖ at the initial model.

    Raises
    ------
    InfeasibleError
        If an argument is out of range or T is too small.

    >>> found = convergence(0.5, 15, 5, rounds=10**6, sigma=1.0, L=1.0, gap=1.0, gradient=1.0)
    >>> round(found.learning_rate, 8), round(found.beta, 4), round(found.bound, 3)
    (2.216e-05, 0.9997, 0.767)
    """
    need_rows("Theorem 1", n, f, factor=1)
    need("Theorem 1", "λ, σ, L > 0", min(lam, sigma, L) > 0, λ=lam, σ=sigma, L=L)
    need("Theorem 1", "gap, gradient ≥ 0", min(gap, gradient) >= 0, gap=gap, gradient=gradient)
    honest = n - f
    a0 = 4 * (2 * gap + gradient**2 / (8 * L))
    a1, a2 = 6912 * L, 288 * L
    least = a0 * L / (12 * sigma**2 * lam**2 * honest)
    need("Theorem 1", f"T ≥ {least:.6g}", rounds >= max(least, 1), T=rounds)
    rate = math.sqrt(a0 * honest / (a1 * lam**2 * honest**2 + a2)) / (sigma * math.sqrt(rounds))
    spread = a1 * lam**2 * honest + a2 / honest
    bound = 2 * math.sqrt(spread * a0 * sigma**2 / rounds) + a2 * sigma**2 / honest * rate / rounds
    return Convergence(rate, math.sqrt(max(1 - 24 * rate * L, 0.0)), least, bound)
