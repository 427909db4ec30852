"""The two ratios that λ and κ bound, for one input or for all choices of the honest rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Mask", "Ratios", "best_subsets", "ratios", "squared_distances", "subsets"]

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# An error below this share of the inputs' size is rounding, not a fault of the rule.
_ROUNDING = 1e-6
# Subsets of honest rows that are tried on each input.
_SUBSETS = 2000
_PAIRS = 4_000_000
_DIFFERENCES = 1 << 24  # of coordinates, that exist at a time


@dataclass(frozen=True)
class Ratios:
    """‖R(x) − x̄_S‖ over the diameter (λ), and its square over the variance (κ), of rows S."""

    lam: float
    kappa: float

    @property
    def unbounded(self) -> bool:
        """Whether the honest rows agree and the rule still errs: no coefficient exists."""
        return math.isinf(self.lam)


def ratios(rows: Array, honest: Mask, value: Array) -> Ratios:
    """Return both ratios of an aggregate ``value`` of ``rows`` (n, d), S = ``honest`` (n,).

    With identical honest rows the ratios are infinite if the aggregate differs from them, else 0.
    Rows whose spread drowns in their size (below 1e-6 of it) count as no evidence: 0.

    >>> import numpy as np
    >>> rows = np.array([[0.0], [1.0], [9.0]])
    >>> ratios(rows, np.array([True, True, False]), np.array([1.0]))
    Ratios(lam=0.5, kappa=1.0)
    >>> ratios(np.array([[1.0], [1.0], [9.0]]), np.array([True, True, False]), np.array([2.0]))
    Ratios(lam=inf, kappa=inf)
    """
    kept = rows[honest]
    # about a member, identical rows have a mean and a spread of exactly 0
    relative = kept - kept[0]
    mean = relative.mean(axis=0)
    error = float(np.linalg.norm(value - kept[0] - mean))
    diameter = math.sqrt(float(squared_distances(relative).max()))
    size = float(np.abs(rows).max())
    if diameter <= _ROUNDING * size:
        wrong = diameter == 0.0 and error > _ROUNDING * size
        return Ratios(math.inf, math.inf) if wrong else Ratios(0.0, 0.0)
    variance = float(((relative - mean) ** 2).sum()) / len(kept)
    return Ratios(error / diameter, error**2 / variance)


def squared_distances(rows: Array) -> Array:
    """Squared distances of rows (n, d) from each other, (n, n), from differences: none cancels.

    >>> squared_distances(np.array([[0.0, 0.0], [3.0, 4.0]]))
    array([[ 0., 25.],
           [25.,  0.]])
    """
    n, d = rows.shape
    total = np.zeros((n, n))
    step = max(1, _DIFFERENCES // n**2)
    for start in range(0, d, step):
        part = rows[:, start : start + step]
        total += ((part[:, None, :] - part[None, :, :]) ** 2).sum(axis=2)
    return total


@lru_cache(maxsize=4)
def subsets(n: int, f: int) -> Mask:
    """Choices of the n−f honest rows, shape (m, n): all of them, or a fixed sample if many.

    >>> subsets(3, 1).astype(int).tolist()
    [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    """
    most = max(2, min(_SUBSETS, _PAIRS // n**2))
    if math.comb(n, f) <= most:
        chosen = [np.array(c, dtype=int) for c in combinations(range(n), f)]
    else:
        rng = np.random.default_rng(n * 1009 + f)
        # the last rows and the first, where ties in row order matter most
        chosen = [np.arange(n - f, n), np.arange(f)]
        chosen += [rng.permutation(n)[:f] for _ in range(most - 2)]
    masks = np.ones((len(chosen), n), dtype=bool)
    for mask, faulty in zip(masks, chosen, strict=True):
        mask[faulty] = False
    masks.flags.writeable = False
    return masks


def best_subsets(rows: Array, value: Array, choices: Mask) -> tuple[Mask, Mask]:
    """Rows to call honest for the largest λ ratio and for the largest κ ratio, among ``choices``.

    Parameters
    ----------
    rows, value
        Inputs (n, d) and their aggregate (d,).
    choices
        From :func:`subsets`, shape (m, n).
    """
    count = choices[0].sum()
    member = choices.astype(np.float64)
    squared = squared_distances(rows)
    errors = (((member @ (rows - value)) / count) ** 2).sum(axis=1)
    # V = (1/2h²) Σ_{i,j∈S} ‖x_i − x_j‖²: no cancellation against rows outside S
    variances = ((member @ squared) * member).sum(axis=1) / (2 * count**2)
    pairs = choices[:, :, None] & choices[:, None, :]
    diameters = np.where(pairs, squared, 0.0).max(axis=(1, 2))
    floor = (_ROUNDING * np.abs(rows).max()) ** 2
    usable = (diameters > floor) | ((diameters == 0) & (errors > floor))
    with np.errstate(divide="ignore", invalid="ignore"):
        by_diameter = np.where(usable, errors / diameters, 0.0)
        by_variance = np.where(usable, errors / variances, 0.0)
    return choices[int(np.argmax(by_diameter))], choices[int(np.argmax(by_variance))]
