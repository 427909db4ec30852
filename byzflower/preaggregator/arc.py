"""Adaptive robust clipping (ARC)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from byzflower.geometry import Array, Geometry
from byzflower.plans import Mixing
from byzflower.registry import register
from byzflower.steps import PreAggregator

__all__ = ["ARC", "clipped_rows", "clipping"]


def clipping(norms: Array, threshold: float) -> Array:
    """Return the diagonal mixing matrix that scales rows longer than ``threshold`` down to it.

    >>> clipping(np.array([1.0, 4.0]), 2.0)
    array([[1. , 0. ],
           [0. , 0.5]])
    """
    factors = np.ones_like(norms)
    longer = norms > threshold
    factors[longer] = threshold / norms[longer]
    return np.diag(factors)


def clipped_rows(norms: Array, threshold: float) -> dict[str, object]:
    """Return which rows are longer than ``threshold``, and how many, as ``explain`` reports it."""
    rows = tuple(np.flatnonzero(norms > threshold).tolist())
    return {"clipped": len(rows), "clipped_rows": rows}


@register("preaggregator")
@dataclass(frozen=True)
class ARC(PreAggregator):
    """Clip every row to the (k+1)-th largest norm, k = ⌊2(f/n)(n−f)⌋.

    If a rule F is (f, κ)-robust, F after ARC is (f, κ + 2f/(n−2f))-robust (Theorem 3.2), and the
    aggregate is no longer than the longest honest row (Lemma 5.1). The lemma needs an F that
    returns nothing longer than its longest input, as averages do. Others, namely all
    coordinate-wise rules and centered clipping about a given centre, are replaced by the paper's
    F† (appendix C.1): what the steps after ARC return is clipped to ARC's threshold, which keeps
    their κ. ``explain`` reports the ``threshold`` and which rows were clipped.

    Costs n²d/2 products for the Gram matrix, which steps after it share, and O(n log n).

    >>> import torch
    >>> import byzflower as bf
    >>> rows = torch.tensor([[1.0], [2.0], [3.0], [90.0]])
    >>> bf.compose(ARC(), bf.Mean())(rows, f=1)
    tensor([2.2500])
    >>> rows = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    >>> bf.TrimmedMean()(rows, f=1).norm(), bf.compose(ARC(), bf.TrimmedMean())(rows, f=1).norm()
    (tensor(1.7321), tensor(1.4142))
    """

    name: ClassVar[str] = "arc"
    reference: ClassVar[str] = "ARC Algorithm 2, Lemma 5.1, C.1"
    rows_needed: ClassVar[tuple[int, int]] = (2, 1)
    keeps_rows: ClassVar[bool] = True

    def mix(self, geometry: Geometry, f: int, rng: torch.Generator) -> Mixing:
        """Scale the k longest rows down; k is computed in integers."""
        norms = np.sqrt(geometry.squared_norms())
        clipped = 2 * f * (geometry.n - f) // geometry.n
        threshold = float(np.sort(norms)[::-1][clipped])
        note = {"threshold": threshold * geometry.unit, **clipped_rows(norms, threshold)}
        return Mixing(clipping(norms, threshold), f, note, longest=threshold)
