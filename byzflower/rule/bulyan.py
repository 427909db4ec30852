"""Bulyan: select rows with an inner rule, then average around the median."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from byzflower.geometry import Array, Geometry
from byzflower.kernels import Reduction
from byzflower.plans import Plan, Reduced, Weighted
from byzflower.registry import register
from byzflower.rule.descent import Index
from byzflower.rule.geometric_median import reweighted
from byzflower.rule.krum_scores import KrumScores
from byzflower.rule.median_of_rest import MedianOfRest
from byzflower.rule.weiszfeld import weiszfeld
from byzflower.steps import Rule
from byzflower.validation import norm_order

__all__ = ["Bulyan"]

_INNER = ("krum", "multi_krum", "mean", "median", "geometric_median")
_OUTER = ("around_median", "krum", "mean", "median", "geometric_median")


@register("rule")
@dataclass(frozen=True)
class Bulyan(Rule):
    """Average, per coordinate, the n − 4f values nearest the median of n − 2f selected rows.

    The θ = n − 2f rows are selected one at a time: the ``inner`` rule is applied to the rows not
    yet selected, and the row nearest to its output is the next. Then the β = θ − 2f values of each
    coordinate nearest the median are averaged.

    With ``inner="multi_krum"``, AggregaThor's strong mode, each of the θ iterations instead
    contributes the average of the m − f − 2 rows of least Krum score among the m remaining (at
    least one) and removes the row of least score: θ averages are reduced, which lose less of the
    honest rows' agreement (AggregaThor, Theorem 2).

    On m remaining rows Krum counts m − f − 2 neighbours. For the last selections that is one
    (always a tie: the two nearest rows are each other's neighbour) or none, so ties are broken by
    further neighbours.

    With ``p`` = 2 Krum's selection costs n²d/2 products for the Gram matrix and O(n² log n), O(n³)
    where all scores tie; the mean's O(n³), the geometric median's O(n³), too: each begins where the
    one before has ended, a dozen products of the Gram matrix with a vector away. O(n²) memory.
    Other p read the updates once for Krum, once a selection for the mean and once an iteration for
    the geometric median; ``inner="median"`` reads them once a selection, n − 2f times in all.

    Parameters
    ----------
    inner
        ``"krum"``, ``"multi_krum"``, ``"mean"``, ``"median"`` or ``"geometric_median"``.
    p
        Norm ‖·‖_p, p ≥ 1, of Krum's score, the geometric median and "nearest".
    outer
        What becomes of the θ selected rows: ``"around_median"``, as above, or ``"krum"``,
        ``"mean"``, ``"median"`` or ``"geometric_median"`` of them, as in MixTailor's pool.

    Examples
    --------
    >>> import torch
    >>> rows = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [90.0]])
    >>> Bulyan()(rows, f=1)
    tensor([4.])
    >>> Bulyan(inner="multi_krum")(rows, f=1)
    tensor([3.4444])
    """

    name: ClassVar[str] = "bulyan"
    reference: ClassVar[str] = "El Mhamdi et al. 2018; AggregaThor; MixTailor §5"
    rows_needed: ClassVar[tuple[int, int]] = (4, 3)

    inner: str = "krum"
    p: float = 2.0
    outer: str = "around_median"

    def __post_init__(self) -> None:
        for name, known in (("inner", _INNER), ("outer", _OUTER)):
            if (found := getattr(self, name)) not in known:
                raise ValueError(
                    f"`{self.name}` needs {name} to be one of {', '.join(known)}; found {found!r}"
                )
        norm_order(self.p, self.name)

    def plan(self, geometry: Geometry, f: int) -> Plan:
        """Select n − 2f rows, then reduce them."""
        selection, picked = self._selection(geometry, f)
        note = {"selected": picked}
        if self.outer == "around_median":
            return Reduced(Reduction("around_median", geometry.n - 4 * f), selection, note)
        if self.outer == "median":
            return Reduced(Reduction.median(len(selection)), selection, note)
        chosen = geometry.mixed(selection)
        if self.outer == "krum":
            scores = KrumScores(chosen.distances(self.p) ** 2, f)
            weights = np.eye(chosen.n)[scores.least(1)[0]]
        else:
            weights = self._weights(self.outer, chosen)
        return Weighted(weights @ selection, note=note)

    def _selection(self, geometry: Geometry, f: int) -> tuple[Array, tuple[int, ...]]:
        """Return the n − 2f selected rows as combinations of all, and which were taken out."""
        n, picked = geometry.n, list[int]()
        if not self.inner.endswith("krum"):
            for rows, away in self._distances_to_inner(geometry, picked):
                picked.append(int(rows[np.lexsort((rows, away))[0]]))
                if len(picked) == n - 2 * f:
                    break
            return np.eye(n)[sorted(picked)], tuple(picked)
        averages = np.zeros((n - 2 * f, n))
        scores = KrumScores(geometry.distances(self.p) ** 2, f)
        for average in averages:
            picked.append(int(scores.least(1)[0]))
            if self.inner == "multi_krum":
                averaged = scores.least(max(scores.rows - f - 2, 1))
                average[averaged] = 1 / len(averaged)
            scores.remove(picked[-1])
        if self.inner == "krum":
            averages = np.eye(n)[sorted(picked)]
        return averages, tuple(picked)

    def _distances_to_inner(
        self, geometry: Geometry, picked: Sequence[int]
    ) -> Iterator[tuple[Index, Array]]:
        """Yield the rows not yet picked, and their distances to the inner rule's output on them."""
        n = geometry.n
        rest = None
        if self.inner == "geometric_median":
            rest = MedianOfRest(geometry.centred_gram, geometry.noise)
        while True:
            rows = np.delete(np.arange(n), picked) if rest is None else rest.rows
            if self.inner == "median":
                yield rows, geometry.distances_to_median(np.eye(n)[rows], self.p)
            elif rest is not None and self.p == 2:
                yield rows, rest.distances
            else:
                weights = np.zeros(n)
                weights[rows] = 1 / len(rows) if rest is None else rest.weights
                if rest is not None:
                    weights = reweighted(geometry, self.p, weights, rows)[0]
                yield rows, geometry.distances_about(weights, self.p)[rows]
            if rest is not None:
                rest.remove(picked[-1])

    def _weights(self, rule: str, geometry: Geometry) -> Array:
        """Weights of the mean or the geometric median of all of the geometry's rows."""
        if rule == "mean":
            return np.full(geometry.n, 1 / geometry.n)
        weights = weiszfeld(geometry.centred_gram, geometry.noise)[0]
        return weights if self.p == 2 else reweighted(geometry, self.p, weights)[0]
