"""The top eigenpair of a large symmetric matrix that is given by its products with vectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from byzflower.geometry import Array

__all__ = ["top_eigenpair"]

_STEPS = 160
_CHECKS = 8  # steps between two looks at the eigenvalues so far
_EPS = np.finfo(np.float64).eps


def top_eigenpair(
    product: Callable[[Array], Array], start: Array, tolerance: float = 1e-11
) -> tuple[float, Array] | None:
    """Find the greatest eigenvalue and a unit eigenvector, by Lanczos' method.

    The basis is orthogonalised anew in every step, so that no eigenvalue appears twice. At most 160
    products and O(n) memory a product.

    Parameters
    ----------
    product
        v ↦ A v for the symmetric, positive semidefinite A.
    start
        Where to start, (n,): not orthogonal to the eigenvector.
    tolerance
        Of ‖A v − λ v‖, relative to λ.

    Returns
    -------
    value, vector, or None where the steps do not suffice

    >>> matrix = np.diag([1.0, 5.0, 2.0])
    >>> value, vector = top_eigenpair(matrix.dot, np.ones(3))
    >>> round(value, 9), np.abs(vector).round(9)
    (5.0, array([0., 1., 0.]))
    """
    steps = min(_STEPS, len(start))
    basis = np.zeros((steps, len(start)))
    inner = np.zeros((steps, steps))
    vector = start / np.linalg.norm(start)
    for k in range(steps):
        basis[k] = vector
        image = product(vector)
        so_far = basis[: k + 1]
        for _ in range(2):
            parts = so_far @ image
            inner[k, : k + 1] += parts
            image -= parts @ so_far
        rest = float(np.linalg.norm(image))
        ended = rest <= 4 * len(start) * _EPS * np.abs(inner[: k + 1, : k + 1]).max()
        if ended or k + 1 == steps or k % _CHECKS == _CHECKS - 1:
            values, vectors = np.linalg.eigh(inner[: k + 1, : k + 1])  # reads the lower triangle
            if ended or rest * abs(vectors[-1, -1]) <= tolerance * values[-1]:
                found = vectors[:, -1] @ so_far
                return float(values[-1]), found / np.linalg.norm(found)
        vector = image / rest
    return None
