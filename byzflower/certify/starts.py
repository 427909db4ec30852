"""Inputs that a search begins from: the worst cases of proofs, and what attacks send.

Clusters, simplices, opposed coordinates and far rows.

Each is an (n, d) array; which n−f of its rows count as honest is decided afterwards, so that the
ratio is largest. The first n−f rows are built as the honest ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from byzflower.certify.ratio import Array, squared_distances

__all__ = ["degenerate", "displaced", "structured"]

# Distances of the faulty rows, in diameters of the honest ones.
_REACH = (0.0, 0.25, 0.5, 0.7, 0.99, 1.0, 1.2, 1.5, 1.99, 2.2, 3.0, 5.0, 30.0)
_SIZES = (0.1, 1.0, 10.0, 100.0, 1000.0)


def degenerate(n: int, f: int, d: int) -> Iterator[Array]:
    """Identical honest rows at several norms and faulty ones beside them (RESAM C.9, ARC L. 3.1).

    Any error of the rule on these is unbounded relative to the honest rows' spread, 0.
    """
    if f == 0:
        # nobody to attack with: only clipping and the like can err
        yield from (_axis(d, size)[None].repeat(n, axis=0) for size in _SIZES)
        return
    for size in _SIZES:
        honest = _axis(d, size)[None].repeat(n - f, axis=0)
        for factor in (0.0, -1.0, 0.5, 2.0, 20.0):
            yield np.vstack([honest, np.repeat(factor * honest[:1], f, axis=0)])


def structured(n: int, f: int, d: int, rng: np.random.Generator) -> Iterator[Array]:
    """Honest shapes × directions × distances of colluding faulty rows."""
    for shape in _shapes(n, f, d, rng):
        middle = shape.mean(axis=0)
        for direction in _directions(shape, f, rng):
            for reach in _REACH if f else (0.0,):
                yield np.vstack([shape, np.repeat([middle + reach * direction], f, axis=0)])
        if f:
            yield from _coordinatewise(shape, f)
            yield from _balanced(shape, n, f)


def displaced(rows: Array, rng: np.random.Generator) -> Array:
    """Move the rows about another origin, which matters to rules that look at norms."""
    origin = rng.integers(5)
    if origin == 0:
        centred: Array = rows - rows.mean(axis=0)
        return centred
    if origin == 1:
        direction = rng.standard_normal(rows.shape[1])
        size = float(rng.choice((1.0, 10.0)))
        return rows + direction * (size / float(np.linalg.norm(direction)))
    # a row, and with it a cluster; or as the start was built
    return rows - rows[int(rng.integers(len(rows)))] if origin < 4 else rows


def _shapes(n: int, f: int, d: int, rng: np.random.Generator) -> Iterator[Array]:
    h = n - f
    if h == 1:
        yield np.zeros((1, d))
        return
    # two clusters: sizes at which order statistics, ties and clipped fractions change hands
    sizes = {1, f, h - f, n // 2 - f, (n + 1) // 2 - f, h // 2, h - 1, h - (2 * f * h) // n}
    for size in sorted(k for k in sizes if 0 < k < h):
        shape = np.zeros((h, d))
        shape[size:, 0] = 1.0
        yield shape
    if d == 1:
        yield np.linspace(0.0, 1.0, h)[:, None]
        return
    yield _simplex(h, d)
    # opposed coordinates: another block of rows stands out in each
    for block in sorted({1, f, (n - 1) // 2, h // 2} & set(range(1, h))):
        yield _diameter_one(_blocks(h, d, block))
    yield _diameter_one(rng.standard_normal((h, d)))


def _directions(shape: Array, f: int, rng: np.random.Generator) -> Iterator[Array]:
    middle = shape.mean(axis=0)
    d = len(middle)
    candidates = [shape[0] - middle, shape[-1] - middle, middle - shape[0]]
    candidates.append(shape[: max(len(shape) - f, 1)].mean(axis=0) - middle)
    if d > 1:
        # out of the honest rows' span where there is room, else anywhere
        basis = np.linalg.svd(shape - middle, full_matrices=True)[2]
        candidates += [basis[-1], rng.standard_normal(d)]
    seen: list[Array] = []
    for candidate in candidates:
        length = np.linalg.norm(candidate)
        if length > 1e-9:
            unit = candidate / length
            if all(float(unit @ other) < 1 - 1e-9 for other in seen):
                seen.append(unit)
                yield unit


def _coordinatewise(shape: Array, f: int) -> Iterator[Array]:
    low, high = shape.min(axis=0), shape.max(axis=0)
    middle, spread = shape.mean(axis=0), shape.std(axis=0)
    points: list[Array] = [low, high, 2 * low - high, 2 * high - low, low - 100.0, high + 100.0]
    points += [middle + tau * spread for tau in (-1.5, -1.0, 1.0, 1.5)]
    yield from (np.vstack([shape, np.repeat([point], f, axis=0)]) for point in points)
    # one faulty row each side
    sides = np.where(np.arange(f)[:, None] % 2 == 0, high + 1.0, low - 1.0)
    yield np.vstack([shape, sides])


def _balanced(shape: Array, n: int, f: int) -> Iterator[Array]:
    """Colluders as far out as sums of squared distances to n−f−1 others let them pass for honest.

    They stand beyond n−2f honest rows, away from the others: the tight case of RESAM's Lemma 6.
    """
    near = shape[: n - 2 * f]
    foot = near.mean(axis=0)
    outwards = foot - shape.mean(axis=0)
    length = float(np.linalg.norm(outwards))
    if length < 1e-9:
        return
    scatter = float(((near - foot) ** 2).sum())
    scores = squared_distances(shape).sum(axis=1)
    for score in (scores.min(), scores.max()):
        # just inside: at the tie itself the row order decides
        height = np.sqrt(max(score * (1 - 1e-9) - scatter, 0.0) / len(near))
        yield np.vstack([shape, np.repeat([foot + height * outwards / length], f, axis=0)])


def _simplex(h: int, d: int) -> Array:
    vertices = min(h, d + 1)
    # vertices of a regular simplex of diameter 1 in vertices−1 dimensions
    centred = np.eye(vertices) - 1 / vertices
    basis = np.linalg.svd(centred)[2][: vertices - 1]
    points = np.zeros((vertices, d))
    points[:, : vertices - 1] = centred @ basis.T / np.sqrt(2)
    repeated: Array = points[np.arange(h) % vertices]
    return repeated


def _blocks(h: int, d: int, block: int) -> Array:
    # whole cycles only: each row is then in as many blocks as any other
    used = d if d < h else d // h * h
    rows, columns = np.indices((h, d))
    return np.where(columns < used, (rows - columns) % h < block, 0.0)


def _diameter_one(shape: Array) -> Array:
    diameter = float(np.sqrt(squared_distances(shape).max()))
    return shape / diameter if diameter > 0 else shape


def _axis(d: int, size: float) -> Array:
    axis = np.zeros(d)
    axis[0] = size
    return axis
