"""sin, cos, tan and atan2.

Arguments are reduced to [-pi/4, pi/4] in 64-bit floats: with pi/2 in two parts up to 2**22, and
with as many bits of 2/pi as it takes beyond, in a function that is called only when a lane is that
large. So every float32 argument is right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tabgrad.targets.coefficients import (
    ATAN_TAIL,
    COS_TAIL,
    DOUBLE,
    PI_HIGH,
    PI_LOW,
    SIN_TAIL,
    TAN_TAIL,
    TWO_OVER_PI_WORDS,
)
from tabgrad.targets.wasm.builder import (
    F64,
    I32,
    I64,
    U64,
    F32x4,
    F64x2,
    Function,
    I32x4,
    I64x2,
)
from tabgrad.targets.wasm.mathlib.arithmetic import (
    SIGN,
    F,
    choose,
    halves,
    horner,
    join,
    multiply_add,
    precision_of,
    with_sign_of,
)

TWO_OVER_PI = 0.6366197723675814
# pi/2: the first 31 bits, so that a product with a 22-bit integer is exact, and the rest.
HALF_PI_HIGH, HALF_PI_LOW = 1.5707963267341256, 6.077100506506192e-11
ROUND = DOUBLE.round
LARGE, LARGE_BITS = 4194304.0, 0x4A800000


def _reduce_small(f: Function, x: F32x4, fma: bool) -> tuple[F64x2, F64x2, I32x4]:
    """Remainders of x by pi/2 for both halves, and the quotients; |x| <= LARGE."""
    remainders, quotients = [], []
    for d in halves(f, x):
        rounded = f.let(multiply_add(d, TWO_OVER_PI, ROUND, fma))
        n = f.let(rounded - ROUND)
        r = multiply_add(n, -HALF_PI_LOW, multiply_add(n, -HALF_PI_HIGH, d, fma), fma)
        remainders.append(f.let(r))
        quotients.append(rounded.view(I32x4))
    low, high = remainders
    return low, high, f.let(quotients[0].shuffle(quotients[1], (0, 2, 4, 6)))


def _reduce(f: Function, x: F32x4, fma: bool) -> tuple[F64x2, F64x2, I32x4]:
    """Remainders of x by pi/2 for both halves, and the quotients modulo 4."""
    low, high, quotient = f.local(F64x2), f.local(F64x2), f.local(I32x4)
    with f.if_((abs(x) > LARGE).any_true()):
        assert f.module is not None, "sin, cos and tan need a function that belongs to a module"
        large = f.module.helper("reduce_large", [F32x4], [F64x2, F64x2, I32x4], _write_reduce_large)
        _assign((low, high, quotient), f.call(large, x))
    with f.else_():
        _assign((low, high, quotient), _reduce_small(f, x, fma))
    return low, high, quotient


def _assign(targets: Sequence[Any], values: Sequence[Any]) -> None:
    for target, value in zip(targets, values, strict=True):
        target.set(value)


def _write_reduce_large(f: Function) -> None:
    """The reduction of any float32, lane by lane where it is large."""
    (x,) = f.params
    assert f.module is not None
    one = f.module.helper("reduce_lane", [I32], [F64, I32], _write_reduce_lane)
    low, high, quotient = _reduce_small(f, x, False)  # a NaN stays one
    for lane in range(4):
        pair = (low, high)[lane // 2]
        bits = f.let(x.bits().lane(lane))
        with f.if_((bits & 0x7FFFFFFF) > LARGE_BITS):
            r, n = f.call(one, bits)
            pair.set(pair.with_lane(lane % 2, r))
            quotient.set(quotient.with_lane(lane, n))
    f.return_(low, high, quotient)


def _write_reduce_lane(f: Function) -> None:
    """Payne and Hanek's reduction of one large float32: only the bits of 2/pi that matter.

    x is m * 2**e with a 24-bit integer m. The product of m with the 96 bits of 2**e * 2/pi from
    weight 2 down, modulo 2**64, is x / (pi/2) modulo 4 in units of 2**-62.
    """
    (bits,) = f.params
    exponent = f.let((bits >> 23) & 255)
    with f.if_(exponent == 255):
        f.return_(float("nan"), 0)
    first, second = f.local(U64), f.local(U64)

    def pick(word: int) -> Callable[[], object]:
        a, b, c, d = TWO_OVER_PI_WORDS[word : word + 4]
        return lambda: (first.set(a << 32 | b), second.set(c << 32 | d))

    start = f.let(exponent - 149)
    f.switch(start >> 5, [pick(word) for word in range(4)])
    shift = f.let((start & 31).to(U64))
    window = first << shift | second >> 1 >> 63 - shift
    below = second << shift >> 32
    m = f.let(((bits & 0x7FFFFF) | 0x800000).to(U64))
    turns = f.let(m * window + (m * below >> 32))
    n = f.let((turns + (1 << 61) >> 62).to(I32))
    r = f.let(((turns << 2).view(I64) >> 2).to(F64) * (math.pi / 2 * 2.0**-62))
    with f.if_(bits < 0):
        f.return_(-r, -n)
    f.return_(r, n)


def _select_quadrant(f: Function, x: F32x4, shift: int, fma: bool) -> tuple[F32x4, I32x4]:
    """|sin(x + shift * pi/2)| up to a sign, and the sign bits that it lacks."""
    low, high, quotient = _reduce(f, x, fma)
    r = f.let(join(low, high))
    z = f.let(r * r)
    sine = multiply_add(r * z, horner(z, SIN_TAIL, fma), r, fma)
    cosine = horner(z, (*COS_TAIL, -0.5, 1.0), fma)
    n = f.let(quotient + shift) if shift else quotient
    y = choose(n << 31 >> 31, cosine, sine, fma)
    return y, (n & 2) << 30


def sin(f: Function, x: F32x4, fma: bool) -> F32x4:
    """The sine of any float32."""
    with f.scope() as scope:
        x = f.once(x)
        # Of |x|, with the sign of x put back: that keeps the sign of -0.
        y, sign = _select_quadrant(f, f.let(abs(x)), 0, fma)
        return scope.keep((y.bits() ^ sign ^ (x.bits() & SIGN)).view(F32x4))


def cos(f: Function, x: F32x4, fma: bool) -> F32x4:
    """The cosine of any float32."""
    with f.scope() as scope:
        y, sign = _select_quadrant(f, f.once(x), 1, fma)
        return scope.keep((y.bits() ^ sign).view(F32x4))


def tan(f: Function, x: F32x4, fma: bool) -> F32x4:
    """The tangent of any float32; in 64-bit floats, because a division follows."""
    with f.scope() as scope:
        low, high, quotient = _reduce(f, f.once(x), fma)
        odd = f.let(quotient << 31 >> 31)
        parts = []
        for r, swap in ((low, odd.widen_low(I64x2)), (high, odd.widen_high(I64x2))):
            z = f.let(r * r)
            t = f.let(multiply_add(r * z, horner(z, TAN_TAIL, fma), r, fma))
            parts.append(f.let(choose(swap, -1.0 / t, t, fma)))
        return scope.keep(join(*parts))


def atan2(f: Function, y: F32x4, x: F32x4, fma: bool) -> F32x4:
    """The angle of the point (x, y), with C's answers for zeros and infinities."""
    with f.scope() as scope:
        y, x = f.once(y), f.once(x)
        width, height = f.let(abs(x)), f.let(abs(y))
        longest = f.let(width.pmax(height))
        ratio = f.let(width.pmin(height) / longest)
        ratio.set((width == height).select(F32x4.const(1.0), ratio))  # two infinities
        ratio.set(((longest != 0.0) & ratio.bits()).view(F32x4))
        z = f.let(ratio * ratio)
        angle = multiply_add(ratio * z, horner(z, ATAN_TAIL, fma), ratio, fma)
        steep, left = f.let(height > width), f.let(x.bits() >> 31)
        return scope.keep(turned(angle, steep, left, y, x, (PI_HIGH, PI_LOW), fma))


def turned(angle: F, steep: Any, left: Any, y: F, x: F, pi: tuple[float, float], fma: bool) -> F:
    """The angle of (x, y) by the angle of its longer and its shorter side.

    The masks say where |y| > |x| and where x < 0; pi is a number and what that lacks.
    """
    kind, sign = type(x), precision_of(x).sign
    angle = ((steep ^ left) & sign ^ angle.bits()).view(kind)
    high, low = (
        choose(steep, kind.const(part / 2), (left & kind.const(part).bits()).view(kind), fma)
        for part in pi
    )
    result = with_sign_of(high + (low + angle), y)
    return kind((result.bits() | (x != x) | (y != y)).get())
