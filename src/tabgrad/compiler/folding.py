"""Arithmetic on constants while compiling: the value of elementwise primitives on Python scalars.

Only what is exact is done here. Sums, products, quotients and square roots are computed in float64
and rounded once, which gives the correctly rounded float32 and float16 results too (float64 has
more than twice their digits, plus two). Transcendental functions are the engines' own and are not
imitated, but for the few arguments where the value is exact.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tabgrad.dtypes import DType, limits, wrap

Scalar = bool | int | float


def fold(name: str, params: Mapping[str, Any], dtype: DType, values: list[Any]) -> Scalar | None:
    """The value of primitive `name` on constants of `dtype`; None where it is left to the engine.

    The result is still to be rounded or wrapped to the result's dtype.

    Example:
        >>> from tabgrad import dtypes
        >>> fold("add", {}, dtypes.int32, [2, 3])
        5
    """
    if name == "cast":
        return _cast(values[0], dtype, params["dtype"])
    if name == "bitcast":
        return _bitcast(values[0], dtype, params["dtype"])
    rule = _TABLES[dtype.kind].get(name)
    if rule is None and dtype.is_integer and name in _SHIFTS:
        rule = partial(_SHIFTS[name], dtype.bits)
    if rule is not None:
        value: Scalar | None = rule(*values)
        return value
    return EXACT.get(name, {}).get(values[0]) if len(values) == 1 and dtype.is_float else None


# Values of transcendental functions that are exact and that every engine returns. Not those of odd
# functions at 0: a dictionary does not tell 0.0 from -0.0.
EXACT: Mapping[str, Mapping[float, float]] = {
    "exp": {0.0: 1.0},
    "log": {1.0: 0.0},
    "cos": {0.0: 1.0},
    "sigmoid": {0.0: 0.5},
}


def _div(x: float, y: float) -> float:
    if y != 0:
        return x / y
    if x == 0 or x != x:
        return math.nan
    return math.copysign(math.inf, x) * math.copysign(1.0, y)


def _sqrt(x: float) -> float:
    return math.sqrt(x) if x >= 0 else math.nan


def _max(x: float, y: float) -> float:
    if x != x or y != y:
        return math.nan
    return x + y if x == 0 == y else max(x, y)  # +0 is larger than -0


def _min(x: float, y: float) -> float:
    if x != x or y != y:
        return math.nan
    return -(-x + -y) if x == 0 == y else min(x, y)


def _whole(function: Callable[[float], int]) -> Callable[[float], float]:
    def rule(x: float) -> float:
        return math.copysign(float(function(x)), x) if math.isfinite(x) else x

    return rule


def _sign(x: Any) -> Any:
    if x != x:
        return x
    return type(x)((x > 0) - (x < 0))  # 0 for -0, as in NumPy


def _int_pow(x: int, y: int) -> int | None:
    # The engines know what a negative power rounds to; constants like that are not worth a rule.
    return pow(x, y, 1 << 64) if y >= 0 else None


_COMPARE: Mapping[str, Callable[..., Any]] = {
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
    "lt": lambda x, y: x < y,
    "le": lambda x, y: x <= y,
}
_BITS: Mapping[str, Callable[..., Any]] = {
    "and": lambda x, y: x & y,
    "or": lambda x, y: x | y,
    "xor": lambda x, y: x ^ y,
}
_FLOAT: Mapping[str, Callable[..., Any]] = {
    **_COMPARE,
    "neg": lambda x: -x,
    "abs": abs,
    "sign": _sign,
    "floor": _whole(math.floor),
    "ceil": _whole(math.ceil),
    "round": _whole(round),
    "trunc": _whole(math.trunc),
    "sqrt": _sqrt,
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": _div,
    "max": _max,
    "min": _min,
}
_INTEGER: Mapping[str, Callable[..., Any]] = {
    **_COMPARE,
    **_BITS,
    "neg": lambda x: -x,
    "abs": abs,
    "sign": _sign,
    "not": lambda x: ~x,
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "floordiv": lambda x, y: x // y if y else 0,
    "mod": lambda x, y: x % y if y else 0,
    "gcd": math.gcd,
    "pow": _int_pow,
    "max": max,
    "min": min,
}
_BOOL: Mapping[str, Callable[..., Any]] = {
    **_COMPARE,
    **_BITS,
    "not": lambda x: not x,
    "max": max,
    "min": min,
}
_TABLES = {"f": _FLOAT, "i": _INTEGER, "u": _INTEGER, "b": _BOOL}

# Shifts depend on the width; by more than it, only the engines say what happens.
_SHIFTS: Mapping[str, Callable[..., Any]] = {
    "shl": lambda bits, x, y: x << y if 0 <= y < bits else None,
    "shr": lambda bits, x, y: x >> y if 0 <= y < bits else None,
}


def _cast(x: Any, source: DType, target: DType) -> Scalar | None:
    if source.is_float and target.is_integer:
        if x != x:
            return 0
        low, high = limits(target)
        return int(min(max(x, low), high)) if math.isfinite(x) else (high if x > 0 else low)
    if source.is_integer and target.is_float and abs(x) > 1 << 53:
        return None  # going through float64 would round twice
    return wrap(x, target)  # type: ignore[no-any-return]


def _bitcast(x: Any, source: DType, target: DType) -> Scalar | None:
    result = struct.unpack("<" + target.format, struct.pack("<" + source.format, x))[0]
    # A NaN may lose its payload on the way through Python.
    return None if x != x or result != result else result
