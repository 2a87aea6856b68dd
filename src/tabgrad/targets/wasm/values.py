"""Typed WebAssembly expressions: the base class of all values, and the scalars.

A `Value` is postfix code that leaves one value on the stack. It is code, not a result: it runs
where it is used, and using it twice runs it twice, so name what is used twice with `Function.let`.
A local is a Value too (its code is `local.get`) and the only kind that can be `set`.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, NoReturn, Self, TypeVar, cast

from tabgrad.targets.wasm import encoder
from tabgrad.targets.wasm.encoder import sleb, uleb

M = TypeVar("M", bound="Value[Any]")
V = TypeVar("V", bound="Value[Any]")

Number = int | float


class LocalSlot:
    """Where a local lives: the code it belongs to and its index there."""

    __slots__ = ("code", "index")

    def __init__(self, code: bytearray, index: int) -> None:
        self.code = code
        self.index = index


class _Dead:
    """Takes the place of the code of a local whose scope has ended."""

    def __add__(self, other: object) -> NoReturn:
        raise ValueError(
            "a local was used after the scope, loop or branch that made it; "
            "make it before that block, or hand it on with scope.keep(local)"
        )

    __radd__ = __add__


DEAD = cast(bytes, _Dead())


class Value(ABC, Generic[M]):
    """Code that leaves one value of a type; `M` is the type that its comparisons give."""

    __slots__ = ("code", "slot")

    TYPE: ClassVar[int]
    OPS: ClassVar[dict[str, bytes]]
    MASK: ClassVar[type[Any]]
    INTEGER: ClassVar[bool]
    LOAD: ClassVar[bytes]
    STORE: ClassVar[bytes]
    ALIGN: ClassVar[int]  # log2 of the element's bytes: the alignment every address promises

    def __init__(self, code: bytes, slot: LocalSlot | None = None) -> None:
        self.code = code
        self.slot = slot

    # Construction

    @classmethod
    @abstractmethod
    def const(cls, number: Number) -> Self:
        """A constant (for vectors: in every lane)."""

    @classmethod
    def load(cls, address: I32 | int) -> Self:
        """The value at `address`; a constant part of the address becomes the access's offset."""
        return cls(access(address, cls.LOAD, cls.ALIGN))

    # Code

    def get(self) -> bytes:
        """The instructions that leave the value on the stack."""
        return self.code + b""

    def set(self, value: Self | Number) -> Self:
        """Assign to a local; returns it."""
        if self.slot is None:
            raise TypeError(
                f"only a local can be set, and this {type(self).__name__} is an expression; "
                "make one with f.let(value)"
            )
        self.code + b""  # raises when the local's scope has ended
        self.slot.code += self.operand(value, "set") + b"\x21" + uleb(self.slot.index)
        return self

    def inc(self, amount: Self | Number) -> Self:
        """Add to a local in place."""
        return self.set(self + amount)

    @classmethod
    def operand(cls, value: object, what: str) -> bytes:
        """The code of `value`, which must be a `cls` or a Python number."""
        if type(value) is cls:
            return value.get()
        if isinstance(value, (int, float)):
            return cls.const(value).get()
        raise TypeError(
            f"{what}: expected {cls.__name__} or a number, got {describe(value)}; "
            "convert it with view(), bits(), to_...() or splat()"
        )

    def _op(self, name: str) -> bytes:
        try:
            return self.OPS[name]
        except KeyError:
            raise TypeError(f"{type(self).__name__} has no operation {name!r}") from None

    def _unary(self, name: str) -> Self:
        return type(self)(self.get() + self._op(name))

    def _binary(self, name: str, other: object) -> Self:
        op = self._op(name)
        return type(self)(self.get() + self.operand(other, name) + op)

    def _reversed(self, name: str, other: object) -> Self:
        op = self._op(name)
        return type(self)(self.operand(other, name) + self.get() + op)

    def _compare(self, name: str, other: object) -> M:
        op = self._op(name)
        return cast(M, self.MASK(self.get() + self.operand(other, name) + op))

    def _convert(self, kind: type[V], op: bytes) -> V:
        return kind(self.get() + op)

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a wasm value has no truth at build time; use f.if_(condition) or mask.select(x, y)"
        )

    __hash__ = object.__hash__

    # Arithmetic

    def __add__(self, other: Self | Number) -> Self:
        return self._binary("add", other)

    def __radd__(self, other: Number) -> Self:
        return self._reversed("add", other)

    def __sub__(self, other: Self | Number) -> Self:
        return self._binary("sub", other)

    def __rsub__(self, other: Number) -> Self:
        return self._reversed("sub", other)

    def __mul__(self, other: Self | Number) -> Self:
        return self._binary("mul", other)

    def __rmul__(self, other: Number) -> Self:
        return self._reversed("mul", other)

    def __truediv__(self, other: Self | Number) -> Self:
        return self._binary("div", other)

    def __rtruediv__(self, other: Number) -> Self:
        return self._reversed("div", other)

    def __neg__(self) -> Self:
        return self._unary("neg")

    def __abs__(self) -> Self:
        return self._unary("abs")

    def sqrt(self) -> Self:
        """The correctly rounded square root (floats)."""
        return self._unary("sqrt")

    def floor(self) -> Self:
        """Round towards minus infinity (floats)."""
        return self._unary("floor")

    def ceil(self) -> Self:
        """Round towards plus infinity (floats)."""
        return self._unary("ceil")

    def trunc(self) -> Self:
        """Round towards zero (floats)."""
        return self._unary("trunc")

    def nearest(self) -> Self:
        """Round to the nearest integer, halves to even (floats)."""
        return self._unary("nearest")

    def min(self, other: Self | Number) -> Self:
        """The smaller; floats propagate NaN and order the zeros (several instructions on x86)."""
        return self._binary("min", other)

    def max(self, other: Self | Number) -> Self:
        """The larger; floats propagate NaN and order the zeros (several instructions on x86)."""
        return self._binary("max", other)

    # Bits

    def __and__(self, other: Self | Number) -> Self:
        return self._binary("and", other)

    def __or__(self, other: Self | Number) -> Self:
        return self._binary("or", other)

    def __xor__(self, other: Self | Number) -> Self:
        return self._binary("xor", other)

    # Comparisons

    def __lt__(self, other: Self | Number) -> M:
        return self._compare("lt", other)

    def __le__(self, other: Self | Number) -> M:
        return self._compare("le", other)

    def __gt__(self, other: Self | Number) -> M:
        return self._compare("gt", other)

    def __ge__(self, other: Self | Number) -> M:
        return self._compare("ge", other)

    def __eq__(self, other: Self | Number) -> M:  # type: ignore[override]
        return self._compare("eq", other)

    def __ne__(self, other: Self | Number) -> M:  # type: ignore[override]
        return self._compare("ne", other)


class Scalar(Value["I32"]):
    """A number; comparisons give an I32 that is 0 or 1."""

    __slots__ = ()

    CONST: ClassVar[bytes]
    BITS: ClassVar[int]

    def __lshift__(self, count: Self | int) -> Self:
        return self._binary("shl", count)

    def __rshift__(self, count: Self | int) -> Self:
        return self._binary("shr", count)

    def __invert__(self) -> Self:
        return self ^ -1

    def div(self, other: Self | int) -> Self:
        """Integer quotient rounded towards zero; traps on zero and on overflow."""
        return self._binary("quotient", other)

    def rem(self, other: Self | int) -> Self:
        """Integer remainder with the sign of the dividend; traps on zero."""
        return self._binary("remainder", other)

    def rotl(self, count: Self | int) -> Self:
        """Rotate the bits left (integers)."""
        return self._binary("rotl", count)

    def clz(self) -> Self:
        """Count leading zero bits (integers)."""
        return self._unary("clz")

    def ctz(self) -> Self:
        """Count trailing zero bits (integers)."""
        return self._unary("ctz")

    def copysign(self, sign: Self | Number) -> Self:
        """The magnitude of self with the sign of `sign` (floats)."""
        return self._binary("copysign", sign)

    def view(self, kind: type[V]) -> V:
        """The same bits as another scalar type of the same width."""
        ops = {
            (encoder.F32, encoder.I32): b"\xbc",
            (encoder.F64, encoder.I64): b"\xbd",
            (encoder.I32, encoder.F32): b"\xbe",
            (encoder.I64, encoder.F64): b"\xbf",
        }
        if self.TYPE == kind.TYPE:
            return kind(self.get())
        try:
            op = ops[self.TYPE, kind.TYPE]
        except KeyError:
            raise TypeError(
                f"{type(self).__name__} cannot be viewed as {kind.__name__}: other width"
            ) from None
        return self._convert(kind, op)

    def to(self, kind: type[V]) -> V:
        """Convert the number to another scalar type; floats truncate and saturate to integers."""
        if type(self) is kind:
            return self
        if self.INTEGER and kind.INTEGER and self.TYPE == kind.TYPE:
            return kind(self.get())
        try:
            op = CONVERSIONS[type(self).__name__, kind.__name__]
        except KeyError:
            raise TypeError(
                f"no conversion from {type(self).__name__} to {kind.__name__}"
            ) from None
        return self._convert(kind, op)


class _Integer(Scalar):
    __slots__ = ()

    INTEGER = True

    @classmethod
    def const(cls, number: Number) -> Self:
        """A constant, taken modulo 2**bits."""
        return cls(cls.CONST + sleb(cls._wrap(number)))

    @classmethod
    def _wrap(cls, number: Number) -> int:
        if not isinstance(number, int):
            raise TypeError(f"{cls.__name__} needs an integer constant, got {number!r}")
        half = 1 << (cls.BITS - 1)
        return (number + half) % (2 * half) - half

    def __neg__(self) -> Self:
        return 0 - self

    def __abs__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} has no abs instruction; use select")


class I32(_Integer):
    """A signed 32-bit integer, an address or a condition.

    A constant part is kept aside in `offset`, so `p + 16` costs nothing when it is an address (it
    becomes the access's offset) and constants fold. An address local must itself lie in memory:
    a base that wraps below zero traps even when its offset would bring it back.
    """

    __slots__ = ("offset",)

    def __init__(self, code: bytes, slot: LocalSlot | None = None, offset: int = 0) -> None:
        super().__init__(code, slot)
        self.offset = offset

    @classmethod
    def const(cls, number: Number) -> Self:
        """A constant, taken modulo 2**32."""
        return cls(b"", None, cls._wrap(number))

    @property
    def constant(self) -> int | None:
        """The number when this is a constant, else None."""
        return None if self.code else self._wrap(self.offset)

    def get(self) -> bytes:
        """The instructions that leave the value on the stack."""
        if not self.code:
            return self.CONST + sleb(self._wrap(self.offset))
        if self.offset:
            return self.code + self.CONST + sleb(self._wrap(self.offset)) + self._op("add")
        return self.code + b""

    @classmethod
    def _from(cls, value: object, what: str) -> I32:
        if isinstance(value, I32):
            return value
        if isinstance(value, int):
            return cls.const(value)
        raise TypeError(f"{what}: expected I32 or int, got {describe(value)}")

    def __add__(self, other: Self | Number) -> Self:
        o = self._from(other, "add")
        code = self.code + o.code + (self._op("add") if self.code and o.code else b"")
        return type(self)(code, None, self.offset + o.offset)

    __radd__ = __add__

    def __sub__(self, other: Self | Number) -> Self:
        o = self._from(other, "sub")
        if not o.code:
            return type(self)(self.code, None, self.offset - o.offset)
        if not self.code:
            return self._binary("sub", other)
        code = self.code + o.code + self._op("sub")
        return type(self)(code, None, self.offset - o.offset)

    def __mul__(self, other: Self | Number) -> Self:
        o = self._from(other, "mul")
        if o.code and self.code:
            return self._binary("mul", other)
        varying, factor = (self, o.offset) if self.code else (o, self.offset)
        offset = varying.offset * factor
        if not varying.code or factor == 0:
            return type(self)(b"", None, offset)
        if factor == 1:
            return type(self)(varying.code, None, offset)
        if factor > 0 and factor & (factor - 1) == 0:
            times = self.CONST + sleb(factor.bit_length() - 1) + self._op("shl")
        else:
            times = self.CONST + sleb(self._wrap(factor)) + self._op("mul")
        return type(self)(varying.code + times, None, offset)

    __rmul__ = __mul__

    def __lshift__(self, count: Self | int) -> Self:
        if isinstance(count, int):
            return self * (1 << count)
        return self._binary("shl", count)

    def __eq__(self, other: Self | Number) -> I32:  # type: ignore[override]
        if isinstance(other, int) and other == 0:
            return I32(self.get() + b"\x45")
        return self._compare("eq", other)

    __hash__ = object.__hash__

    def not_(self) -> I32:
        """Logical not: 1 when the value is 0, else 0."""
        return self == 0

    def select(self, x: V, y: V | Number) -> V:
        """`x` where the condition is not zero, else `y`; both are evaluated."""
        return type(x)(x.get() + x.operand(y, "select") + self.get() + b"\x1b")

    @classmethod
    def load8_s(cls, address: I32 | int) -> Self:
        """A signed byte."""
        return cls(access(address, b"\x2c", 0))

    @classmethod
    def load8_u(cls, address: I32 | int) -> Self:
        """An unsigned byte."""
        return cls(access(address, b"\x2d", 0))

    @classmethod
    def load16_s(cls, address: I32 | int) -> Self:
        """A signed 16-bit integer."""
        return cls(access(address, b"\x2e", 1))

    @classmethod
    def load16_u(cls, address: I32 | int) -> Self:
        """An unsigned 16-bit integer."""
        return cls(access(address, b"\x2f", 1))

    def extend8(self) -> Self:
        """The low byte, sign-extended."""
        return self._unary("extend8")

    def extend16(self) -> Self:
        """The low 16 bits, sign-extended."""
        return self._unary("extend16")


class U32(_Integer):
    """An unsigned 32-bit integer."""

    __slots__ = ()


class I64(_Integer):
    """A signed 64-bit integer."""

    __slots__ = ()


class U64(_Integer):
    """An unsigned 64-bit integer."""

    __slots__ = ()


class _Float(Scalar):
    __slots__ = ()

    INTEGER = False
    PACK: ClassVar[str]

    @classmethod
    def const(cls, number: Number) -> Self:
        """A constant, rounded to the type."""
        return cls(cls.CONST + struct.pack(cls.PACK, number))

    def __invert__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} has no bitwise operations; view() it as integer")


class F32(_Float):
    """A 32-bit float."""

    __slots__ = ()


class F64(_Float):
    """A 64-bit float."""

    __slots__ = ()


def address_parts(address: I32 | int, align: int) -> tuple[bytes, bytes]:
    """An address as the code of its base and the memory argument that holds its constant part."""
    at = I32._from(address, "address")
    if not at.code:
        return b"\x41\x00", uleb(align) + uleb(at.offset % (1 << 32))
    if at.offset < 0:
        return at.get(), uleb(align) + b"\x00"
    return at.code + b"", uleb(align) + uleb(at.offset)


def access(address: I32 | int, op: bytes, align: int) -> bytes:
    """The code of a load."""
    base, memarg = address_parts(address, align)
    return base + op + memarg


def describe(value: object) -> str:
    """What a value is, for an error message."""
    return type(value).__name__ if isinstance(value, Value) else repr(value)


def _integer_ops(compare: int, count: int, signed: bool) -> dict[str, bytes]:
    """The opcodes of an integer type whose `eq` and `clz` have the given numbers."""
    s = 0 if signed else 1
    ops = {"eq": compare, "ne": compare + 1}
    ops |= {n: compare + 2 + 2 * i + s for i, n in enumerate(("lt", "gt", "le", "ge"))}
    ops |= {n: count + i for i, n in enumerate(("clz", "ctz", "popcnt", "add", "sub", "mul"))}
    ops |= {"quotient": count + 6 + s, "remainder": count + 8 + s}
    ops |= {n: count + 10 + i for i, n in enumerate(("and", "or", "xor", "shl"))}
    ops |= {"shr": count + 14 + s, "rotl": count + 16, "rotr": count + 17}
    return {n: bytes((op,)) for n, op in ops.items()}


def _float_ops(compare: int, first: int) -> dict[str, bytes]:
    """The opcodes of a float type whose `eq` and `abs` have the given numbers."""
    ops = {n: compare + i for i, n in enumerate(("eq", "ne", "lt", "gt", "le", "ge"))}
    unary = ("abs", "neg", "ceil", "floor", "trunc", "nearest", "sqrt")
    binary = ("add", "sub", "mul", "div", "min", "max", "copysign")
    ops |= {n: first + i for i, n in enumerate(unary + binary)}
    return {n: bytes((op,)) for n, op in ops.items()}


def _scalar(
    kind: type[Any], wasm: int, const: int, load: int, align: int, ops: dict[str, bytes]
) -> None:
    kind.TYPE, kind.CONST, kind.OPS, kind.MASK = wasm, bytes((const,)), ops, I32
    kind.LOAD, kind.STORE = bytes((load,)), bytes((load + 14,))
    kind.ALIGN, kind.BITS = align, 8 << align


_scalar(
    I32, encoder.I32, 0x41, 0x28, 2,
    _integer_ops(0x46, 0x67, True) | {"extend8": b"\xc0", "extend16": b"\xc1"},
)  # fmt: skip
_scalar(U32, encoder.I32, 0x41, 0x28, 2, _integer_ops(0x46, 0x67, False))
_scalar(I64, encoder.I64, 0x42, 0x29, 3, _integer_ops(0x51, 0x79, True))
_scalar(U64, encoder.I64, 0x42, 0x29, 3, _integer_ops(0x51, 0x79, False))
_scalar(F32, encoder.F32, 0x43, 0x2A, 2, _float_ops(0x5B, 0x8B))
_scalar(F64, encoder.F64, 0x44, 0x2B, 3, _float_ops(0x61, 0x99))
F32.PACK, F64.PACK = "<f", "<d"

CONVERSIONS: dict[tuple[str, str], bytes] = {
    ("I64", "I32"): b"\xa7",
    ("I64", "U32"): b"\xa7",
    ("U64", "I32"): b"\xa7",
    ("U64", "U32"): b"\xa7",
    ("I32", "I64"): b"\xac",
    ("I32", "U64"): b"\xac",
    ("U32", "I64"): b"\xad",
    ("U32", "U64"): b"\xad",
    ("I32", "F32"): b"\xb2",
    ("U32", "F32"): b"\xb3",
    ("I64", "F32"): b"\xb4",
    ("U64", "F32"): b"\xb5",
    ("F64", "F32"): b"\xb6",
    ("I32", "F64"): b"\xb7",
    ("U32", "F64"): b"\xb8",
    ("I64", "F64"): b"\xb9",
    ("U64", "F64"): b"\xba",
    ("F32", "F64"): b"\xbb",
    ("F32", "I32"): b"\xfc\x00",
    ("F32", "U32"): b"\xfc\x01",
    ("F64", "I32"): b"\xfc\x02",
    ("F64", "U32"): b"\xfc\x03",
    ("F32", "I64"): b"\xfc\x04",
    ("F32", "U64"): b"\xfc\x05",
    ("F64", "I64"): b"\xfc\x06",
    ("F64", "U64"): b"\xfc\x07",
}
