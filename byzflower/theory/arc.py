"""ARC: the robustness coefficient κ through NNM and adaptive clipping (Allouah et al. 2025).

A rule F is (f, κ)-robust (Definition 2.4) when for all x_1…x_n and every S of n−f rows

    ‖F(x) − x̄_S‖² ≤ κ · (1/|S|) Σ_{i∈S} ‖x_i − x̄_S‖².
"""

from __future__ import annotations

import math

from byzflower.theory.domain import need, need_rows

__all__ = [
    "NNM_RULES",
    "after_arc",
    "after_nnm",
    "breakdown_point",
    "error_behind_arc",
    "error_floor",
    "improvement",
    "initial_growth",
    "lower_bound",
    "residual_error",
    "stationarity_behind_arc",
]

# CWTM, CWMed, GM and MK of Lemma 2.5.
NNM_RULES: tuple[str, ...] = ("trimmed_mean", "median", "geometric_median", "multi_krum_star")


def lower_bound(n: int, f: int) -> float:
    """No rule has a κ below f/(n−2f), n ≥ 2f+1 (recalled in Section 2).

    >>> lower_bound(11, 5)
    5.0
    """
    need_rows("lower bound of κ", n, f)
    return f / (n - 2 * f)


def after_nnm(n: int, f: int) -> float:
    """κ of F∘NNM ≤ 8f/(n−f) · (1 + (1 + f/(n−2f))²) for each F of ``NNM_RULES`` (Lemma 2.5).

    >>> round(after_nnm(11, 3), 4)
    10.68
    """
    need_rows("κ after nnm", n, f)
    return 8 * f / (n - f) * (1 + (1 + f / (n - 2 * f)) ** 2)


def after_arc(kappa: float, n: int, f: int) -> float:
    """κ of F∘ARC ≤ κ + 2f/(n−2f) for any (f, κ)-robust F (Theorem 3.2).

    >>> round(after_arc(after_nnm(11, 3), 11, 3), 2)
    11.88
    """
    need_rows("κ after arc", n, f)
    need("κ after arc", "κ ≥ 0", kappa >= 0, κ=kappa)
    return kappa + 2 * f / (n - 2 * f)


def breakdown_point(dissimilarity: float = 0.0) -> float:
    """Return 1/(2+B²), the fraction f/n that no algorithm tolerates (Lemma 2.3).

    B is that of (G, B)-gradient dissimilarity.

    >>> breakdown_point(), breakdown_point(dissimilarity=1.0)
    (0.5, 0.3333333333333333)
    """
    need("breakdown point", "B ≥ 0", dissimilarity >= 0, B=dissimilarity)
    return 1 / (2 + dissimilarity**2)


def error_floor(n: int, f: int, G: float, B: float) -> float:
    """Lower bound on the error of any algorithm: ¼ · f/(n−(2+B²)f) · G² (Lemma 2.3).

    Raises
    ------
    InfeasibleError
        Unless f/n < 1/(2+B²).

    >>> error_floor(11, 3, G=2.0, B=0.0)
    0.6
    """
    margin = n - (2 + B**2) * f
    need("error floor", "f/n < 1/(2+B²) and f ≥ 0", f >= 0 and margin > 0, n=n, f=f, B=B)
    return 0.25 * f / margin * G**2


def residual_error(kappa: float, G: float, B: float) -> float:
    """κG²/(1−κB²), the error of Robust-DGD after infinitely many steps (Lemma 2.6).

    Raises
    ------
    InfeasibleError
        Unless κB² < 1.

    >>> residual_error(0.5, G=1.0, B=1.0)
    1.0
    """
    need("residual error", "κB² < 1 and κ ≥ 0", kappa >= 0 and kappa * B**2 < 1, κ=kappa, B=B)
    return kappa * G**2 / (1 - kappa * B**2)


def stationarity_behind_arc(
    kappa: float, G: float, B: float, *, rho: float, rounds: int, L: float, gap: float
) -> float:
    """Mean ‖∇L_H(θ_t)‖² over T steps of Robust-DGD∘ARC ≤ 2Δ_oL/T + 5κ(G² + B²ρ²) (Lemma C.2).

    For max_i ‖∇L_i(θ_1)‖ ≤ exp(−Δ_oL/(κG²)) ρ and γ = min{Δ_o/(κG²T), 1/L}; Δ_o is the ``gap``
    L_H(θ_1) − min L_H.

    >>> stationarity_behind_arc(1.0, 1.0, 1.0, rho=2.0, rounds=10, L=1.0, gap=5.0)
    26.0
    """
    need("Lemma C.2", "κ, G, L > 0 and T ≥ 1", min(kappa, G, L) > 0 and rounds >= 1, κ=kappa, G=G)
    need("Lemma C.2", "B, ρ, Δ_o ≥ 0", min(B, rho, gap) >= 0, B=B, ρ=rho, gap=gap)
    return 2 * gap * L / rounds + 5 * kappa * (G**2 + B**2 * rho**2)


def error_behind_arc(kappa: float, G: float, B: float, rho: float) -> float:
    """5κ min{G² + B²ρ², G²/max{1 − κB², 0}}, for T ≥ Δ_oL/(κG²) (Corollary C.5).

    The first term is Lemma C.2's, the second what the rule promises without ARC (Lemma 2.6) for
    κB² < 1.

    >>> error_behind_arc(0.5, 1.0, 1.0, rho=0.5), error_behind_arc(2.0, 1.0, 1.0, rho=0.5)
    (3.125, 12.5)
    """
    need("Corollary C.5", "κ, B, ρ ≥ 0", min(kappa, B, rho) >= 0, κ=kappa, B=B, ρ=rho)
    bounded = G**2 + B**2 * rho**2
    left = 1 - kappa * B**2
    return 5 * kappa * (min(bounded, G**2 / left) if left > 0 else bounded)


def initial_growth(zeta: float, G: float, B: float, *, xi: float, L: float, gap: float) -> float:
    """ρ = exp((2+B²)Δ_oL / ((1−ξ_o)G²)) ζ, for honest gradients ≤ ζ at θ_1 (Theorem 5.2).

    >>> round(initial_growth(1.0, G=2.0, B=0.0, xi=0.5, L=1.0, gap=1.0), 4)
    2.7183
    """
    need("Theorem 5.2", "0 < ξ_o < 1 and G > 0", 0 < xi < 1 and G > 0, ξ_o=xi, G=G)
    need("Theorem 5.2", "ζ, B, L, Δ_o ≥ 0", min(zeta, B, L, gap) >= 0, ζ=zeta, B=B, L=L, gap=gap)
    return math.exp((2 + B**2) * gap * L / ((1 - xi) * G**2)) * zeta


def improvement(n: int, f: int, G: float, B: float, rho: float) -> float:
    """Error of Robust-DGD∘ARC with a rule of ``NNM_RULES`` after NNM (Theorem C.4; 5.2).

    With Ψ = 640(1 + 1/B²)²(1 + B²ρ²/G²): ξΨε_o for f/n = (1−ξ)/(2+B²) below the breakdown point,
    ε_o being the :func:`error_floor` of all algorithms without a bound on the initial gradients;
    ΨG²/8 from there to f/n < ½. Theorem 5.2 restates the first: v ε_o for ξ ≤ v/Ψ.

    >>> floor = error_floor(3001, 1000, G=1.0, B=1.0)
    >>> improvement(3001, 1000, 1.0, 1.0, rho=0.1) / floor < 1
    True
    """
    need_rows("Theorem C.4", n, f)
    need("Theorem C.4", "f ≥ 1, G, B > 0, ρ ≥ 0", f >= 1 and min(G, B) > 0 <= rho, f=f, G=G, B=B)
    psi = 640 * (1 + 1 / B**2) ** 2 * (1 + B**2 * rho**2 / G**2)
    xi = 1 - (2 + B**2) * f / n
    return xi * psi * error_floor(n, f, G, B) if xi > 0 else psi * G**2 / 8
