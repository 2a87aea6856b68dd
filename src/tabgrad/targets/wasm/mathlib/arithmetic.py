"""What the math library is built from, and the simple float functions: sign, casts, division."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from tabgrad.targets.coefficients import DOUBLE, SINGLE, Precision
from tabgrad.targets.wasm.builder import F32x4, F64x2, Function, I32x4, I64x2, U32x4, Vector
from tabgrad.targets.wasm.values import Number

F = TypeVar("F", F32x4, F64x2)
X = TypeVar("X", bound=Vector[Any, Any])

SIGN = SINGLE.sign


def precision_of(x: F32x4 | F64x2 | type[F32x4 | F64x2]) -> Precision:
    """The precision of some lanes, or of a type of lanes."""
    return SINGLE if isinstance(x, F32x4) or x is F32x4 else DOUBLE


def multiply_add(a: F, b: F | Number, c: F | Number, fma: bool) -> F:
    """a * b + c."""
    return a.relaxed_madd(b, c) if fma else a * b + c


def choose(mask: Vector[Any, Any], x: X, y: X | Number, fma: bool) -> X:
    """`x` where the lanes of the mask are all ones, `y` where they are zero."""
    return mask.relaxed_select(x, y) if fma else mask.select(x, y)


def horner(x: F, coefficients: Sequence[float], fma: bool) -> F:
    """The polynomial with these coefficients, highest power first, at the local `x`."""
    total = type(x).const(coefficients[0])
    for coefficient in coefficients[1:]:
        total = multiply_add(total, x, coefficient, fma)
    return total


def halves(f: Function, x: F32x4) -> tuple[F64x2, F64x2]:
    """The four lanes of the local `x` as 64-bit floats."""
    return f.let(x.to_f64_low()), f.let(x.shuffle(x, (2, 3, 2, 3)).to_f64_low())


def join(low: F64x2, high: F64x2) -> F32x4:
    """Four lanes from two pairs of 64-bit floats, rounded once."""
    return low.to_f32_low().shuffle(high.to_f32_low(), (0, 1, 4, 5))


def with_sign_of(magnitude: F, x: F) -> F:
    """`magnitude`, whose sign bits are 0, with the sign bits of `x`."""
    bits: Vector[Any, Any] = magnitude.bits() | x.bits() & precision_of(x).sign
    return bits.view(type(x))


def sign(f: Function, x: F) -> F:
    """-1, 0 or 1; 0 for both zeros, NaN for NaN."""
    one, kind = precision_of(x).one_bits, type(x)
    with f.scope() as scope:
        x = f.once(x)
        value = ((x > 0.0) & one).view(kind) - ((x < 0.0) & one).view(kind)
        return scope.keep((value.bits() | (x != x)).view(kind))


def maximum(f: Function, x: F, y: F) -> F:
    """The larger; NaN when either is NaN."""
    return f.let(x.max(y))


def minimum(f: Function, x: F, y: F) -> F:
    """The smaller; NaN when either is NaN."""
    return f.let(x.min(y))


def to_integer(f: Function, x: F32x4, bits: int, signed: bool) -> I32x4 | U32x4:
    """Truncate to integers of up to 32 bits in 32-bit lanes; saturates, NaN gives 0."""
    if not 1 <= bits <= 32:
        raise ValueError(f"to_integer: expected 1 to 32 bits, got {bits}")
    if bits < 32:
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        x = x.pmax(low).pmin(high) if bits <= 24 else x
        if bits > 24:
            # A float32 cannot hold the limits: saturate the integers instead.
            if signed:
                return f.let(x.to_i32().max(low).min(high))
            return f.let(x.to_u32().min(high))
    return f.let(x.to_i32()) if signed else f.let(x.to_u32())


def floor_divide(f: Function, x: F32x4, y: F32x4) -> F32x4:
    """floor(x / y) of the exact quotient; x / 0 as in a division; NaN for an infinite x."""
    with f.scope() as scope:
        x, y = f.once(x), f.once(y)
        quotients = [a / b for a, b in zip(halves(f, x), halves(f, y), strict=True)]
        floor = f.let(join(*[q.floor() for q in quotients]))
        # A finite x over infinity is -0.0 where Python and NumPy have -1.
        below = (abs(y) == float("inf")) & ((x < 0.0) & (y > 0.0) | (x > 0.0) & (y < 0.0))
        floor.set(floor - (below & F32x4.const(1.0).bits()).view(F32x4))
        return scope.keep(floor - (x - x))


# A quotient below this times a 24-bit divisor is exact in 64-bit floats.
EXACT_QUOTIENT = float(1 << 28)
# Keeps the sign, the exponent and the top 27 bits of the fraction of a 64-bit float.
TOP_BITS = -(1 << 25)


def floor_mod(f: Function, x: F32x4, y: F32x4) -> F32x4:
    """The exact x - floor(x / y) * y with the sign of y, as NumPy; NaN for y 0 or x infinite."""
    with f.scope() as scope:
        x, y = f.once(x), f.once(y)
        parts = []
        for a, b in zip(halves(f, x), halves(f, y), strict=True):
            quotient = f.let(a / b)
            wide = _too_wide(quotient)
            with f.while_(wide.any_true()):
                # Take off the leading bits of the quotient, in lanes where it has too many.
                part = (quotient.bits() & TOP_BITS & _too_wide(quotient)).view(F64x2)
                a.set(a - part * b)
                quotient.set(a / b)
            parts.append(f.let(a - quotient.trunc() * b))
        rest = f.let(join(*parts))
        short = (abs(y) == float("inf")) & (abs(x) < float("inf"))
        rest.set(short.select(x, rest))
        wrong = ((rest.bits() ^ y.bits()) >> 31) & (rest != 0.0)
        rest.set(rest + (wrong & y.bits()).view(F32x4))
        zero = (y.bits() & SIGN).view(F32x4)
        return scope.keep((rest == 0.0).select(zero, rest))


def _too_wide(quotient: F64x2) -> I64x2:
    size = abs(quotient)
    return (size >= EXACT_QUOTIENT) & (size < float("inf"))
