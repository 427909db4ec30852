"""The values of a parameter that a search tries."""

from __future__ import annotations

import math

from byzflower.validation import real

__all__ = ["checked_grid"]


def checked_grid(values: object, owner: str, least: float = -math.inf) -> tuple[float, ...]:
    """Return a grid in ascending order; refuse an empty one and values below ``least``."""
    grid = tuple(values) if isinstance(values, list | tuple) else ()
    for value in grid:
        real(value, owner, "in grid")
        if value < least:
            raise ValueError(f"`{owner}` needs grid ≥ {least:g}; found {value!r}")
    if not grid:
        raise ValueError(f"`{owner}` needs a grid of at least one number; found {values!r}")
    return tuple(sorted(grid))
