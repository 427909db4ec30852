"""RS-Byrd-SAGA: the learning error with and without resampling (Peng, Wu, Ling 2020).

Notation: W workers, of which B are Byzantine and R = W−B regular; s-replacement resampling before
the geometric median; σ² the inner variation (of a worker's samples), δ² the outer variation
(between workers).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from byzflower.theory.domain import need

__all__ = [
    "ALGORITHMS",
    "amplification",
    "error_curve",
    "learning_error",
    "max_faults",
    "residual_error",
    "step_size",
    "variance_factor",
]


def variance_factor(W: int, s: int) -> float:
    """Return d = (W−1)/(sW−1), by which s-replacement resampling shrinks a variance (Lemma 5).

    >>> round(variance_factor(30, 2), 4), variance_factor(30, 1)
    (0.4915, 1.0)
    """
    need("d", "W ≥ 2 and 1 ≤ s ≤ W", W >= 2 and 1 <= s <= W, W=W, s=s)
    return (W - 1) / (s * W - 1)


def amplification(W: int, B: int, s: int = 1) -> float:
    """C_{sα} = (2−2sα)/(1−2sα) with α = B/W (Lemma 2); s = 1 is C_α (Lemma 1).

    Raises
    ------
    InfeasibleError
        Unless B < W/(2s).

    >>> amplification(30, 6), amplification(30, 6, s=2)
    (2.6666666666666665, 6.0)
    """
    need("C", "0 ≤ B < W/(2s) and s ≥ 1", s >= 1 and 0 <= 2 * s * B < W, W=W, B=B, s=s)
    return (2 * W - 2 * s * B) / (W - 2 * s * B)


def max_faults(W: int, s: int = 1) -> int:
    """Largest B with B < W/(2s) (Table 1).

    >>> max_faults(30), max_faults(30, s=2), max_faults(30, s=3)
    (14, 7, 4)
    """
    need("a bound on B", "W ≥ 1 and s ≥ 1", W >= 1 and s >= 1, W=W, s=s)
    return (W - 1) // (2 * s)


# Table 1: (C_{sα}², d, R, σ², δ²) -> error; the unresampled algorithms have s = 1, so d = 1.
_TABLE: dict[str, Callable[[float, float, int, float, float], float]] = {
    "byrd_sgd": lambda c2, _, __, inner, outer: c2 * inner + c2 * outer,
    "rs_byrd_sgd": lambda c2, d, R, inner, outer: (d + (1 - d) / R) * c2 * inner + d * c2 * outer,
    "byrd_saga": lambda c2, _, __, ___, outer: c2 * outer,
    "rs_byrd_saga": lambda c2, d, _, __, outer: d * c2 * outer,
}
ALGORITHMS: tuple[str, ...] = tuple(_TABLE)


def learning_error(
    algorithm: str, W: int, B: int, *, s: int = 1, inner: float = 0.0, outer: float = 1.0
) -> float:
    """Learning error of Table 1 without its constant factor, for σ² = ``inner``, δ² = ``outer``.

    Parameters
    ----------
    algorithm
        One of ``ALGORITHMS``.
    s
        Resampling factor of the two ``rs_`` algorithms; the other two take s = 1.

    Raises
    ------
    InfeasibleError
        Unless B < W/(2s), or for an unknown algorithm, or s ≠ 1 without resampling.

    >>> round(learning_error("byrd_saga", 30, 3), 4)
    5.0625
    >>> round(learning_error("rs_byrd_saga", 30, 3, s=2), 4)
    3.4953
    """
    need("learning error", f"an algorithm of {ALGORITHMS}", algorithm in _TABLE, found=algorithm)
    resampled = algorithm.startswith("rs_")
    need(f"learning error of {algorithm}", "s = 1", resampled or s == 1, s=s)
    c2 = amplification(W, B, s) ** 2
    return _TABLE[algorithm](c2, variance_factor(W, s), W - B, inner, outer)


def error_curve(W: int = 30, s: int = 1) -> list[tuple[float, float]]:
    """Return a curve of Figure 2: (α, d·C_{sα}²) for each B < W/(2s); s = 1 is Byrd-SAGA.

    >>> [(round(a, 2), round(e, 2)) for a, e in error_curve(6)]
    [(0.0, 4.0), (0.17, 6.25), (0.33, 16.0)]
    """
    d = variance_factor(W, s)
    return [(B / W, d * amplification(W, B, s) ** 2) for B in range(max_faults(W, s) + 1)]


def residual_error(
    W: int,
    B: int,
    *,
    outer: float,
    mu: float,
    s: int = 1,
    inner: float = 0.0,
    algorithm: str = "rs_byrd_saga",
) -> float:
    """Δ₂, the squared distance to the optimum at t → ∞: a multiple of Table 1's learning error.

    5/μ² times it with SAGA (Theorems 1 and 3, eqs. 22 and 71), 2/μ² times it with SGD (Theorems 4
    and 5, eqs. 92 and 98).

    Parameters
    ----------
    outer, inner
        δ² and σ².
    algorithm
        One of ``ALGORITHMS``; those without resampling have s = 1.

    >>> round(residual_error(30, 3, s=2, outer=1.0, mu=5.0), 4)
    0.6991
    >>> residual_error(30, 3, outer=1.0, inner=1.0, mu=5.0, algorithm="byrd_sgd")
    0.81
    """
    need("residual error", "μ > 0", mu > 0, μ=mu)
    error = learning_error(algorithm, W, B, s=s, inner=inner, outer=outer)
    return (5 if algorithm.endswith("saga") else 2) * error / mu**2


def step_size(
    W: int,
    B: int,
    *,
    L: float,
    mu: float,
    s: int = 1,
    samples: int = 1,
    algorithm: str = "rs_byrd_saga",
) -> float:
    """Largest γ: μ / (2√10 J²L²C_{sα}) with SAGA, J samples a worker; μ / (2L²) with SGD.

    Theorems 1 and 3, and 4 and 5.

    >>> round(step_size(30, 0, s=2, samples=1, L=1.0, mu=1.0), 5)
    0.07906
    >>> step_size(30, 3, L=2.0, mu=1.0, algorithm="byrd_sgd")
    0.125
    """
    need("step size", "J ≥ 1, L ≥ μ > 0", samples >= 1 and L >= mu > 0, J=samples, L=L, μ=mu)
    need("step size", f"an algorithm of {ALGORITHMS}", algorithm in _TABLE, found=algorithm)
    c = amplification(W, B, s)
    if algorithm.endswith("sgd"):
        return mu / (2 * L**2)
    return mu / (2 * math.sqrt(10) * samples**2 * L**2 * c)
