"""Typed shader expressions as text, and the blocks of statements they stand in.

A `Value` is an expression of a kind ("f", "i", "u" or "b"; "h" of float16 where a language has it)
with one lane or four. Like a value of the wasm target it is code, not a result: name what is used
twice with `Block.let`. How anything is spelled is the business of a `Dialect`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, NoReturn, Protocol

from tabgrad.errors import TabgradError

Number = int | float
LANES = 4
NAME = re.compile(r"v\d+")


class Dialect(Protocol):
    """The words of a shading language."""

    half: bool
    """Whether floats of 16 bits are kinds of their own; else they are floats that were rounded."""

    def type(self, kind: str, width: int) -> str:
        """The name of a type."""
        ...

    def literal(self, number: Number, kind: str) -> str:
        """A finite number of one lane."""
        ...

    def special(self, bits: int) -> str:
        """A float of one lane by its bits, made at run time so that no compiler folds it."""
        ...

    def held(self, text: str, width: int) -> str:
        """A float that no compiler may move arithmetic across."""
        ...

    def declare(self, name: str, kind: str, width: int, text: str, mutable: bool) -> str:
        """A statement that names a value."""
        ...

    def compare(self, sign: str, x: str, y: str, width: int) -> str:
        """Lane by lane: "==", "!=", "<", "<="."""
        ...

    def logic(self, sign: str, x: str, y: str, width: int) -> str:
        """ "&", "|" or "^" of truths."""
        ...

    def inverse(self, x: str, width: int) -> str:
        """Not, of truths."""
        ...

    def select(self, condition: str, x: str, y: str, width: int) -> str:
        """x where the condition holds, else y."""
        ...

    def convert(self, x: str, source: str, kind: str, width: int) -> str:
        """A value as another kind; floats are known to fit."""
        ...

    def view(self, x: str, source: str, kind: str, width: int) -> str:
        """The same bits as another kind."""
        ...

    def join(self, lanes: Sequence[str], kind: str) -> str:
        """Four lanes of four values, or of one for all."""
        ...

    def loop(self, name: str, begin: str, end: str, step: int) -> str:
        """The head of a counting loop."""
        ...

    def multiply_add(self, x: str, y: str, z: str) -> str:
        """x * y + z, fused where the machine can."""
        ...

    def function(
        self, name: str, params: Sequence[tuple[str, str, int]], kind: str, width: int
    ) -> str:
        """The head of a function."""
        ...

    builtins: ClassVar[dict[str, str]]
    """What functions every language has are called in this one."""


class Value:
    """An expression of a block."""

    __slots__ = ("block", "kind", "text", "width")

    def __init__(self, block: Block, text: str, kind: str, width: int = 1) -> None:
        self.block, self.text, self.kind, self.width = block, text, kind, width

    def __repr__(self) -> str:
        return self.text

    def __bool__(self) -> NoReturn:
        raise TypeError("a shader value has no truth at build time; use block.if_ or select")

    def _new(self, text: str, kind: str = "", width: int = 0) -> Value:
        return Value(self.block, text, kind or self.kind, width or self.width)

    def splat(self, width: int) -> Value:
        """The same in every lane."""
        if self.width == width:
            return self
        return self._new(self.block.dialect.join([self.text], self.kind), "", width)

    def _with(self, other: Value | Number) -> tuple[Value, Value]:
        if not isinstance(other, Value):
            other = self.block.const(other, self.kind)
        if other.kind != self.kind:
            raise TabgradError(f"internal: {self.kind} and {other.kind}: {self} and {other}")
        width = max(self.width, other.width)
        return self.splat(width), other.splat(width)

    def _binary(self, sign: str, other: Value | Number) -> Value:
        x, y = self._with(other)
        if self.kind == "b":
            return x._new(self.block.dialect.logic(sign, x.text, y.text, x.width))
        return x._new(f"({x.text} {sign} {y.text})")

    def _compare(self, sign: str, other: Value | Number) -> Value:
        if sign == "!=" and self.kind in "fh":
            return ~self._compare("==", other)  # shaders' own != is false for NaN
        x, y = self._with(other)
        return x._new(self.block.dialect.compare(sign, x.text, y.text, x.width), "b")

    def __add__(self, other: Value | Number) -> Value:
        return self._binary("+", other)

    def __sub__(self, other: Value | Number) -> Value:
        return self._binary("-", other)

    def __rsub__(self, other: Number) -> Value:
        return self.block.const(other, self.kind) - self

    def __mul__(self, other: Value | Number) -> Value:
        return self._binary("*", other)

    def __truediv__(self, other: Value | Number) -> Value:
        return self._binary("/", other)

    def __rtruediv__(self, other: Number) -> Value:
        return self.block.const(other, self.kind) / self

    def __mod__(self, other: Value | Number) -> Value:
        return self._binary("%", other)

    def __and__(self, other: Value | Number) -> Value:
        return self._binary("&", other)

    def __or__(self, other: Value | Number) -> Value:
        return self._binary("|", other)

    def __xor__(self, other: Value | Number) -> Value:
        return self._binary("^", other)

    def shift(self, sign: str, count: Value | int) -> Value:
        """ "<<" or ">>" by counts below 32."""
        if isinstance(count, int):
            count = self.block.const(count, "u")
        width = max(self.width, count.width)
        x, n = self.splat(width), count.splat(width)
        return x._new(f"({x.text} {sign} {n.text})")

    def __lshift__(self, count: Value | int) -> Value:
        return self.shift("<<", count)

    def __rshift__(self, count: Value | int) -> Value:
        return self.shift(">>", count)

    def __neg__(self) -> Value:
        return self._new(f"(-{self.text})")

    def __invert__(self) -> Value:
        if self.kind == "b":
            return self._new(self.block.dialect.inverse(self.text, self.width))
        return self._new(f"(~{self.text})")

    def __lt__(self, other: Value | Number) -> Value:
        return self._compare("<", other)

    def __le__(self, other: Value | Number) -> Value:
        return self._compare("<=", other)

    def __gt__(self, other: Value | Number) -> Value:
        return self._compare(">", other)

    def __ge__(self, other: Value | Number) -> Value:
        return self._compare(">=", other)

    def same(self, other: Value | Number) -> Value:
        """Lane by lane equal."""
        return self._compare("==", other)

    def differs(self, other: Value | Number) -> Value:
        """Lane by lane not equal."""
        return self._compare("!=", other)

    def select(self, x: Value | Number, y: Value | Number) -> Value:
        """x where this truth holds, else y. Both are computed."""
        if not isinstance(x, Value):
            if not isinstance(y, Value):
                raise TabgradError("internal: select of two bare numbers has no kind")
            x = self.block.const(x, y.kind)
        a, b = x._with(y)
        width = max(self.width, a.width)
        a, b, c = a.splat(width), b.splat(width), self.splat(width)
        return a._new(self.block.dialect.select(c.text, a.text, b.text, width))

    def to(self, kind: str) -> Value:
        """The number as another kind. A float must be one that the other kind has."""
        if kind == self.kind:
            return self
        text = self.block.dialect.convert(self.text, self.kind, kind, self.width)
        return self._new(text, kind)

    def view(self, kind: str) -> Value:
        """The same bits as another kind."""
        if kind == self.kind:
            return self
        return self._new(self.block.dialect.view(self.text, self.kind, kind, self.width), kind)

    def lane(self, number: int) -> Value:
        """One lane."""
        if self.width == 1:
            return self
        return self._new(f"{self.text}.{'xyzw'[number]}", "", 1)

    def held(self) -> Value:
        """The same float, across which no compiler moves arithmetic."""
        return self._new(self.block.dialect.held(self.text, self.width))

    def call(self, name: str, *others: Value | Number) -> Value:
        """A function every language has: floor, ceil, trunc, round (halves to even), sqrt, abs,
        min, max."""
        values = [self]
        for other in others:
            values.append(self._with(other)[1])
        width = max(v.width for v in values)
        arguments = ", ".join(v.splat(width).text for v in values)
        return self._new(f"{self.block.dialect.builtins[name]}({arguments})", "", width)

    def times_plus(self, factor: Value | Number, addend: Value | Number) -> Value:
        """self * factor + addend; of floats fused where the machine can."""
        if self.kind != "f":
            return self * factor + addend
        x, y = self._with(factor)
        x, z = x._with(addend)
        y = y.splat(x.width)
        return x._new(self.block.dialect.multiply_add(x.text, y.text, z.text))

    def is_nan(self) -> Value:
        """By its bits: compilers take x != x for False."""
        return (self.to("f").view("u") & 0x7FFFFFFF) > 0x7F800000


class Module:
    """Functions that kernels share within one shader."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.functions: dict[str, str] = {}

    def helper(
        self, name: str, args: Sequence[Value], write: Callable[..., Value], kind: str
    ) -> Value:
        """Call a function of this module with arguments of one width, writing it at first use."""
        width = max(arg.width for arg in args)
        args = [arg.splat(width) for arg in args]
        whole = f"{name.rstrip('_')}_{width}"  # GLSL keeps names with "__" for itself
        if whole not in self.functions:
            self.functions[whole] = ""  # keeps the place of functions it calls in front of it
            block = Block(self)
            params = [Value(block, f"x{i}", arg.kind, width) for i, arg in enumerate(args)]
            result = write(*params)
            head = self.dialect.function(
                whole, [(p.text, p.kind, width) for p in params], kind, width
            )
            lines = [head + " {", *block.lines, f"  return {result.text};", "}"]
            del self.functions[whole]
            self.functions[whole] = "\n".join(lines)
        text = f"{whole}({', '.join(arg.text for arg in args)})"
        return Value(args[0].block, text, kind, width)


class Block:
    """Statements under construction."""

    def __init__(self, module: Module) -> None:
        self.module, self.dialect = module, module.dialect
        self.lines: list[str] = []
        self._names = itertools.count()
        self._depth = 1
        self._mutable: set[str] = set()
        self._known: list[dict[str, Value]] = [{}]  # of each block that is open: names by text

    def line(self, text: str) -> None:
        """A statement, or a line of one."""
        self.lines.append("  " * self._depth + text)

    def const(self, number: Number, kind: str) -> Value:
        """A number."""
        if kind in "fh":
            number = float(number)
            if number != number:
                return Value(self, self.dialect.special(0x7FC00000), "f").to(kind)
            if number in (float("inf"), float("-inf")):
                bits = 0x7F800000 if number > 0 else 0xFF800000
                return Value(self, self.dialect.special(bits), "f").to(kind)
            if number == 0 and math.copysign(1, number) < 0:
                # Chromium takes the literal -0.0 of WGSL for 0.
                return Value(self, self.dialect.special(0x80000000), "f").to(kind)
        return Value(self, self.dialect.literal(number, kind), kind)

    def let(self, value: Value) -> Value:
        """Name a value; what is a name already, and of nothing that changes, stays it."""
        if value.text.isidentifier() and value.text not in self._mutable:
            return value
        return self._declare(value, False)

    def once(self, value: Value) -> Value:
        """A value with a name, which is that of an equal one where there is one at hand."""
        if value.text.isidentifier() or not self._mutable.isdisjoint(NAME.findall(value.text)):
            return value
        for known in self._known:
            if value.text in known:
                return known[value.text]
        found = self._known[-1][value.text] = self.let(value)
        return found

    def var(self, value: Value) -> Value:
        """Name a value that `set` may change."""
        return self._declare(value, True)

    def _declare(self, value: Value, mutable: bool) -> Value:
        name = f"v{next(self._names)}"
        if mutable:
            self._mutable.add(name)
        text = self.dialect.declare(name, value.kind, value.width, value.text, mutable)
        self.line(text)
        return Value(self, name, value.kind, value.width)

    def set(self, target: Value, value: Value | Number) -> None:
        """Assign."""
        new = target._with(value)[1]
        self.line(f"{target.text} = {new.text};")

    @contextmanager
    def if_(self, condition: Value) -> Iterator[None]:
        """What is written inside happens where a truth of one lane holds."""
        self.line(f"if ({condition.text}) {{")
        yield from self._inside()

    @contextmanager
    def else_(self) -> Iterator[None]:
        """After `if_`: what happens otherwise."""
        self.line("else {")
        yield from self._inside()

    @contextmanager
    def range(self, begin: Value | int, end: Value | int, step: int = 1) -> Iterator[Value]:
        """A counting loop."""
        low = begin if isinstance(begin, Value) else self.const(begin, "i")
        high = end if isinstance(end, Value) else self.const(end, "i")
        name = f"v{next(self._names)}"
        self.line(self.dialect.loop(name, low.text, high.text, step) + " {")
        counter = Value(self, name, "i")
        yield from self._inside(counter)

    @contextmanager
    def while_(self, condition: Value) -> Iterator[None]:
        """Repeat as long as a truth of one lane, evaluated anew each time, holds."""
        self.line(f"while ({condition.text}) {{")
        yield from self._inside()

    def _inside(self, at_hand: Any = None) -> Iterator[Any]:
        self._depth += 1
        self._known.append({})
        yield at_hand
        self._known.pop()
        self._depth -= 1
        self.line("}")

    def join(self, lanes: Sequence[Value]) -> Value:
        """Four lanes."""
        text = self.dialect.join([lane.text for lane in lanes], lanes[0].kind)
        return Value(self, text, lanes[0].kind, LANES)
