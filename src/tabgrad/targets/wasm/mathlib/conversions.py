"""Casts between 32-bit and 64-bit lanes, which come two at a time, and what SIMD has no instruction
for on 64-bit integers: conversions from and to floats, division and what is made of it, order of
unsigned numbers.

32-bit operands and results are in the low two lanes of their vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tabgrad.targets.wasm.builder import (
    F32,
    I64,
    U64,
    F32x4,
    F64x2,
    Function,
    I32x4,
    I64x2,
    U32x4,
    U64x2,
    Vector,
)

N = TypeVar("N", I64x2, U64x2)

TOP = -1 << 63  # the sign bit of a 64-bit lane


def lanewise(
    f: Function, kind: type[Any], function: Callable[..., Any], *operands: Vector[Any, Any]
) -> Any:
    """`function` of the scalars in the low two lanes, as lanes of `kind`."""
    with f.scope() as scope:
        operands = tuple([f.once(x) for x in operands])
        result = f.let(kind.splat(function(*[x.lane(0) for x in operands])))
        result.set(result.with_lane(1, function(*[x.lane(1) for x in operands])))
        return scope.keep(result)


def narrow(f: Function, x: I64x2 | U64x2) -> I32x4:
    """The low words."""
    words = f.once(x).view(I32x4)
    return words.shuffle(words, (0, 2, 0, 2))


def widen(x: I32x4 | U32x4) -> I64x2:
    """Integers of 64 bits: extended by sign, or with zeros where they have none."""
    return x.widen_low(U64x2).view(I64x2) if isinstance(x, U32x4) else x.widen_low(I64x2)


def integer_to_single(f: Function, x: I64x2 | U64x2) -> F32x4:
    """The nearest 32-bit floats, rounded once."""
    return lanewise(f, F32x4, lambda lane: lane.to(F32), x)  # type: ignore[no-any-return]


def double_to_integer(f: Function, x: F64x2, bits: int, signed: bool) -> I32x4 | U32x4:
    """Truncate to integers of up to 32 bits in 32-bit lanes; saturates, NaN gives 0."""
    if bits < 32:
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        x = x.pmax(low).pmin(high)
    return f.let(x.to_i32_low()) if signed else f.let(x.to_u32_low())


def less(x: Any, y: Any) -> Any:
    """The mask of x < y, of any lanes; x and y are locals or constants."""
    if isinstance(x, U64x2):
        return (x ^ TOP).view(I64x2) < (y ^ TOP).view(I64x2)
    return x < y


def greater(x: Any, y: Any) -> Any:
    """The mask of x > y, of any lanes; x and y are locals or constants."""
    if isinstance(x, U64x2):
        return (x ^ TOP).view(I64x2) > (y ^ TOP).view(I64x2)
    return x > y


def less_equal(x: Any, y: Any) -> Any:
    """The mask of x <= y, of any lanes; x and y are locals or constants."""
    if isinstance(x, U64x2):
        return (x ^ TOP).view(I64x2) <= (y ^ TOP).view(I64x2)
    return x <= y


def long_maximum(f: Function, x: N, y: N) -> N:
    """The larger."""
    with f.scope() as scope:
        x, y = f.once(x), f.once(y)
        return scope.keep(less(x, y).select(y, x))  # type: ignore[no-any-return]


def long_minimum(f: Function, x: N, y: N) -> N:
    """The smaller."""
    with f.scope() as scope:
        x, y = f.once(x), f.once(y)
        return scope.keep(less(x, y).select(x, y))  # type: ignore[no-any-return]


def long_floor_divide(f: Function, x: N, y: N) -> N:
    """floor(x / y), wrapped to 64 bits; 0 where y is 0."""

    def quotient(a: Any, b: Any) -> Any:
        divisor = _safe(f, b)
        q, r = f.let(a.div(divisor)), f.let(a.rem(divisor))
        if isinstance(a, I64):
            q.set(q - _round_down(q, r, b))
            q.set((b == -1).select(0 - a, q))
        return f.let((b == 0).select(type(a).const(0), q))

    return lanewise(f, type(x), quotient, x, y)  # type: ignore[no-any-return]


def long_mod(f: Function, x: N, y: N) -> N:
    """x - floor(x / y) * y, which has the sign of y; 0 where y is 0."""

    def rest(a: Any, b: Any) -> Any:
        divisor = _safe(f, b)
        r = f.let(a.rem(divisor))
        if isinstance(a, I64):
            wrong = f.let(((r ^ b) < 0) & (r != 0))
            r.set(r + wrong.select(b, 0))
        return f.let(((b == 0) | (b == -1)).select(type(a).const(0), r))

    def unsigned(a: Any, b: Any) -> Any:
        return f.let((b == 0).select(type(a).const(0), a.rem(_safe(f, b))))

    kind = type(x)
    return lanewise(f, kind, rest if kind is I64x2 else unsigned, x, y)  # type: ignore[no-any-return]


def long_gcd(f: Function, x: N, y: N) -> N:
    """The greatest common divisor, not negative but where it wraps; that of 0 and 0 is 0."""

    def divisor(a: U64, b: U64) -> U64:
        found, rest = f.let(a), f.let(b)
        with f.while_(rest != 0):
            after = f.let(found.rem(rest))
            found.set(rest)
            rest.set(after)
        return found

    with f.scope() as scope:
        sizes = [abs(v).view(U64x2) if isinstance(v, I64x2) else v for v in (x, y)]
        return scope.keep(lanewise(f, U64x2, divisor, *sizes).view(type(x)))  # type: ignore[no-any-return]


def _safe(f: Function, b: Any) -> Any:
    """The divisor, or 1 where dividing by it would trap."""
    traps = (b == 0) | (b == -1) if isinstance(b, I64) else b == 0
    return f.let(traps.select(type(b).const(1), b))


def _round_down(q: Any, r: Any, b: Any) -> Any:
    """1 where a quotient rounded towards zero lies above the exact one."""
    return (((r ^ b) < 0) & (r != 0)).to(I64)
