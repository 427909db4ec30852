"""Symmetric n × n matrices, with little memory beyond them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["mirrored", "squared_distances", "symmetric_product"]

Array = npt.NDArray[np.float64]

_BAND = 256  # rows at a time


def mirrored(lower: Array) -> Array:
    """Write the lower triangle over the upper one; the same array, symmetric to the last bit.

    >>> mirrored(np.array([[1.0, 9.0], [2.0, 3.0]]))
    array([[1., 2.],
           [2., 3.]])
    """
    for low in range(0, len(lower), _BAND):
        band = slice(low, low + _BAND)
        corner = np.tril(lower[band, band])
        lower[band, band] = corner + np.tril(corner, -1).T
        lower[band, low + _BAND :] = lower[low + _BAND :, band].T
    return lower


def symmetric_product(a: Array, b: Array) -> Array:
    """Multiply a @ b.T where the result is symmetric but for rounding: n³ operations, not 2n³.

    >>> a, b = np.array([[1.0], [2.0]]), np.array([[3.0], [6.0]])
    >>> symmetric_product(a, b)
    array([[ 3.,  6.],
           [ 6., 12.]])
    """
    out = np.empty((len(a), len(b)))
    for low in range(0, len(a), _BAND):
        np.matmul(
            a[low : low + _BAND], b[: low + _BAND].T, out=out[low : low + _BAND, : low + _BAND]
        )
    return mirrored(out)


def squared_distances(gram: Array) -> Array:
    """‖x_i − x_j‖² from inner products, shape (n, n), clamped at 0.

    >>> squared_distances(np.diag([1.0, 4.0]))
    array([[0., 5.],
           [5., 0.]])
    """
    lengths = np.diag(gram)
    squared = lengths[:, None] + lengths
    for low in range(0, len(gram), _BAND):
        squared[low : low + _BAND] -= 2 * gram[low : low + _BAND]
    np.maximum(squared, 0.0, out=squared)
    np.fill_diagonal(squared, 0.0)
    return squared
