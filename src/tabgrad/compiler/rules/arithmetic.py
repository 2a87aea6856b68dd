"""Rules of arithmetic, and those of all elementwise primitives: constants and broadcasts."""

from __future__ import annotations

import math

from tabgrad import dtypes
from tabgrad.compiler.folding import fold
from tabgrad.compiler.rules.matching import constant, holds, is_a, result_of, without_ones
from tabgrad.dtypes import bool_
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make


def fold_constants(node: Node) -> Node | None:
    """op(2, 3) is known."""
    if node.shape or not all(is_a(src, "const") for src in node.srcs):
        return None
    values = [src.params["value"] for src in node.srcs]
    if is_a(node, "select"):
        return node.srcs[1 if values[0] else 2]
    value = fold(node.prim.name, node.params, node.srcs[0].dtype, values)
    return None if value is None else b.const(value, node.dtype)


def compute_nothing(node: Node) -> Node | None:
    """Where there are no elements, nothing has to be known about them."""
    return None if node.size else b.full(node.shape, 0, node.dtype)


def given_gradient(node: Node) -> Node | None:
    """A custom gradient has been used by now, or is not."""
    found = result_of(node, "custom")
    return None if found is None else found[0].srcs[found[1]]


def sink_broadcast(node: Node) -> Node | None:
    """op(broadcast x, broadcast y) = broadcast op(x, y): computed once and not for each copy."""
    pattern = None
    for src in node.srcs:
        if not is_a(src, "broadcast"):
            return None
        if src.srcs[0].shape:
            found = (src.srcs[0].shape, src.params["dims"])
            if pattern not in (None, found):
                return None
            pattern = found
    shape, dims = pattern or ((), ())
    small = [
        src.srcs[0] if src.srcs[0].shape == shape else b.broadcast(src.srcs[0], shape, ())
        for src in node.srcs
    ]
    return b.broadcast(make(node.prim.name, *small, **node.params), node.shape, dims)


def sink_reshape(node: Node) -> Node | None:
    """op(reshape x, reshape y) = reshape op(x, y) where only axes of size 1 come or go: such a
    reshape then meets another that undoes it, or the broadcast it was made for."""
    if not all(is_a(src, "reshape", "broadcast") for src in node.srcs):
        return None
    shape = next((src.srcs[0].shape for src in node.srcs if is_a(src, "reshape")), None)
    if shape is None or without_ones(shape) != without_ones(node.shape):
        return None
    inner = [b.reshape(src.srcs[0] if is_a(src, "reshape") else src, shape) for src in node.srcs]
    return b.reshape(make(node.prim.name, *inner, **node.params), node.shape)


def itself(node: Node) -> Node | None:
    """tag and stop mean something to gradients only."""
    return node.srcs[0]


def constant_last(node: Node) -> Node | None:
    """c op x = x op c, so that equal nodes are found and the rules below see one form."""
    x, y = node.srcs
    if constant(x) is not None and constant(y) is None:
        return make(node.prim.name, y, x)
    return None


def add_nothing(node: Node) -> Node | None:
    """x + 0 = x for integers, x + -0.0 = x for floats."""
    x, y = node.srcs
    return x if holds(y, -0.0 if x.dtype.is_float else 0) else None


def add_negated(node: Node) -> Node | None:
    """x + -y = x - y, and -x + y = y - x."""
    x, y = node.srcs
    if is_a(y, "neg"):
        return b.sub(x, y.srcs[0])
    return b.sub(y, x.srcs[0]) if is_a(x, "neg") else None


def subtract_nothing(node: Node) -> Node | None:
    """x - 0 = x."""
    x, y = node.srcs
    return x if holds(y, 0.0 if x.dtype.is_float else 0) else None


def subtract_itself(node: Node) -> Node | None:
    """x - x = 0 for integers."""
    x, y = node.srcs
    return b.like(x, 0) if x is y and x.dtype.is_integer else None


def subtract_negated(node: Node) -> Node | None:
    """x - -y = x + y."""
    x, y = node.srcs
    return b.add(x, y.srcs[0]) if is_a(y, "neg") else None


def multiply_by_one(node: Node) -> Node | None:
    """x * 1 = x."""
    x, y = node.srcs
    return x if holds(y, 1) else None


def multiply_by_zero(node: Node) -> Node | None:
    """x * 0 = 0 for integers."""
    x, y = node.srcs
    return y if x.dtype.is_integer and holds(y, 0) else None


def multiply_by_minus_one(node: Node) -> Node | None:
    """x * -1 = -x."""
    x, y = node.srcs
    return b.neg(x) if x.dtype.kind in "if" and holds(y, -1) else None


def multiply_negated(node: Node) -> Node | None:
    """-x * -y = x * y, and -x * c = x * -c."""
    x, y = node.srcs
    if not is_a(x, "neg"):
        return None
    if is_a(y, "neg"):
        return b.mul(x.srcs[0], y.srcs[0])
    value = constant(y)
    return None if value is None else b.mul(x.srcs[0], b.like(y, -value))


def join_constants(node: Node) -> Node | None:
    """(x op c) op d = x op (c op d) for integers; floats would round differently."""
    x, y = node.srcs
    if not x.dtype.is_integer or not is_a(x, node.prim.name) or constant(y) is None:
        return None
    inner = x.srcs[1]
    return None if constant(inner) is None else make(node.prim.name, x.srcs[0], make(
        node.prim.name, inner, y
    ))  # fmt: skip


def divide_by_power_of_two(node: Node) -> Node | None:
    """x / 2**n = x * 2**-n, exactly, as long as 2**-n is a normal number."""
    x, y = node.srcs
    value = constant(y)
    if value is None or not math.isfinite(value) or abs(math.frexp(value)[0]) != 0.5:
        return None
    reciprocal = 1 / value
    smallest = {2: 2.0**-14, 4: 2.0**-126, 8: 2.0**-1022}[x.dtype.itemsize]
    if abs(reciprocal) < smallest or not math.isfinite(dtypes.wrap(reciprocal, x.dtype)):
        return None
    return b.mul(x, b.like(x, reciprocal))


def divide_integer(node: Node) -> Node | None:
    """x // 1 = x and x % 1 = 0 for integers."""
    x, y = node.srcs
    if not x.dtype.is_integer or not holds(y, 1):
        return None
    return x if is_a(node, "floordiv") else b.like(x, 0)


def easy_power(node: Node) -> Node | None:
    """x**0 = 1 (even for NaN), x**1 = x, x**2 = x*x."""
    x, y = node.srcs
    power = constant(y)
    if power == 0:
        return b.like(x, 1)
    if power == 1:
        return x
    return b.mul(x, x) if power == 2 else None


def double_negation(node: Node) -> Node | None:
    """- -x = x, not not x = x, on floats too: only the sign changes."""
    (x,) = node.srcs
    return x.srcs[0] if is_a(x, node.prim.name) else None


def absolute(node: Node) -> Node | None:
    """|-x| = ||x|| = |x|, and |x| = x for unsigned x."""
    (x,) = node.srcs
    if x.dtype.kind == "u" or is_a(x, "abs"):
        return x
    return b.unary("abs", x.srcs[0]) if is_a(x, "neg") else None


def round_whole(node: Node) -> Node | None:
    """Rounding leaves whole numbers alone."""
    (x,) = node.srcs
    return x if is_a(x, "floor", "ceil", "round", "trunc") else None


def same_twice(node: Node) -> Node | None:
    """x op x = x for max, min, and, or."""
    x, y = node.srcs
    return x if x is y else None


def extremum_limit(node: Node) -> Node | None:
    """max(x, lowest) = x and min(x, highest) = x; NaN stays NaN."""
    x, y = node.srcs
    low, high = dtypes.limits(x.dtype)
    return x if holds(y, low if is_a(node, "max") else high) else None


def bits_constant(node: Node) -> Node | None:
    """x and 0 = 0, x and all ones = x; the same for or and xor."""
    x, y = node.srcs
    nothing, everything = (False, True) if x.dtype is bool_ else (0, dtypes.wrap(-1, x.dtype))
    if holds(y, nothing):
        return y if is_a(node, "and") else x
    if holds(y, everything):
        if is_a(node, "xor"):
            return b.unary("not", x)
        return x if is_a(node, "and") else y
    return None


def shift_by_nothing(node: Node) -> Node | None:
    """x << 0 = x >> 0 = x."""
    x, y = node.srcs
    return x if holds(y, 0) else None
