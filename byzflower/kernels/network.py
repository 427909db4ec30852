"""Sorting networks, pruned to the order statistics that a reduction reads."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from byzflower.kernels.reduction import Reduction

__all__ = ["Comparator", "Window", "comparators", "network"]


@dataclass(frozen=True)
class Comparator:
    """Put the smaller of two wires' values on ``low``, the larger on ``high``.

    ``keeps_low`` and ``keeps_high`` say which of the two anybody reads afterwards.
    """

    low: int
    high: int
    keeps_low: bool = True
    keeps_high: bool = True


@dataclass(frozen=True)
class Window:
    """Which sorted positions a reduction of m values may read.

    ``around_median`` averages ``keep`` neighbours among the sorted values, from position
    ``first`` … ``last`` on; the ``middle`` positions hold the median.
    """

    keep: int
    first: int
    last: int
    middle: tuple[int, ...]

    @classmethod
    def of(cls, reduction: Reduction, m: int) -> Window:
        """Return the window of a reduction of m values."""
        low, high = (m - 1) // 2, m // 2
        if reduction.kind == "trimmed_mean":
            trim = reduction.count
            return cls(m - 2 * trim, trim, trim, ())
        keep = reduction.count
        # The nearest values include a middle one, so the window never lies to one side of both.
        return cls(keep, max(0, low - keep + 1), min(m - keep, high), tuple({low, high}))

    def role(self, position: int) -> Hashable | None:
        """Return None for an unread position, and one key for positions whose order is unread."""
        if position in self.middle:
            return position
        if not self.first <= position < self.last + self.keep:
            return None
        always = self.last <= position < self.first + self.keep
        return "always" if always else position


@lru_cache
def comparators(m: int) -> tuple[tuple[int, int], ...]:
    """Batcher's odd-even merge sort of m wires, depth first to keep values in registers.

    Each pair (i, j), i < j, puts the smaller value on wire i. Source: K. E. Batcher, Sorting
    networks and their applications, 1968.

    >>> comparators(3)
    ((0, 1), (0, 2), (1, 2))
    """

    def merge(start: int, count: int, stride: int) -> Iterator[tuple[int, int]]:
        if start + count // 2 >= m:  # nothing in the upper half: the lower one is in order
            return
        if 2 * stride < count:
            yield from merge(start, count, 2 * stride)
            yield from merge(start + stride, count, 2 * stride)
            for low in range(start + stride, start + count - stride, 2 * stride):
                yield low, low + stride
        else:
            yield start, start + stride

    def sort(start: int, count: int) -> Iterator[tuple[int, int]]:
        if count > 1 and start < m:
            half = count // 2
            yield from sort(start, half)
            yield from sort(start + half, half)
            yield from merge(start, count, 1)

    # Wires from m on would hold +∞, which never moves down: their comparators do nothing.
    width = 1 << max(0, m - 1).bit_length()
    return tuple(pair for pair in sort(0, width) if pair[1] < m)


def _pruned(pairs: Sequence[tuple[int, int]], roles: Sequence[Hashable | None]) -> list[Comparator]:
    """Drop, from the end, every comparator whose outcome no role can tell."""
    read = [role is not None for role in roles]
    final = [True] * len(roles)
    kept = []
    for low, high in reversed(pairs):
        if not (read[low] or read[high]):
            continue
        if final[low] and final[high] and roles[low] == roles[high]:
            continue
        kept.append(Comparator(low, high, read[low], read[high]))
        read[low] = read[high] = True
        final[low] = final[high] = False
    return kept[::-1]


def network(m: int, window: Window) -> list[Comparator]:
    """Return comparators that bring the values of ``window`` to their sorted positions.

    Positions that a reduction treats alike hold the right values in any order.

    Examples
    --------
    >>> len(network(15, Window.of(Reduction.median(15), 15)))
    49
    """
    return _pruned(comparators(m), [window.role(position) for position in range(m)])
