"""Conversion between λ and κ, which bound the same error by a diameter and by a variance.

For h = n−f rows with diameter D and variance V = (1/h) Σ‖x_i − x̄‖²:

- D² ≤ 2hV: ‖x_i − x_j‖² ≤ 2‖x_i − x̄‖² + 2‖x_j − x̄‖², two different terms of the sum hV;
- V ≤ (h−1)/(2h) · D²: V = (1/2h²) Σ_{i,j} ‖x_i − x_j‖², h(h−1) terms of which are not 0.
"""

from __future__ import annotations

import math

from byzflower.theory.domain import need, need_rows

__all__ = ["kappa_from_lambda", "lambda_from_kappa"]


def kappa_from_lambda(lam: float, n: int, f: int) -> float:
    """κ = 2(n−f)λ²: an (f, λ)-resilient rule is (f, κ)-robust, 0 ≤ f < n.

    >>> kappa_from_lambda(0.5, 15, 5)
    5.0
    """
    need_rows("κ from λ", n, f, factor=1)
    need("κ from λ", "λ ≥ 0", lam >= 0, λ=lam)
    return 2 * (n - f) * lam**2


def lambda_from_kappa(kappa: float, n: int, f: int) -> float:
    """λ = √(κ(n−f−1)/(2(n−f))): an (f, κ)-robust rule is (f, λ)-resilient, 0 ≤ f < n.

    >>> round(lambda_from_kappa(5.0, 15, 5), 4)
    1.5
    """
    need_rows("λ from κ", n, f, factor=1)
    need("λ from κ", "κ ≥ 0", kappa >= 0, κ=kappa)
    return math.sqrt(kappa * (n - f - 1) / (2 * (n - f)))
