"""Remainders of 64-bit floats by pi/2, as the sum of two floats, and the quotients.

Up to 2**20 in vectors, with pi/2 in four parts; beyond by Payne and Hanek's method (1983) in a
function that is called only when a lane is that large. So every argument is right, also those next
to a multiple of pi/2, where most digits cancel.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from tabgrad.targets.wasm.builder import F64, I32, I64, U64, F64x2, Function, I64x2, Vector
from tabgrad.targets.wasm.mathlib.exponential import split

TWO_OVER_PI = 0.6366197723675814
# pi/2: three times 33 bits, so that products with 20-bit integers are exact, and the rest.
HALF_PI = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487111665e-21, 8.4784276603689e-32)
LARGE = float(1 << 20)

# A zero word, then the bits of 2/pi after the point, in words of 64.
TWO_OVER_PI_WORDS = (
    0x0000000000000000, 0xA2F9836E4E441529, 0xFC2757D1F534DDC0, 0xDB6295993C439041,
    0xFE5163ABDEBBC561, 0xB7246E3A424DD2E0, 0x06492EEA09D1921C, 0xFE1DEB1CB129A73E,
    0xE88235F52EBB4484, 0xE99C7026B45F7E41, 0x3991D639835339F4, 0x9C845F8BBDF9283B,
    0x1FF897FFDE05980F, 0xEF2F118B5A0A6D1F, 0x6D367ECF27CB09B7, 0x4F463F669E5FEA2D,
    0x7527BAC7EBE5F17B, 0x3D0739F78A5292EA, 0x6BFB5FB11F8D5D08, 0x56033046FC7B6BAB,
)  # fmt: skip
# pi/2: 26 bits and the rest.
HEAD, REST = 1.5707963109016418, 1.5893254773528196e-08
UNIT = 2.0**-64

Reduced = tuple[F64x2, F64x2, I64x2]


def reduce(f: Function, x: F64x2, fma: bool) -> Reduced:
    """r, what r lacks, and a number whose low two bits are the quotient's; x >= 0 is a local."""
    high, low, quotient = f.local(F64x2), f.local(F64x2), f.local(I64x2)
    with f.if_((x > LARGE).any_true()):
        assert f.module is not None, "sin, cos and tan need a function that belongs to a module"
        kinds: list[type[Vector[Any, Any]]] = [F64x2, F64x2, I64x2]
        large = f.module.helper("reduce_large_float64", [F64x2], kinds, _write_reduce_large)
        _assign((high, low, quotient), f.call(large, x))
    with f.else_():
        _assign((high, low, quotient), _reduce_small(f, x, fma))
    return high, low, quotient


def _assign(targets: Reduced, values: Reduced) -> None:
    high, low, quotient = targets
    high.set(values[0])
    low.set(values[1])
    quotient.set(values[2])


def _reduce_small(f: Function, x: F64x2, fma: bool) -> Reduced:
    quotient, n = split(f, x, TWO_OVER_PI, 0, fma)
    rest = f.let(x - n * HALF_PI[0])  # exact
    second, error = _subtract(f, rest, f.let(n * HALF_PI[1]))
    third, error_too = _subtract(f, second, f.let(n * HALF_PI[2]))
    low = f.let((error + error_too) - n * HALF_PI[3])
    high = f.let(third + low)
    return high, f.let((third - high) + low), f.let(quotient)


def _subtract(f: Function, x: F64x2, y: F64x2) -> tuple[F64x2, F64x2]:
    """x - y and its rounding error, of locals (Knuth)."""
    difference = f.let(x - y)
    y_part = f.let(x - difference)
    return difference, f.let((x - (difference + y_part)) + (y_part - y))


def _write_reduce_large(f: Function) -> None:
    """The reduction of any float64, lane by lane where it is large."""
    (x,) = f.params
    assert f.module is not None
    one = f.module.helper("reduce_lane_float64", [F64], [F64, F64, I64], _write_reduce_lane)
    high, low, quotient = _reduce_small(f, x, False)  # a NaN stays one
    for lane in range(2):
        number = f.let(x.lane(lane))
        with f.if_(number > LARGE):
            r, rest, n = f.call(one, number)
            high.set(high.with_lane(lane, r))
            low.set(low.with_lane(lane, rest))
            quotient.set(quotient.with_lane(lane, n))
    f.return_(high, low, quotient)


def _write_reduce_lane(f: Function) -> None:
    """Only the bits of 2/pi that matter for one large positive float64.

    x is m * 2**e with a 53-bit integer m. The product of m with the 192 bits of 2**e * 2/pi from
    weight 2 down, modulo 2**192, is x / (pi/2) modulo 4; its top 128 bits are kept.
    """
    (x,) = f.params
    bits = f.let(x.view(U64))
    exponent = f.let((bits >> 52).to(I64))
    with f.if_(exponent == 2047):
        f.return_(float("nan"), float("nan"), 0)
    words = tuple(f.local(U64) for _ in range(4))

    def pick(first: int) -> Callable[[], object]:
        given = TWO_OVER_PI_WORDS[first : first + 4]
        return lambda: [word.set(number) for word, number in zip(words, given, strict=True)]

    start = f.let((exponent - 1013).view(U64))
    f.switch((start >> 6).to(I32), [pick(first) for first in range(17)])
    shift = f.let(start & 63)
    high, middle, low = (
        f.let(word << shift | below >> 1 >> 63 - shift) for word, below in pairwise(words)
    )
    m = f.let(bits & (1 << 52) - 1 | 1 << 52)
    middle_high, middle_low = _multiply(f, middle, m)
    below = f.let(middle_low + _multiply(f, low, m)[0])
    turns = f.let(high * m + middle_high + (below < middle_low).to(U64))
    n = f.let((turns + (1 << 61) >> 62).view(I64))
    # The signed fraction in units of 2**-64 and of 2**-128, made positive and shifted up.
    whole = f.let((turns << 2 | below >> 62).view(I64))
    negative = f.let(whole >> 63)
    whole.set(whole ^ negative)
    below.set(below << 2 ^ negative.view(U64))
    count = f.let(whole.clz() - 1)
    whole.set(whole << count | (below >> 1 >> (63 - count).view(U64)).view(I64))
    below.set(below << count.view(U64))
    top = f.let((whole & -(1 << 37)).to(F64))
    part = f.let((whole & (1 << 37) - 1).to(F64) + below.to(F64) * UNIT)
    product = f.let(top * HEAD)
    rest = f.let(top * REST + part * (HEAD + REST))
    r = f.let(product + rest)
    scale = f.let((1023 - 64 - count << 52).view(F64))
    scale.set((negative != 0).select(-scale, scale))
    f.return_(r * scale, ((product - r) + rest) * scale, n)


def _multiply(f: Function, x: U64, m: U64) -> tuple[U64, U64]:
    """The high and low words of x * m, where m has 53 bits."""
    word = (1 << 32) - 1
    x0, x1, m0, m1 = f.let(x & word), f.let(x >> 32), f.let(m & word), f.let(m >> 32)
    first = f.let(x0 * m0)
    second = f.let(x1 * m0 + (first >> 32))
    third = f.let(x0 * m1 + (second & word))
    high = f.let(x1 * m1 + (second >> 32) + (third >> 32))
    return high, f.let(third << 32 | first & word)
