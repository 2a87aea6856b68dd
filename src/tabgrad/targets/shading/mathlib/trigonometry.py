"""sin, cos, tan and atan2. Arguments of any size are reduced in integers of 32 bits."""

from __future__ import annotations

import math

from tabgrad.targets.coefficients import (
    ATAN_TAIL,
    COS_TAIL,
    PI_HIGH,
    PI_LOW,
    SIN_TAIL,
    TAN_TAIL,
    TWO_OVER_PI_WORDS,
)
from tabgrad.targets.shading.mathlib.arithmetic import INFINITY, horner, sign_of, with_sign_of
from tabgrad.targets.shading.values import Value

HALF_PI = (1.5703125, math.pi / 2 - 1.5703125)
LEAST_TURNING = 126  # the exponent's bits of 0.5: smaller arguments are left as they are


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
    flipped = let(back ^ sign_of(x).differs(0))
    still = let(size < LEAST_TURNING << 23)
    turned = sign_of(x).differs(0).select(0 - n, n) & 3
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
    steep, left = let(height > width), let(sign_of(x).differs(0))
    angle = let((steep ^ left).select(-angle, angle))
    none = x.block.const(0.0, "f")
    high = steep.select(PI_HIGH / 2, left.select(PI_HIGH, none))
    low = steep.select(PI_LOW / 2, left.select(PI_LOW, none))
    result = let(let(high) + let((low + angle).held()))
    nan = x.is_nan() | y.is_nan()
    return nan.select(float("nan"), with_sign_of(result.call("abs"), y))
