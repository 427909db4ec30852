"""Kernels for any number of rows: order statistics by halving, in all columns of a vector at once.

The bits of a number, with those of negative ones turned round, are integers in the same order.
How many of a column's lie below a middle says which half holds the k-th; halves of halves part the
k least from the others after some 20 counts, where values differ, and after as many as there are
bits at the most. A count reads the column from the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, reduce
from operator import add, or_

from byzflower.kernels.cpu.emitter import DOUBLE, Type, Value
from byzflower.kernels.cpu.frame import Frame, Kernel, Tile
from byzflower.kernels.cpu.sorting import middle_of

__all__ = ["compiled"]

_STRIP_BITS = 512  # of a row, selected at a time: a line of the cache
_UNROLLED = 4  # rows at a time, each with sums of its own


@cache
def compiled(kind: str, dtype: str, mixed: bool, based: bool) -> Kernel:
    """Return the kernel of a kind of reduction, compiled once per process, in some 50 ms."""
    frame = Frame(dtype, mixed=mixed, based=based)
    lanes = _STRIP_BITS // frame.element.x.bits
    with frame.tiles() as tile, frame.vectors(tile.start, lanes):
        strip = _Strip(frame, tile, lanes)
        mean = strip.trimmed_mean() if kind == "trimmed_mean" else strip.around_median()
        frame.store(mean, tile.out)
    keys, distances = _STRIP_BITS // 8, lanes * DOUBLE.bits // 8
    row = keys if kind == "trimmed_mean" else keys + distances
    return frame.kernel(row, _UNROLLED * row)


@dataclass(frozen=True)
class _Columns:
    """A strip's columns as integers in memory, row by row: ``least`` ≤ each < ``beyond``.

    Behind the last row lie integers that are not below anything.
    """

    place: Value
    type: Type
    least: Value
    beyond: Value

    def at(self, row: Value) -> Value:
        return self.place.emitter.place(self.place, row * self.type.lanes, self.type.number)


class _Strip:
    """Code for the strip at hand."""

    def __init__(self, frame: Frame, tile: Tile, lanes: int) -> None:
        self.frame, self.emitter, self.m, self.count = frame, frame.emitter, tile.m, tile.count
        self.number = Type(frame.element.compute, lanes)
        self.scratch = tile.scratch

    def trimmed_mean(self) -> Value:
        """Add what lies between the two ends, and as many of the ends' equals as are kept."""
        keys = self._keys()
        start, stop = self.count, self.m - self.count
        first, end = (self._ranked(rank, keys) for rank in (start, stop))
        (low, _), (high, below) = self._parted(keys, [first, end])

        def step(sums: Sequence[Value], key: Value) -> list[Value]:
            total, upto = sums
            between = (key > low) & (key < high)
            value = between.where(self._wide(key), 0.0)
            return [total + value, upto + (key <= low).to(key.type.number)]

        zero = keys.least.like(0)
        total, upto = self._over(keys, [self._double(0.0), zero], step, [add, add])
        at_low = upto.minimum(end) - first
        at_high = low.equals(high).where(zero, end - below)
        for key, number in ((low, at_low), (high, at_high)):
            total += (number > 0).where(self._wide(key) * number.to("double"), 0.0)
        return total / self._everywhere(stop - start)

    def around_median(self) -> Value:
        """Add what is nearer than some distance, and from the values at it as many as are kept."""
        keys = self._keys()
        median = self._median(keys)
        distances = self._distances(keys, median)
        keep = self._ranked(self.count, distances)
        ((limit, below),) = self._parted(distances, [keep])
        zero = self._double(0.0)

        def step(sums: Sequence[Value], key: Value) -> list[Value]:
            value = self._wide(key)
            distance = (value - median).abs().bits_as("i64")
            after = [sums[0] + (distance < limit).where(value, 0.0)]
            for k, side in ((1, value < median), (3, value >= median)):
                mask = distance.equals(limit) & side
                after.append(sums[k] + mask.where(value, 0.0))
                after.append(sums[k + 1] + mask.where(zero.like(1.0), 0.0))
            return after

        total, *ends = self._over(keys, [zero] * 5, step, [add] * 5)
        # From either end as many as there are, the mean of both ways.
        (lower, lowers), (upper, uppers) = ends[:2], ends[2:]
        left = (keep - below).to("double")
        most, least = lowers.minimum(left), left - uppers.minimum(left)
        number = (most + least) * 0.5
        for at, values, taken in ((lower, lowers, number), (upper, uppers, left - number)):
            total += (taken > 0.0).where(at / values * taken, 0.0)
        return total / self._everywhere(self.count)

    def _keys(self) -> _Columns:
        """Write the rows' numbers as integers in the same order."""
        lanes = self.number.lanes
        kind = Type(f"i{self.number.bits}", lanes)
        top = 1 << (kind.bits - 1)
        greatest, smallest = (self.emitter.constant(kind, end) for end in (top - 1, -top))
        keys = _Columns(self.scratch, kind, greatest, smallest)
        for row in range(_UNROLLED):
            self.emitter.store(greatest, keys.at(self.m + row))
        with self.emitter.loop(0, self.m) as rows:
            least, most = rows.carry(greatest), rows.carry(smallest)
            key = _turned(self.frame.load(rows.index, lanes).bits_as(kind.number))
            self.emitter.store(key, keys.at(rows.index))
            lowest, highest = key.minimum(least), key.maximum(most)
            rows.turn(least, lowest)
            rows.turn(most, highest)
        return replace(keys, least=lowest, beyond=highest + 1)

    def _median(self, keys: _Columns) -> Value:
        """Return the mean of the two values in the middle, which may be the same."""
        upper = self._ranked(self.m >> 1, keys)
        rank = self._ranked((self.m - 1) >> 1, keys)
        ((bound, _),) = self._parted(keys, [rank])
        beyond, zero = keys.beyond, rank.like(0)

        def at_least(least: Sequence[Value], key: Value) -> list[Value]:
            return [(key >= bound).where(key, beyond).minimum(least[0])]

        (low,) = self._over(keys, [beyond], at_least, [Value.minimum])

        def above(found: Sequence[Value], key: Value) -> list[Value]:
            least, upto = found
            is_above = key > low
            number = is_above.where(zero, rank.like(1))
            return [is_above.where(key, beyond).minimum(least), upto + number]

        following, upto = self._over(keys, [beyond, zero], above, [Value.minimum, add])
        high = (upto > upper).where(low, following)
        return middle_of(self._wide(low), self._wide(high))

    def _distances(self, keys: _Columns, median: Value) -> _Columns:
        """Write distances to the median: numbers of one sign are in the order of their bits."""
        emitter = self.emitter

        def bits(key: Value) -> Value:
            return (self._wide(key) - median).abs().bits_as("i64")

        lowest, highest = bits(keys.least), bits(keys.beyond - 1)
        distances = _Columns(
            keys.at(self.m + _UNROLLED), lowest.type, lowest.like(0), lowest.maximum(highest) + 1
        )
        with emitter.loop(0, self.m + _UNROLLED) as rows:
            distance = bits(emitter.load(keys.type, keys.at(rows.index)))
            emitter.store(distance, distances.at(rows.index))
        return distances

    def _parted(self, columns: _Columns, ranks: Sequence[Value]) -> list[tuple[Value, Value]]:
        """For each rank k an integer, and how many lie below it.

        That is k, or if no integer parts the k least from the others, the integer is the k-th,
        counted from 0.
        """
        zero, least, beyond = columns.least.like(0), columns.least, columns.beyond
        most, starts, found, unsettled = beyond - 1, [], [], []

        def at_ends(counts: Sequence[Value], key: Value) -> list[Value]:
            masks = zip(counts, (key <= least, key < most), strict=True)
            return [count + mask.to(key.type.number) for count, mask in masks]

        # Equals of the least or the greatest, such as clusters of equal rows, are settled here.
        lows, below_most = self._over(columns, [zero, zero], at_ends, [add, add])
        for rank in ranks:
            is_low, is_high = rank < lows, rank >= below_most
            low = is_low.where(least, is_high.where(most, least + 1))
            high = is_low.where(least + 1, is_high.where(beyond, most))
            starts.append((low, high, is_low.where(zero, is_high.where(below_most, lows))))
        with self.emitter.repeat() as loop:
            halves = [[loop.carry(value) for value in start] for start in starts]
            middles = [_between(low, high) for low, high, _ in halves]

            def step(counts: Sequence[Value], key: Value) -> list[Value]:
                pairs = zip(counts, middles, strict=True)
                return [count + (key < middle).to(key.type.number) for count, middle in pairs]

            counts = self._over(columns, [zero for _ in ranks], step, [add for _ in ranks])
            for rank, half, middle, count in zip(ranks, halves, middles, counts, strict=True):
                low, high, below = half
                fits = count <= rank
                after = fits.where(middle, low), fits.where(high, middle), fits.where(count, below)
                for before, value in zip(half, after, strict=True):
                    loop.turn(before, value)
                low, high, below = after
                found.append((low, below))
                unsettled.append(below.differs(rank) & _between(low, high).differs(low))
            loop.again = reduce(or_, unsettled).any()
        return found

    def _over(
        self,
        columns: _Columns,
        starts: Sequence[Value],
        step: Callable[[Sequence[Value], Value], list[Value]],
        merges: Sequence[Callable[[Value, Value], Value]],
    ) -> list[Value]:
        """Fold the rows a few at a time, each with folds of its own, which are merged at the end.

        ``starts`` change nothing that they are merged with.
        """
        parts = []
        with self.emitter.loop(0, self.m, _UNROLLED) as rows:
            folds = [[rows.carry(start) for start in starts] for _ in range(_UNROLLED)]
            for r, fold in enumerate(folds):
                after = step(fold, self.emitter.load(columns.type, columns.at(rows.index + r)))
                for before, value in zip(fold, after, strict=True):
                    rows.turn(before, value)
                parts.append(after)
        return [
            reduce(merge, of) for merge, of in zip(merges, zip(*parts, strict=True), strict=True)
        ]

    def _ranked(self, number: Value, columns: _Columns) -> Value:
        """Return a number of rows, to compare with counts."""
        return number.to(columns.type.number).everywhere(columns.type.lanes)

    def _everywhere(self, number: Value) -> Value:
        return number.to("double").everywhere(self.number.lanes)

    def _double(self, number: float) -> Value:
        return self.emitter.constant(self.number.of("double"), number)

    def _wide(self, key: Value) -> Value:
        return _turned(key).bits_as(self.number.number).to("double")


def _turned(bits: Value) -> Value:
    """Put bits of numbers in the numbers' order; and back."""
    width = bits.type.bits
    return bits ^ ((bits >> (width - 1)) & ((1 << (width - 1)) - 1))


def _between(low: Value, high: Value) -> Value:
    """Return the middle of two integers, rounded down, however far apart."""
    return (low & high) + ((low ^ high) >> 1)
