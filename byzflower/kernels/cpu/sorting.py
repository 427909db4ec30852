"""A reduction of one vector of columns: a sorting network, and sums of what it puts in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from operator import add

from byzflower.kernels.cpu.emitter import Value
from byzflower.kernels.network import Window, network

__all__ = ["Sorted"]


class Sorted:
    """Straight-line code for the reduction of m values in each column.

    Attributes
    ----------
    mean
        The result, in double.
    """

    def __init__(self, window: Window, m: int, load: Callable[[int], Value]) -> None:
        self._window, self._load = window, load
        self._wires: dict[int, Value] = {}
        self.mean = reduce(add, self._terms(m)) / window.keep

    def _wire(self, row: int) -> Value:
        """Return the value on a wire, loaded when first needed."""
        if row not in self._wires:
            self._wires[row] = self._load(row)
        return self._wires[row]

    def _wide(self, row: int) -> Value:
        return self._wire(row).to("double")

    def _terms(self, m: int) -> Iterator[Value]:
        """Write the network; yield what is to be added, each as soon as it is final.

        So its register is free again.
        """
        window, comparators = self._window, network(m, self._window)
        last = {row: i for i, pair in enumerate(comparators) for row in (pair.low, pair.high)}
        always = range(window.last, window.first + window.keep)
        yield from (self._wide(row) for row in always if row not in last)
        for index, pair in enumerate(comparators):
            a, b = self._wire(pair.low), self._wire(pair.high)
            less = a < b
            if pair.keeps_low:
                self._wires[pair.low] = less.where(a, b)
            if pair.keeps_high:
                self._wires[pair.high] = less.where(b, a)
            for row in (pair.low, pair.high):
                if last[row] == index and row in always:
                    yield self._wide(row)
        if window.middle:
            yield from self._chosen(middle_of(*(self._wide(row) for row in sorted(window.middle))))

    def _chosen(self, median: Value) -> Iterator[Value]:
        """Yield what each position that may or may not be in the window adds to the sum.

        Windows from i and from i + 1 differ in the values at i and i + keep: the nearer one to
        the median stays, and the median itself where both are as near.
        """
        parts: dict[int, Value] = {}
        values: dict[int, Value] = {}
        zero = median.like(0.0)
        ties = zero
        for low in range(self._window.first, self._window.last):
            high = low + self._window.keep
            for row in (low, high):
                if row not in values:
                    values[row] = parts[row] = self._wide(row)
            left, right = median - values[low], values[high] - median
            moves = left > right
            parts[low] = moves.where(zero, parts[low])
            parts[high] = moves.where(parts[high], 0.0)
            ties += left.equals(right).where(left, zero)  # the lower value's way to the median
        yield from (*parts.values(), ties)


def middle_of(low: Value, high: Value | None = None) -> Value:
    """Return the mean of two finite doubles, finite however large they are."""
    if high is None:
        return low
    total = low + high
    # Halving first keeps float64 values near the largest from overflowing.
    return (total.abs() < float("inf")).where(total * 0.5, low * 0.5 + high * 0.5)
