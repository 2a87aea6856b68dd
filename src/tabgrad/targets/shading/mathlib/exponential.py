"""exp, log and the functions made of them: expm1, log1p, tanh, sigmoid, erf."""

from __future__ import annotations

import math

from tabgrad.targets.coefficients import LOG2_E, SINGLE
from tabgrad.targets.shading.mathlib.arithmetic import (
    INFINITY,
    horner,
    power_of_two,
    scaled,
    with_sign_of,
)
from tabgrad.targets.shading.values import Value

TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)


def exp(x: Value) -> Value:
    """e**x."""
    return x.block.module.helper("exp_", [x], _exp, "f")


def _exp(x: Value) -> Value:
    let = x.block.let
    inside = let(x.call("min", SINGLE.overflow).call("max", SINGLE.underflow))
    n = let((inside * LOG2_E).call("round"))
    r = let(n.times_plus(-SINGLE.ln2_high, inside).held().times_plus(1.0, n * -SINGLE.ln2_low))
    y = let(horner(r, SINGLE.exp_series))
    return x.is_nan().select(x, scaled(y, let(n.to("i"))))


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
    s = let(power_of_two(n - 1))
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
    s = let(power_of_two(n))
    e = let(s.times_plus(low, s.times_plus(r, (s - 1.0).held())))
    y = let((-e) / (e + 2.0))  # its absolute value, though no other, Mesa 22.3 takes for 2 and more
    tiny = size < 2.0**-25
    return (tiny | x.is_nan()).select(x, with_sign_of(y, x))


def sigmoid(x: Value) -> Value:
    """1 / (1 + e**-x)."""
    return x.block.module.helper("sigmoid_", [x], _sigmoid, "f")


def _sigmoid(x: Value) -> Value:
    let = x.block.let
    e = let(exp(-x.call("abs")))
    return x.is_nan().select(x, (x >= 0.0).select(1.0, e) / (e + 1.0))


def mantissa(x: Value) -> tuple[Value, Value]:
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
    m, exponent = mantissa(x)
    y = let(_log_of(let((m - 1.0).held()), exponent))
    y = (x.view("u") < 0x00800000).select(_log_of_small(x), y)
    y = (x.same(INFINITY) | x.is_nan()).select(x, y)
    y = x.same(0.0).select(-INFINITY, y)
    return (x < 0.0).select(float("nan"), y)


def _log_of_small(x: Value) -> Value:
    # The fraction of a subnormal number is an integer times 2**-149.
    whole = x.view("u").to("f")
    m, exponent = mantissa(x.block.let(whole))
    return _log_of(x.block.let((m - 1.0).held()), x.block.let(exponent - 149.0))


def log1p(x: Value) -> Value:
    """log(1 + x), accurate near 0: -inf for -1, NaN below."""
    return x.block.module.helper("log1p_", [x], _log1p, "f")


def _log1p(x: Value) -> Value:
    let = x.block.let
    u = let((x + 1.0).held())
    back = let((u - 1.0).held())
    lost = let((1.0 - (u - back).held()).held() + (x - back).held())
    m, exponent = mantissa(u)
    shrink = power_of_two(-(exponent.call("max", -126.0).call("min", 126.0).to("i")))
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
    erfc = horner(let((t - n).held()), SINGLE.exp2) * power_of_two(n.to("i"))
    y = (size < SINGLE.erf_split).select(small, 1.0 - erfc)
    return x.is_nan().select(x, with_sign_of(y, x))
