"""sin, cos, tan and atan2 of 64-bit floats."""

from __future__ import annotations

from tabgrad.targets.coefficients import DOUBLE
from tabgrad.targets.wasm.builder import F64x2, Function, I64x2
from tabgrad.targets.wasm.mathlib.arithmetic import choose, horner, multiply_add
from tabgrad.targets.wasm.mathlib.double.arithmetic import product_error
from tabgrad.targets.wasm.mathlib.double.reduction import reduce
from tabgrad.targets.wasm.mathlib.trigonometry import turned

INFINITY = float("inf")

# Every coefficient is what tools/fit_math.py prints for the name in front.

# double sin: (sin(x) - x) / x**3 in x**2, |x| <= pi / 4, error 2**-57.1 relative to sin(x)
SIN_TAIL = (
    -7.578403010060532e-13, 1.605836043367038e-10, -2.5052104860715813e-08, 2.7557319213984873e-06,
    -0.0001984126984125465, 0.008333333333333323, -0.16666666666666666,
)  # fmt: skip
# double cos: (cos(x) - 1 + x**2 / 2) / x**4 in x**2, |x| <= pi / 4, error 2**-59.5 relative
COS_TAIL = (
    4.737666921247069e-14, -1.1470282985978457e-11, 2.0876754270716194e-09, -2.7557319214927056e-07,
    2.480158730157038e-05, -0.0013888888888888872, 0.041666666666666664,
)  # fmt: skip
# double atan: (atan(x) - x) / x**3 in x**2, |x| <= 0.4375, error 2**-58.6 relative to atan(x)
ATAN_TAIL = (
    0.013683094179229612, -0.03190513033228678, 0.044324172209257266, -0.051999240676230435,
    0.058739856903103384, -0.06665898518263315, 0.07692259203582998, -0.09090907039605356,
    0.11111111055672006, -0.14285714284834106, 0.1999999999999298, -0.33333333333333315,
)  # fmt: skip

# Each rounded to 53 bits, and what that leaves.
PI, PI_LOW = 3.141592653589793, 1.2246467991473532e-16
ATAN_HALF, ATAN_HALF_LOW = 0.4636476090008061, 2.2698777452961687e-17

Pair = tuple[F64x2, F64x2]


def _sine(f: Function, r: F64x2, low: F64x2, z: F64x2, fma: bool) -> Pair:
    """sin(r + low) as a sum whose first term is r; z is r * r."""
    cube = f.let(r * z)
    return r, f.let(multiply_add(cube, horner(z, SIN_TAIL, fma), low * (1.0 - z * 0.5), fma))


def _cosine(f: Function, r: F64x2, low: F64x2, z: F64x2, fma: bool) -> Pair:
    """cos(r + low) as a sum whose first term is 1 - z / 2, rounded."""
    half = f.let(z * 0.5)
    first = f.let(1.0 - half)
    tail = multiply_add(z * z, horner(z, COS_TAIL, fma), -r * low, fma)
    return first, f.let(((1.0 - first) - half) + tail)


def _select_quadrant(f: Function, x: F64x2, shift: int, fma: bool) -> tuple[F64x2, I64x2]:
    """|sin(|x| + shift * pi/2)| up to a sign, and the sign bits that it lacks."""
    r, low, quotient = reduce(f, f.let(abs(x)), fma)
    z = f.let(r * r)
    sine, sine_rest = _sine(f, r, low, z, fma)
    cosine, cosine_rest = _cosine(f, r, low, z, fma)
    n = f.let(quotient + shift) if shift else quotient
    y = f.let(choose(n << 63 >> 63, cosine + cosine_rest, sine + sine_rest, fma))
    return y, (n & 2) << 62


def sin(f: Function, x: F64x2, fma: bool) -> F64x2:
    """The sine of any float64."""
    with f.scope() as scope:
        x = f.once(x)
        # Of |x|, with the sign of x put back: that keeps the sign of -0.
        y, sign = _select_quadrant(f, x, 0, fma)
        return scope.keep((y.bits() ^ sign ^ (x.bits() & DOUBLE.sign)).view(F64x2))


def cos(f: Function, x: F64x2, fma: bool) -> F64x2:
    """The cosine of any float64."""
    with f.scope() as scope:
        y, sign = _select_quadrant(f, x, 1, fma)
        return scope.keep((y.bits() ^ sign).view(F64x2))


def tan(f: Function, x: F64x2, fma: bool) -> F64x2:
    """The tangent of any float64: a quotient of pairs, corrected by its remainder."""
    with f.scope() as scope:
        x = f.once(x)
        r, low, quotient = reduce(f, f.let(abs(x)), fma)
        z = f.let(r * r)
        sine = _normalised(f, _sine(f, r, low, z, fma))
        cosine = _normalised(f, _cosine(f, r, low, z, fma))
        odd = f.let(quotient << 63 >> 63)
        # tan(r + pi/2) is -cos(r) / sin(r).
        parts = list(zip(sine, cosine, strict=True))
        above, above_rest = (f.let(choose(odd, -c, s, fma)) for s, c in parts)
        below, below_rest = (f.let(choose(odd, s, c, fma)) for s, c in parts)
        ratio = f.let(above / below)
        product = f.let(ratio * below)
        error = product_error(f, ratio, below, product)
        rest = (above - product) - error + (above_rest - ratio * below_rest)
        ratio.set(ratio + rest / below)
        return scope.keep((ratio.bits() ^ x.bits() & DOUBLE.sign).view(F64x2))


def _normalised(f: Function, pair: Pair) -> Pair:
    total = f.let(pair[0] + pair[1])
    return total, f.let((pair[0] - total) + pair[1])


def atan2(f: Function, y: F64x2, x: F64x2, fma: bool) -> F64x2:
    """The angle of the point (x, y), with C's answers for zeros and infinities."""
    with f.scope() as scope:
        y, x = f.once(y), f.once(x)
        width, height = f.let(abs(x)), f.let(abs(y))
        steep, left = f.let(height > width), f.let(x.bits() >> 63)
        angle = _first_octant(f, f.let(width.pmin(height)), f.let(width.pmax(height)), fma)
        return scope.keep(turned(angle, steep, left, y, x, (PI, PI_LOW), fma))


def _first_octant(f: Function, low: F64x2, high: F64x2, fma: bool) -> F64x2:
    """atan(low / high) of locals, 0 <= low <= high: atan(c) + atan(t) for c of 0, 1/2 or 1.

    t is (low - c * high) / (high + c * low), whose numerator is exact.
    """
    one = F64x2.const(1.0)
    infinite = f.let(high == INFINITY)
    low.set(infinite.select(((low == high) & one.bits()).view(F64x2), low))
    high.set((infinite | (high == 0.0)).select(one, high))
    # Away from overflow, and from where half of an odd number is no longer exact.
    shrink = (high > 2.0**1000).select(F64x2.const(2.0**-100), one)
    scale = f.let((high < 2.0**-900).select(F64x2.const(2.0**150), shrink))
    low.set(low * scale)
    high.set(high * scale)
    middle, upper = f.let(low > high * 0.4375), f.let(low > high * 0.75)
    # The bits of 1.0 contain those of 0.5.
    centre = f.let(((middle & F64x2.const(0.5).bits()) | (upper & one.bits())).view(F64x2))
    base = f.let((middle & F64x2.const(ATAN_HALF).bits()).view(F64x2))
    base_low = f.let((middle & F64x2.const(ATAN_HALF_LOW).bits()).view(F64x2))
    base.set(choose(upper, F64x2.const(PI / 4), base, fma))
    base_low.set(choose(upper, F64x2.const(PI_LOW / 4), base_low, fma))
    t = f.let((low - centre * high) / (centre * low + high))
    z = f.let(t * t)
    tail = multiply_add(t * z, horner(z, ATAN_TAIL, fma), base_low, fma)
    return f.let(base + (t + tail))
