"""Rules of the elementwise primitives: unary, binary, compare, select, cast, bitcast, threefry.

Sources of one node have equal shapes and dtypes, so no rule here broadcasts or promotes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def through_float64(function: Callable[..., Array]) -> Callable[..., Array]:
    """`function` computed in float64 and rounded once to the dtype of its arguments."""

    def rule(params: Any, out: Any, *xs: Array) -> Array:
        return np.asarray(function(*(x.astype(np.float64) for x in xs))).astype(xs[0].dtype)

    return rule


def direct(function: Callable[..., Any]) -> Callable[..., Array]:
    """`function` as NumPy computes it in the dtype of its arguments."""

    def rule(params: Any, out: Any, *xs: Array) -> Array:
        return np.asarray(function(*xs)).astype(xs[0].dtype, copy=False)

    return rule


def comparison(function: Callable[..., Any]) -> Callable[..., Array]:
    def rule(params: Any, out: Any, x: Array, y: Array) -> Array:
        return np.asarray(function(x, y), dtype=np.bool_)

    return rule


_erf = np.frompyfunc(math.erf, 1, 1)


def _erf64(x: Array) -> Array:
    return np.asarray(_erf(x), dtype=np.float64)


def _sigmoid64(x: Array) -> Array:
    # Two forms, because 1 / (1 + exp(-x)) loses every small result once exp(-x) overflows.
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0 / (1.0 + small), small / (1.0 + small))


def _not(x: Array) -> Array:
    return np.logical_not(x) if x.dtype.kind == "b" else np.bitwise_not(x)


def _floordiv(x: Array, y: Array) -> Array:
    # An integer divided by zero is 0; the smallest integer divided by -1 wraps to itself.
    return np.floor_divide(x, y)


def _mod(x: Array, y: Array) -> Array:
    # The sign of the divisor, as in Python; an integer modulo zero is 0.
    return np.remainder(x, y)


def _pow(params: Any, out: Any, x: Array, y: Array) -> Array:
    if x.dtype.kind == "f":
        return np.power(x.astype(np.float64), y.astype(np.float64)).astype(x.dtype)
    if x.dtype.kind == "u":
        return np.power(x, y)
    # x ** -n is the integer part of 1 / x**n: 1 or -1 for those bases and 0 for any other.
    positive = np.power(x, np.maximum(y, 0))
    unit = np.where(x == 1, 1, np.where(x == -1, np.where(y % 2 == 0, 1, -1), 0))
    return np.where(y >= 0, positive, unit.astype(x.dtype))


def _max(x: Array, y: Array) -> Array:
    result = np.maximum(x, y)
    if x.dtype.kind != "f":
        return result
    # +0 is larger than -0 (IEEE 754-2019 maximum); NumPy leaves it to the processor.
    return np.where((x == 0) & (y == 0), x + y, result)


def _min(x: Array, y: Array) -> Array:
    result = np.minimum(x, y)
    if x.dtype.kind != "f":
        return result
    return np.where((x == 0) & (y == 0), -(-x + -y), result)


def _select(params: Any, out: Any, condition: Array, x: Array, y: Array) -> Array:
    return np.where(condition, x, y)


def cast(x: Array, dtype: np.dtype[Any]) -> Array:
    """`x` as `dtype`: floats to integers truncate and saturate, NaN becomes 0, integers wrap."""
    if dtype.kind == "b":
        return np.not_equal(x, 0)
    if x.dtype.kind == "f" and dtype.kind in "iu":
        whole = np.trunc(x.astype(np.float64))
        info = np.iinfo(dtype)
        # int64's largest value is not a float64, so the bound is the power of two above it.
        low, above = float(info.min), 2.0 ** (info.bits - (dtype.kind == "i"))
        result = np.zeros(x.shape, dtype)
        inside = (whole >= low) & (whole < above)
        result[inside] = whole[inside].astype(dtype)
        result[whole >= above] = info.max
        result[whole < low] = info.min
        return result
    return x.astype(dtype)


def _cast(params: Any, out: Any, x: Array) -> Array:
    return cast(x, np.dtype(params["dtype"].name))


def _bitcast(params: Any, out: Any, x: Array) -> Array:
    bits: Array = np.ascontiguousarray(x).view(np.dtype(params["dtype"].name))
    return bits.reshape(x.shape)


_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry(k0: Array, k1: Array, c0: Array, c1: Array) -> tuple[Array, Array]:
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011), elementwise on uint32."""
    keys = (k0, k1, k0 ^ k1 ^ np.uint32(0x1BD11BDA))
    x0, x1 = c0 + keys[0], c1 + keys[1]
    for block in range(5):
        for distance in _ROTATIONS[block % 2]:
            x0 = x0 + x1
            x1 = (x1 << np.uint32(distance)) | (x1 >> np.uint32(32 - distance))
            x1 = x1 ^ x0
        x0 = x0 + keys[(block + 1) % 3]
        x1 = x1 + keys[(block + 2) % 3] + np.uint32(block + 1)
    return x0, x1


def _threefry(params: Any, out: Any, *xs: Array) -> tuple[Array, Array]:
    return threefry(*xs)


RULES: dict[str, Callable[..., Any]] = {
    "neg": direct(np.negative),
    "abs": direct(np.abs),
    "sign": direct(np.sign),
    "floor": direct(np.floor),
    "ceil": direct(np.ceil),
    "round": direct(np.rint),
    "trunc": direct(np.trunc),
    "sqrt": direct(np.sqrt),
    "exp": through_float64(np.exp),
    "expm1": through_float64(np.expm1),
    "log": through_float64(np.log),
    "log1p": through_float64(np.log1p),
    "sin": through_float64(np.sin),
    "cos": through_float64(np.cos),
    "tan": through_float64(np.tan),
    "tanh": through_float64(np.tanh),
    "sigmoid": through_float64(_sigmoid64),
    "erf": through_float64(_erf64),
    "not": direct(_not),
    "stop": direct(lambda x: x),
    "tag": direct(lambda x: x),
    "add": direct(np.add),
    "sub": direct(np.subtract),
    "mul": direct(np.multiply),
    "div": direct(np.divide),
    "floordiv": direct(_floordiv),
    "mod": direct(_mod),
    "gcd": direct(np.gcd),
    "pow": _pow,
    "max": direct(_max),
    "min": direct(_min),
    "and": direct(np.bitwise_and),
    "or": direct(np.bitwise_or),
    "xor": direct(np.bitwise_xor),
    "shl": direct(np.left_shift),
    "shr": direct(np.right_shift),
    "atan2": through_float64(np.arctan2),
    "eq": comparison(np.equal),
    "ne": comparison(np.not_equal),
    "lt": comparison(np.less),
    "le": comparison(np.less_equal),
    "select": _select,
    "cast": _cast,
    "bitcast": _bitcast,
    "threefry": _threefry,
}
