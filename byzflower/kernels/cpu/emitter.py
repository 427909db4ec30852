"""Writing LLVM text: typed values with Python's operators, loops as ``with`` blocks.

What is written reads like the program that runs::

    emitter = Emitter()
    with emitter.function("double", {"x": POINTER, "count": INDEX}) as (x, count):
        with emitter.loop(0, count, step=8) as loop:
            place = emitter.place(x, loop.index, "float")
            emitter.store(emitter.load(Type("float", 8), place) * 2.0, place)
    print(emitter.text())

LLVM compiles the text as it stands, without passes that would simplify it: registers are chosen,
instructions ordered and merged, but no loop is unrolled and nothing is moved out of one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["DOUBLE", "INDEX", "POINTER", "Emitter", "Instruction", "Loop", "Type", "Value"]

_BITS = {"i1": 1, "i16": 16, "i32": 32, "i64": 64, "half": 16, "float": 32, "double": 64, "ptr": 64}
_FLOATS = {"half": "f16", "float": "f32", "double": "f64"}


@dataclass(frozen=True)
class Type:
    """A number, or a vector of ``lanes`` numbers.

    >>> str(Type("float", 8))
    '<8 x float>'
    """

    number: str
    lanes: int = 0

    def __str__(self) -> str:
        return f"<{self.lanes} x {self.number}>" if self.lanes else self.number

    def of(self, number: str) -> Type:
        """Return the type with another number and as many lanes."""
        return Type(number, self.lanes)

    @property
    def one(self) -> Type:
        """The type of a single lane."""
        return Type(self.number)

    @property
    def bits(self) -> int:
        """Size of one number."""
        return _BITS[self.number]

    @property
    def is_float(self) -> bool:
        """Tell floating-point numbers from integers."""
        return self.number in _FLOATS

    @property
    def suffix(self) -> str:
        """How names of intrinsic functions say it."""
        number = _FLOATS.get(self.number, self.number)
        return f"v{self.lanes}{number}" if self.lanes else number

    def constant(self, value: float) -> str:
        """Return a number, in every lane, as LLVM writes it.

        >>> Type("double", 4).constant(0.5)
        'splat (double 0x3FE0000000000000)'
        """
        text = str(value)
        if self.is_float:  # the bits of a double whatever the type: decimals could be inexact
            text = f"0x{struct.pack('>d', value).hex().upper()}"
        return f"splat ({self.number} {text})" if self.lanes else text


POINTER, INDEX, FLAG, DOUBLE = Type("ptr"), Type("i64"), Type("i1"), Type("double")


@dataclass(eq=False, frozen=True)
class Value:
    """The result of an instruction; operators write further instructions.

    Numbers beside a value are constants of its type. ``<`` and ``>`` give masks, in which NaN is
    neither; integers are compared as signed ones.
    """

    emitter: Emitter
    type: Type
    name: str

    def __str__(self) -> str:
        return f"{self.type} {self.name}"

    def _calculate(self, operation: str, other: Value | float) -> Value:
        if self.type.is_float:
            operation = "f" + operation + self.emitter.flags
        other = self.like(other)
        return self.emitter.write(self.type, f"{operation} {self}, {other.name}", self, other)

    def _compare(self, relation: str, other: Value | float) -> Value:
        if self.type.is_float:
            kind = "fcmp " + ("une" if relation == "ne" else "o" + relation)
        else:
            kind = "icmp " + (relation if relation in {"eq", "ne"} else "s" + relation)
        other = self.like(other)
        text = f"{kind} {self}, {other.name}"
        return self.emitter.write(self.type.of("i1"), text, self, other)

    def like(self, number: Value | float) -> Value:
        """Return a constant of this value's type."""
        if isinstance(number, Value):
            return number
        return Value(self.emitter, self.type, self.type.constant(number))

    def __add__(self, other: Value | float) -> Value:
        return self._calculate("add", other)

    def __sub__(self, other: Value | float) -> Value:
        return self._calculate("sub", other)

    def __mul__(self, other: Value | float) -> Value:
        return self._calculate("mul", other)

    def __truediv__(self, other: Value | float) -> Value:
        return self._calculate("div", other)

    def __and__(self, other: Value | float) -> Value:
        return self._calculate("and", other)

    def __or__(self, other: Value | float) -> Value:
        return self._calculate("or", other)

    def __xor__(self, other: Value | float) -> Value:
        return self._calculate("xor", other)

    def __lshift__(self, other: Value | float) -> Value:
        return self._calculate("shl", other)

    def __rshift__(self, other: Value | float) -> Value:
        return self._calculate("ashr", other)

    def __lt__(self, other: Value | float) -> Value:
        return self._compare("lt", other)

    def __gt__(self, other: Value | float) -> Value:
        return self._compare("gt", other)

    def __le__(self, other: Value | float) -> Value:
        return self._compare("le", other)

    def __ge__(self, other: Value | float) -> Value:
        return self._compare("ge", other)

    def equals(self, other: Value | float) -> Value:
        """Return a mask of equal lanes."""
        return self._compare("eq", other)

    def differs(self, other: Value | float) -> Value:
        """Return a mask of lanes that are not equal."""
        return self._compare("ne", other)

    def where(self, yes: Value, no: Value | float) -> Value:
        """Choose, by this mask, lanes of one value or another."""
        no = yes.like(no)
        return self.emitter.write(yes.type, f"select {self}, {yes}, {no}", self, yes, no)

    def minimum(self, other: Value) -> Value:
        """Return the smaller one; ``other`` if either is NaN."""
        return (self < other).where(self, other)

    def maximum(self, other: Value) -> Value:
        """Return the larger one; ``other`` if either is NaN."""
        return (self > other).where(self, other)

    def abs(self) -> Value:
        """Return the size without the sign."""
        return self.emitter.call(self.type, "llvm.fabs." + self.type.suffix, self)

    def any(self) -> Value:
        """Tell whether any lane of this mask is set."""
        return self.emitter.call(FLAG, "llvm.vector.reduce.or." + self.type.suffix, self)

    def sum(self) -> Value:
        """Add the lanes in any order."""
        number = self.type.one
        start = self.emitter.constant(number, -0.0)
        name = "llvm.vector.reduce.fadd." + self.type.suffix
        return self.emitter.call(number, name, start, self, flags=" reassoc")

    def to(self, number: str) -> Value:
        """Convert the lanes' numbers; integers are signed, masks become 0 and 1."""
        target = self.type.of(number)
        if target == self.type:
            return self
        if self.type.is_float and target.is_float:
            cast = "fpext" if target.bits > self.type.bits else "fptrunc"
        elif target.is_float:
            cast = "uitofp" if self.type.number == "i1" else "sitofp"
        elif target.bits > self.type.bits:
            cast = "zext" if self.type.number in {"i1", "i16"} else "sext"
        else:
            cast = "trunc"
        return self.emitter.write(target, f"{cast} {self} to {target}", self)

    def bits_as(self, number: str) -> Value:
        """Read the same bits as another kind of number."""
        target = self.type.of(number)
        return self.emitter.write(target, f"bitcast {self} to {target}", self)

    def everywhere(self, lanes: int) -> Value:
        """Return a vector with this number in every lane."""
        target = Type(self.type.number, lanes)
        one = self.emitter.write(target, f"insertelement {target} poison, {self}, i32 0", self)
        zeros = f"<{lanes} x i32> zeroinitializer"
        return self.emitter.write(target, f"shufflevector {one}, {target} poison, {zeros}", one)


@dataclass(eq=False)
class Instruction:
    """A line of text, the values that it uses and the one that it defines."""

    text: str
    uses: tuple[Value, ...] = ()
    defines: Value | None = None


class Loop:
    """The values that a loop hands from one turn to the next.

    Attributes
    ----------
    index : Value
        The counter of :meth:`Emitter.loop`.
    again : Value
        What :meth:`Emitter.repeat` asks at a turn's end: whether there is one more.
    """

    index: Value
    again: Value

    def __init__(self, emitter: Emitter, before: str) -> None:
        self._emitter, self._before = emitter, before
        self._carried: dict[str, tuple[Instruction, Value]] = {}

    def carry(self, start: Value, name: str = "") -> Value:
        """Return a value that is ``start`` in the first turn, then what :meth:`turn` was given.

        Before anything else in the loop.
        """
        value = self._emitter.write(
            start.type, f"phi {start.type} [ {start.name}, %{self._before} ]", start, name=name
        )
        self._carried[value.name] = (self._emitter.instructions[-1], value)
        return value

    def turn(self, carried: Value, after: Value) -> None:
        """Say what a carried value is in the next turn; after the loop, ``after`` is at hand."""
        self._carried[carried.name] = (self._carried[carried.name][0], after)

    def close(self) -> None:
        """Write the values into the loop's head; ``Emitter.loop`` does it."""
        for instruction, after in self._carried.values():
            instruction.text += f", [ {after.name}, %{self._emitter.block} ]"


class Emitter:
    """A module's text as it grows.

    Attributes
    ----------
    block : str
        Label of the basic block that is written to.
    flags : str
        Added to each calculation: ``" contract"`` lets a product and a sum round once.
    instructions : list
        What was written of the function so far.
    """

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self.block, self.flags = "entry", ""
        self._functions: list[str] = []
        self._declared: dict[str, str] = {}
        self._names = 0

    def text(self) -> str:
        """Return the module."""
        return "\n".join([*self._functions, *self._declared.values(), "!0 = !{}", ""])

    def write(self, kind: Type, text: str, *uses: Value, name: str = "") -> Value:
        """Write an instruction that defines a value."""
        if not name:
            self._names += 1
            name = f"%v{self._names}"
        value = self.named(kind, name)
        self.instructions.append(Instruction(f"  {value.name} = {text}", uses, value))
        return value

    def run(self, text: str, *uses: Value) -> None:
        """Write an instruction that defines nothing."""
        self.instructions.append(Instruction(f"  {text}", uses))

    def named(self, kind: Type, name: str) -> Value:
        """Return a value by the name that the text gives it."""
        return Value(self, kind, name)

    def constant(self, kind: Type, number: float) -> Value:
        """Return a number, in every lane."""
        return Value(self, kind, kind.constant(number))

    def call(self, kind: Type | None, name: str, *arguments: Value, flags: str = "") -> Value:
        """Call a function; of LLVM's own, declare it. Without ``kind``, it returns nothing."""
        given = ", ".join(map(str, arguments))
        returned = str(kind) if kind else "void"
        if name.startswith("llvm."):
            types = ", ".join(str(argument.type) for argument in arguments)
            self._declared[name] = f"declare {returned} @{name}({types})"
        text = f"call{flags} {returned} @{name}({given})"
        if kind:
            return self.write(kind, text, *arguments)
        self.run(text, *arguments)
        return arguments[0]

    def place(
        self, pointer: Value, index: Value | int, number: str = "i8", start: int = 0
    ) -> Value:
        """Point at a number so many numbers, and ``start`` bytes, on."""
        index = index if isinstance(index, Value) else self.constant(INDEX, index)
        if start:
            pointer = self.place(pointer, start)
        text = f"getelementptr {number}, {pointer}, {index}"
        return self.write(POINTER, text, pointer, index)

    def load(self, kind: Type, pointer: Value, name: str = "") -> Value:
        """Load a value that is aligned as its numbers are."""
        text = f"load {kind}, {pointer}, align {kind.bits // 8}"
        return self.write(kind, text, pointer, name=name)

    def load_pointer(self, table: Value, index: Value | int) -> Value:
        """Load an entry of a table of addresses that nobody changes."""
        entry = self.place(table, index, "ptr")
        return self.write(POINTER, f"load ptr, {entry}, !invariant.load !0", entry)

    def store(self, value: Value, pointer: Value) -> None:
        """Store a value aligned as its numbers are."""
        self.run(f"store {value}, {pointer}, align {value.type.bits // 8}", value, pointer)

    def prefetch(self, pointer: Value, ahead: int) -> None:
        """Ask for memory so many bytes on, which is soon read."""
        place = self.place(pointer, ahead)
        self._declared["llvm.prefetch.p0"] = "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)"
        self.run(f"call void @llvm.prefetch.p0({place}, i32 0, i32 3, i32 1)", place)

    @contextmanager
    def function(
        self,
        name: str,
        parameters: Mapping[str, Type],
        *,
        contract: bool = False,
        internal: bool = False,
    ) -> Iterator[list[Value]]:
        """Write a function; pointers among its parameters never overlap what others point at."""
        self.instructions, self.block = [], "entry"
        self.flags = " contract" if contract else ""
        values = [self.named(kind, f"%{parameter}") for parameter, kind in parameters.items()]
        yield values
        given = ", ".join(
            f"{v.type} noalias {v.name}" if v.type == POINTER else str(v) for v in values
        )
        body = "\n".join(instruction.text for instruction in self.instructions)
        kind, inline = ("internal ", " noinline") if internal else ("", "")
        self._functions.append(
            f"define {kind}void @{name}({given}){inline} {{\nentry:\n{body}\n  ret void\n}}"
        )

    @contextmanager
    def recording(self) -> Iterator[list[Instruction]]:
        """Write straight-line code that goes into functions later."""
        outside, self.instructions, self.flags = self.instructions, [], ""
        yield self.instructions
        self.instructions = outside

    @contextmanager
    def loop(
        self, start: Value | int, stop: Value | int, step: Value | int = 1, *, name: str = ""
    ) -> Iterator[Loop]:
        """Write a loop over start, start + step, … < stop; the first turn is always run."""
        first = start if isinstance(start, Value) else self.constant(INDEX, start)
        with self.repeat() as loop:
            loop.index = loop.carry(first, name)
            yield loop
            after = loop.index + step
            loop.turn(loop.index, after)
            loop.again = after < stop

    @contextmanager
    def repeat(self) -> Iterator[Loop]:
        """Write a loop that runs once, and on while what its turn leaves in ``again`` holds."""
        loop, head = Loop(self, self.block), self._label("loop")
        self._go(head)
        yield loop
        loop.close()
        end = self._label("end")
        self.run(f"br {loop.again}, label %{head}, label %{end}", loop.again)
        self._start(end)

    def _label(self, kind: str) -> str:
        self._names += 1
        return f"{kind}{self._names}"

    def _go(self, label: str) -> None:
        self.run(f"br label %{label}")
        self._start(label)

    def _start(self, label: str) -> None:
        self.instructions.append(Instruction(f"{label}:"))
        self.block = label
