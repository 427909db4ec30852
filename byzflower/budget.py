"""How much memory a decision may take: some for its work, and what there is for n² numbers."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

from byzflower.errors import BudgetError

__all__ = ["WORKING_BYTES", "at_once", "check_distances", "memory"]

WORKING_BYTES = 256 << 20  # beyond the inputs and O(n²) numbers
_MATRICES = 3  # n × n, that the most frugal rule has at a time
_OF_A_CONTAINER = Path("/sys/fs/cgroup/memory.max")


def at_once(bytes_each: int) -> int:
    """Return how many things of so many bytes may exist at a time: at least one.

    >>> at_once(1 << 20), at_once(1 << 40)
    (256, 1)
    """
    return max(1, WORKING_BYTES // max(1, bytes_each))


def memory() -> float:
    """Return the bytes of memory that this process can have at most; inf where nobody says."""
    limits = [math.inf]
    with suppress(AttributeError, OSError, ValueError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(OSError, ValueError):
        limits.append(int(_OF_A_CONTAINER.read_text(encoding="ascii")))
    return min(limits)


def check_distances(n: int) -> None:
    """Refuse to measure the distances of more rows than there is memory for.

    Raises
    ------
    BudgetError
        Before anything is allocated: a system that promises more memory than it has would kill
        the process later.
    """
    needed, found = 8 * _MATRICES * n * n, memory()
    if needed > found:
        raise BudgetError(
            f"the distances of {n} rows need {needed / 1e9:.0f} GB of memory at least; found "
            f"{found / 1e9:.0f} GB: ask fewer nodes a round, or take a rule of coordinates such as "
            "`trimmed_mean`, which needs no distances"
        )
