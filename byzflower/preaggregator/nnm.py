"""Nearest-neighbour mixing (NNM)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from byzflower.geometry import Array, Geometry
from byzflower.plans import Mixing
from byzflower.registry import register
from byzflower.steps import PreAggregator

__all__ = ["NNM"]


@register("preaggregator")
@dataclass(frozen=True)
class NNM(PreAggregator):
    """Replace every row by the average of the n − f rows nearest to it, itself included.

    For trimmed mean, median, geometric median and multi-Krum*, the composition is
    (f, κ)-robust with κ ≤ 8f/(n−f) · (1 + (1 + f/(n−2f))²) (ARC, Lemma 2.5).

    Costs n²d/2 products for the Gram matrix and O(n²); a distance-based step after it 1.5n³
    products to mix that matrix. O(n²) memory. The mixed rows, n²d products, are computed only for
    coordinate-wise rules.

    >>> import torch
    >>> import byzflower as bf
    >>> bf.compose(NNM(), bf.Median())(torch.tensor([[1.0], [2.0], [3.0], [90.0]]), f=1)
    tensor([2.])
    """

    name: ClassVar[str] = "nnm"
    reference: ClassVar[str] = "Allouah et al. 2023a; ARC Lemma 2.5"
    rows_needed: ClassVar[tuple[int, int]] = (2, 1)
    keeps_rows: ClassVar[bool] = True

    def mix(self, geometry: Geometry, f: int, rng: torch.Generator) -> Mixing:
        """Average each row's nearest rows; the row itself is the nearest."""
        squared = geometry.squared_distances()
        np.fill_diagonal(squared, -1.0)
        count = geometry.n - f
        matrix: Array = np.where(_least(squared, count), 1 / count, 0.0)
        return Mixing(matrix, f)


def _least(values: Array, count: int) -> npt.NDArray[np.bool_]:
    """Which are the ``count`` least of each row; of equals the first.

    >>> _least(np.array([[3.0, 1.0, 1.0, 0.0]]), 2)
    array([[False,  True, False,  True]])
    """
    limit = np.partition(values, count - 1, axis=1)[:, count - 1 : count]
    least: npt.NDArray[np.bool_] = values <= limit
    for row in np.flatnonzero(np.count_nonzero(least, axis=1) > count):
        ties = np.flatnonzero(values[row] == limit[row])
        least[row, ties[count - np.count_nonzero(least[row]) :]] = False
    return least
