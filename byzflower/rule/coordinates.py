"""Points with given inner products: Cholesky with pivots, for many or for large matrices."""

from __future__ import annotations

import numpy as np

from byzflower.geometry import Array

__all__ = ["coordinates", "coordinates_of_many"]

_TINY = np.finfo(np.float64).tiny
_BLOCK = 64  # pivots between two updates of what is left of the matrix
_ROWS = 256  # of what is left, updated at a time


def coordinates(grams: Array, noises: Array) -> Array:
    """Points (T, n, r) with these inner products (T, n, n), by Cholesky's method with pivots.

    The next pivot is the row with the most left above its noise (T, n), so errors are relative to
    each pair's own lengths and a point at 1e30 costs the others nothing. What is left below the
    noise is dropped, and no coordinate is longer than what is left of its row: what rounding made
    indefinite comes out as a Gram matrix again.

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

    In blocks of pivots, so that nearly all of the n²r/3 products to n²r, for a low rank, are
    matrix products. A row of which nothing is left above its noise is done with.

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
