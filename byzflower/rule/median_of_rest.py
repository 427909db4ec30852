"""The geometric median of rows of which one after another is taken away."""

from __future__ import annotations

import numpy as np

from byzflower.geometry import Array
from byzflower.rule.coordinates import coordinates_of_many
from byzflower.rule.descent import Index
from byzflower.rule.many_points import ManyPoints
from byzflower.rule.spread_points import are_spread, median_of_spread, tightest_majority

__all__ = ["MedianOfRest"]

_GAP = 1e-9
_FEWER = 0.9  # so many of the rows left, it is looked at anew whether they are spread


class MedianOfRest:
    """The median of the rows that are left; the search for each begins where the last one ended.

    O(n²) memory. The first takes O(n³) at most; each after it some dozen products of a vector with
    the Gram matrix or, of rows that lie too near to each other, with their coordinates.

    Parameters
    ----------
    gram
        Inner products (n, n) of the rows about an origin near most of them.
    noise
        Bounds (n,) on the rounding errors of its diagonal.

    Attributes
    ----------
    rows : numpy.ndarray
        Indices of the rows that are left, in any order.
    weights : numpy.ndarray
        The median as a combination of these rows.
    distances : numpy.ndarray
        Of these rows to the median.

    Examples
    --------
    >>> points = np.array([[0.0, 0.0], [2.0, 0.0], [5.0, 0.0], [9.0, 9.0]])
    >>> rest = MedianOfRest(points @ points.T, np.full(4, 1e-15))
    >>> rest.remove(3)
    >>> rest.rows, rest.weights, rest.distances.round(9)
    (array([0, 1, 2]), array([0., 1., 0.]), array([2., 0., 3.]))
    """

    def __init__(self, gram: Array, noise: Array) -> None:
        # About one of the rows: if all lie on a line, they have one coordinate.
        first = gram[0].copy()
        self._gram = gram - first
        self._gram -= first[:, None] - first[0]
        self._noise: Array = (np.sqrt(noise) + np.sqrt(noise[0])) ** 2
        self.rows: Index = np.arange(len(gram))
        self._at: ManyPoints | None = None
        self._look_again_at = float(len(gram))
        self._find(self._noise)

    def remove(self, row: int) -> None:
        """Take a row away, by its index among all; the last one takes its place."""
        place, last = int(np.flatnonzero(self.rows == row)[0]), len(self.rows) - 1
        if self._at is not None:
            self._at = self._at.without(place)
        start = self.weights
        for array in (self._gram, self._gram.T, self._noise, self.rows, start):
            array[place] = array[last]
        self._gram = self._gram[:last, :last]
        self._noise, self.rows = self._noise[:last], self.rows[:last]
        self._find(start[:last])

    def _find(self, start: Array) -> None:
        """Go on from where the last search ended; now and then begin anew."""
        if len(self.rows) <= self._look_again_at:
            self._look_again_at = _FEWER * len(self.rows)
            start = tightest_majority(self._gram)
            self._at = None if are_spread(self._gram, start) else self._in_coordinates(start)
        if self._at is None:
            start = start / start.sum()
            found = median_of_spread(self._gram, self._noise, start, _GAP)
            if found is not None:
                self.weights, self.distances = found[:2]
                return
            self._at = self._in_coordinates(start)
        self._at = self._at.settled(_GAP)
        self.weights, self.distances = self._at.weights[0], self._at.distances[0]

    def _in_coordinates(self, weights: Array) -> ManyPoints:
        points = coordinates_of_many(self._gram, self._noise)
        offset = weights @ points - points[0]
        return ManyPoints.at(points[None], np.zeros(1, dtype=np.intp), offset[None])
