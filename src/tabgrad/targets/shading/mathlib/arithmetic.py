"""What the other functions are built from, and the larger and the smaller of two numbers."""

from __future__ import annotations

from collections.abc import Sequence

from tabgrad.targets.shading.values import Value

INFINITY = float("inf")
SIGN = 0x80000000


def horner(x: Value, coefficients: Sequence[float]) -> Value:
    """The polynomial with these coefficients, highest power first."""
    total = x.block.const(coefficients[0], "f")
    for coefficient in coefficients[1:]:
        total = total.times_plus(x, coefficient)
    return total


def sign_of(x: Value) -> Value:
    """The sign bit, in place."""
    return x.view("u") & SIGN


def with_sign_of(magnitude: Value, x: Value) -> Value:
    """A number that is not negative, with the sign of x."""
    return (magnitude.view("u") | sign_of(x)).view("f")


def power_of_two(n: Value) -> Value:
    """2**n for integers from -126 to 127."""
    return ((n + 127) << 23).view("f")


def scaled(y: Value, n: Value) -> Value:
    """y * 2**n, in two steps because 2**n may be none."""
    let = y.block.let
    half = let(n >> 1)
    return y * power_of_two(half) * power_of_two(n - half)


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
