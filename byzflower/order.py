"""An order of rows that their content decides and their arrival does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Index", "order_of_content", "ranked", "ranks_of_bytes"]

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


def order_of_content(
    squared: Array, columns: Callable[[Index], Iterable[npt.NDArray[Any]]]
) -> Index:
    """Order n rows by their distances, then by their numbers; by index only rows that are equal.

    Rows with half of the others near come first. Where two rows' median distances are equal, all
    their distances in order decide, which moving, turning and scaling the rows leaves as it is;
    where these are equal, too, the rows' own numbers. Takes O(n²) time, or O(n² log n) with many
    ties, and O(n²) memory.

    Parameters
    ----------
    squared
        Squared distances (n, n), symmetric to the last bit.
    columns
        Gives the numbers of some rows, as (k, c) arrays from left to right.

    >>> points = np.array([[9.0], [0.0], [2.0], [1.0], [0.0]])
    >>> order_of_content((points - points.T) ** 2, lambda rows: [points[rows]]).tolist()
    [1, 4, 3, 2, 0]
    """
    n = len(squared)
    ranks = _ranks(np.partition(squared, n // 2, axis=1)[:, n // 2])
    tied = _tied(ranks)
    if tied.size:
        distances = np.sort(squared[tied], axis=1).astype(">f8")  # whose bytes order as they do
        ranks[tied] += _ranks_within(ranks[tied], ranks_of_bytes(distances))
        tied = _tied(ranks)
    if tied.size:
        # Rows at no distance are equal: the first stands for all of them.
        first = np.argmax(squared[np.ix_(tied, tied)] == 0.0, axis=1)
        leaders = np.unique(first)
        own = ranked(columns(tied[leaders]), ranks[tied[leaders]])
        ranks[tied] = own[np.searchsorted(leaders, first)]
    return np.argsort(ranks, kind="stable")


def ranked(columns: Iterable[npt.NDArray[Any]], ranks: Index) -> Index:
    """Rank k rows by the bytes of (k, c) arrays from left to right, where ``ranks`` leave ties.

    >>> ranked([np.array([[7, 0], [7, 0]]), np.array([[2], [1]])], np.zeros(2, dtype=int)).tolist()
    [1, 0]
    """
    ranks, remaining = ranks.copy(), iter(columns)
    while _tied(ranks).size and (numbers := next(remaining, None)) is not None:
        ranks += _ranks_within(ranks, ranks_of_bytes(numbers))
    return ranks


def ranks_of_bytes(rows: npt.NDArray[Any]) -> Index:
    """Ranks of rows (k, c) by their bytes, shape (k,): 0, 1 … without gaps.

    >>> ranks_of_bytes(np.array([[1, 2], [0, 7], [1, 2]], dtype=np.uint8)).tolist()
    [1, 0, 1]
    """
    rows = np.ascontiguousarray(rows)
    whole = rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize)))[:, 0]
    return np.unique(whole, return_inverse=True)[1]


def _ranks(values: npt.NDArray[Any]) -> Index:
    """How many of the values are less than each."""
    return np.searchsorted(np.sort(values), values)


def _ranks_within(groups: Index, keys: Index) -> Index:
    """How many members of each one's group have a lesser key."""
    return _ranks(groups * (int(keys.max()) + 1) + keys) - _ranks(groups)


def _tied(ranks: Index) -> Index:
    """Which share their rank with others."""
    return np.flatnonzero(np.bincount(ranks)[ranks] > 1)
