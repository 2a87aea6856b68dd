"""exp, log and the functions made of them, for either width: expm1, log1p, tanh, sigmoid, erf."""

from __future__ import annotations

from typing import Any

from tabgrad.targets.coefficients import LOG2_E, SINGLE
from tabgrad.targets.wasm.builder import Function, I32x4
from tabgrad.targets.wasm.mathlib.arithmetic import (
    F,
    choose,
    horner,
    multiply_add,
    precision_of,
    with_sign_of,
)

Words = Any  # I32x4 or I64x2, as wide as the floats

INFINITY = float("inf")


def exp(f: Function, x: F, fma: bool) -> F:
    """e**x, with gradual underflow."""
    p = precision_of(x)
    # pmax and pmin keep a NaN that is their first operand. The limits overflow and underflow.
    inside = x.pmax(p.underflow).pmin(p.overflow)
    with f.scope() as scope:
        return scope.keep(_exp(f, inside, fma))


def _exp(f: Function, x: F, fma: bool) -> F:
    p = precision_of(x)
    x = f.let(x)
    power, n = split(f, x, LOG2_E, 2 * p.bias, fma)
    r = f.let(multiply_add(n, -p.ln2_low, multiply_add(n, -p.ln2_high, x, fma), fma))
    return scale(f, horner(r, p.exp_series, fma), power)


def falling_exp(f: Function, x: F, fma: bool) -> F:
    """e**x for x that is never above 0: the same bits as `exp`, in fewer instructions."""
    with f.scope() as scope:
        return scope.keep(_falling_exp(f, x.pmax(precision_of(x).underflow), fma))


def _falling_exp(f: Function, x: F, fma: bool) -> F:
    p = precision_of(x)
    x = f.let(x)
    # Times 2**lift nothing underflows before the last step, which rounds, and nothing overflows.
    lift = p.bias // 2 + 1
    power, n = split(f, x, LOG2_E, p.bias + lift, fma)
    r = f.let(multiply_add(n, -p.ln2_low, multiply_add(n, -p.ln2_high, x, fma), fma))
    # The series in units of 2**-lift, which rounds alike and saves the product by it.
    series = [coefficient * 2.0**-lift for coefficient in p.exp_series]
    return horner(r, series, fma) * _power_of_two(power, type(x))


def split(f: Function, x: F, factor: float, bias: int, fma: bool) -> tuple[Words, F]:
    """n = round(x * factor) as a float, and as bits whose low part is n + bias."""
    magic = precision_of(x).round + bias
    rounded = f.let(multiply_add(x, factor, magic, fma))
    return rounded.bits(), f.let(rounded - magic)


def scale(f: Function, x: F, power: Words) -> F:
    """x * 2**n for `power` of twice the bias: in two steps, so that only the last one rounds."""
    half = f.let(power >> 1)
    first, second = (_power_of_two(part, type(x)) for part in (half, power - half))
    return x * first * second


def _power_of_two(power: Words, kind: type[F]) -> F:
    """2**n, for bits whose low part is n plus the bias."""
    return kind((power << precision_of(kind).fraction).get())


def _expm1(f: Function, x: F, bias: int, fma: bool) -> tuple[F, F, F]:
    """s, r and low: expm1(x) is 2**n - 1 + 2**n * (r + low), and s is 2**n for the full bias."""
    p = precision_of(x)
    power, n = split(f, x, LOG2_E, bias, fma)
    high = f.let(multiply_add(n, -p.ln2_high, x, fma))
    correction = f.let(n * p.ln2_low)
    r = f.let(high - correction)
    lost = (high - r) - correction
    low = f.let(multiply_add(r * r, horner(r, p.exp_tail, fma), lost, fma))
    return f.let(_power_of_two(power, type(x))), r, low


def expm1(f: Function, x: F, fma: bool) -> F:
    """e**x - 1, accurate near 0."""
    p = precision_of(x)
    with f.scope() as scope:
        x = f.once(x)
        inside = f.let(x.pmax(p.expm1_low).pmin(p.overflow))
        # Half the result, because the full power of two overflows before the result does.
        s, r, low = _expm1(f, inside, p.bias - 1, fma)
        y = multiply_add(s, low, multiply_add(s, r, s - 0.5, fma), fma)
        return scope.keep(choose(abs(x) < 2.0 ** -(p.fraction + 2), x, y * 2.0, fma))


def tanh(f: Function, x: F, fma: bool) -> F:
    """The hyperbolic tangent: -e / (e + 2) where e = expm1(-2 |x|)."""
    p = precision_of(x)
    with f.scope() as scope:
        x = f.once(x)
        inside = f.let((abs(x) * -2.0).pmax(p.expm1_low - 1))
        s, r, low = _expm1(f, inside, p.bias, fma)
        e = f.let(multiply_add(s, low, multiply_add(s, r, s - 1.0, fma), fma))
        result: F = x.MASK.const(p.sign).select(x, e / (e + 2.0))
        return scope.keep(result)


def sigmoid(f: Function, x: F, fma: bool) -> F:
    """1 / (1 + e**-x), with gradual underflow."""
    p = precision_of(x)
    with f.scope() as scope:
        x = f.once(x)
        negative = (x.bits() | p.sign).view(type(x))
        e = f.let(_falling_exp(f, negative.pmax(p.underflow), fma))
        one = type(x).const(1.0)
        return scope.keep(choose(x >= 0.0, one, e, fma) / (e + 1.0))


def split_exponent(f: Function, x: F) -> tuple[F, F]:
    """m and e of the positive local x = m * 2**e, m in [sqrt(1/2), sqrt(2)); subnormals too."""
    p = precision_of(x)
    small: Words = f.let(x < p.normal)
    normal: F = small.select(x * 2.0**p.lift, x)
    bits: Words = f.let(normal.bits() - p.sqrt_half_bits)
    exponent = (bits >> p.fraction) - (small & p.lift)
    return _mantissa(f, bits, type(x)), f.let(_to_float(exponent, type(x)))


def _mantissa(f: Function, bits: Words, kind: type[F]) -> F:
    p = precision_of(kind)
    return f.let(kind(((bits & p.fraction_bits) + p.sqrt_half_bits).get()))


def _to_float(n: Words, kind: type[F]) -> F:
    """Integers that are small enough for `Precision.round`."""
    if isinstance(n, I32x4):
        return kind(n.to_f32().get())
    p = precision_of(kind)
    magic = kind.const(p.round).bits()
    return kind((n + magic).get()) - p.round


def _log_of(f: Function, r: F, exponent: F, fma: bool) -> F:
    """log((1 + r) * 2**exponent)."""
    p = precision_of(r)
    if p is SINGLE:
        square = f.let(r * r)
        y = r * square * horner(r, p.log_tail, fma)
        y = multiply_add(exponent, p.ln2_low, y, fma)
        y = multiply_add(square, -0.5, y, fma)
        return f.let(multiply_add(exponent, p.ln2_high, r + y, fma))
    # Fewer terms and a division: log(1 + r) = 2 atanh(s) where s = r / (2 + r). 2 s is r - s * r,
    # and s * r is r**2 / 2 - s * (r**2 / 2), so only small terms are rounded.
    half_square = f.let(r * r * 0.5)
    s = f.let(r / (r + 2.0))
    z = f.let(s * s)
    tail = f.let(z * horner(z, p.log_tail, fma))
    low = f.let(multiply_add(s, tail + half_square, exponent * p.ln2_low, fma))
    return f.let(multiply_add(exponent, p.ln2_high, r - (half_square - low), fma))


def log(f: Function, x: F, fma: bool) -> F:
    """The natural logarithm: -inf for zeros, NaN below."""
    with f.scope() as scope:
        x = f.once(x)
        m, exponent = split_exponent(f, x)
        y = _log_of(f, f.let(m - 1.0), exponent, fma)
        y = choose(x < INFINITY, y, x, fma)
        y = choose(x == 0.0, type(x).const(-INFINITY), y, fma)
        return scope.keep((y.bits() | (x < 0.0)).view(type(x)))


def log1p(f: Function, x: F, fma: bool) -> F:
    """log(1 + x), accurate near 0: -inf for -1, NaN below."""
    p = precision_of(x)
    with f.scope() as scope:
        x = f.once(x)
        u = f.let(x + 1.0)
        back = f.let(u - 1.0)
        lost = (1.0 - (u - back)) + (x - back)  # x + 1 is exactly u + lost
        bits: Words = f.let(u.bits() - p.sqrt_half_bits)
        exponent = _to_float(bits >> p.fraction, type(x))
        shrink = _inverse(f, bits & p.exponent_bits, type(x))
        r = multiply_add(lost, shrink, _mantissa(f, bits, type(x)) - 1.0, fma)
        y = _log_of(f, f.let(r), f.let(exponent), fma)
        y = choose(x < INFINITY, y, x, fma)
        y = choose(x == -1.0, type(x).const(-INFINITY), y, fma)
        # The sign of the result is that of x; this matters for -0.
        return scope.keep((y.bits() | (x < -1.0) | x.bits() & p.sign).view(type(x)))


def _inverse(f: Function, exponent: Words, kind: type[F]) -> F:
    """2**-n for the bits of an exponent n, or something tiny where that is not normal."""
    p = precision_of(kind)
    if isinstance(exponent, I32x4):
        return kind((p.one_bits - exponent.min(p.one_bits - (1 << p.fraction))).get())
    power = f.let(p.one_bits - exponent)  # there is no minimum of 64-bit integers
    return kind(((power > 0) & power).get())


def erf(f: Function, x: F, fma: bool) -> F:
    """The error function: x * polynomial near 0, 1 - 2**polynomial beyond."""
    p = precision_of(x)
    with f.scope() as scope:
        x = f.once(x)
        size = f.let(abs(x))
        square = f.let(size * size)
        small = f.let(multiply_add(horner(square, p.erf_small, fma), size, size, fma))
        inside = f.let(size.pmin(p.erf_limit))
        t = f.let(horner(inside, p.log2_erfc, fma))
        power, n = split(f, t, 1.0, p.bias, fma)
        erfc = horner(f.let(t - n), p.exp2, fma) * _power_of_two(power, type(x))
        y = choose(size < p.erf_split, small, 1.0 - erfc, fma)
        return scope.keep(with_sign_of(y, x))
