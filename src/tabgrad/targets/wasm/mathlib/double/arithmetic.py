"""What of 64-bit floats is not as with 32-bit ones: casts, exact division with remainder."""

from __future__ import annotations

from typing import Any

from tabgrad.targets.coefficients import DOUBLE
from tabgrad.targets.wasm.builder import F64, I32, I64, U64, F64x2, Function, I64x2, U64x2

# Times this, less the surplus, a float is rounded to 26 bits.
SPLITTER = float((1 << 27) + 1)


def product_error(f: Function, x: F64x2, y: F64x2, product: F64x2) -> F64x2:
    """x * y - product, exactly, of locals whose products are in range (Dekker 1971).

    In plain arithmetic, since a relaxed multiply-add need not fuse.
    """
    with f.scope() as scope:
        large, other = f.let(x * SPLITTER), f.let(y * SPLITTER)
        x_high, y_high = f.let(large - (large - x)), f.let(other - (other - y))
        x_low, y_low = f.let(x - x_high), f.let(y - y_high)
        error = x_high * y_high - product + x_high * y_low + x_low * y_high + x_low * y_low
        return scope.keep(error)


_INTEGERS: dict[bool, tuple[Any, Any]] = {True: (I64x2, I64), False: (U64x2, U64)}


def to_integer(f: Function, x: F64x2, bits: int, signed: bool) -> I64x2 | U64x2:
    """Truncate to integers of up to 64 bits in 64-bit lanes; saturates, NaN gives 0."""
    if not 1 <= bits <= 64:
        raise ValueError(f"to_integer: expected 1 to 64 bits, got {bits}")
    kind, scalar = _INTEGERS[signed]
    with f.scope() as scope:
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        if bits <= 32:
            # pmax and pmin keep a NaN that is their first operand; the conversion makes it 0.
            inside = x.pmax(float(low)).pmin(float(high))
            if signed:
                return scope.keep(inside.to_i32_low().widen_low(I64x2))
            return scope.keep(inside.to_u32_low().widen_low(U64x2))
        # No instruction converts lanes of this width. A float64 cannot hold every limit: saturate
        # the integers instead.
        x = f.once(x)
        result = f.let(kind.const(0))
        for lane in range(2):
            number = f.let(x.lane(lane).to(scalar))
            if bits < 64:
                number.set((number > high).select(scalar.const(high), number))
                if signed:
                    number.set((number < low).select(scalar.const(low), number))
            result.set(result.with_lane(lane, number))
        integers: I64x2 | U64x2 = scope.keep(result)
        return integers


# Floats whose last place is worth 1 and 2**32: their low words hold an integer as it is.
UNITS, UNITS_BITS = float(1 << 52), 0x4330000000000000
HIGH_UNITS, HIGH_UNITS_BITS = float(1 << 84), 0x4530000000000000


def from_integer(f: Function, x: I64x2 | U64x2) -> F64x2:
    """The nearest floats to 64-bit integers."""
    with f.scope() as scope:
        signed = isinstance(x, I64x2)
        words = f.let(x.view(U64x2))
        low = (words & 0xFFFFFFFF | UNITS_BITS).view(F64x2)
        # A signed high word is read as unsigned, 2**31 too large.
        flip = HIGH_UNITS_BITS ^ (1 << 31 if signed else 0)
        high = (words >> 32 ^ flip).view(F64x2)
        bias = HIGH_UNITS + UNITS + (float(1 << 63) if signed else 0.0)
        return scope.keep((high - bias) + low)


def floor_divide(f: Function, x: F64x2, y: F64x2) -> F64x2:
    """floor(x / y) of the exact quotient below 2**53, else the nearest float to the quotient.

    x / 0 as in a division; NaN for an infinite x.
    """
    with f.scope() as scope:
        x, y = f.once(x), f.once(y)
        quotient = f.let(x / y)
        floor = f.let(quotient.floor())
        # A quotient that was rounded to an integer may have been below it: the remainder's sign
        # tells. Both operands are brought where its products are exact.
        size = f.let(abs(y))
        unit = F64x2.const(1.0)
        shrink = (size > 2.0**900).select(F64x2.const(2.0**-200), unit)
        scale = f.let((size < 2.0**-500).select(F64x2.const(2.0**600), shrink))
        y_scaled = f.let(y * scale)
        product = f.let(floor * y_scaled)
        error = product_error(f, floor, y_scaled, product)
        rest = f.let(x * scale - product - error)
        rest.set((floor == 0.0).select(x, rest))
        below = (rest < 0.0) & (y > 0.0) | (rest > 0.0) & (y < 0.0)
        whole = (floor == quotient) & (abs(floor) < UNITS * 2)
        floor.set(floor - (whole & below & DOUBLE.one_bits).view(F64x2))
        return scope.keep(floor - (x - x))


def floor_mod(f: Function, x: F64x2, y: F64x2) -> F64x2:
    """The exact x - floor(x / y) * y with the sign of y, as NumPy; NaN for y 0 or x infinite."""
    assert f.module is not None, "floor_mod needs a function that belongs to a module"
    remainder = f.module.helper("remainder_float64", [F64, F64], [F64], _write_remainder)
    with f.scope() as scope:
        x, y = f.once(x), f.once(y)
        rest = f.let(x)
        for lane in range(2):
            rest.set(rest.with_lane(lane, f.call(remainder, x.lane(lane), y.lane(lane))))
        wrong = f.let(((rest.bits() ^ y.bits()) >> 63) & (rest != 0.0))
        rest.set(wrong.select(rest + y, rest))
        zero = (y.bits() & DOUBLE.sign).view(F64x2)
        return scope.keep((rest == 0.0).select(zero, rest))


def _write_remainder(f: Function) -> None:
    """The exact remainder of x by y with the sign of x, by long division of the significands.

    A significand has 53 bits, so 11 more can be brought down at each step.
    """
    x, y = f.params
    with f.if_(abs(x) < abs(y)):
        f.return_(x)
    dividend, divisor = f.let(abs(x).view(U64)), f.let(abs(y).view(U64))
    broken = (dividend >= DOUBLE.infinity_bits) | (divisor > DOUBLE.infinity_bits) | (divisor == 0)
    with f.if_(broken):
        f.return_(float("nan"))
    rest, top = _significand(f, dividend)
    unit, bottom = _significand(f, divisor)
    rest.set(rest.rem(unit))
    steps = f.let(top - bottom)
    with f.while_(steps > 0):
        count = f.let((steps < 11).select(steps, 11))
        rest.set((rest << count.to(U64)).rem(unit))
        steps.set(steps - count)
    f.return_(_scaled(f, rest, bottom).copysign(x))


def _significand(f: Function, bits: U64) -> tuple[U64, I32]:
    """The integer m and the exponent e >= 1 of m * 2**(e - 1075), the positive float's value."""
    exponent = f.let((bits >> 52).to(I32))
    normal = f.let(exponent != 0)
    implicit = normal.to(U64) << 52
    return f.let(bits & DOUBLE.fraction_bits | implicit), f.let(normal.select(exponent, 1))


def _scaled(f: Function, m: U64, exponent: I32) -> F64:
    """m * 2**(exponent - 1075), exactly: in two steps, of which both are powers of two."""
    half = f.let(exponent >> 1)
    factors = (half, exponent - half)
    first, second = (((k + 1023 - 537 - i).to(U64) << 52).view(F64) for i, k in enumerate(factors))
    return m.to(F64) * first * second
