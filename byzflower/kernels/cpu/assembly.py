"""The whole function around a reduction's straight-line code.

``reduce(rows, weights, counts, start, stop, out, work)`` covers the columns start ≤ c < stop, at
least one tile of them. Per tile of columns: mix the rows into a tile (if asked), run the code over
the tile's vectors, settle columns with ties.

For mixing, ``rows`` lists the addresses of the ``counts[g]`` rows that the g-th group of
``ROWS_AT_ONCE`` mixed rows needs, group after group, and ``weights`` the group's weights of each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from byzflower.kernels.cpu.element import TILE, Element, address
from byzflower.kernels.cpu.straight import Op, Straight
from byzflower.kernels.reduction import Reduction

__all__ = ["ROWS_AT_ONCE", "Assembly", "assembly"]

ROWS_AT_ONCE = 6  # mixed rows: times two vectors, the accumulators that 16 registers hold
_SEGMENT = 600  # operations; longer functions compile slower and run no faster


@dataclass(frozen=True)
class Assembly:
    """LLVM text, and the bytes of working memory that each caller of ``reduce`` provides."""

    text: str
    work: int


def assembly(reduction: Reduction, m: int, dtype: str, mixed: bool) -> Assembly:
    """Return the code that reduces m rows, or m mixtures of rows."""
    source = Element(dtype)
    element = source.mixed if mixed else source
    segments, scratch = _segments(Straight(reduction, m, element, mixed), m)
    functions = "".join(
        f"""
define internal void @segment{s}(ptr noalias %rows, ptr noalias %mixed, ptr noalias %scratch,
                                 i64 %tile, ptr noalias %out) noinline {{
entry:
    {text}
}}"""
        for s, text in enumerate(segments)
    )
    calls = "".join(
        f"""
    call void @segment{s}(ptr %rows, ptr %mixed, ptr %scratch, i64 %tile, ptr %out)"""
        for s in range(len(segments))
    )
    mixed_bytes = 0
    if mixed:
        groups = -(-m // ROWS_AT_ONCE)
        mixed_bytes = groups * ROWS_AT_ONCE * TILE * element.bits // 8
        functions += _mixing(groups, source)
        calls = f"""
    call void @mix(ptr %rows, ptr %weights, ptr %counts, i64 %tile, ptr %mixed){calls}"""
    width = element.width
    text = f"""{functions}
define void @reduce(ptr %rows, ptr %weights, ptr %counts, i64 %start, i64 %stop, ptr %out,
                    ptr %mixed) {{
entry:
    %scratch = getelementptr i8, ptr %mixed, i64 {mixed_bytes}
    %last = sub i64 %stop, {TILE}
    br label %tiles
tiles:
    %next = phi i64 [ %start, %entry ], [ %after, %tiles ]
    ; the last tile may overlap the one before it
    %over = icmp ugt i64 %next, %last
    %tile = select i1 %over, i64 %last, i64 %next{calls}
    %after = add i64 %tile, {TILE}
    %more = icmp ult i64 %after, %stop
    br i1 %more, label %tiles, label %end
end:
    ret void
}}
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)
declare {element.d} @llvm.fabs.v{width}f64({element.d})
declare i1 @llvm.vector.reduce.or.v{width}i1(<{width} x i1>)
!0 = !{{}}
"""
    return Assembly(text, mixed_bytes + scratch)


@dataclass
class _Slots:
    """Scratch memory for the values that one segment hands to a later one."""

    element: Element
    offsets: dict[str, int] = field(default_factory=dict)
    free: dict[str, list[int]] = field(default_factory=dict)
    size: int = 0

    def take(self, name: str, kind: str) -> None:
        free = self.free.setdefault(kind, [])
        if not free:
            free.append(self.size)
            self.size += TILE * (8 if kind == self.element.d else self.element.x_bits // 8)
        self.offsets[name] = free.pop()

    def drop(self, name: str, kind: str) -> None:
        self.free[kind].append(self.offsets[name])

    def pointer(self, name: str, kind: str, use: str) -> str:
        number = kind[:-1].rsplit(maxsplit=1)[-1]
        return f"""
            {name}.{use}s = getelementptr i8, ptr %scratch, i64 {self.offsets[name]}
            {name}.{use} = getelementptr {number}, ptr {name}.{use}s, i64 %o"""


def _segments(code: Straight, m: int) -> tuple[list[str], int]:
    """Cut the code into bodies of functions; return them and the bytes of scratch they need."""
    cuts = [code.ops[i : i + _SEGMENT] for i in range(0, len(code.ops), _SEGMENT)]
    kinds = {name: kind for op in code.ops for name, kind in op.defines.items()}
    defined = {name: s for s, ops in enumerate(cuts) for op in ops for name in op.defines}
    finals = [name for name in (code.mean, code.median, code.tied) if name]
    used = [dict.fromkeys(name for op in ops for name in op.uses) for ops in cuts]
    used[-1].update(dict.fromkeys(finals))
    last = {name: s for s, names in enumerate(used) for name in names}
    slots, texts = _Slots(code.element), []
    for s, ops in enumerate(cuts):
        received = [name for name in used[s] if defined[name] < s]
        head = [
            slots.pointer(name, kinds[name], "in")
            + f"\n{name} = load {kinds[name]}, ptr {name}.in, align 8"
            for name in received
        ]
        # Each column is read before it is written, so a value may replace one read last here.
        for name in received:
            if last[name] == s:
                slots.drop(name, kinds[name])
        sent = [name for op in ops for name in op.defines if last.get(name, s) > s]
        for name in sent:
            slots.take(name, kinds[name])
        tail = [
            slots.pointer(name, kinds[name], "out")
            + f"\nstore {kinds[name]} {name}, ptr {name}.out, align 8"
            for name in sent
        ]
        block, end = "loop", "\n".join(tail)
        if s == len(cuts) - 1:
            block, end = _ending(code, m)
        texts.append(_loop(code.element, block, head, ops, end))
    return texts, slots.size


def _loop(element: Element, block: str, head: list[str], ops: Iterable[Op], end: str) -> str:
    """Run operations over the vectors of a tile; ``block`` is the one that ``end`` ends in."""
    return f"""
    %stop = add i64 %tile, {TILE}
    br label %loop
loop:
    %c = phi i64 [ %tile, %entry ], [ %c.next, %{block} ]
    %o = sub i64 %c, %tile
    {chr(10).join(head)}
    {chr(10).join(op.text for op in ops)}
    {end}
    %c.next = add i64 %c, {element.width}
    %c.more = icmp ult i64 %c.next, %stop
    br i1 %c.more, label %loop, label %done
done:
    ret void"""


def _ending(code: Straight, m: int) -> tuple[str, str]:
    """Store the mean; where values tie for the last places, first sum again by row index."""
    element = code.element
    d, x, mask = element.d, element.x, f"<{element.width} x i1>"
    store = f"""
    {element.narrow("%result", "%mean")}
    %out.c = getelementptr {element.compute}, ptr %out, i64 %c
    store {x} %result, ptr %out.c, align {element.x_bits // 8}"""
    if not code.tied:
        return "loop", store.replace("%mean", code.mean)
    zero, one = element.vector("double", 0.0), element.vector("double", 1.0)
    keep = element.vector("double", float(code.window.keep))

    def over_rows(loop: str, before: str, count: str, total: str, chosen: str) -> str:
        return f"""
{loop}:
    %{loop}.row = phi i64 [ 0, %{before} ], [ %{loop}.next, %{loop} ]
    %{loop}.count = phi {d} [ {count}, %{before} ], [ %{loop}.count.next, %{loop} ]
    %{loop}.total = phi {d} [ {total}, %{before} ], [ %{loop}.total.next, %{loop} ]
    {address(f"%{loop}.a", f"%{loop}.row", element, code.mixed, f"%{loop}")}
    {element.load(f"%{loop}.x", f"%{loop}.a")}
    {element.widen(f"%{loop}.d", f"%{loop}.x")}
    %{loop}.signed = fsub {d} %{loop}.d, {code.median}
    %{loop}.distance = call {d} @llvm.fabs.v{element.width}f64({d} %{loop}.signed)
    {chosen}
    %{loop}.one = select {mask} %{loop}.chosen, {d} {one}, {d} {zero}
    %{loop}.value = select {mask} %{loop}.chosen, {d} %{loop}.d, {d} {zero}
    %{loop}.count.next = fadd {d} %{loop}.count, %{loop}.one
    %{loop}.total.next = fadd {d} %{loop}.total, %{loop}.value
    %{loop}.next = add i64 %{loop}.row, 1
    %{loop}.more = icmp ult i64 %{loop}.next, {m}
    br i1 %{loop}.more, label %{loop}, label %{loop}.end
{loop}.end:"""

    nearer = over_rows(
        "nearer",
        "loop",
        zero,
        zero,
        f"%nearer.chosen = fcmp olt {d} %nearer.distance, {code.tied}",
    )
    level = over_rows(
        "level",
        "nearer.end",
        "%nearer.count.next",
        "%nearer.total.next",
        f"""%level.at = fcmp oeq {d} %level.distance, {code.tied}
    %level.room = fcmp olt {d} %level.count, {keep}
    %level.chosen = and {mask} %level.at, %level.room""",
    )
    text = f"""
    %tied = fcmp oge {d} {code.tied}, {zero}
    %any = call i1 @llvm.vector.reduce.or.v{element.width}i1({mask} %tied)
    br i1 %any, label %nearer, label %settled
    {nearer}
    br label %level
    {level}
    %fair = fdiv {d} %level.total.next, {keep}
    %resolved = select {mask} %tied, {d} %fair, {d} {code.mean}
    br label %settled
settled:
    %mean = phi {d} [ {code.mean}, %loop ], [ %resolved, %level.end ]
    {store}"""
    return "settled", text


def _mixing(groups: int, element: Element) -> str:
    """Return the function that mixes a tile, one group of rows by two vectors at a time."""
    x, width, number = element.x, element.width, element.compute
    cells = [(r, h) for r in range(ROWS_AT_ONCE) for h in (0, 1)]
    phis = "\n".join(
        f"%s{r}{h} = phi {x} [ zeroinitializer, %groups ], [ %t{r}{h}, %inner ]" for r, h in cells
    )
    products = []
    for r in range(ROWS_AT_ONCE):
        products.append(f"""
    %w{r}.k = add i64 %w, {r}
    %w{r}.p = getelementptr {number}, ptr %weights, i64 %w{r}.k
    %w{r} = load {number}, ptr %w{r}.p
    %w{r}.1 = insertelement {x} poison, {number} %w{r}, i32 0
    %w{r}.x = shufflevector {x} %w{r}.1, {x} poison, <{width} x i32> zeroinitializer""")
        products += [
            f"""
    %p{r}{h} = fmul contract {x} %w{r}.x, %x{h}
    %t{r}{h} = fadd contract {x} %s{r}{h}, %p{r}{h}"""
            for h in (0, 1)
        ]
    stores = "\n".join(
        f"""
    %o{r}{h}.k = add i64 %base, {r * TILE + h * width}
    %o{r}{h} = getelementptr {number}, ptr %mixed, i64 %o{r}{h}.k
    store {x} %t{r}{h}, ptr %o{r}{h}"""
        for r, h in cells
    )
    return f"""
define internal void @mix(ptr noalias %rows, ptr noalias %weights, ptr noalias %counts, i64 %tile,
                          ptr noalias %mixed) noinline {{
entry:
    %stop = add i64 %tile, {TILE}
    br label %columns
columns:
    %c = phi i64 [ %tile, %entry ], [ %c.next, %columns.next ]
    %o = sub i64 %c, %tile
    br label %groups
groups:
    %g = phi i64 [ 0, %columns ], [ %g.next, %inner.end ]
    %j.first = phi i64 [ 0, %columns ], [ %j.next, %inner.end ]
    %count.p = getelementptr i64, ptr %counts, i64 %g
    %count = load i64, ptr %count.p
    %j.end = add i64 %j.first, %count
    br label %inner
inner:
    %j = phi i64 [ %j.first, %groups ], [ %j.next, %inner ]
    {phis}
    %w = mul i64 %j, {ROWS_AT_ONCE}
    {address("%a0", "%j", element, False, "%a")}
    %a1 = getelementptr i{element.bits}, ptr %a0, i64 {width}
    %a.ahead = getelementptr i8, ptr %a0, i64 512
    call void @llvm.prefetch.p0(ptr %a.ahead, i32 0, i32 3, i32 1)
    {element.load("%x0", "%a0")}
    {element.load("%x1", "%a1")}
    {"".join(products)}
    %j.next = add i64 %j, 1
    %j.more = icmp ult i64 %j.next, %j.end
    br i1 %j.more, label %inner, label %inner.end
inner.end:
    %row = mul i64 %g, {ROWS_AT_ONCE * TILE}
    %base = add i64 %row, %o
    {stores}
    %g.next = add i64 %g, 1
    %g.more = icmp ult i64 %g.next, {groups}
    br i1 %g.more, label %groups, label %columns.next
columns.next:
    %c.next = add i64 %c, {2 * width}
    %c.more = icmp ult i64 %c.next, %stop
    br i1 %c.more, label %columns, label %done
done:
    ret void
}}"""
