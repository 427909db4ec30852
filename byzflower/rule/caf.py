"""Covariance-bound agnostic filter (CAF)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from byzflower.geometry import Array, Geometry
from byzflower.plans import Weighted
from byzflower.registry import register
from byzflower.rule.lanczos import top_eigenpair
from byzflower.steps import Rule

__all__ = ["CAF"]

_TIE = 1e-9
_MANY = 256  # rows from which steps of Lanczos' method cost less than all eigenvectors


@register("rule")
@dataclass(frozen=True)
class CAF(Rule):
    """Filter out rows along the top eigenvector of the weighted covariance; keep the best mean.

    Weights start at c_i = 1. While Σ c_i > n − 2f: with μ_c the weighted mean and (λ, v) the top
    eigenpair of the weighted covariance, τ_i = ⟨x_i − μ_c, v⟩² and c_i ← c_i (1 − τ_i / max_j τ_j).
    The result is the μ_c of least λ. The maximum is over rows of positive weight, so each iteration
    removes a row; over all rows, as in ByzFL, one removed row at 1e30 stops the filter's progress.
    Eigenpairs are of n × n matrices: exact below 256 rows, else by Lanczos' method to 1e-11.

    Costs n²d/2 products for the Gram matrix and O(n²) a Lanczos step, at most 160 for each removed
    row; O(n²) memory.

    >>> import torch
    >>> CAF()(torch.tensor([[1.0], [2.0], [3.0], [90.0]]), f=1)
    tensor([2.0076])
    """

    name: ClassVar[str] = "caf"
    reference: ClassVar[str] = "Allouah et al. 2025"
    rows_needed: ClassVar[tuple[int, int]] = (2, 1)

    def plan(self, geometry: Geometry, f: int) -> Weighted:
        """Iterate on the rows' weights."""
        gram, n = geometry.centred_gram, geometry.n
        counts = np.ones(n)
        best, least, rounds = counts / n, np.inf, 0
        start = np.random.default_rng(0).standard_normal(n)  # at a right angle to nothing
        enough = (n - 2 * f) * (1 + _TIE)  # a sum that is n − 2f but for rounding is not above it
        while rounds == 0 or counts.sum() > enough:
            rounds += 1
            weights = counts / counts.sum()
            value, tau = _deviations(gram, weights, start)
            if value < least:
                best, least = weights, value
            if tau.max() == 0.0:
                break  # the rows left coincide
            # Rows that tie for the maximum go together: rounding must not leave a ghost of one.
            top = tau >= tau.max() * (1 - _TIE)
            counts = np.where(top, 0.0, counts * (1 - tau / tau.max()))
        return Weighted(
            best, note={"eigenvalue": least * geometry.unit * geometry.unit, "rounds": rounds}
        )


def _deviations(gram: Array, weights: Array, start: Array) -> tuple[float, Array]:
    """Top eigenvalue of the weighted covariance; τ_i of rows of some weight.

    The eigenvector u (n,) of √w_i √w_j ⟨x_i − μ, x_j − μ⟩ is that of the covariance,
    v = Σ_j √w_j u_j (x_j − μ) / √λ.
    """
    roots = np.sqrt(weights)

    def deviations(u: Array) -> Array:
        """√λ ⟨x_i − μ, v⟩."""
        over = roots * u
        image = gram @ (over - over.sum() * weights)
        centred: Array = image - weights @ image
        return centred

    found = None
    if len(gram) >= _MANY:
        found = top_eigenpair(lambda u: roots * deviations(u), roots * start)
    if found is None:
        used = np.flatnonzero(weights)
        centring = np.eye(len(used)) - weights[used]  # row i takes x_i to x_i − μ
        inner = centring @ gram[np.ix_(used, used)] @ centring.T
        values, vectors = np.linalg.eigh(roots[used, None] * inner * roots[used])
        top = np.zeros(len(weights))
        top[used] = vectors[:, -1]
        found = float(values[-1]), top
    value, top = found
    if value <= 0.0:
        return 0.0, np.zeros(len(weights))
    return value, np.where(weights > 0, deviations(top) ** 2 / value, 0.0)
