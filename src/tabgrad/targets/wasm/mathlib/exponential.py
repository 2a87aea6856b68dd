"""exp, log and the functions made of them: expm1, log1p, tanh, sigmoid, erf."""

from __future__ import annotations

from tabgrad.targets.wasm.builder import F32x4, Function, I32x4
from tabgrad.targets.wasm.mathlib.arithmetic import (
    SIGN,
    choose,
    horner,
    multiply_add,
    with_sign_of,
)

INFINITY = float("inf")

# Adding it to a float of magnitude below 2**22 rounds that to an integer, and leaves the integer in
# the low bits of the sum.
ROUND = 12582912.0

LOG2_E = 1.4426950408889634
# Few enough bits that a product with an exponent is exact; the two add up to log(2).
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4

# (exp(r) - 1 - r) / r**2, |r| <= log(2) / 2, degree 4, error 2**-25.8 relative to expm1(r)
EXP_TAIL = (0.0013882512, 0.00836658, 0.0416672, 0.16666543, 0.49999997)

# 2**r, |r| <= 0.5, degree 6, error 2**-25.9 relative
EXP2 = (
    0.00015345815, 0.0013399931, 0.009618489, 0.055503286, 0.24022646, 0.6931472, 1.0,
)  # fmt: skip

# (log(1 + r) - r + r**2 / 2) / r**3, r in [sqrt(1/2) - 1, sqrt(2) - 1], degree 8, error 2**-28.1
# relative to log(1 + r)
LOG_TAIL = (
    0.06746611, -0.11675619, 0.118881576, -0.124055944, 0.14219554, -0.16667995, 0.20002119,
    -0.2500001, 0.33333313,
)  # fmt: skip

# erf(x) / x - 1 in x**2, x in [0, 0.921875], degree 6, error 2**-26.5 relative to erf(x)
ERF_SPLIT = 0.921875
ERF_SMALL = (
    8.3700994e-05, -0.0008142704, 0.0052010324, -0.026859399, 0.11283696, -0.37612635, 0.12837917,
)  # fmt: skip

# log2(erfc(x)), x in [0.921875, 4], degree 7, error 2**-27.6 relative to erf(x)
LOG2_ERFC = (
    -3.04677e-05, 0.0006271898, -0.006019475, 0.036244683, -0.1562229, -0.9137194, -1.629549,
    0.00025274043,
)  # fmt: skip

SQRT_HALF_BITS = 0x3F3504F3
ONE_BITS = 0x3F800000
EXPONENT_BITS = -0x800000
FRACTION_BITS = 0x7FFFFF


def exp(f: Function, x: F32x4, fma: bool) -> F32x4:
    """e**x, with gradual underflow."""
    with f.scope() as scope:
        # pmax and pmin keep a NaN that is their first operand. The limits overflow and underflow.
        return scope.keep(_exp(f, x.pmax(-104.0).pmin(89.0), fma))


def _exp(f: Function, x: F32x4, fma: bool) -> F32x4:
    x = f.let(x)
    power, n = _split(f, x, LOG2_E, 254, fma)
    r = f.let(multiply_add(n, -LN2_LOW, multiply_add(n, -LN2_HIGH, x, fma), fma))
    return _scale(f, horner(r, (*EXP_TAIL, 1.0, 1.0), fma), power)


def _split(f: Function, x: F32x4, factor: float, bias: int, fma: bool) -> tuple[I32x4, F32x4]:
    """n = round(x * factor) as a float, and as bits whose low part is n + bias."""
    rounded = f.let(multiply_add(x, factor, ROUND + bias, fma))
    return rounded.bits(), f.let(rounded - (ROUND + bias))


def _scale(f: Function, x: F32x4, power: I32x4) -> F32x4:
    """x * 2**n for `power` of bias 254: in two steps, so that only the last one rounds."""
    half = f.let(power >> 1)
    return x * (half << 23).view(F32x4) * ((power - half) << 23).view(F32x4)


def _expm1(f: Function, x: F32x4, bias: int, fma: bool) -> tuple[F32x4, F32x4, F32x4]:
    """2**(n + bias - 127), r and low: expm1(x) is 2**n - 1 + 2**n * (r + low)."""
    power, n = _split(f, x, LOG2_E, bias, fma)
    high = f.let(multiply_add(n, -LN2_HIGH, x, fma))
    correction = f.let(n * LN2_LOW)
    r = f.let(high - correction)
    lost = (high - r) - correction
    low = f.let(multiply_add(r * r, horner(r, EXP_TAIL, fma), lost, fma))
    return f.let((power << 23).view(F32x4)), r, low


def expm1(f: Function, x: F32x4, fma: bool) -> F32x4:
    """e**x - 1, accurate near 0."""
    with f.scope() as scope:
        x = f.once(x)
        inside = f.let(x.pmax(-17.5).pmin(89.0))
        # Half the result, because the full power of two overflows before the result does.
        s, r, low = _expm1(f, inside, 126, fma)
        y = multiply_add(s, low, multiply_add(s, r, s - 0.5, fma), fma)
        return scope.keep(choose(abs(x) < 2.0**-25, x, y * 2.0, fma))


def tanh(f: Function, x: F32x4, fma: bool) -> F32x4:
    """The hyperbolic tangent: -e / (e + 2) where e = expm1(-2 |x|)."""
    with f.scope() as scope:
        x = f.once(x)
        inside = f.let((abs(x) * -2.0).pmax(-18.5))
        s, r, low = _expm1(f, inside, 127, fma)
        e = f.let(multiply_add(s, low, multiply_add(s, r, s - 1.0, fma), fma))
        return scope.keep(I32x4.const(SIGN).select(x, e / (e + 2.0)))


def sigmoid(f: Function, x: F32x4, fma: bool) -> F32x4:
    """1 / (1 + e**-x), with gradual underflow."""
    with f.scope() as scope:
        x = f.once(x)
        negative = (x.bits() | SIGN).view(F32x4)
        e = f.let(_exp(f, negative.pmax(-104.0), fma))
        one = F32x4.const(1.0)
        return scope.keep(choose(x >= 0.0, one, e, fma) / (e + 1.0))


def split_exponent(f: Function, x: F32x4) -> tuple[F32x4, F32x4]:
    """m and e of the positive local x = m * 2**e, m in [sqrt(1/2), sqrt(2)); subnormals too."""
    small = f.let(x < 2.0**-126)
    normal = small.select(x * 2.0**25, x)
    bits = f.let(normal.bits() - SQRT_HALF_BITS)
    exponent = (bits >> 23) - (small & 25)
    return _mantissa(f, bits), f.let(exponent.to_f32())


def _mantissa(f: Function, bits: I32x4) -> F32x4:
    return f.let(((bits & FRACTION_BITS) + SQRT_HALF_BITS).view(F32x4))


def _log_of(f: Function, r: F32x4, exponent: F32x4, fma: bool) -> F32x4:
    """log((1 + r) * 2**exponent)."""
    square = f.let(r * r)
    y = r * square * horner(r, LOG_TAIL, fma)
    y = multiply_add(exponent, LN2_LOW, y, fma)
    y = multiply_add(square, -0.5, y, fma)
    return f.let(multiply_add(exponent, LN2_HIGH, r + y, fma))


def log(f: Function, x: F32x4, fma: bool) -> F32x4:
    """The natural logarithm: -inf for zeros, NaN below."""
    with f.scope() as scope:
        x = f.once(x)
        m, exponent = split_exponent(f, x)
        y = _log_of(f, f.let(m - 1.0), exponent, fma)
        y = choose(x < INFINITY, y, x, fma)
        y = choose(x == 0.0, F32x4.const(-INFINITY), y, fma)
        return scope.keep((y.bits() | (x < 0.0)).view(F32x4))


def log1p(f: Function, x: F32x4, fma: bool) -> F32x4:
    """log(1 + x), accurate near 0: -inf for -1, NaN below."""
    with f.scope() as scope:
        x = f.once(x)
        u = f.let(x + 1.0)
        back = f.let(u - 1.0)
        lost = (1.0 - (u - back)) + (x - back)  # x + 1 is exactly u + lost
        bits = f.let(u.bits() - SQRT_HALF_BITS)
        exponent = (bits >> 23).to_f32()
        # 2**-exponent; limited where it would not be normal, and `lost` does not matter.
        shrink = (ONE_BITS - (bits & EXPONENT_BITS).min(126 << 23)).view(F32x4)
        r = multiply_add(lost, shrink, _mantissa(f, bits) - 1.0, fma)
        y = _log_of(f, f.let(r), f.let(exponent), fma)
        y = choose(x < INFINITY, y, x, fma)
        y = choose(x == -1.0, F32x4.const(-INFINITY), y, fma)
        # The sign of the result is that of x; this matters for -0.
        return scope.keep((y.bits() | (x < -1.0) | x.bits() & SIGN).view(F32x4))


def erf(f: Function, x: F32x4, fma: bool) -> F32x4:
    """The error function: x * polynomial near 0, 1 - 2**polynomial beyond."""
    with f.scope() as scope:
        x = f.once(x)
        size = f.let(abs(x))
        square = f.let(size * size)
        small = f.let(multiply_add(horner(square, ERF_SMALL, fma), size, size, fma))
        inside = f.let(size.pmin(4.0))
        t = f.let(horner(inside, LOG2_ERFC, fma))
        power, n = _split(f, t, 1.0, 127, fma)
        erfc = horner(f.let(t - n), EXP2, fma) * (power << 23).view(F32x4)
        y = choose(size < ERF_SPLIT, small, 1.0 - erfc, fma)
        return scope.keep(with_sign_of(y, x))
