"""ARC: the robustness coefficient κ through NNM and adaptive clipping (Allouah et al. 2025).

A rule F is (f, κ)-robust (Definition 2.4) when for all x_1…x_n and every S of n−f rows

    ‖F(x) − x̄_S‖² ≤ κ · (1/|S|) Σ_{i∈S} ‖x_i − x̄_S‖².
"""

from __future__ import annotations

from byzflower.theory.domain import need, need_rows

__all__ = [
    "NNM_RULES",
    "after_arc",
    "after_nnm",
    "breakdown_point",
    "error_floor",
    "lower_bound",
    "residual_error",
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
