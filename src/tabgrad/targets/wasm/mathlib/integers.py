"""Integer lanes: floor division, modulo, common divisors, sign, and the Threefry random bits."""

from __future__ import annotations

from typing import TypeVar

from tabgrad.targets.coefficients import PARITY, ROTATIONS
from tabgrad.targets.wasm.builder import F64x2, Function, I32x4, U8x16, U32x4

N = TypeVar("N", I32x4, U32x4)

# Adding it to a 64-bit float leaves the float's integer, modulo 2**32, in the low word.
ROUND = 6755399441055744.0


def integer_floor_divide(f: Function, x: N, y: N) -> N:
    """floor(x / y), wrapped to 32 bits; 0 where y is 0."""
    with f.scope() as scope:
        x, y = f.once(x), f.once(y)
        return scope.keep(_quotient(x, y))


def integer_mod(f: Function, x: N, y: N) -> N:
    """x - floor(x / y) * y, which has the sign of y; 0 where y is 0."""
    with f.scope() as scope:
        x, y = f.once(x), f.once(y)
        return scope.keep((x - _quotient(x, y) * y).and_not((y == 0).view(type(y))))


def integer_gcd(f: Function, x: N, y: N) -> N:
    """The greatest common divisor, not negative but where it wraps; that of 0 and 0 is 0."""
    with f.scope() as scope:
        found, rest = f.let(_size(x)), f.let(_size(y))
        with f.while_(rest.any_true()):
            done = f.let(rest == 0)
            after = f.let((found - _quotient(found, rest) * rest).and_not(done.view(U32x4)))
            found.set(done.select(found, rest))
            rest.set(after)
        return scope.keep(found.view(type(x)))


def _size(x: N) -> U32x4:
    """|x|, that of the smallest integer, too."""
    return abs(x).view(U32x4) if isinstance(x, I32x4) else x


def _quotient(x: N, y: N) -> N:
    """In 64-bit floats, where the floor of the rounded quotient of two 32-bit integers is right.

    Infinities and NaN, the quotients by 0, have low words of 0.
    """
    low = _floor(x.to_f64_low(), y.to_f64_low())
    high = _floor(x.shuffle(x, (2, 3, 2, 3)).to_f64_low(), y.shuffle(y, (2, 3, 2, 3)).to_f64_low())
    return low.view(type(x)).shuffle(high.view(type(x)), (0, 2, 4, 6))


def _floor(x: F64x2, y: F64x2) -> F64x2:
    return (x / y).floor() + ROUND


def integer_sign(f: Function, x: I32x4) -> I32x4:
    """-1, 0 or 1."""
    with f.scope() as scope:
        x = f.once(x)
        return scope.keep((x < 0) - (x > 0))


def threefry2x32(
    f: Function, key: tuple[U32x4, U32x4], counter: tuple[U32x4, U32x4]
) -> tuple[U32x4, U32x4]:
    """Threefry-2x32 with 20 rounds, as in JAX: two random words for each lane."""
    x0, x1 = f.local(U32x4), f.local(U32x4)
    with f.scope():
        k0, k1 = (f.once(k) for k in key)
        keys = (k0, k1, f.let(k0 ^ k1 ^ PARITY))
        x0.set(counter[0] + k0)
        x1.set(counter[1] + k1)
        for group in range(5):
            for count in ROTATIONS[group % 2]:
                x0.set(x0 + x1)
                x1.set(_rotated(x1, count) ^ x0)
            x0.set(x0 + keys[(group + 1) % 3])
            x1.set(x1 + keys[(group + 2) % 3] + (group + 1))
    return x0, x1


def _rotated(x: U32x4, count: int) -> U32x4:
    """The local x rotated to the left; whole bytes in one instruction."""
    if count % 8:
        return x << count | x >> 32 - count
    order = [byte & ~3 | (byte - count // 8) & 3 for byte in range(16)]
    whole = x.view(U8x16)
    return whole.shuffle(whole, order).view(U32x4)
