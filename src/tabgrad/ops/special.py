"""Special functions of one or two elements: powers and logarithms of sums, erfc, Bessel's I0, sinc.

Integers become float32. Errors are the largest of a sweep of float32 and float64 numbers over all
exponents (tests/ops/test_special_sweeps.py), in units of the last place of the result.
"""

from __future__ import annotations

import math
from typing import Any

from tabgrad.ir import build as b
from tabgrad.ir.graph import make
from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import also_complex
from tabgrad.ops.composing import (
    bits_type,
    composed,
    constant,
    is_wide,
    polynomial,
    with_sign_of,
)
from tabgrad.tensor import Tensor

INFINITY = math.inf
_LN2 = math.log(2)

# Every list of coefficients is what tools/fit_math.py prints for the name in front.

# erfc and double erfc: (1 + 2 x) exp(x**2) erfc(x) in (x - 4) / (x + 4), x in [1/4, 11] and
# [1/4, 28], errors 2**-24.9 and 2**-54.4
_ERFC = (
    0.00035670964, 0.00582331, -0.016542403, 0.036722817, -0.06632766, 0.09381421,
    -0.101032674, 0.06809133, 0.015379244, -0.139621, 1.2329952,
)  # fmt: skip
_ERFC_WIDE = (
    4.198245206666428e-11, -1.0556941839983505e-08, -1.2240697459121655e-08,
    1.0593551048078761e-07, 6.685864165243626e-08, -8.229007663820549e-07,
    2.998588530988221e-07, 5.708892141710518e-06, -1.12249746558622e-05,
    -2.4399092277157874e-05, 0.00015062260542698358, -0.0001992566848186798,
    -0.0007577734787662665, 0.005031969971147978, -0.016197734033367123, 0.03716751553856796,
    -0.0663303658140582, 0.0937328349982732, -0.10103906603623296, 0.0680970542546949,
    0.01537965210261866, -0.13962111684056253, 1.2329951186255526,
)  # fmt: skip
# bessel i0 and i1 near 0: I(x) / (x / 2)**n in (x / 2)**2, |x| <= 8, errors 2**-55.8 and 2**-55.2
_I0_NEAR = (
    3.508023909220349e-27, 5.109529345516146e-25, 1.3415788768620016e-22,
    2.5729883725814302e-20, 4.359347710197063e-18, 6.275969747384746e-16,
    7.594067962938827e-14, 7.594057828511455e-12, 6.15118735438454e-10, 3.9367598882241437e-08,
    1.9290123457004423e-06, 6.94444444444105e-05, 0.0017361111111111455, 0.02777777777777776,
    0.25, 1.0, 1.0,
)  # fmt: skip
_I1_NEAR = (
    2.0317346820103296e-28, 3.2317122818528433e-26, 8.9230947990711e-24,
    1.8385212952744796e-21, 3.353199630342887e-19, 5.229996635008197e-17,
    6.9036957731474364e-15, 7.594058016775449e-13, 6.834652605090873e-11,
    4.920949860736142e-09, 2.7557319224156454e-07, 1.1574074074071192e-05,
    0.0003472222222222254, 0.006944444444444442, 0.08333333333333333, 0.5, 1.0,
)  # fmt: skip
# bessel i0 and i1 far from 0: sqrt(x) exp(-x) I(x) in 16 / x - 1, x >= 8, errors 2**-53.7 and
# 2**-55.3
_I0_FAR = (
    -5.7785223900345084e-11, -2.2545962260654238e-11, 4.411428188192486e-10,
    1.656723695381145e-10, -1.5776536672452256e-09, -6.030973359893321e-10,
    3.579069089624941e-09, 1.5639506714752767e-09, -5.900726615321699e-09,
    -3.5442348298989174e-09, 7.399405053783339e-09, 7.574297944199952e-09,
    -5.392718763481686e-09, -1.3416973141514066e-08, -6.750696767207971e-09,
    7.556605226317396e-09, 2.154885547944536e-08, 3.9325566675483045e-08,
    8.872215411053138e-08, 2.973598809926756e-07, 1.4838475677888619e-06,
    1.1143033790118549e-05, 0.00013621607439189738, 0.0033605519836678705, 0.4021765094450081,
)  # fmt: skip
_I1_FAR = (
    5.996254909023818e-11, 2.085753917135715e-11, -4.581391756850624e-10,
    -1.5329874837251932e-10, 1.640642272980096e-09, 5.617638260692912e-10,
    -3.731615613759359e-09, -1.483476231504657e-09, 6.1861532765833515e-09,
    3.465200698986109e-09, -7.855082963557435e-09, -7.664461569369704e-09,
    5.961521362185545e-09, 1.404240763344184e-08, 6.737724154989145e-09,
    -8.429701807661004e-09, -2.337444112819952e-08, -4.3128898103641266e-08,
    -1.0001283635178596e-07, -3.483855983786635e-07, -1.8349101348198103e-06,
    -1.5038547199751223e-05, -0.0002192357638338531, -0.009749577193235746,
    0.38939845902587233,
)  # fmt: skip


def exp2(x: Any) -> Tensor:
    """2**x, exact where x is a whole number. Within 2 ULP.

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.exp2([3.0, -1.0]).tolist()
        [8.0, 0.5]
    """
    return composed("exp2", _exp2, x, slopes=lambda x: (exp2(x) * _LN2,))


def _exp2(x: Tensor) -> Tensor:
    return Tensor(make("pow", b.like(x.node, 2.0), x.node))


@also_complex
def log2(x: Any) -> Tensor:
    """Logarithm to base 2, exact for powers of two; -inf at 0, NaN below. Within 2 ULP.

    Args:
        x: of any shape, real or complex; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.log2([8.0, 0.25]).tolist()
        [3.0, -2.0]
    """
    return composed("log2", _log2, x, slopes=lambda x: ((1 / _LN2) / x,))


@also_complex
def log10(x: Any) -> Tensor:
    """Logarithm to base 10; -inf at 0, NaN below. Within 2 ULP.

    Args:
        x: of any shape, real or complex; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.log10([1000.0, 0.01]).tolist()
        [3.0, -2.0]
    """
    return composed("log10", _log10, x, slopes=lambda x: (1 / math.log(10) / x,))


def _log2(x: Tensor) -> Tensor:
    fraction, exponent = _split_exponent(x)
    high, low = _LOG2_E[is_wide(x)]
    rest = e.log(fraction)
    return _with_poles(x, exponent + (rest * high + rest * low))


def _log10(x: Tensor) -> Tensor:
    fraction, exponent = _split_exponent(x)
    wide = is_wide(x)
    (high, low), (scale, scale_low) = _LOG10_2[wide], _LOG10_E[wide]
    rest = e.log(fraction)
    return _with_poles(x, exponent * high + (exponent * low + rest * scale_low + rest * scale))


# Pairs for float32 and for float64: a number rounded, and what that leaves. log10(2) is rounded to
# so few bits that its product with an exponent is exact.
_LOG2_E = ((1.4426950216293335, 1.9259629911266175e-08), (1.4426950408889634, 2.0355273740931e-17))
_LOG10_E = ((0.4342944920063019, -1.010300500522317e-08), (0.4342944819032518, 1.0983196502168e-17))
_LOG10_2 = ((0.301025390625, 4.605038981195214e-06), (0.30102999566383914, 1.42050232272661e-13))


def _split_exponent(x: Tensor) -> tuple[Tensor, Tensor]:
    """m and e of x = m * 2**e, m in [sqrt(1/2), sqrt(2)), for finite x > 0; anything for others."""
    kind = bits_type(x.dtype)
    fraction, smallest, offset, root_bits = (
        (52, 2.0**-1022, 54, 0x3FE6A09E667F3BCD) if is_wide(x) else (23, 2.0**-126, 25, 0x3F3504F3)
    )
    tiny = e.less(x, smallest)
    bits = e.bitcast(e.where(tiny, x * 2.0**offset, x), kind) - root_bits
    exponent = e.cast(e.bitwise_right_shift(bits, fraction), x.dtype)
    mantissa = e.bitcast(e.bitwise_and(bits, (1 << fraction) - 1) + root_bits, x.dtype)
    return mantissa, exponent - e.where(tiny, constant(x, offset), constant(x, 0))


def _with_poles(x: Tensor, logarithm: Tensor) -> Tensor:
    ordinary = e.logical_and(e.greater(x, 0.0), e.less(x, INFINITY))
    pole = e.where(
        e.equal(x, 0.0), -INFINITY, e.where(e.equal(x, INFINITY), x, constant(x, math.nan))
    )
    return e.where(ordinary, logarithm, pole)


def cbrt(x: Any) -> Tensor:
    """The real cube root. Within 2 ULP.

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.cbrt([27.0, -8.0]).tolist()
        [3.0, -2.0]
    """
    return composed("cbrt", _cbrt, x, slopes=lambda x: (_cbrt_slope(x),))


def _cbrt(x: Tensor) -> Tensor:
    size = e.abs(x)
    ends = e.logical_or(e.equal(size, 0.0), e.equal(size, INFINITY))
    inside = e.where(ends, 1.0, size)
    # Newton's step squares the error of the first guess, which is that of the logarithm.
    guess = e.exp(e.log(inside) / 3)
    root = guess + (inside / (guess * guess) - guess) / 3
    return with_sign_of(e.where(ends, size, root), x)


def _cbrt_slope(x: Tensor) -> Tensor:
    root = cbrt(x)
    return 1 / (3 * root * root)


def hypot(x1: Any, x2: Any) -> Tensor:
    """sqrt(x1**2 + x2**2) without overflow or underflow on the way. Within 2 ULP.

    Infinite if either is, even beside NaN (IEEE 754). The gradient at (0, 0) is 0.

    Args:
        x1: real numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted; integers become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.hypot(3e30, 4e30).tolist() == tg.tensor(5e30).tolist()
        True
    """
    return composed("hypot", _hypot, x1, x2, slopes=_hypot_slopes)


def _hypot(x: Tensor, y: Tensor) -> Tensor:
    x, y = e.abs(x), e.abs(y)
    longest = e.maximum(x, y)
    # Powers of two that bring the squares of the longer side into range.
    big, small, down, up = (
        (2.0**500, 2.0**-400, 2.0**-600, 2.0**600)
        if is_wide(x)
        else (2.0**60, 2.0**-40, 2.0**-66, 2.0**100)
    )
    scale = e.where(e.less(longest, small), up, constant(x, 1))
    scale = e.where(e.greater(longest, big), down, scale)
    x_scaled, y_scaled = x * scale, y * scale
    root = e.sqrt(x_scaled * x_scaled + y_scaled * y_scaled) / scale
    infinite = e.logical_or(e.equal(x, INFINITY), e.equal(y, INFINITY))
    return e.where(infinite, INFINITY, root)


def _hypot_slopes(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    length = hypot(x, y)
    divisor = e.where(e.equal(length, 0.0), 1.0, length)
    return _share(x, divisor), _share(y, divisor)


def _share(side: Tensor, length: Tensor) -> Tensor:
    infinite = e.isinf(side)
    return e.where(infinite, e.sign(side), e.where(infinite, 1.0, side) / length)


@also_complex
def logaddexp(x1: Any, x2: Any) -> Tensor:
    """log(e**x1 + e**x2) without overflow. Within 2 ULP of the larger of result and arguments.

    Args:
        x1: real or complex numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted; integers become float32.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.logaddexp(1000.0, 1000.0)), 3)
        1000.693
    """
    return composed("logaddexp", _logaddexp, x1, x2, slopes=_logaddexp_slopes)


def _gap(x: Tensor, y: Tensor) -> Tensor:
    """x - y, and 0 for equal infinities."""
    poles = e.logical_and(e.equal(x, y), e.isinf(x))
    return e.where(poles, 0.0, x) - e.where(poles, 0.0, y)


def _logaddexp(x: Tensor, y: Tensor) -> Tensor:
    return e.maximum(x, y) + e.log1p(e.exp(-e.abs(_gap(x, y))))


def _logaddexp_slopes(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    gap = _gap(x, y)
    return e.sigmoid(gap), e.sigmoid(-gap)


def logaddexp2(x1: Any, x2: Any) -> Tensor:
    """log2(2**x1 + 2**x2) without overflow. Within 2 ULP of the larger of result and arguments.

    Args:
        x1: real numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted; integers become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.logaddexp2(1000.0, 1000.0).tolist()
        1001.0
    """
    return composed("logaddexp2", _logaddexp2, x1, x2, slopes=_logaddexp2_slopes)


def _logaddexp2(x: Tensor, y: Tensor) -> Tensor:
    return e.maximum(x, y) + e.log1p(_exp2(-e.abs(_gap(x, y)))) * (1 / _LN2)


def _logaddexp2_slopes(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    gap = _gap(x, y) * _LN2
    return e.sigmoid(gap), e.sigmoid(-gap)


def deg2rad(x: Any) -> Tensor:
    """Degrees in radians. Within 2 ULP.

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.ops.deg2rad(180.0)), 6)
        3.141593
    """
    return composed("deg2rad", lambda x: x * (math.pi / 180), x, slopes=None)


def rad2deg(x: Any) -> Tensor:
    """Radians in degrees. Within 2 ULP.

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.ops.rad2deg(3.14159265)), 4)
        180.0
    """
    return composed("rad2deg", lambda x: x * (180 / math.pi), x, slopes=None)


def sinc(x: Any) -> Tensor:
    """sin(pi x) / (pi x), 1 at 0 and exactly 0 at other whole numbers. Within 4 ULP.

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.sinc([0.0, 0.5, 2.0]).tolist()
        [1.0, 0.6366197466850281, 0.0]
    """
    return composed("sinc", _sinc, x, slopes=lambda x: (_sinc_slope(x),))


def _turns(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """sin(pi x) and cos(pi x), and x with 1 for 0."""
    whole = e.round(x)
    rest = (x - whole) * math.pi
    half = whole * 0.5
    sign = e.where(e.equal(e.floor(half), half), constant(x, 1), constant(x, -1))
    return e.sin(rest) * sign, e.cos(rest) * sign, e.where(e.equal(x, 0.0), 1.0, x)


def _sinc(x: Tensor) -> Tensor:
    sine, _, divisor = _turns(x)
    # A subnormal argument has too few digits for the quotient.
    near = e.less(e.abs(x), 2.0**-30)
    return e.where(near, 1.0, e.divide(sine, e.where(near, 1.0, divisor) * math.pi))


# The series of cos(t) - sin(t) / t in t**2, without its first factor t**2, highest power first.
_SINC_SLOPE = tuple((-1) ** k * 2 * k / math.factorial(2 * k + 1) for k in range(11, 0, -1))


def _sinc_slope(x: Tensor) -> Tensor:
    # Far from 0 (cos(pi x) - sinc(x)) / x; near 0 these cancel.
    near = e.less(e.abs(x), 0.5)
    far = e.where(near, 1.0, x)
    _, cosine, _ = _turns(far)
    angle = e.where(near, x, 0.0) * math.pi
    series = polynomial(angle * angle, _SINC_SLOPE) * angle * math.pi
    return e.where(near, series, (cosine - sinc(far)) / far)


def erfc(x: Any) -> Tensor:
    """1 - erf(x), accurate where that is tiny (Abramowitz and Stegun 7.1.2). Within 4 ULP.

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> f"{float(tg.ops.erfc(5.0)):.4g}"
        '1.537e-12'
    """
    return composed("erfc", _erfc, x, slopes=lambda x: (e.exp(-(x * x)) * _ERF_SLOPE,))


_ERF_SLOPE = -2 / math.sqrt(math.pi)
_ERFC_SPLIT = 0.25


def _erfc(x: Tensor) -> Tensor:
    wide = is_wide(x)
    near = e.less(x, _ERFC_SPLIT)
    size = e.where(near, _ERFC_SPLIT, e.minimum(x, 28.0 if wide else 11.0))
    series = polynomial((size - 4) / (size + 4), _ERFC_WIDE if wide else _ERFC)
    divisor = 1 + 2 * size
    divisor_error = (2 * size - (divisor - 1)) / divisor
    # exp(-x**2) by a head of x whose square is exact.
    kind = bits_type(x.dtype)
    head = e.bitcast(e.bitwise_and(e.bitcast(size, kind), -(1 << (27 if wide else 12))), x.dtype)
    power = e.exp(-(head * head))
    power = power + power * (e.expm1(-((size - head) * (size + head))) - divisor_error)
    return e.where(near, 1 - e.erf(x), power * (series / divisor))


# Giles, "Approximating the erfinv function" (GPU Computing Gems, 2011), single precision.
_ERFINV_CENTRE = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
    -0.00125372503, -0.00417768164, 0.246640727, 1.50140941,
)  # fmt: skip
_ERFINV_TAIL = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
    -0.0076224613, 0.00943887047, 1.00167406, 2.83297682,
)  # fmt: skip


def erfinv(x: Any) -> Tensor:
    """The number whose erf is x; infinite at -1 and 1, NaN beyond. Within 4 ULP.

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.ops.erfinv(0.5)), 6)
        0.476936
    """
    return composed("erfinv", _erfinv, x, slopes=lambda x: (_erfinv_slope(x),))


def rough_erfinv(x: Any) -> Tensor:
    """erfinv for |x| < 1 with a relative error of 5e-7, for random numbers: a third of the work."""
    return composed("erfinv", _giles, x, slopes=lambda x: (_erfinv_slope(x),))


def _giles(x: Tensor) -> Tensor:
    # 1 - x*x would lose most of its digits where |x| is near 1.
    depth = -e.log((1 - x) * (1 + x))
    far = e.greater(depth, 5.0)
    centre = polynomial(depth - 2.5, _ERFINV_CENTRE)
    return e.where(far, polynomial(e.sqrt(depth) - 3, _ERFINV_TAIL), centre) * x


def _winitzki(x: Tensor) -> Tensor:
    """erfinv to 0.3 percent, however near 1 (Winitzki, "A handy approximation", 2008)."""
    half = e.log((1 - x) * (1 + x)) * 0.5
    middle = half + 2 / (math.pi * 0.147)
    return e.sqrt(e.sqrt(middle * middle - half * (2 / 0.147)) - middle)


def _erfinv(x: Tensor) -> Tensor:
    size = e.abs(x)
    inside = e.where(e.less(size, 1.0), size, 0.5)
    upper = e.greater(inside, 0.5)
    root = _winitzki(inside) if is_wide(x) else _giles(inside)
    # Halley's step cubes the error. Where erf is near 1, by its complement, which keeps its digits.
    for _ in range(3 if is_wide(x) else 1):
        missing = e.where(upper, (1 - inside) - _erfc(root), e.erf(root) - inside)
        step = missing * e.exp(root * root) * (-1 / _ERF_SLOPE)
        root = root - step / (1 + root * step)
    result = e.where(e.equal(size, 1.0), INFINITY, root)
    result = e.where(e.less_equal(size, 1.0), result, math.nan)
    return with_sign_of(result, x)


def _erfinv_slope(x: Tensor) -> Tensor:
    root = erfinv(x)
    return e.exp(root * root) * (-1 / _ERF_SLOPE)


def i0(x: Any) -> Tensor:
    """The modified Bessel function of order 0 (Abramowitz and Stegun 9.6.12). Within 5 ULP.

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.ops.i0(1.0)), 5)
        1.26607
    """
    return composed("i0", lambda x: _bessel(e.abs(x), 0), x, slopes=lambda x: (_i1(x),))


def _i1(x: Tensor) -> Tensor:
    """The modified Bessel function of order 1, the derivative of i0."""
    return composed(
        "i1", lambda x: with_sign_of(_bessel(e.abs(x), 1), x), x, slopes=lambda x: (_i1_slope(x),)
    )


def _i1_slope(x: Tensor) -> Tensor:
    at_zero = e.equal(x, 0.0)
    divisor = e.where(at_zero, 1.0, x)
    return e.where(at_zero, 0.5, i0(x) - _i1(x) / divisor)


_BESSEL_SPLIT = 8.0


def _bessel(size: Tensor, order: int) -> Tensor:
    near = e.less_equal(size, _BESSEL_SPLIT)
    half = e.where(near, size, 0.0) * 0.5
    inside = polynomial(half * half, (_I0_NEAR, _I1_NEAR)[order])
    far = e.where(near, _BESSEL_SPLIT, size)
    factor = polynomial(16 / far - 1, (_I0_FAR, _I1_FAR)[order]) * math.exp(_BESSEL_SPLIT)
    # e**x overflows before the function does.
    outside = e.exp(far - _BESSEL_SPLIT) * (factor / e.sqrt(far))
    outside = e.where(e.equal(size, INFINITY), INFINITY, outside)
    return e.where(near, inside * half if order else inside, outside)
