"""How much memory a decision may take beyond its inputs and O(n²) numbers."""

from __future__ import annotations

__all__ = ["WORKING_BYTES", "at_once"]

WORKING_BYTES = 256 << 20


def at_once(bytes_each: int) -> int:
    """Return how many things of so many bytes may exist at a time: at least one.

    >>> at_once(1 << 20), at_once(1 << 40)
    (256, 1)
    """
    return max(1, WORKING_BYTES // max(1, bytes_each))
