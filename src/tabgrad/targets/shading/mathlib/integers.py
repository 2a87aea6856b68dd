"""Powers of integers, and the Threefry random bits."""

from __future__ import annotations

from tabgrad.targets.coefficients import PARITY, ROTATIONS
from tabgrad.targets.shading.values import Value


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
