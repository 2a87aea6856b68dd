"""exp, log and the functions made of them, on 64-bit floats."""

from __future__ import annotations

from tabgrad.targets.wasm.builder import F64x2, Function, I64x2
from tabgrad.targets.wasm.mathlib.arithmetic import choose, horner, multiply_add
from tabgrad.targets.wasm.mathlib.double.arithmetic import (
    FRACTION_BITS,
    ONE_BITS,
    SIGN,
    with_sign_of,
)

INFINITY = float("inf")

# Adding it to a float of magnitude below 2**51 rounds that to an integer, and leaves the integer in
# the low bits of the sum.
ROUND, ROUND_BITS = 6755399441055744.0, 0x4338000000000000

LOG2_E = 1.4426950408889634
# log(2): the first 39 bits, so that a product with an exponent is exact, and the rest.
LN2_HIGH, LN2_LOW = 0.6931471805601177, -1.7239444525614835e-13

# Every coefficient is what tools/fit_math.py prints for the name in front.

# double exp: (exp(r) - 1 - r) / r**2, |r| <= log(2) / 2, error 2**-59.7 relative to expm1(r)
EXP_TAIL = (
    2.087534361433029e-09, 2.510908134388235e-08, 2.755740287533093e-07, 2.755724410429589e-06,
    2.4801587171942377e-05, 0.0001984126988620789, 0.0013888888888962836, 0.008333333333321608,
    0.041666666666666505, 0.16666666666666677, 0.5,
)  # fmt: skip

# double exp2: (2**r - 1) / r, |r| <= 0.5, error 2**-55.6 relative to 2**r
EXP2_TAIL = (
    2.561652654493373e-11, 4.456583187381604e-10, 7.05498068267666e-09, 1.0178051865987354e-07,
    1.3215486578853902e-06, 1.5252733854478847e-05, 0.00015403530393659544, 0.001333355814639255,
    0.00961812910762832, 0.05550410866482169, 0.24022650695910072, 0.6931471805599453,
)  # fmt: skip

# double log: (log((1 + s) / (1 - s)) / s - 2) / s**2 in s**2, |s| <= 3 - 2 sqrt(2), error 2**-59.3
# relative to the logarithm
LOG_TAIL = (
    0.1479546818012552, 0.15314099480881097, 0.18183562382198107, 0.22222198611177993,
    0.2857142874201209, 0.39999999999416386, 0.6666666666666734,
)  # fmt: skip

# double erf near 0: erf(x) / x - 1 in x**2, x in [0, 0.75], error 2**-56.3 relative to erf(x)
ERF_SPLIT = 0.75
ERF_SMALL = (
    7.267637321291719e-11, -1.1956686574682805e-09, 1.4776369713448451e-08, -1.6363991686415348e-07,
    1.6462038803129398e-06, -1.4925648237135103e-05, 0.000120553329409546, -0.0008548327022923352,
    0.005223977625437809, -0.026866170645131034, 0.11283791670955125, -0.37612638903183754,
    0.1283791670955126,
)  # fmt: skip

# double erf: log2(erfc(x)), x in [0.75, 6], error 2**-57.6 relative to erf(x)
LOG2_ERFC = (
    -3.240276150599898e-13, 1.583944385672259e-11, -3.6500192965357856e-10, 5.27197058459217e-09,
    -5.349385219500711e-08, 4.04578264093348e-07, -2.3564419902942627e-06, 1.072599140480545e-05,
    -3.799862947253453e-05, 0.00010097596222490701, -0.0001752870634743891, 5.729660132238309e-05,
    0.0007629829289317314, -0.0023806294041448023, 0.0002621394187334214, 0.027614848263832474,
    -0.1482758488626477, -0.918446657634006, -1.6279072604260125, 1.6506802981376466e-08,
)  # fmt: skip

SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
EXPONENT_BITS = -(1 << 52)


def exp(f: Function, x: F64x2, fma: bool) -> F64x2:
    """e**x, with gradual underflow."""
    with f.scope() as scope:
        # pmax and pmin keep a NaN that is their first operand. The limits overflow and underflow.
        return scope.keep(_exp(f, x.pmax(-746.0).pmin(710.0), fma))


def _exp(f: Function, x: F64x2, fma: bool) -> F64x2:
    x = f.let(x)
    power, n = split(f, x, LOG2_E, 2046, fma)
    r = f.let(multiply_add(n, -LN2_LOW, multiply_add(n, -LN2_HIGH, x, fma), fma))
    return scale(f, horner(r, (*EXP_TAIL, 1.0, 1.0), fma), power)


def split(f: Function, x: F64x2, factor: float, bias: int, fma: bool) -> tuple[I64x2, F64x2]:
    """n = round(x * factor) as a float, and as bits whose low part is n + bias."""
    rounded = f.let(multiply_add(x, factor, ROUND + bias, fma))
    return rounded.bits(), f.let(rounded - (ROUND + bias))


def scale(f: Function, x: F64x2, power: I64x2) -> F64x2:
    """x * 2**n for `power` of bias 2046: in two steps, so that only the last one rounds."""
    half = f.let(power >> 1)
    return x * (half << 52).view(F64x2) * ((power - half) << 52).view(F64x2)


def _expm1(f: Function, x: F64x2, bias: int, fma: bool) -> tuple[F64x2, F64x2, F64x2]:
    """2**(n + bias - 1023), r and low: expm1(x) is 2**n - 1 + 2**n * (r + low)."""
    power, n = split(f, x, LOG2_E, bias, fma)
    high = f.let(multiply_add(n, -LN2_HIGH, x, fma))
    correction = f.let(n * LN2_LOW)
    r = f.let(high - correction)
    lost = (high - r) - correction
    low = f.let(multiply_add(r * r, horner(r, EXP_TAIL, fma), lost, fma))
    return f.let((power << 52).view(F64x2)), r, low


def expm1(f: Function, x: F64x2, fma: bool) -> F64x2:
    """e**x - 1, accurate near 0."""
    with f.scope() as scope:
        x = f.once(x)
        inside = f.let(x.pmax(-38.0).pmin(710.0))
        # Half the result, because the full power of two overflows before the result does.
        s, r, low = _expm1(f, inside, 1022, fma)
        y = multiply_add(s, low, multiply_add(s, r, s - 0.5, fma), fma)
        return scope.keep(choose(abs(x) < 2.0**-54, x, y * 2.0, fma))


def tanh(f: Function, x: F64x2, fma: bool) -> F64x2:
    """The hyperbolic tangent: -e / (e + 2) where e = expm1(-2 |x|)."""
    with f.scope() as scope:
        x = f.once(x)
        inside = f.let((abs(x) * -2.0).pmax(-39.0))
        s, r, low = _expm1(f, inside, 1023, fma)
        e = f.let(multiply_add(s, low, multiply_add(s, r, s - 1.0, fma), fma))
        return scope.keep(I64x2.const(SIGN).select(x, e / (e + 2.0)))


def sigmoid(f: Function, x: F64x2, fma: bool) -> F64x2:
    """1 / (1 + e**-x), with gradual underflow."""
    with f.scope() as scope:
        x = f.once(x)
        negative = (x.bits() | SIGN).view(F64x2)
        e = f.let(_exp(f, negative.pmax(-746.0), fma))
        one = F64x2.const(1.0)
        return scope.keep(choose(x >= 0.0, one, e, fma) / (e + 1.0))


def split_exponent(f: Function, x: F64x2) -> tuple[F64x2, F64x2]:
    """m and e of the positive local x = m * 2**e, m in [sqrt(1/2), sqrt(2)); subnormals too."""
    small = f.let(x < 2.0**-1022)
    normal = small.select(x * 2.0**54, x)
    bits = f.let(normal.bits() - SQRT_HALF_BITS)
    exponent = (bits >> 52) - (small & 54)
    return _mantissa(f, bits), f.let(_to_float(exponent))


def _mantissa(f: Function, bits: I64x2) -> F64x2:
    return f.let(((bits & FRACTION_BITS) + SQRT_HALF_BITS).view(F64x2))


def _to_float(n: I64x2) -> F64x2:
    """Integers of magnitude below 2**51."""
    return (n + ROUND_BITS).view(F64x2) - ROUND


def _log_of(f: Function, r: F64x2, exponent: F64x2, fma: bool) -> F64x2:
    """log((1 + r) * 2**exponent), by log(1 + r) = 2 atanh(s) where s = r / (2 + r).

    2 s is r - s * r, and s * r is r**2 / 2 - s * (r**2 / 2): only small terms are rounded.
    """
    half_square = f.let(r * r * 0.5)
    s = f.let(r / (r + 2.0))
    z = f.let(s * s)
    tail = f.let(z * horner(z, LOG_TAIL, fma))
    low = f.let(multiply_add(s, tail + half_square, exponent * LN2_LOW, fma))
    return f.let(multiply_add(exponent, LN2_HIGH, r - (half_square - low), fma))


def log(f: Function, x: F64x2, fma: bool) -> F64x2:
    """The natural logarithm: -inf for zeros, NaN below."""
    with f.scope() as scope:
        x = f.once(x)
        m, exponent = split_exponent(f, x)
        y = _log_of(f, f.let(m - 1.0), exponent, fma)
        y = choose(x < INFINITY, y, x, fma)
        y = choose(x == 0.0, F64x2.const(-INFINITY), y, fma)
        return scope.keep((y.bits() | (x < 0.0)).view(F64x2))


def log1p(f: Function, x: F64x2, fma: bool) -> F64x2:
    """log(1 + x), accurate near 0: -inf for -1, NaN below."""
    with f.scope() as scope:
        x = f.once(x)
        u = f.let(x + 1.0)
        back = f.let(u - 1.0)
        lost = (1.0 - (u - back)) + (x - back)  # x + 1 is exactly u + lost
        bits = f.let(u.bits() - SQRT_HALF_BITS)
        exponent = _to_float(bits >> 52)
        # 2**-exponent; where it would not be normal, `lost` does not matter.
        power = f.let(ONE_BITS - (bits & EXPONENT_BITS))
        shrink = ((power > 0) & power).view(F64x2)
        r = multiply_add(lost, shrink, _mantissa(f, bits) - 1.0, fma)
        y = _log_of(f, f.let(r), f.let(exponent), fma)
        y = choose(x < INFINITY, y, x, fma)
        y = choose(x == -1.0, F64x2.const(-INFINITY), y, fma)
        # The sign of the result is that of x; this matters for -0.
        return scope.keep((y.bits() | (x < -1.0) | x.bits() & SIGN).view(F64x2))


def erf(f: Function, x: F64x2, fma: bool) -> F64x2:
    """The error function: x * polynomial near 0, 1 - 2**polynomial beyond."""
    with f.scope() as scope:
        x = f.once(x)
        size = f.let(abs(x))
        square = f.let(size * size)
        small = f.let(multiply_add(horner(square, ERF_SMALL, fma), size, size, fma))
        inside = f.let(size.pmin(6.0))
        t = f.let(horner(inside, LOG2_ERFC, fma))
        power, n = split(f, t, 1.0, 1023, fma)
        erfc = horner(f.let(t - n), (*EXP2_TAIL, 1.0), fma) * (power << 52).view(F64x2)
        y = choose(size < ERF_SPLIT, small, 1.0 - erfc, fma)
        return scope.keep(with_sign_of(y, x))
