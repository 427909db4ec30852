"""Krum's scores while rows are taken away: neighbours are sorted once, then counted down."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from byzflower.geometry import Array

__all__ = ["KrumScores"]

_EPS = np.finfo(np.float64).eps


class KrumScores:
    """Krum's scores of the rows that are left.

    Of m rows a score sums the squared distances to the m − f − 2 nearest others, at least to one.
    Ties look at more neighbours, then go to the first row. Every row that is removed takes one
    neighbour from each score, itself or the farthest, so scores are counted down; where rounding
    could decide, they are summed anew.

    O(n² log n) and O(n²) memory to begin with, then O(n) a row; O(n²) a row where all scores tie.

    Parameters
    ----------
    squared
        Squared distances (n, n).
    f
        Faults.

    Examples
    --------
    >>> points = np.array([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [90.0]])
    >>> scores = KrumScores((points - points.T) ** 2, 1)
    >>> scores.least(2)
    array([2, 3])
    >>> scores.remove(2)
    >>> scores.least(1)
    array([3])
    """

    def __init__(self, squared: Array, f: int) -> None:
        n = len(squared)
        self.rows, self._neighbours = n, n - f - 2
        alone = squared.copy()
        np.fill_diagonal(alone, np.inf)
        order = np.argsort(alone, axis=1, kind="stable")[:, :-1]
        # Row i's others, nearest first; how far they are; and where in that list each of them is.
        self._others = order.astype(np.int32)
        self._away = np.take_along_axis(alone, order, axis=1)
        self._place = np.zeros((n, n), dtype=np.int32)
        np.put_along_axis(self._place, order, np.arange(n - 1, dtype=np.int32)[None], axis=1)
        self._left = np.ones(n, dtype=bool)
        self._last = np.full(n, self._neighbours - 1)  # in the list: the farthest that counts
        self._scores = self._away[:, : max(self._neighbours, 0)].sum(axis=1)
        self._error = 2 * n * _EPS * self._scores
        self._twins = np.argmax(squared == 0.0, axis=1)  # equal rows have equal scores

    def least(self, count: int) -> npt.NDArray[np.intp]:
        """Return the ``count`` rows of least score, in no order."""
        rows = np.flatnonzero(self._left)
        certain, unsure = rows[:0], rows
        if self._neighbours > 0:
            low, high = (self._scores[rows] + s * self._error[rows] for s in (-1, 1))
            sure = high < np.partition(low, count - 1)[count - 1]
            possible = low <= np.partition(high, count - 1)[count - 1]
            certain, unsure = rows[sure], rows[possible & ~sure]
        missing = count - len(certain)
        if missing < len(unsure):
            unsure = unsure[np.argsort(self._ranks(unsure), kind="stable")[:missing]]
        return np.concatenate([certain, unsure])

    def remove(self, row: int) -> None:
        """Take a row away."""
        self._left[row] = False
        self.rows -= 1
        self._neighbours -= 1
        if self._neighbours < 1:
            return
        rows = np.flatnonzero(self._left)
        place, last = self._place[rows, row], self._last[rows]
        self._scores[rows] -= self._away[rows, np.minimum(place, last)]
        rows, last = rows[place >= last], last[place >= last] - 1
        while rows.size:
            there = self._left[self._others[rows, last]]
            self._last[rows[there]] = last[there]
            rows, last = rows[~there], last[~there] - 1

    def _ranks(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Rank rows by their scores, summed anew, then by those with more neighbours."""
        _, leaders, twins = np.unique(self._twins[rows], return_index=True, return_inverse=True)
        if len(leaders) == 1 or self.rows == 1:
            return np.zeros(len(rows), dtype=np.intp)
        first = rows[leaders]
        away = self._away[first][self._left[self._others[first]]].reshape(len(first), -1)
        keys = np.cumsum(away, axis=1)[:, max(self._neighbours, 1) - 1 :]
        order = np.lexsort(keys.T[::-1])
        new = np.concatenate([[0], np.any(np.diff(keys[order], axis=0) != 0, axis=1)])
        ranks = np.zeros(len(first), dtype=np.intp)
        ranks[order] = np.cumsum(new)
        return ranks[twins]
