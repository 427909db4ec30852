"""Cutting long straight-line code into functions, which compile faster and run no slower."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from byzflower.kernels.cpu.element import TILE
from byzflower.kernels.cpu.emitter import Emitter, Instruction, Type, Value

__all__ = ["Segment", "segments"]

_LONGEST = 2000  # instructions


@dataclass(frozen=True)
class Segment:
    """Some instructions; the values they get from earlier segments, and hand to later ones.

    Values wait in scratch memory, a tile of columns each, from some byte on.
    """

    instructions: Sequence[Instruction]
    received: dict[Value, int]
    sent: dict[Value, int]

    def write(self, emitter: Emitter, scratch: Value, column: Value) -> None:
        """Write the code for one vector of the tile's columns."""
        for value, start in self.received.items():
            place = emitter.place(scratch, column, value.type.number, start)
            emitter.load(value.type, place, name=value.name)
        emitter.instructions += self.instructions
        for value, start in self.sent.items():
            emitter.store(value, emitter.place(scratch, column, value.type.number, start))


def segments(code: list[Instruction], finals: Sequence[Value]) -> tuple[list[Segment], int]:
    """Cut code that ends in ``finals``; return the segments and the scratch bytes they share."""
    cuts = list(_cuts(code))
    defined = {
        line.defines: s
        for s, lines in enumerate(cuts)
        for line in lines
        if line.defines is not None
    }
    used = [dict.fromkeys(value for line in lines for value in line.uses) for lines in cuts]
    used[-1].update(dict.fromkeys(finals))
    last = {value: s for s, values in enumerate(used) for value in values}
    slots, found = _Slots(), []
    for s, lines in enumerate(cuts):
        received = {v: slots.starts[v] for v in used[s] if defined.get(v, s) < s}
        # Each column is read before it is written, so a value may replace one read last here.
        for value in received:
            if last[value] == s:
                slots.drop(value)
        sent = [
            line.defines
            for line in lines
            if line.defines is not None and last.get(line.defines, s) > s
        ]
        found.append(Segment(lines, received, {value: slots.take(value) for value in sent}))
    return found, slots.size


def _cuts(code: list[Instruction]) -> Iterator[list[Instruction]]:
    """Yield parts of about the longest length, cut where no mask is needed later."""
    last = {value: i for i, line in enumerate(code) for value in line.uses}
    start, masked_until = 0, -1
    for i, line in enumerate(code):
        if line.defines is not None and line.defines.type.number in {"i1", "ptr"}:
            masked_until = max(masked_until, last.get(line.defines, i))
        if i + 1 - start >= _LONGEST and masked_until <= i and i + 1 < len(code):
            yield code[start : i + 1]
            start = i + 1
    yield code[start:]


@dataclass
class _Slots:
    starts: dict[Value, int] = field(default_factory=dict)
    free: dict[Type, list[int]] = field(default_factory=dict)
    size: int = 0

    def take(self, value: Value) -> int:
        free = self.free.setdefault(value.type, [])
        if not free:
            free.append(self.size)
            self.size += TILE * value.type.bits // 8
        self.starts[value] = free.pop()
        return self.starts[value]

    def drop(self, value: Value) -> None:
        self.free[value.type].append(self.starts[value])
