"""The closed forms of ``byzflower.attack.search.insertion`` as machine code, if it compiles.

One pass over a tile for all candidates of a family: sorted values, candidate, aggregate and
squared distance live in registers, where tensor operations write and read some thirty steps each.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch

from byzflower.kernels import Reduction
from byzflower.kernels.cpu.addresses import of_vectors
from byzflower.kernels.cpu.compiler import INDEX, POINTER, Function, available
from byzflower.kernels.cpu.element import name_of
from byzflower.kernels.network import comparators

__all__ = ["WIDTH", "Fused", "fused"]

WIDTH = 16  # columns at a time; tiles are padded to a multiple
_PART = 4096  # columns summed in the rows' own precision before float64
_KINDS = {torch.float32: "float", torch.float64: "double"}
_MOST_ROWS = 128  # the code of longer networks takes seconds to compile


@lru_cache(maxsize=256)
def fused(reduction: Reduction, p: int, copies: int, dtype: torch.dtype) -> Fused | None:
    """Return the code for p rows and some copies of one more, if it can be compiled."""
    if p > _MOST_ROWS or dtype not in _KINDS or not available(name_of(dtype)):
        return None
    return Fused(reduction, p, copies, dtype)


class Fused:
    """Machine code that adds up ‖R − mean‖² and ⟨R, mean⟩ over a tile, for T candidates.

    For candidate v = a · mean + b · direction and w = row + lift · v, R is the reduction of the
    rows and ``copies`` of w, plus shift · v.
    """

    def __init__(self, reduction: Reduction, p: int, copies: int, dtype: torch.dtype) -> None:
        text = _Code(_KINDS[dtype], reduction, p, copies).text()
        self._run = Function(text, "effects", POINTER, POINTER, *[INDEX] * 3, POINTER)

    def __call__(
        self,
        rows: Sequence[torch.Tensor],
        row: torch.Tensor,
        mean: torch.Tensor,
        direction: torch.Tensor,
        scalars: torch.Tensor,
    ) -> torch.Tensor:
        """Return the two sums for each candidate, float64 (T, 2).

        Parameters
        ----------
        rows, row, mean, direction
            p rows and three more, contiguous (c,), c a multiple of ``WIDTH``.
        scalars
            a, b, lift and shift of each candidate, contiguous (T, 4), in the rows' dtype.
        """
        addresses = of_vectors((mean, direction, row, *rows))
        starts = range(0, mean.numel(), _PART)
        sums = mean.new_zeros((len(starts), len(scalars), 2, WIDTH))
        for start, part in zip(starts, sums, strict=True):
            stop = min(start + _PART, mean.numel())
            self._run(
                addresses.ctypes.data,
                scalars.data_ptr(),
                len(scalars),
                start,
                stop,
                part.data_ptr(),
            )
        return sums.double().sum(dim=(0, 3))


class _Code:
    """The function's text: loads per vector of columns, then a loop over the candidates."""

    def __init__(self, kind: str, reduction: Reduction, p: int, copies: int) -> None:
        self.kind, self.vector = kind, f"<{WIDTH} x {kind}>"
        self.reduction, self.p, self.copies = reduction, p, copies
        self.lines: list[str] = []
        self.loads: list[str] = []
        self._names = 0

    def _op(self, text: str) -> str:
        self._names += 1
        name = f"%v{self._names}"
        self.lines.append(f"{name} = {text}")
        return name

    def _add(self, a: str, b: str) -> str:
        return self._op(f"fadd contract {self.vector} {a}, {b}")

    def _sub(self, a: str, b: str) -> str:
        return self._op(f"fsub contract {self.vector} {a}, {b}")

    def _mul(self, a: str, b: str) -> str:
        return self._op(f"fmul contract {self.vector} {a}, {b}")

    def _where_less(self, a: str, b: str, yes: str, no: str) -> str:
        mask = self._op(f"fcmp olt {self.vector} {a}, {b}")
        return self._op(f"select <{WIDTH} x i1> {mask}, {self.vector} {yes}, {self.vector} {no}")

    def _max(self, a: str, b: str) -> str:
        return self._where_less(a, b, b, a)

    def _min(self, a: str, b: str) -> str:
        return self._where_less(a, b, a, b)

    def _total(self, values: list[str]) -> str:
        total = values[0]
        for value in values[1:]:
            total = self._add(total, value)
        return total

    def _load(self, index: int) -> str:
        self._names += 1
        name = f"%x{self._names}"
        self.lines.append(
            f"""{name}.q = getelementptr ptr, ptr %rows, i64 {index}
    {name}.p = load ptr, ptr {name}.q, !invariant.load !0
    {name}.a = getelementptr {self.kind}, ptr {name}.p, i64 %c
    {name} = load {self.vector}, ptr {name}.a, align 4"""
        )
        return name

    def _everywhere(self, name: str, value: str) -> str:
        """Fill a vector with one number."""
        self.lines.append(
            f"""{name}.v = insertelement {self.vector} poison, {self.kind} {value}, i32 0
    {name} = shufflevector {self.vector} {name}.v, {self.vector} poison,
             <{WIDTH} x i32> zeroinitializer"""
        )
        return name

    def _scalar(self, index: int) -> str:
        name = f"%s{index}"
        self.lines.append(
            f"""{name}.i = add i64 %first, {index}
    {name}.p = getelementptr {self.kind}, ptr %scalars, i64 {name}.i
    {name}.x = load {self.kind}, ptr {name}.p"""
        )
        return self._everywhere(name, f"{name}.x")

    def _inverse(self, count: int) -> str:
        self.lines.append(f"%inverse.x = fdiv {self.kind} 1.0, {count}.0")
        return self._everywhere("%inverse", "%inverse.x")

    def text(self) -> str:
        """Return the module."""
        mean, direction, row = (self._load(i) for i in range(3))
        s = [self._load(3 + i) for i in range(self.p)]
        for i, j in comparators(self.p):
            s[i], s[j] = self._min(s[i], s[j]), self._max(s[i], s[j])
        trimmed = self.reduction.kind == "trimmed_mean"
        prepared = self._prepare_trimmed(s) if trimmed else self._prepare_window(s)
        head, self.lines = self.lines, []
        v = self._add(self._mul(self._scalar(0), mean), self._mul(self._scalar(1), direction))
        w = self._add(row, self._mul(self._scalar(2), v))
        reduced = self._trimmed(s, w, prepared) if trimmed else self._window(s, w, prepared)
        value = self._add(reduced, self._mul(self._scalar(3), v))
        off = self._sub(value, mean)
        parts = (self._mul(off, off), self._mul(value, mean))
        for i, part in enumerate(parts):
            self.lines.append(
                f"""%sum{i}.i = add i64 %place, {i * WIDTH}
    %sum{i}.p = getelementptr {self.kind}, ptr %sums, i64 %sum{i}.i
    %sum{i}.old = load {self.vector}, ptr %sum{i}.p, align 4
    %sum{i} = fadd contract {self.vector} %sum{i}.old, {part}
    store {self.vector} %sum{i}, ptr %sum{i}.p, align 4"""
            )
        body = "\n    ".join(self.lines)
        return f"""
define void @effects(ptr noalias %rows, ptr noalias %scalars, i64 %count, i64 %start,
                     i64 %stop, ptr noalias %sums) {{
entry:
    br label %columns
columns:
    %c = phi i64 [ %start, %entry ], [ %c.next, %columns.end ]
    {chr(10).join(head)}
    br label %candidates
candidates:
    %t = phi i64 [ 0, %columns ], [ %t.next, %candidates ]
    %first = mul i64 %t, 4
    %place = mul i64 %t, {2 * WIDTH}
    {body}
    %t.next = add i64 %t, 1
    %t.more = icmp ult i64 %t.next, %count
    br i1 %t.more, label %candidates, label %columns.end
columns.end:
    %c.next = add i64 %c, {WIDTH}
    %c.more = icmp ult i64 %c.next, %stop
    br i1 %c.more, label %columns, label %done
done:
    ret void
}}
!0 = !{{}}
"""

    def _prepare_trimmed(self, s: list[str]) -> list[str]:
        trim = self.reduction.count
        return [
            self._total(s[trim : self.p + self.copies - trim]),
            self._inverse(self.p + self.copies - 2 * trim),
        ]

    def _trimmed(self, s: list[str], w: str, prepared: list[str]) -> str:
        total, inverse = prepared
        low, high = self.reduction.count - self.copies, self.p + self.copies - self.reduction.count
        if self.copies:
            count = min(self.copies, high - self.reduction.count)
            w = self._min(self._max(w, s[low]), s[high - 1])
            for row in s[low : low + count]:
                total = self._add(total, self._max(w, row))
            for row in s[high - count : high]:
                total = self._sub(total, self._max(w, row))
        return self._mul(total, inverse)

    def _prepare_window(self, s: list[str]) -> list[str]:
        span = self._sub(s[-1], s[0])
        reach = self._add(span, span)
        keep = self.reduction.count
        return [
            self._sub(s[0], reach),
            self._add(s[-1], reach),
            self._total(s[:keep]),
            self._inverse(keep),
        ]

    def _window(self, s: list[str], w: str, prepared: list[str]) -> str:
        least, most, total, inverse = prepared
        m, keep, copies = self.p + self.copies, self.reduction.count, self.copies
        if copies:
            w = self._min(self._max(w, least), most)
        values: dict[int, str] = {}

        def at(i: int) -> str:
            if copies == 0:
                return s[i]
            if i not in values:
                value = self._max(w, s[i - copies]) if i >= copies else w
                values[i] = self._min(value, s[i]) if i < self.p else value
            return values[i]

        twice_median = self._add(at((m - 1) // 2), at(m // 2))
        for row in s[max(0, keep - copies) : keep] if copies else []:
            total = self._sub(total, self._sub(row, self._min(row, w)))
        for i in range(m - keep):
            first, last = at(i), at(i + keep)
            step = self._sub(last, first)
            both = self._add(first, last)
            total = self._add(total, self._where_less(both, twice_median, step, "zeroinitializer"))
        return self._mul(total, inverse)
