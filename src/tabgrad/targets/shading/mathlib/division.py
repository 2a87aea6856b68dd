"""Floor division and its rest: of floats, exactly and for every size, and of integers; and the
greatest common divisors of integers."""

from __future__ import annotations

from dataclasses import dataclass

from tabgrad.targets.shading.mathlib.arithmetic import (
    INFINITY,
    lanewise,
    scaled,
    sign_of,
    with_sign_of,
)
from tabgrad.targets.shading.mathlib.conversions import to_float
from tabgrad.targets.shading.values import Value

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
    apart = let((sign_of(x) ^ sign_of(y)).differs(0) & rest.differs(0))
    power = let((ey - 150).call("max", -300))
    return _Division(rest, power, divisor, less, apart, quotient, dropped, lower)


def _floor_mod(x: Value, y: Value) -> Value:
    let = x.block.let
    d = _long_division(x, y, False)
    size, other = let(x.call("abs")), let(y.call("abs"))
    whole = let(scaled(d.apart.select(d.divisor - d.rest, d.rest).to("f"), d.power))
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
    size = scaled(let(to_float(whole)), d.dropped)
    signed = (size.view("u") | (sign_of(x) ^ sign_of(y))).view("f")
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


def integer_gcd(x: Value, y: Value) -> Value:
    """The greatest common divisor, not negative but where it wraps; that of 0 and 0 is 0."""
    return lanewise(_integer_gcd, f"gcd_{x.kind}", x.kind, x, y)


def _integer_gcd(x: Value, y: Value) -> Value:
    # A loop: Euclid's 47 steps one after the other are gigabytes to some compilers.
    block, let = x.block, x.block.let
    found, rest = block.var(_size(x)), block.var(_size(y))
    with block.while_(rest.differs(0)):
        after = let(found % rest)
        block.set(found, rest)
        block.set(rest, after)
    return found.view(x.kind)


def _size(x: Value) -> Value:
    """|x|, that of the smallest integer, too."""
    bits = x.view("u")
    return (x < 0).select(0 - bits, bits) if x.kind == "i" else bits
