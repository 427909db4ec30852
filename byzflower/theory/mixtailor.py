"""MixTailor: error of Krum in ℓp norms, and size of the pool (Ramezani-Kebrya et al. 2022)."""

from __future__ import annotations

import math

from byzflower.theory.domain import need, need_rows

__all__ = [
    "capacity",
    "iid_error",
    "noniid_error",
    "norm_exponent",
    "norm_price",
    "resilient_pool",
    "smallest_pool",
]


def capacity(n: int, f: int) -> float:
    """C(n, f) = 1 + 2f/(n−2f−2) (Theorem 1), n ≥ 2f+3.

    >>> capacity(12, 2)
    1.6666666666666665
    """
    need_rows("C(n, f)", n, f, offset=3)
    return 1 + 2 * f / (n - 2 * f - 2)


def norm_price(n: int, f: int, d: int, p: float) -> float:
    """Λ(n, f, d, p) = d^((max{p,2} − min{p,2})/p) · C(n, f) (Theorem 1); least at p = 2.

    Raises
    ------
    InfeasibleError
        Unless n ≥ 2f+3, d ≥ 1 and p ≥ 1.

    >>> norm_price(12, 0, d=100, p=2), norm_price(12, 0, d=100, p=4), norm_price(12, 0, d=100, p=1)
    (1.0, 10.0, 100.0)
    """
    need("Λ", "d ≥ 1 and p ≥ 1", d >= 1 and p >= 1, d=d, p=p)
    return float(d ** norm_exponent(p)) * capacity(n, f)


def norm_exponent(p: float) -> float:
    """(max{p,2} − min{p,2})/p, the power of d in Λ; 1 for p = ∞, its limit.

    >>> norm_exponent(2), norm_exponent(4), norm_exponent(float("inf"))
    (0.0, 0.5, 1.0)
    """
    need("Λ", "p ≥ 1", p >= 1, p=p)
    return 1.0 if math.isinf(p) else (max(p, 2) - min(p, 2)) / p


def iid_error(n: int, f: int, d: int, p: float, *, sigma: float) -> float:
    """‖E[U] − ∇F‖² ≤ 2σ²(1 + Λ) for Krum in ℓp, homogeneous clients (Theorem 1).

    >>> iid_error(12, 0, d=10, p=2, sigma=1.0)
    4.0
    """
    return 2 * sigma**2 * (1 + norm_price(n, f, d, p))


def noniid_error(n: int, f: int, d: int, p: float, *, sigma: float, spread: float) -> float:
    """‖E[U] − ∇F‖² ≤ C₁ + C₂Λ for Krum in ℓp, Δ = ``spread`` between clients (Theorem 2).

    C₁ = 6σ² + 2(n−f+3 + 2(n−f)/(n−2f−2))Δ², C₂ = 4σ² + 8(n−f)Δ².

    >>> noniid_error(12, 0, d=10, p=2, sigma=1.0, spread=0.0)
    10.0
    """
    price = norm_price(n, f, d, p)
    h = n - f
    first = 6 * sigma**2 + 2 * (h + 3 + 2 * h / (n - 2 * f - 2)) * spread**2
    return first + (4 * sigma**2 + 8 * h * spread**2) * price


def resilient_pool(M: int, q: int, *, lam: float, L: float, beta: float) -> bool:
    """Proposition 1's sufficient condition, M/q > 1 + λL/min β, for a pool of M rules.

    Parameters
    ----------
    q
        How many of the M rules the attack defeats, 0 < q < M.
    lam, L, beta
        Largest norm of a defeated rule's expected output, Lipschitz parameter of the loss, least
        E[U]ᵀ∇F over the rules that resist.

    >>> resilient_pool(64, 16, lam=1.0, L=1.0, beta=0.5)
    True
    >>> resilient_pool(4, 2, lam=1.0, L=1.0, beta=0.5)
    False
    """
    need("Proposition 1", "0 < q < M", 0 < q < M, M=M, q=q)
    return M / q > _threshold(lam, L, beta)


def smallest_pool(q: int, *, lam: float, L: float, beta: float) -> int:
    """Least M > q that meets Proposition 1's condition.

    >>> smallest_pool(16, lam=1.0, L=1.0, beta=0.5)
    49
    """
    need("Proposition 1", "q ≥ 1", q >= 1, q=q)
    return max(q + 1, math.floor(q * _threshold(lam, L, beta)) + 1)


def _threshold(lam: float, L: float, beta: float) -> float:
    need(
        "Proposition 1", "λ ≥ 0, L > 0, β > 0", lam >= 0 and L > 0 and beta > 0, λ=lam, L=L, β=beta
    )
    return 1 + lam * L / beta
