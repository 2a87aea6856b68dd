"""Scalar functions as shader functions, of one lane or four.

Builtins of shading languages are up to 63 ULP off, or wrong at the edges, and compilers rearrange
sums; so these are polynomials of ours, and `held` stands wherever rounding order matters. Results
that are subnormal may come out as 0: software adapters flush them. Coefficients are those of the
wasm target (tools/fit_math.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tabgrad.targets.shading.values import Value
from tabgrad.targets.wasm.mathlib.precision import SINGLE
from tabgrad.targets.wasm.mathlib.trigonometry import (
    ATAN_TAIL,
    COS_TAIL,
    PI_HIGH,
    PI_LOW,
    SIN_TAIL,
    TAN_TAIL,
    TWO_OVER_PI_WORDS,
)

INFINITY = float("inf")
SIGN = 0x80000000
LOG2_E = 1.4426950408889634
TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)
HALF_PI = (1.5703125, math.pi / 2 - 1.5703125)
LEAST_TURNING = 126  # the exponent's bits of 0.5: smaller arguments are left as they are


def horner(x: Value, coefficients: Sequence[float]) -> Value:
    """The polynomial with these coefficients, highest power first."""
    total = x.block.const(coefficients[0], "f")
    for coefficient in coefficients[1:]:
        total = total.times_plus(x, coefficient)
    return total


def _sign_of(x: Value) -> Value:
    return x.view("u") & SIGN


def with_sign_of(magnitude: Value, x: Value) -> Value:
    """A number that is not negative, with the sign of x."""
    return (magnitude.view("u") | _sign_of(x)).view("f")


def _power_of_two(n: Value) -> Value:
    """2**n for integers from -126 to 127."""
    return ((n + 127) << 23).view("f")


def _scaled(y: Value, n: Value) -> Value:
    """y * 2**n, in two steps because 2**n may be none."""
    let = y.block.let
    half = let(n >> 1)
    return y * _power_of_two(half) * _power_of_two(n - half)


def exp(x: Value) -> Value:
    """e**x."""
    return x.block.module.helper("exp_", [x], _exp, "f")


def _exp(x: Value) -> Value:
    let = x.block.let
    inside = let(x.call("min", SINGLE.overflow).call("max", SINGLE.underflow))
    n = let((inside * LOG2_E).call("round"))
    r = let(n.times_plus(-SINGLE.ln2_high, inside).held().times_plus(1.0, n * -SINGLE.ln2_low))
    y = let(horner(r, SINGLE.exp_series))
    return x.is_nan().select(x, _scaled(y, let(n.to("i"))))


def _expm1_parts(x: Value) -> tuple[Value, Value, Value]:
    """n, r and low: expm1(x) is 2**n - 1 + 2**n * (r + low)."""
    let = x.block.let
    n = let((x * LOG2_E).call("round"))
    high = let(n.times_plus(-SINGLE.ln2_high, x).held())
    correction = let((n * SINGLE.ln2_low).held())
    r = let((high - correction).held())
    lost = (high - r).held() - correction
    low = let((r * r).times_plus(horner(r, SINGLE.exp_tail), lost))
    return let(n.to("i")), r, low


def expm1(x: Value) -> Value:
    """e**x - 1, accurate near 0."""
    return x.block.module.helper("expm1_", [x], _expm1, "f")


def _expm1(x: Value) -> Value:
    let = x.block.let
    inside = let(x.call("min", SINGLE.overflow).call("max", SINGLE.expm1_low))
    n, r, low = _expm1_parts(inside)
    # Half the result, because the full power of two overflows before the result does.
    s = let(_power_of_two(n - 1))
    y = s.times_plus(low, s.times_plus(r, (s - 0.5).held())) * 2.0
    tiny = x.call("abs") < 2.0**-25
    return (tiny | x.is_nan()).select(x, y)


def tanh(x: Value) -> Value:
    """The hyperbolic tangent: -e / (e + 2) where e = expm1(-2 |x|)."""
    return x.block.module.helper("tanh_", [x], _tanh, "f")


def _tanh(x: Value) -> Value:
    let = x.block.let
    size = let(x.call("abs"))
    n, r, low = _expm1_parts(let((size * -2.0).call("max", SINGLE.expm1_low - 1)))
    s = let(_power_of_two(n))
    e = let(s.times_plus(low, s.times_plus(r, (s - 1.0).held())))
    y = let((-e) / (e + 2.0))
    tiny = size < 2.0**-25
    return (tiny | x.is_nan()).select(x, with_sign_of(y.call("abs"), x))


def sigmoid(x: Value) -> Value:
    """1 / (1 + e**-x)."""
    return x.block.module.helper("sigmoid_", [x], _sigmoid, "f")


def _sigmoid(x: Value) -> Value:
    let = x.block.let
    e = let(exp(-x.call("abs")))
    return x.is_nan().select(x, (x >= 0.0).select(1.0, e) / (e + 1.0))


def _mantissa(x: Value) -> tuple[Value, Value]:
    """m and e of x = m * 2**e for positive normal x, m in [sqrt(1/2), sqrt(2))."""
    let = x.block.let
    bits = let(x.view("i") - SINGLE.sqrt_half_bits)
    m = ((bits & SINGLE.fraction_bits) + SINGLE.sqrt_half_bits).view("f")
    return let(m), let((bits >> 23).to("f"))


def _log_of(r: Value, exponent: Value) -> Value:
    """log((1 + r) * 2**exponent)."""
    let = r.block.let
    square = let(r * r)
    y = r * square * horner(r, SINGLE.log_tail)
    y = exponent.times_plus(SINGLE.ln2_low, y)
    y = square.times_plus(-0.5, y)
    return let(exponent.times_plus(SINGLE.ln2_high, (r + y).held()))


def log(x: Value) -> Value:
    """The natural logarithm: -inf for zeros, NaN below."""
    return x.block.module.helper("log_", [x], _log, "f")


def _log(x: Value) -> Value:
    let = x.block.let
    # Subnormal numbers, where the adapter has them, are made normal by their bits.
    m, exponent = _mantissa(x)
    y = let(_log_of(let((m - 1.0).held()), exponent))
    y = (x.view("u") < 0x00800000).select(_log_of_small(x), y)
    y = (x.same(INFINITY) | x.is_nan()).select(x, y)
    y = x.same(0.0).select(-INFINITY, y)
    return (x < 0.0).select(float("nan"), y)


def _log_of_small(x: Value) -> Value:
    # The fraction of a subnormal number is an integer times 2**-149.
    whole = x.view("u").to("f")
    m, exponent = _mantissa(x.block.let(whole))
    return _log_of(x.block.let((m - 1.0).held()), x.block.let(exponent - 149.0))


def log1p(x: Value) -> Value:
    """log(1 + x), accurate near 0: -inf for -1, NaN below."""
    return x.block.module.helper("log1p_", [x], _log1p, "f")


def _log1p(x: Value) -> Value:
    let = x.block.let
    u = let((x + 1.0).held())
    back = let((u - 1.0).held())
    lost = let((1.0 - (u - back).held()).held() + (x - back).held())
    m, exponent = _mantissa(u)
    shrink = _power_of_two(-(exponent.call("max", -126.0).call("min", 126.0).to("i")))
    r = let(lost.times_plus(let(shrink), (m - 1.0).held()))
    y = let(_log_of(r, exponent))
    y = with_sign_of(y.call("abs"), x)
    y = (x.same(INFINITY) | x.is_nan() | (x.call("abs") < 2.0**-25)).select(x, y)
    y = x.same(-1.0).select(-INFINITY, y)
    return (x < -1.0).select(float("nan"), y)


def erf(x: Value) -> Value:
    """The error function: x * polynomial near 0, 1 - 2**polynomial beyond."""
    return x.block.module.helper("erf_", [x], _erf, "f")


def _erf(x: Value) -> Value:
    let = x.block.let
    size = let(x.call("abs"))
    square = let(size * size)
    small = let(horner(square, SINGLE.erf_small).times_plus(size, size))
    # Below, the product would be subnormal.
    small = let((size < 1e-30).select(size * TWO_OVER_ROOT_PI, small))
    t = let(horner(let(size.call("min", SINGLE.erf_limit)), SINGLE.log2_erfc))
    n = let(t.call("round"))
    erfc = horner(let((t - n).held()), SINGLE.exp2) * _power_of_two(n.to("i"))
    y = (size < SINGLE.erf_split).select(small, 1.0 - erfc)
    return x.is_nan().select(x, with_sign_of(y, x))


def _high_product(x: Value, y: Value) -> Value:
    """The high words of products of u32."""
    let = x.block.let
    a, b, c, d = let(x >> 16), let(x & 0xFFFF), let(y >> 16), let(y & 0xFFFF)
    low = let(b * d)
    one = let(a * d + (low >> 16))
    other = let(b * c + (one & 0xFFFF))
    return let(a * c + (one >> 16) + (other >> 16))


def _quadrant(x: Value) -> tuple[Value, Value, Value]:
    """r, n and low with x = n * pi/2 + r + low, |r| <= pi/4, n modulo 4: Payne and Hanek's
    reduction.

    x is m * 2**e with a 24-bit integer m. The product of m with the 96 bits of 2**e * 2/pi from
    weight 2 down, modulo 2**64, is x / (pi/2) modulo 4 in units of 2**-62.
    """
    let, var, const = x.block.let, x.block.var, x.block.const
    bits = let(x.view("u"))
    size = let(bits & 0x7FFFFFFF)
    start = let((size >> 23).call("max", LEAST_TURNING) - (149 - 32))
    first, shift = let(start >> 5), let(start & 31)
    words = [var(let(bits ^ bits)) for _ in range(4)]
    for k in range(5):
        here = let(first.same(k))
        for i, word in enumerate(words):
            known = const((0, *TWO_OVER_PI_WORDS)[k + i], "u")
            x.block.set(word, here.select(known, word))
    window = []
    for i in range(3):
        beyond = (words[i + 1] >> 1) >> (31 - shift)
        window.append(let((words[i] << shift) | beyond))
    m = let((bits & 0x7FFFFF) | 0x800000)
    carried = let(_high_product(m, window[2]))
    low = let(m * window[1] + carried)
    carry = (low < carried).select(const(1, "u"), const(0, "u"))
    high = let(m * window[0] + _high_product(m, window[1]) + carry)
    n = let((high + (1 << 29)) >> 30)
    # What is left, as a magnitude: 30 bits and 32 that follow.
    back = let(((high >> 29) & 1).differs(0))
    borrow = low.differs(0).select(const(1, "u"), const(0, "u"))
    part = let(high & 0x3FFFFFFF)
    top = let(back.select(0x40000000 - part - borrow, part))
    rest = let((back.select(0 - low, low) >> 8).to("f") * 2.0**-54)
    # pi/2 in two parts, of which the first has an exact product with 16 bits.
    coarse = let((top & 0x3FFFC000).to("f") * 2.0**-30)
    fine = let((top & 0x3FFF).to("f") * 2.0**-30 + rest)
    exact = let((coarse * HALF_PI[0]).held())
    others = let((coarse * HALF_PI[1] + fine * (math.pi / 2)).held())
    r = let((exact + others).held())
    lost = let((exact - r).held() + others)
    flipped = let(back ^ _sign_of(x).differs(0))
    still = let(size < LEAST_TURNING << 23)
    turned = _sign_of(x).differs(0).select(0 - n, n) & 3
    r = still.select(x, flipped.select(-r, r))
    lost = still.select(0.0, flipped.select(-lost, lost))
    return let(r), let(still.select(const(0, "u"), turned)), let(lost)


def _wave(x: Value, shift: int) -> Value:
    let = x.block.let
    r, quotient, _ = _quadrant(x)
    z = let(r * r)
    sine = let((r * z).times_plus(horner(z, SIN_TAIL), r))
    cosine = let(horner(z, (*COS_TAIL, -0.5, 1.0)))
    n = let(quotient + shift)
    y = (n & 1).same(1).select(cosine, sine)
    y = let(((n & 2) << 30 ^ y.view("u")).view("f"))
    return (x.call("abs") <= 3.4028234663852886e38).select(y, float("nan"))


def sin(x: Value) -> Value:
    """The sine of any number."""

    def write(x: Value) -> Value:
        return x.same(0.0).select(x, _wave(x, 0))

    return x.block.module.helper("sin_", [x], write, "f")


def cos(x: Value) -> Value:
    """The cosine of any number."""
    return x.block.module.helper("cos_", [x], lambda x: _wave(x, 1), "f")


def tan(x: Value) -> Value:
    """The tangent of any number."""
    return x.block.module.helper("tan_", [x], _tan, "f")


def _tan(x: Value) -> Value:
    let = x.block.let
    r, n, low = _quadrant(x)
    z = let(r * r)
    t = let((r * z).times_plus(horner(z, TAN_TAIL), low) + r)
    y = (n & 1).same(1).select(-1.0 / t, t)
    y = x.same(0.0).select(x, y)
    return (x.call("abs") <= 3.4028234663852886e38).select(y, float("nan"))


def atan2(y: Value, x: Value) -> Value:
    """The angle of the point (x, y), with C's answers for zeros and infinities."""
    return y.block.module.helper("atan2_", [y, x], _atan2, "f")


def _atan2(y: Value, x: Value) -> Value:
    let = x.block.let
    width, height = let(x.call("abs")), let(y.call("abs"))
    longest, shortest = let(width.call("max", height)), let(width.call("min", height))
    # A huge divisor would make some adapters' reciprocals 0.
    scale = let((longest > 1e30).select(x.block.const(2.0**-64, "f"), 1.0))
    ratio = (shortest * scale) / (longest * scale)
    ratio = width.same(height).select(1.0, ratio)  # two infinities
    ratio = let(longest.same(0.0).select(0.0, ratio))
    ratio = let((longest.same(INFINITY) & (shortest < INFINITY)).select(0.0, ratio))
    z = let(ratio * ratio)
    angle = let((ratio * z).times_plus(horner(z, ATAN_TAIL), ratio))
    steep, left = let(height > width), let(_sign_of(x).differs(0))
    angle = let((steep ^ left).select(-angle, angle))
    none = x.block.const(0.0, "f")
    high = steep.select(PI_HIGH / 2, left.select(PI_HIGH, none))
    low = steep.select(PI_LOW / 2, left.select(PI_LOW, none))
    result = let(let(high) + let((low + angle).held()))
    nan = x.is_nan() | y.is_nan()
    return nan.select(float("nan"), with_sign_of(result.call("abs"), y))


# log2(m) = 2 / log(2) * (s + s**3 / 3 + ...), s = (m - 1) / (m + 1); two parts of
# 2 / log(2), of which the first has an exact product with 12 bits.
TWO_LOG2_E = (1477 / 512, 6.2445677792681e-04)
# (log2((1 + s) / (1 - s)) / s - 2 / log(2)) / s**2 in s**2: the terms of the series.
LOG2_TAIL = tuple(2 * LOG2_E / (2 * i + 1) for i in range(6, 0, -1))
TOP = 0xFFFFF000  # the sign, the exponent and the first 12 bits: products of two are exact


def _top(x: Value) -> Value:
    return (x.view("u") & TOP).view("f")


def power(x: Value, y: Value) -> Value:
    """x**y with the special cases of C's pow: x**0 and 1**y are 1, even for NaN."""
    return x.block.module.helper("pow_", [x, y], _power, "f")


def _power(x: Value, y: Value) -> Value:
    let, const = x.block.let, x.block.const
    size = let(x.call("abs"))
    small = let((size.view("u") < 0x00800000) & size.view("u").differs(0))
    whole = let(small.select(size.view("u").to("f"), size))
    m, exponent = _mantissa(whole)
    exponent = let(exponent + small.select(-149.0, const(0.0, "f")))
    high, low = _log2(m, exponent)
    # y * log2(x) as a sum of an exact product and small ones.
    bound = let(y.call("max", -3e38).call("min", 3e38))
    y_high = let(_top(bound))
    y_low = let((bound - y_high).held())
    main = let((y_high * high).held())
    rest = let(y_high * low + y_low * (high + low).held())
    total = main + rest
    sure = let(total.call("max", -252.0).call("min", 252.0))
    n = let(sure.call("round"))
    r = let((main - n).held() + rest)
    near = r.call("max", -1.0).call("min", 1.0)
    t = let(_scaled(horner(let(near), SINGLE.exp2), let(n.to("i"))))
    result = _power_specials(let(t), size, y)
    result = _negative_bases(result, x, y)
    nan = x.is_nan() | y.is_nan()
    result = let(nan.select(float("nan"), result))
    one = y.same(0.0) | x.same(1.0) | (x.same(-1.0) & y.call("abs").same(INFINITY))
    return one.select(1.0, result)


def _log2(m: Value, exponent: Value) -> tuple[Value, Value]:
    """log2(m) + exponent as a number of 12 bits and the rest."""
    let = m.block.let
    numerator, denominator = let((m - 1.0).held()), let((m + 1.0).held())
    s = let(numerator / denominator)
    s_high = let(_top(s))
    # numerator - s_high * denominator, exactly: the denominator in parts, too.
    d_high = let(_top(denominator))
    d_low = let((m - (d_high - 1.0).held()).held())
    left = ((numerator - (s_high * d_high).held()).held() - (s_high * d_low).held()).held()
    s_low = let(left / denominator)
    square = let(s * s)
    tail = let(s * square * horner(square, LOG2_TAIL))
    first = let((s_high * TWO_LOG2_E[0]).held())
    second = let(s_high * TWO_LOG2_E[1] + s_low * (TWO_LOG2_E[0] + TWO_LOG2_E[1]) + tail)
    whole = let((exponent + first).held())
    # Of exponent and first the larger in size is the exponent, unless that is 0.
    lost = let((exponent - whole).held() + first)
    high = let(_top((whole + second).held()))
    return high, let((whole - high).held() + (lost + second))


def _power_specials(result: Value, size: Value, y: Value) -> Value:
    let = size.block.let
    zero = let(size.same(0.0))
    grows = let((y > 0.0) ^ zero)
    none = size.block.const(0.0, "f")
    limit = grows.select(INFINITY, none)
    result = (zero | size.same(INFINITY)).select(limit, result)
    endless = let(y.call("abs").same(INFINITY))
    outgrows = (size > 1.0) ^ (y < 0.0)
    return let(endless.select(outgrows.select(INFINITY, none), result))


def _negative_bases(result: Value, x: Value, y: Value) -> Value:
    """NaN for a broken power of a negative number, minus for an odd one."""
    let = x.block.let
    half = let(y * 0.5)
    whole = let(y.call("trunc").same(y))
    odd = let(whole & half.call("trunc").differs(half))
    broken = let((x < 0.0) & (x > -INFINITY) & ~(whole | y.call("abs").same(INFINITY)))
    none = x.block.const(0, "u")
    sign = odd.select(_sign_of(x), none)
    return broken.select(float("nan"), (result.view("u") | sign).view("f"))


def maximum(x: Value, y: Value) -> Value:
    """The larger; NaN when either is NaN; +0 is above -0."""

    def write(x: Value, y: Value) -> Value:
        larger = (x > y).select(x, y)
        zeros = x.same(0.0) & y.same(0.0)
        larger = zeros.select((x.view("u") & y.view("u")).view("f"), larger)
        return x.is_nan().select(x, y.is_nan().select(y, larger))

    return x.block.module.helper("max_", [x, y], write, "f")


def minimum(x: Value, y: Value) -> Value:
    """The smaller; NaN when either is NaN; -0 is below +0."""

    def write(x: Value, y: Value) -> Value:
        smaller = (x < y).select(x, y)
        zeros = x.same(0.0) & y.same(0.0)
        smaller = zeros.select((x.view("u") | y.view("u")).view("f"), smaller)
        return x.is_nan().select(x, y.is_nan().select(y, smaller))

    return x.block.module.helper("min_", [x, y], write, "f")


def to_integer(x: Value, bits: int, signed: bool) -> Value:
    """Truncate; saturates, NaN gives 0."""
    kind = "i" if signed else "u"
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)

    def write(x: Value) -> Value:
        # The largest float below the limit is one that converts.
        top = float(high) if bits <= 24 else math.nextafter(high + 1.0, 0.0)
        top = top if bits <= 24 else float(high + 1 - (1 << bits - (25 if signed else 24)))
        inside = x.call("max", float(low)).call("min", top)
        whole = inside.to(kind)
        if bits > 24:
            whole = (x >= float(high + 1)).select(x.block.const(high, kind), whole)
        return x.is_nan().select(x.block.const(0, kind), whole)

    return x.block.module.helper(f"to_{kind}{bits}", [x], write, kind)


def to_float(x: Value) -> Value:
    """The nearest float: adapters are a unit off for the upper half of u32."""
    if x.kind != "u":
        return x.to("f")

    def write(x: Value) -> Value:
        half = ((x >> 1) | (x & 1)).to("i").to("f")  # what is cut off decides ties
        return (x >> 31).same(0).select(x.to("i").to("f"), half * 2.0)

    return x.block.module.helper("to_float_", [x], write, "f")


def rounded_to_half(x: Value) -> Value:
    """The nearest float16, as a float32."""

    def write(x: Value) -> Value:
        let = x.block.let
        bits = let(x.view("u"))
        size = let(bits & 0x7FFFFFFF)
        near = (size + 0xFFF + ((size >> 13) & 1)) & 0xFFFFE000
        near = (size >= 0x477FF000).select(x.block.const(0x7F800000, "u"), near)
        small = (size.view("f") * 2.0**24).call("round") * 2.0**-24
        near = (size < 0x38800000).select(small.view("u"), near)
        near = (size > 0x7F800000).select(size, near)
        return (near | (bits & SIGN)).view("f")

    return x.block.module.helper("half_", [x], write, "f")


def half_to_bits(x: Value) -> Value:
    """The bits, as u32, of a float32 that is a float16."""

    def write(x: Value) -> Value:
        let = x.block.let
        bits = let(x.view("u"))
        size = let(bits & 0x7FFFFFFF)
        normal = (size - (112 << 23)) >> 13
        small = (size.view("f") * 2.0**24).to("u")
        found = (size < 0x38800000).select(small, normal)
        found = (size >= 0x7F800000).select(((size >> 13) & 0x3FF) | 0x7C00, found)
        return found | ((bits >> 16) & 0x8000)

    return x.block.module.helper("half_bits_", [x], write, "u")


def half_from_bits(bits: Value) -> Value:
    """The float32 of the bits of a float16 in u32."""

    def write(bits: Value) -> Value:
        let = bits.block.let
        size = let(bits & 0x7FFF)
        normal = (size << 13) + (112 << 23)
        small = (size.to("f") * 2.0**-24).view("u")
        found = (size < 0x400).select(small, normal)
        found = (size >= 0x7C00).select((size << 13) | 0x7F800000, found)
        return (found | ((bits & 0x8000) << 16)).view("f")

    return bits.block.module.helper("half_of_", [bits], write, "f")


def lanewise(write: object, name: str, kind: str, *args: Value) -> Value:
    """A function of single lanes, lane by lane."""
    width = max(arg.width for arg in args)
    block = args[0].block
    args = tuple([block.let(arg.splat(width)) for arg in args])
    found = [
        block.module.helper(name, [arg.lane(i) for arg in args], write, kind)  # type: ignore[arg-type]
        for i in range(width)
    ]
    return found[0] if width == 1 else block.join(found)


STEP = 6  # bits of a quotient at once
FULL = 1 << 31 - STEP  # a quotient from here on has digits enough for a float


@dataclass(frozen=True)
class _Division:
    """|x| / |y| of finite numbers in integers, so that nothing on the way is subnormal."""

    rest: Value  # |x| modulo |y| is rest * 2**power, unless |x| is less than |y|
    power: Value
    divisor: Value
    less: Value
    apart: Value  # whether the signs differ and there is a rest
    quotient: Value  # * 2**dropped is the whole quotient, but for lower digits
    dropped: Value
    lower: Value  # not 0 where those digits are not


def _long_division(x: Value, y: Value, with_quotient: bool) -> _Division:
    block, let, var = x.block, x.block.let, x.block.var

    def parts(v: Value) -> tuple[Value, Value]:
        bits = let(v.view("u") & 0x7FFFFFFF)
        power = let((bits >> 23).to("i"))
        whole = (bits & 0x7FFFFF) | power.same(0).select(
            block.const(0, "u"), block.const(1 << 23, "u")
        )
        return let(whole), let(power.call("max", 1))

    (mx, ex), (my, ey) = parts(x), parts(y)
    divisor = let(my.call("max", 1))
    left, rest = var(let(ex - ey)), var(mx)
    none = let(block.const(0, "u"))
    quotient, dropped, lower = var(none), var(none.view("i")), var(none)
    less = let(left < 0)
    with block.if_(left >= 0):
        if with_quotient:
            block.set(quotient, rest / divisor)
        block.set(rest, rest % divisor)
        with block.range(0, -(-253 // STEP)):
            step = let(left.call("min", STEP).call("max", 0))
            shifted = let(rest << step.view("u"))
            if with_quotient:
                digits, full = let(shifted / divisor), let(quotient >= FULL)
                block.set(lower, lower | full.select(digits, 0))
                longer = (quotient << step.view("u")) | digits
                block.set(quotient, full.select(quotient, longer))
                block.set(dropped, dropped + full.select(step, 0))
            block.set(rest, shifted % divisor)
            block.set(left, left - step)
    apart = let((_sign_of(x) ^ _sign_of(y)).differs(0) & rest.differs(0))
    power = let((ey - 150).call("max", -300))
    return _Division(rest, power, divisor, less, apart, quotient, dropped, lower)


def _floor_mod(x: Value, y: Value) -> Value:
    let = x.block.let
    d = _long_division(x, y, False)
    size, other = let(x.call("abs")), let(y.call("abs"))
    whole = let(_scaled(d.apart.select(d.divisor - d.rest, d.rest).to("f"), d.power))
    whole = let(d.less.select(d.apart.select(other - size, size), whole))
    none = x.is_nan() | y.is_nan() | size.same(INFINITY) | y.same(0.0)
    return none.select(float("nan"), with_sign_of(whole, y))


def floor_mod(x: Value, y: Value) -> Value:
    """The exact x - floor(x / y) * y with the sign of y; NaN for y 0 or x infinite."""
    return lanewise(_floor_mod, "mod_", "f", x, y)


def _floor_divide(x: Value, y: Value) -> Value:
    let, const = x.block.let, x.block.const
    d = _long_division(x, y, True)
    exact = let(d.dropped.same(0))
    lower = let((d.apart | d.lower.differs(0)).select(const(1, "u"), 0))
    # Below the digits that a float has, some digit or none is all that matters.
    whole = let(exact.select(d.quotient + d.apart.select(const(1, "u"), 0), d.quotient | lower))
    size = _scaled(let(to_float(whole)), d.dropped)
    signed = (size.view("u") | (_sign_of(x) ^ _sign_of(y))).view("f")
    signed = let(y.same(0.0).select(x / y, signed))
    none = x.is_nan() | y.is_nan() | x.call("abs").same(INFINITY) | (x.same(0.0) & y.same(0.0))
    return none.select(float("nan"), signed)


def floor_divide(x: Value, y: Value) -> Value:
    """floor(x / y) of the exact quotient; x / 0 as in a division; NaN for an infinite x."""
    return lanewise(_floor_divide, "floordiv_", "f", x, y)


def integer_floor_divide(x: Value, y: Value) -> Value:
    """floor(x / y); 0 where y is 0."""

    def write(x: Value, y: Value) -> Value:
        let = x.block.let
        zero = let(y.same(0))
        safe = let(zero.select(x.block.const(1, x.kind), y))
        if x.kind == "u":
            return zero.select(0, x / safe)
        minus = let(y.same(-1))  # the smallest integer over -1 is itself
        safe = let(minus.select(1, safe))
        q = let(x / safe)
        r = let(x - q * safe)
        down = ((r ^ safe) < 0) & r.differs(0)
        q = down.select(q - 1, q)
        return zero.select(0, minus.select(0 - x, q))

    return x.block.module.helper(f"floordiv_{x.kind}", [x, y], write, x.kind)


def integer_mod(x: Value, y: Value) -> Value:
    """x - floor(x / y) * y, which has the sign of y; 0 where y is 0."""

    def write(x: Value, y: Value) -> Value:
        let = x.block.let
        zero = let(y.same(0) if x.kind == "u" else y.same(0) | y.same(-1))
        safe = let(zero.select(x.block.const(1, x.kind), y))
        r = let(x - x / safe * safe)
        if x.kind == "i":
            r = let((((r ^ safe) < 0) & r.differs(0)).select(r + safe, r))
        return zero.select(0, r)

    return x.block.module.helper(f"mod_{x.kind}", [x, y], write, x.kind)


def integer_power(x: Value, y: Value) -> Value:
    """By squaring; a negative exponent gives 0 but for bases 1 and -1."""

    def write(x: Value, y: Value) -> Value:
        block = x.block
        base, left = block.var(x), block.var(y.view("u"))
        total = block.var((x ^ x) + 1)
        if x.kind == "i":
            block.set(left, (y < 0).select(y.view("u") & 1, left))
        with block.range(0, 32):
            hit = (left & 1).same(1)
            block.set(total, hit.select(total * base, total))
            block.set(base, base * base)
            block.set(left, left >> 1)
        if x.kind == "u":
            return total
        unit = x.same(1) | x.same(-1)
        return ((y < 0) & ~unit).select(0, total)

    return x.block.module.helper(f"pow_{x.kind}", [x, y], write, x.kind)


ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def threefry2x32(k0: Value, k1: Value, c0: Value, c1: Value) -> tuple[Value, Value]:
    """Threefry-2x32 with 20 rounds, as in JAX: two random words for each lane."""
    block = c0.block
    width = max(v.width for v in (k0, k1, c0, c1))
    k0, k1, c0, c1 = (block.let(v.splat(width)) for v in (k0, k1, c0, c1))
    keys = (k0, k1, block.let(k0 ^ k1 ^ PARITY))
    x0, x1 = block.var(c0 + k0), block.var(c1 + k1)
    for group in range(5):
        for count in ROTATIONS[group % 2]:
            block.set(x0, x0 + x1)
            block.set(x1, ((x1 << count) | (x1 >> (32 - count))) ^ x0)
        block.set(x0, x0 + keys[(group + 1) % 3])
        block.set(x1, x1 + keys[(group + 2) % 3] + (group + 1))
    return x0, x1
