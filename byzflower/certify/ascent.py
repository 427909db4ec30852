"""Uphill from a start: random moves that keep what makes bad inputs bad, no derivatives.

Rules choose rows, so their error jumps: gradients vanish or lie. Moves act on whole groups of rows
(push the colluders, merge two honest rows, jitter one) at step sizes from 1e-4 to 3, and a move
that helped is repeated at twice the length.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from byzflower.certify.ratio import Array, Mask

__all__ = ["ascend"]


def ascend(
    score: Callable[[Array], float],
    rows: Array,
    honest: Mask,
    rng: np.random.Generator,
    evaluations: int,
) -> tuple[Array, float]:
    """Climb ``score`` from ``rows`` for a fixed number of evaluations.

    Parameters
    ----------
    score
        Ratio of an input (n, d) with the honest rows fixed.
    rows, honest
        Where to start, and which rows are honest.

    Returns
    -------
    rows, score
        The best input found.
    """
    best = score(rows)
    step: Array | None = None
    for _ in range(evaluations - 1):
        candidate = rows + step if step is not None else _moved(rows, honest, rng)
        found = score(candidate)
        if found > best:
            step = 2 * (candidate - rows)
            rows, best = candidate, found
        else:
            step = None
    return rows, best


def _moved(rows: Array, honest: Mask, rng: np.random.Generator) -> Array:
    size = 10.0 ** rng.uniform(-4.0, 0.5)
    good, bad = np.flatnonzero(honest), np.flatnonzero(~honest)
    d = rows.shape[1]
    moved = rows.copy()
    middle = rows[good].mean(axis=0)
    # without faulty rows only the moves of honest ones make sense
    kind = rng.integers(9) if len(bad) else rng.integers(4)
    if kind == 0:  # one honest row
        moved[rng.choice(good)] += size * rng.standard_normal(d)
    elif kind == 1:  # two honest rows merge
        moved[rng.choice(good)] = moved[rng.choice(good)]
    elif kind == 2:  # one honest row nears or leaves the middle
        i = rng.choice(good)
        moved[i] = middle + (moved[i] - middle) * np.exp(size * rng.standard_normal())
    elif kind == 3:  # the origin
        moved += size * rng.standard_normal(d)
    elif kind == 4:  # one faulty row
        moved[rng.choice(bad)] += size * rng.standard_normal(d)
    elif kind == 5:  # all faulty rows together
        moved[bad] += size * rng.standard_normal(d)
    elif kind == 6:  # all faulty rows outwards or inwards
        moved[bad] = middle + (moved[bad] - middle) * np.exp(size * rng.standard_normal())
    elif kind == 7:  # the faulty rows collude
        moved[bad] = moved[rng.choice(bad)]
    else:  # everything
        moved += size * rng.standard_normal(rows.shape)
    return moved
