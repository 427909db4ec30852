"""One reduction as straight-line code on a vector of columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from byzflower.kernels.cpu.element import Element, address
from byzflower.kernels.network import Window, network
from byzflower.kernels.reduction import Reduction

__all__ = ["Op", "Straight"]

_PREFETCH_BYTES = 512
_INFINITY = "0x7FF0000000000000"


@dataclass(frozen=True)
class Op:
    """Instructions on one vector of columns: the values they use, and define with their types."""

    text: str
    uses: tuple[str, ...]
    defines: dict[str, str]


class Straight:
    """The reduction of one vector of columns, as operations in order.

    ``mean`` is the result in double. Where ``tied`` (a distance) is ≥ 0 it is not yet right:
    values on both sides of ``median`` lie at that distance and only some of them count.
    """

    def __init__(self, reduction: Reduction, m: int, element: Element, mixed: bool) -> None:
        self.element, self.mixed = element, mixed
        self.window = Window.of(reduction, m)
        self.ops: list[Op] = []
        self._wires: dict[int, str] = {}
        self._names = 0
        self.mean, self.median, self.tied = "", "", ""
        self._build(m)

    def _name(self) -> str:
        self._names += 1
        return f"%v{self._names}"

    def _op(self, kind: str, text: str, *uses: str) -> str:
        """Append instructions that define {0} from {1}, {2}, …; return the new value's name."""
        name = self._name()
        self.ops.append(Op(text.format(name, *uses), uses, {name: kind}))
        return name

    def _wire(self, row: int) -> str:
        """Return the value on a wire, loaded when first needed."""
        if row not in self._wires:
            name = self._name()
            text = address(f"{name}.a", str(row), self.element, self.mixed, name)
            if not self.mixed:
                text += f"""
                    {name}.f = getelementptr i8, ptr {name}.a, i64 {_PREFETCH_BYTES}
                    call void @llvm.prefetch.p0(ptr {name}.f, i32 0, i32 3, i32 1)"""
            text += "\n" + self.element.load(name, f"{name}.a")
            self.ops.append(Op(text, (), {name: self.element.x}))
            self._wires[row] = name
        return self._wires[row]

    def _compare(self, low: int, high: int, keeps: tuple[bool, bool]) -> None:
        a, b, x = self._wire(low), self._wire(high), self.element.x
        less = self._name()
        text = f"{less} = fcmp olt {x} {a}, {b}"
        defines = {}
        for row, first, second, kept in ((low, a, b, keeps[0]), (high, b, a, keeps[1])):
            if kept:
                self._wires[row] = name = self._name()
                mask = f"<{self.element.width} x i1>"
                text += f"\n{name} = select {mask} {less}, {x} {first}, {x} {second}"
                defines[name] = x
        self.ops.append(Op(text, (a, b), defines))

    def _wide(self, row: int) -> str:
        return self._op(self.element.d, self.element.widen("{0}", "{1}"), self._wire(row))

    def _build(self, m: int) -> None:
        comparators = network(m, self.window)
        last = {}
        for index, comparator in enumerate(comparators):
            last[comparator.low] = last[comparator.high] = index
        window = self.window
        always = range(window.last, window.first + window.keep)
        d = self.element.d
        total = ""

        def add(value: str) -> None:
            nonlocal total
            total = self._op(d, f"{{0}} = fadd {d} {{1}}, {{2}}", total, value) if total else value

        # A value is added as soon as it is final, to free its register.
        for row in always:
            if row not in last:
                add(self._wide(row))
        for index, comparator in enumerate(comparators):
            self._compare(
                comparator.low, comparator.high, (comparator.keeps_low, comparator.keeps_high)
            )
            for row in (comparator.low, comparator.high):
                if last[row] == index and row in always:
                    add(self._wide(row))
        if window.middle:
            self._take_median()
            for value in self._chosen():
                add(value)
        count = self.element.vector("double", float(window.keep))
        self.mean = self._op(d, f"{{0}} = fdiv {d} {{1}}, {count}", total)

    def _take_median(self) -> None:
        d = self.element.d
        half, top = self.element.vector("double", 0.5), self.element.vector("double", _INFINITY)
        if len(self.window.middle) == 1:
            self.median = self._wide(self.window.middle[0])
            return
        low, high = (self._wide(row) for row in sorted(self.window.middle))
        self.median = self._op(
            d,
            # Halving first keeps float64 values near the largest from overflowing.
            f"""
            {{0}}.s = fadd {d} {{1}}, {{2}}
            {{0}}.m = fmul {d} {{0}}.s, {half}
            {{0}}.l = fmul {d} {{1}}, {half}
            {{0}}.h = fmul {d} {{2}}, {half}
            {{0}}.t = fadd {d} {{0}}.l, {{0}}.h
            {{0}}.a = call {d} @llvm.fabs.v{self.element.width}f64({d} {{0}}.s)
            {{0}}.f = fcmp olt {d} {{0}}.a, {top}
            {{0}} = select <{self.element.width} x i1> {{0}}.f, {d} {{0}}.m, {d} {{0}}.t""",
            low,
            high,
        )

    def _chosen(self) -> Iterator[str]:
        """Yield what each position that may or may not be in the window adds to the sum.

        Windows from i and from i + 1 differ in the values at i and i + keep: the nearer one to
        the median stays.
        """
        window, d, width = self.window, self.element.d, self.element.width
        zero, mask = self.element.vector("double", 0.0), f"<{width} x i1>"
        tied = ""
        values: dict[int, str] = {}
        parts: dict[int, str] = {}
        for low in range(window.first, window.last):
            high = low + window.keep
            for row in (low, high):
                if row not in values:
                    values[row] = parts[row] = self._wide(row)
            a, b = values[low], values[high]
            name, left, right, distance = (self._name() for _ in range(4))
            before = tied or self.element.vector("double", -1.0)
            self.ops.append(
                Op(
                    f"""
                    {name}.l = fsub {d} {self.median}, {a}
                    {name}.r = fsub {d} {b}, {self.median}
                    {name}.m = fcmp ogt {d} {name}.l, {name}.r
                    {left} = select {mask} {name}.m, {d} {zero}, {d} {parts[low]}
                    {right} = select {mask} {name}.m, {d} {parts[high]}, {d} {zero}
                    {name}.e = fcmp oeq {d} {name}.l, {name}.r
                    {name}.n = fcmp one {d} {a}, {b}
                    {name}.t = and {mask} {name}.e, {name}.n
                    {distance} = select {mask} {name}.t, {d} {name}.l, {d} {before}""",
                    (a, b, self.median, parts[low], parts[high], *([tied] if tied else [])),
                    {left: d, right: d, distance: d},
                )
            )
            parts[low], parts[high], tied = left, right, distance
        self.tied = tied
        yield from parts.values()
