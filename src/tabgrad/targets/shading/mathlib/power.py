"""x**y: 2**(y * log2(x)), with the logarithm in two numbers, since y multiplies its error."""

from __future__ import annotations

from tabgrad.targets.coefficients import LOG2_E, SINGLE
from tabgrad.targets.shading.mathlib.arithmetic import INFINITY, horner, scaled, sign_of
from tabgrad.targets.shading.mathlib.exponential import mantissa
from tabgrad.targets.shading.values import Value

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
    m, exponent = mantissa(whole)
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
    t = let(scaled(horner(let(near), SINGLE.exp2), let(n.to("i"))))
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
    sign = odd.select(sign_of(x), none)
    return broken.select(float("nan"), (result.view("u") | sign).view("f"))
