"""Points with given inner products, by pivoted Cholesky: for many small matrices or a large one."""

from __future__ import annotations

import numpy as np

from byzflower.geometry import Array

__all__ = ["coordinates", "coordinates_of_many"]

_TINY = np.finfo(np.float64).tiny
_BLOCK = 64  # pivots between two updates of the Schur complement
_ROWS = 256  # of the Schur complement, updated at a time


def coordinates(grams: Array, noises: Array) -> Array:
    """Points (T, n, r) with these inner products (T, n, n), by pivoted Cholesky decomposition.

    The next pivot is the row whose remaining diagonal entry exceeds its ``noises`` (T, n) by the
    largest factor, so errors are relative to each pair's own lengths and a point at 1e30 costs the
    others no digits. Remainders below the noise are dropped, and no coordinate exceeds the root of
    the remaining diagonal: the result is exact for some Gram matrix near the given one, even if
    rounding made that one indefinite. O(n²r) operations a matrix.

    >>> coordinates(np.array([[[4.0, 2.0], [2.0, 1.0]]]), np.full((1, 2), 1e-15))
    array([[[2.],
            [1.]]])
    """
    rest = np.array(grams, order="C")
    each, n = np.arange(len(grams)), grams.shape[1]
    diagonals = rest.reshape(len(grams), -1)[:, :: n + 1]  # a view
    scale = 1 / np.where(noises > 0, noises, _TINY)
    columns = []
    for _ in range(n):
        significant = diagonals * scale
        pivots = significant.argmax(axis=1)
        squares = np.where(significant[each, pivots] > 1, diagonals[each, pivots], np.inf)
        if np.isinf(squares).all():
            break
        column = rest[each, :, pivots] / np.sqrt(squares)[:, None]
        longest = np.sqrt(np.maximum(diagonals, 0.0))
        column = np.clip(column, -longest, longest)
        rest -= column[:, :, None] * column[:, None]
        rest[each, pivots] = 0.0
        columns.append(column)
    return np.array(columns).reshape(len(columns), len(grams), n).transpose(1, 2, 0).copy()


def coordinates_of_many(gram: Array, noise: Array) -> Array:
    """Do what :func:`coordinates` does for one matrix of many points: (n, n), (n,) → (n, r).

    Pivots are taken in blocks, so nearly all of the n²r/3 to n²r operations are matrix products.
    Rows whose remainder is below the noise are not updated any more.

    >>> coordinates_of_many(np.array([[4.0, 2.0], [2.0, 1.0]]), np.full(2, 1e-15))
    array([[2.],
           [1.]])
    """
    n = len(gram)
    left, rest, blocks = np.arange(n), np.array(gram, order="C"), list[Array]()
    diagonal = np.diag(gram).copy()
    scale = 1 / np.where(noise > 0, noise, _TINY)
    while left.size:
        block = np.zeros((len(left), min(_BLOCK, len(left))))
        significant = diagonal * scale
        used = 0
        for k in range(block.shape[1]):
            pivot = int(significant.argmax())
            if significant[pivot] <= 1:
                break
            column = (rest[pivot] - block[:, :k] @ block[pivot, :k]) / np.sqrt(diagonal[pivot])
            longest = np.sqrt(np.maximum(diagonal, 0.0))
            column = np.clip(column, -longest, longest)
            diagonal -= column * column
            diagonal[pivot] = 0.0
            significant = diagonal * scale
            block[:, k] = column
            used += 1
        if not used:
            break
        block = block[:, :used]
        columns = np.zeros((n, used))
        columns[left] = block
        blocks.append(columns)
        more = significant > 1
        left, diagonal, scale, block = left[more], diagonal[more], scale[more], block[more]
        rest = rest[np.ix_(more, more)]
        for low in range(0, len(left), _ROWS):
            rest[low : low + _ROWS] -= block[low : low + _ROWS] @ block.T
    return np.concatenate(blocks, axis=1) if blocks else np.zeros((n, 0))
