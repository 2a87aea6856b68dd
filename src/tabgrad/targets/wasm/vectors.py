"""Typed 128-bit vector expressions: lanes of floats and integers, masks, loads, shuffles.

Comparisons give a mask: integer lanes of the same width that are all ones or all zeros. Methods
called `relaxed_...` may differ in the last bit between machines and need the relaxed SIMD feature.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar, cast

from tabgrad.targets.wasm import encoder
from tabgrad.targets.wasm.encoder import uleb
from tabgrad.targets.wasm.values import (
    F32,
    F64,
    I32,
    I64,
    U32,
    U64,
    Number,
    Scalar,
    Value,
    access,
    address_parts,
    describe,
)

M = TypeVar("M", bound="Vector[Any, Any]")
S = TypeVar("S", bound=Scalar)
W = TypeVar("W", bound="Vector[Any, Any]")


def simd(op: int) -> bytes:
    """The bytes of a SIMD instruction."""
    return b"\xfd" + uleb(op)


class Vector(Value[M], Generic[M, S]):
    """128 bits seen as lanes; `M` is the type of its masks and `S` the type of one lane."""

    __slots__ = ()

    TYPE = encoder.V128
    LOAD = simd(0)
    STORE = simd(11)
    LANES: ClassVar[int]
    SCALAR: ClassVar[type[Any]]
    PACK: ClassVar[str]
    SPLAT: ClassVar[int]
    EXTRACT: ClassVar[int]
    REPLACE: ClassVar[int]

    # Construction

    @classmethod
    def const(cls, number: Number) -> Self:
        """The same number in every lane."""
        return cls.const_lanes([number] * cls.LANES)

    @classmethod
    def const_lanes(cls, numbers: Sequence[Number]) -> Self:
        """One number for each lane; integers are taken modulo 2**bits."""
        if len(numbers) != cls.LANES:
            raise ValueError(f"{cls.__name__} has {cls.LANES} lanes, got {len(numbers)} numbers")
        if cls.INTEGER:
            for number in numbers:
                if not isinstance(number, int):
                    raise TypeError(f"{cls.__name__} needs integer constants, got {number!r}")
            mask = (1 << (8 << cls.ALIGN)) - 1
            numbers = [int(number) & mask for number in numbers]
        return cls(simd(12) + struct.pack(f"<{cls.LANES}{cls.PACK}", *numbers))

    @classmethod
    def splat(cls, scalar: S) -> Self:
        """A scalar in every lane."""
        if not isinstance(scalar, Value) or scalar.TYPE != cls.SCALAR.TYPE:
            raise TypeError(
                f"{cls.__name__}.splat: expected {cls.SCALAR.__name__}, got {describe(scalar)}"
            )
        return cls(scalar.get() + simd(cls.SPLAT))

    @classmethod
    def load_splat(cls, address: I32 | int) -> Self:
        """One element from memory in every lane."""
        return cls(access(address, simd(7 + cls.ALIGN), cls.ALIGN))

    @classmethod
    def load_first(cls, address: I32 | int) -> Self:
        """One 32- or 64-bit element in lane 0, zeros in the others."""
        if cls.ALIGN < 2:
            raise TypeError(f"{cls.__name__} has no load_first; only 32- and 64-bit lanes do")
        return cls(access(address, simd(90 + cls.ALIGN), cls.ALIGN))

    @classmethod
    def load_half(cls, address: I32 | int) -> Self:
        """8 bytes in the low half, zeros in the high half."""
        return cls(access(address, simd(93), cls.ALIGN))

    @classmethod
    def load_widened(cls, address: I32 | int) -> Self:
        """8 bytes of half-width integers, each extended to a lane by this type's sign."""
        if not cls.INTEGER or cls.ALIGN == 0:
            raise TypeError(f"{cls.__name__} has no load_widened")
        signed = 0 if cls.__name__[0] == "I" else 1
        return cls(access(address, simd(2 * cls.ALIGN - 1 + signed), cls.ALIGN - 1))

    # Lanes

    def lane(self, index: int) -> S:
        """One lane as a scalar."""
        op = simd(self.EXTRACT) + bytes((self._lane(index),))
        return cast(S, self.SCALAR(self.get() + op))

    def with_lane(self, index: int, scalar: S | Number) -> Self:
        """The vector with one lane replaced."""
        op = simd(self.REPLACE) + bytes((self._lane(index),))
        return type(self)(self.get() + self.SCALAR.operand(scalar, "with_lane") + op)

    def load_lane(self, index: int, address: I32 | int) -> Self:
        """The vector with one lane replaced by an element from memory."""
        base, memarg = address_parts(address, self.ALIGN)
        op = simd(84 + self.ALIGN) + memarg + bytes((self._lane(index),))
        return type(self)(base + self.get() + op)

    def _lane(self, index: int) -> int:
        if not 0 <= index < self.LANES:
            raise ValueError(f"{type(self).__name__} has lanes 0..{self.LANES - 1}, got {index}")
        return index

    def shuffle(self, other: Self, lanes: Sequence[int]) -> Self:
        """Pick lanes: 0..n-1 are self's, n..2n-1 are `other`'s."""
        if len(lanes) != self.LANES or not all(0 <= i < 2 * self.LANES for i in lanes):
            raise ValueError(
                f"{type(self).__name__}.shuffle needs {self.LANES} lanes in "
                f"0..{2 * self.LANES - 1}, got {list(lanes)}"
            )
        width = 1 << self.ALIGN
        order = bytes(width * lane + byte for lane in lanes for byte in range(width))
        return type(self)(self.get() + self.operand(other, "shuffle") + simd(13) + order)

    # Bits

    def view(self, kind: type[W]) -> W:
        """The same 128 bits as other lanes."""
        if not issubclass(kind, Vector):
            raise TypeError(f"a vector can be viewed as a vector only, not as {kind.__name__}")
        return kind(self.get())

    def bits(self) -> M:
        """The same bits as signed integers of the lane width."""
        return cast(M, self.MASK(self.get()))

    def __and__(self, other: Self | Number) -> Self:
        return self._bitwise(78, other)

    def __or__(self, other: Self | Number) -> Self:
        return self._bitwise(80, other)

    def __xor__(self, other: Self | Number) -> Self:
        return self._bitwise(81, other)

    def __invert__(self) -> Self:
        return type(self)(self.get() + simd(77))

    def and_not(self, other: Self | Number) -> Self:
        """self & ~other."""
        return self._bitwise(79, other)

    def _bitwise(self, op: int, other: object) -> Self:
        return type(self)(self.get() + self.operand(other, "bitwise") + simd(op))

    def select(self, x: W, y: W | Number) -> W:
        """The bits of `x` where this mask has ones, those of `y` where it has zeros."""
        return self._select(simd(82), x, y)

    def relaxed_select(self, x: W, y: W | Number) -> W:
        """`select` for a mask whose lanes are all ones or all zeros (blend instructions)."""
        return self._select(simd(0x109 + self.ALIGN), x, y)

    def _select(self, op: bytes, x: W, y: W | Number) -> W:
        if not self.INTEGER:
            raise TypeError(f"select needs an integer mask, got {type(self).__name__}")
        if not isinstance(x, Vector):
            raise TypeError(f"select: expected vectors, got {describe(x)}")
        return type(x)(x.get() + x.operand(y, "select") + self.get() + op)

    def any_true(self) -> I32:
        """1 when any bit is set, else 0."""
        return I32(self.get() + simd(83))

    def all_true(self) -> I32:
        """1 when no lane is zero, else 0 (integers)."""
        return I32(self.get() + self._op("all_true"))

    def bitmask(self) -> I32:
        """The top bit of each lane, lane 0 lowest (integers)."""
        return I32(self.get() + self._op("bitmask"))


class _IntegerVector(Vector[M, S]):
    __slots__ = ()

    INTEGER = True

    def __lshift__(self, count: I32 | int) -> Self:
        return self._shift("shl", count)

    def __rshift__(self, count: I32 | int) -> Self:
        return self._shift("shr", count)

    def _shift(self, name: str, count: I32 | int) -> Self:
        op = self._op(name)
        return type(self)(self.get() + I32.operand(count, name) + op)

    def narrow(self, high: Self, kind: type[W]) -> W:
        """Signed lanes of self then `high`, saturated to `kind`'s half-width lanes."""
        op = self._op(f"narrow_{kind.__name__}")
        return kind(self.get() + self.operand(high, "narrow") + op)

    def _half(self, name: str, kind: type[W]) -> W:
        return kind(self.get() + self._op(f"{name}_{kind.__name__}"))

    def widen_low(self, kind: type[W]) -> W:
        """The low half of the lanes, extended to `kind`'s double-width lanes."""
        return self._half("extend_low", kind)

    def widen_high(self, kind: type[W]) -> W:
        """The high half of the lanes, extended to `kind`'s double-width lanes."""
        return self._half("extend_high", kind)

    def mul_low(self, other: Self, kind: type[W]) -> W:
        """Double-width products of the low half of the lanes."""
        op = self._op(f"extmul_low_{kind.__name__}")
        return kind(self.get() + self.operand(other, "mul_low") + op)

    def mul_high(self, other: Self, kind: type[W]) -> W:
        """Double-width products of the high half of the lanes."""
        op = self._op(f"extmul_high_{kind.__name__}")
        return kind(self.get() + self.operand(other, "mul_high") + op)

    def add_pairs(self, kind: type[W]) -> W:
        """Sums of neighbouring lanes, double width (8- and 16-bit lanes)."""
        return self._half("extadd_pairwise", kind)


class _FloatVector(Vector[M, S]):
    __slots__ = ()

    INTEGER = False

    def pmin(self, other: Self | Number) -> Self:
        """`other < self ? other : self`: one instruction; gives self when either is NaN."""
        return self._binary("pmin", other)

    def pmax(self, other: Self | Number) -> Self:
        """`self < other ? other : self`: one instruction; gives self when either is NaN."""
        return self._binary("pmax", other)

    def relaxed_min(self, other: Self | Number) -> Self:
        """The smaller; any answer when an operand is NaN or the zeros differ in sign."""
        return self._binary("relaxed_min", other)

    def relaxed_max(self, other: Self | Number) -> Self:
        """The larger; any answer when an operand is NaN or the zeros differ in sign."""
        return self._binary("relaxed_max", other)

    def relaxed_madd(self, b: Self | Number, c: Self | Number) -> Self:
        """self * b + c, fused where the machine can."""
        return self._ternary("relaxed_madd", b, c)

    def relaxed_nmadd(self, b: Self | Number, c: Self | Number) -> Self:
        """-(self * b) + c, fused where the machine can."""
        return self._ternary("relaxed_nmadd", b, c)

    def _ternary(self, name: str, b: object, c: object) -> Self:
        op = self._op(name)
        return type(self)(self.get() + self.operand(b, name) + self.operand(c, name) + op)


class I32x4(_IntegerVector["I32x4", I32]):
    """Four signed 32-bit integers, and the masks of 32-bit lanes."""

    __slots__ = ()

    def to_f32(self) -> F32x4:
        """Convert to floats, rounding to nearest."""
        return F32x4(self.get() + simd(250))

    def to_f64_low(self) -> F64x2:
        """Convert the two low lanes to 64-bit floats, exactly."""
        return F64x2(self.get() + simd(254))


class U32x4(_IntegerVector[I32x4, U32]):
    """Four unsigned 32-bit integers."""

    __slots__ = ()

    def to_f32(self) -> F32x4:
        """Convert to floats, rounding to nearest."""
        return F32x4(self.get() + simd(251))

    def to_f64_low(self) -> F64x2:
        """Convert the two low lanes to 64-bit floats, exactly."""
        return F64x2(self.get() + simd(255))


class I64x2(_IntegerVector["I64x2", I64]):
    """Two signed 64-bit integers, and the masks of 64-bit lanes."""

    __slots__ = ()


class U64x2(_IntegerVector[I64x2, U64]):
    """Two unsigned 64-bit integers (only == and != compare)."""

    __slots__ = ()


class I16x8(_IntegerVector["I16x8", I32]):
    """Eight signed 16-bit integers, and the masks of 16-bit lanes."""

    __slots__ = ()

    def dot(self, other: Self) -> I32x4:
        """Products of the lanes, added in pairs to 32 bits."""
        return I32x4(self.get() + self.operand(other, "dot") + simd(186))


class U16x8(_IntegerVector[I16x8, I32]):
    """Eight unsigned 16-bit integers."""

    __slots__ = ()


class _ByteVector(_IntegerVector[M, I32]):
    __slots__ = ()

    def swizzle(self, indices: Self) -> Self:
        """Bytes of self picked by run-time indices; 16 and above give 0."""
        return self._binary("swizzle", indices)

    def relaxed_swizzle(self, indices: Self) -> Self:
        """`swizzle` for indices below 16."""
        return self._binary("relaxed_swizzle", indices)


class I8x16(_ByteVector["I8x16"]):
    """Sixteen signed bytes, and the masks of 8-bit lanes."""

    __slots__ = ()


class U8x16(_ByteVector[I8x16]):
    """Sixteen unsigned bytes."""

    __slots__ = ()


class F32x4(_FloatVector[I32x4, F32]):
    """Four 32-bit floats."""

    __slots__ = ()

    def to_i32(self) -> I32x4:
        """Truncate to signed integers; saturates, NaN gives 0."""
        return I32x4(self.get() + simd(248))

    def to_u32(self) -> U32x4:
        """Truncate to unsigned integers; saturates, NaN gives 0."""
        return U32x4(self.get() + simd(249))

    def relaxed_to_i32(self) -> I32x4:
        """Truncate numbers known to fit."""
        return I32x4(self.get() + simd(0x101))

    def relaxed_to_u32(self) -> U32x4:
        """Truncate numbers known to fit."""
        return U32x4(self.get() + simd(0x102))

    def to_f64_low(self) -> F64x2:
        """The two low lanes as 64-bit floats."""
        return F64x2(self.get() + simd(95))


class F64x2(_FloatVector[I64x2, F64]):
    """Two 64-bit floats."""

    __slots__ = ()

    def to_f32_low(self) -> F32x4:
        """Round to 32-bit floats in the two low lanes, zeros in the others."""
        return F32x4(self.get() + simd(94))

    def to_i32_low(self) -> I32x4:
        """Truncate to signed integers (saturating) in the two low lanes, zeros in the others."""
        return I32x4(self.get() + simd(252))

    def to_u32_low(self) -> U32x4:
        """Truncate to unsigned integers (saturating) in the two low lanes, zeros in the others."""
        return U32x4(self.get() + simd(253))


def _define(
    kind: type[Any], mask: type[Any], scalar: type[Any], pack: str, splat: int, lanes: int
) -> None:
    kind.MASK, kind.SCALAR, kind.PACK, kind.OPS = mask, scalar, pack, {}
    kind.LANES, kind.ALIGN = lanes, (16 // lanes).bit_length() - 1
    kind.SPLAT = splat


def _names(first: int, names: str) -> dict[str, bytes]:
    """Consecutive opcodes; `.` skips one."""
    return {n: simd(first + i) for i, n in enumerate(names.split()) if n != "."}


def _integers(
    signed: type[Any], unsigned: type[Any], first: int, compare: int, extract: tuple[int, int, int]
) -> None:
    """Opcodes of an integer shape; every shape lays its block out alike from `abs`."""
    half = {"I16x8": "8x16", "I32x4": "16x8", "I64x2": "32x4"}.get(signed.__name__)
    for kind, s in ((signed, 0), (unsigned, 1)):
        kind.EXTRACT, kind.REPLACE = extract[s], extract[2]
        ops = _names(first, "abs neg . all_true bitmask")
        ops |= {"shl": simd(first + 11), "shr": simd(first + 12 + s)}
        ops |= {"add": simd(first + 14), "sub": simd(first + 17)}
        ops |= {"eq": simd(compare), "ne": simd(compare + 1)}
        if signed.__name__ != "I64x2":
            ops |= {
                n: simd(compare + 2 + 2 * i + s) for i, n in enumerate(("lt", "gt", "le", "ge"))
            }
        elif not s:
            ops |= _names(compare + 2, "lt gt le ge")
        if signed.__name__ == "I8x16":
            ops |= {"min": simd(118 + s), "max": simd(120 + s)}
        elif signed.__name__ != "I64x2":
            ops |= {"min": simd(first + 22 + s), "max": simd(first + 24 + s)}
        if signed.__name__ in ("I8x16", "I16x8"):
            ops |= {"add_sat": simd(first + 15 + s), "sub_sat": simd(first + 18 + s)}
        if half:
            ops["mul"] = simd(first + 21)
            for i, (prefix, target) in enumerate((("I", signed), ("U", unsigned))):
                source = LANE_TYPES[prefix + half]
                name = target.__name__
                source.OPS |= {
                    f"extend_low_{name}": simd(first + 7 + 2 * i),
                    f"extend_high_{name}": simd(first + 8 + 2 * i),
                    f"extmul_low_{name}": simd(first + 28 + 2 * i),
                    f"extmul_high_{name}": simd(first + 29 + 2 * i),
                }
        kind.OPS |= ops


LANE_TYPES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (I8x16, U8x16, I16x8, U16x8, I32x4, U32x4, I64x2, U64x2, F32x4, F64x2)
}

_define(I8x16, I8x16, I32, "B", 15, 16)
_define(U8x16, I8x16, I32, "B", 15, 16)
_define(I16x8, I16x8, I32, "H", 16, 8)
_define(U16x8, I16x8, I32, "H", 16, 8)
_define(I32x4, I32x4, I32, "I", 17, 4)
_define(U32x4, I32x4, U32, "I", 17, 4)
_define(I64x2, I64x2, I64, "Q", 18, 2)
_define(U64x2, I64x2, U64, "Q", 18, 2)
_define(F32x4, I32x4, F32, "f", 19, 4)
_define(F64x2, I64x2, F64, "d", 20, 2)

_integers(I8x16, U8x16, 96, 35, (21, 22, 23))
_integers(I16x8, U16x8, 128, 45, (24, 25, 26))
_integers(I32x4, U32x4, 160, 55, (27, 27, 28))
_integers(I64x2, U64x2, 192, 214, (29, 29, 30))

I16x8.OPS |= {"narrow_I8x16": simd(101), "narrow_U8x16": simd(102)}
I32x4.OPS |= {"narrow_I16x8": simd(133), "narrow_U16x8": simd(134)}
I8x16.OPS |= {"extadd_pairwise_I16x8": simd(124), "popcnt": simd(98)}
U8x16.OPS |= {"extadd_pairwise_U16x8": simd(125), "popcnt": simd(98)}
I16x8.OPS |= {"extadd_pairwise_I32x4": simd(126)}
U16x8.OPS |= {"extadd_pairwise_U32x4": simd(127)}
for _bytes in (I8x16, U8x16):
    _bytes.OPS |= {"swizzle": simd(14), "relaxed_swizzle": simd(0x100)}

F32x4.EXTRACT, F32x4.REPLACE = 31, 32
F32x4.OPS = (
    _names(65, "eq ne lt gt le ge")
    | _names(103, "ceil floor trunc nearest")
    | _names(224, "abs neg . sqrt add sub mul div min max pmin pmax")
    | _names(0x105, "relaxed_madd relaxed_nmadd")
    | _names(0x10D, "relaxed_min relaxed_max")
)
F64x2.EXTRACT, F64x2.REPLACE = 33, 34
F64x2.OPS = (
    _names(71, "eq ne lt gt le ge")
    | {"ceil": simd(116), "floor": simd(117), "trunc": simd(122), "nearest": simd(148)}
    | _names(236, "abs neg . sqrt add sub mul div min max pmin pmax")
    | _names(0x107, "relaxed_madd relaxed_nmadd")
    | _names(0x10F, "relaxed_min relaxed_max")
)
