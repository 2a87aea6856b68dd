"""Hyperbolic functions, and the inverses of the circular and of the hyperbolic ones.

Integers become float32; outside its domain a function is NaN. Errors are the largest of a sweep of
float32 and float64 numbers over all exponents (tests/ops/test_special_sweeps.py), in units of the
last place of the result. The Array API's names (acos) and NumPy's (arccos) are the same functions.
"""

from __future__ import annotations

import math
from typing import Any

from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import also_complex
from tabgrad.ops.composing import composed, is_wide, polynomial, with_sign_of
from tabgrad.tensor import Tensor


@also_complex
def arcsin(x: Any) -> Tensor:
    """The angle in [-pi/2, pi/2] with this sine; NaN outside [-1, 1]. Within 3 ULP.

    Args:
        x: of any shape, real or complex; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.asin(1.0)), 6)
        1.570796
    """
    return composed("arcsin", _arcsin, x, slopes=lambda x: (1 / _leg(x),))


def _leg(x: Tensor) -> Tensor:
    """sqrt(1 - x**2), accurate near 1."""
    return e.sqrt((1 - x) * (1 + x))


def _arcsin(x: Tensor) -> Tensor:
    return e.arctan2(x, _leg(x))


@also_complex
def arccos(x: Any) -> Tensor:
    """The angle in [0, pi] with this cosine; NaN outside [-1, 1]. Within 3 ULP.

    Args:
        x: of any shape, real or complex; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.acos(1.0).tolist()
        0.0
    """
    return composed("arccos", _arccos, x, slopes=lambda x: (-1 / _leg(x),))


def _arccos(x: Tensor) -> Tensor:
    # By the half angle, whose sine and cosine have no cancellation: right near 1 and near -1.
    return e.arctan2(e.sqrt(1 - x), e.sqrt(1 + x)) * 2


@also_complex
def arctan(x: Any) -> Tensor:
    """The angle in [-pi/2, pi/2] with this tangent. Within 2 ULP.

    Args:
        x: of any shape, real or complex; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.atan(1.0)), 6)
        0.785398
    """
    return composed("arctan", lambda x: e.arctan2(x, 1.0), x, slopes=lambda x: (_bell(x),))


def _bell(x: Tensor) -> Tensor:
    """1 / (1 + x**2)."""
    return 1 / (1 + x * x)


# e**(x - SHIFT) * HALF_GROWTH is e**x / 2, and overflows where that does, not where e**x does.
# SHIFT has so few bits that subtracting it is exact.
_SHIFT = 0.693359375
_HALF_GROWTH = math.exp(_SHIFT - math.log(2))
# From here on e**-x does not matter, in float64 either.
_LARGE = 40.0

# 1 / (3!, 5!, 7!, ...), highest first: sinh(x) = x + x**3 / 3! + ... on [-1, 1].
_SINH_TAIL = tuple(1 / math.factorial(2 * k + 1) for k in range(9, 0, -1))


def _exponentials(size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where x is large, e**x / 2 for large x, and e**x for others, of x >= 0."""
    large = e.greater(size, _LARGE)
    power = e.exp(e.where(large, size - _SHIFT, size))
    return large, power * _HALF_GROWTH, power


@also_complex
def sinh(x: Any) -> Tensor:
    """The hyperbolic sine, (e**x - e**-x) / 2. Within 3 ULP.

    Args:
        x: of any shape, real or complex; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.sinh(1.0)), 5)
        1.1752
    """
    return composed("sinh", _sinh, x, slopes=lambda x: (cosh(x),))


def _sinh(x: Tensor) -> Tensor:
    size = e.abs(x)
    large, half, power = _exponentials(size)
    square = x * x
    tail = polynomial(square, _SINH_TAIL if is_wide(x) else _SINH_TAIL[-5:])
    small = size + size * square * tail
    result = e.where(large, half, power * 0.5 - 0.5 / power)
    return with_sign_of(e.where(e.less(size, 1.0), small, result), x)


@also_complex
def cosh(x: Any) -> Tensor:
    """The hyperbolic cosine, (e**x + e**-x) / 2. Within 3 ULP.

    Args:
        x: of any shape, real or complex; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.cosh(0.0).tolist()
        1.0
    """
    return composed("cosh", _cosh, x, slopes=lambda x: (sinh(x),))


def _cosh(x: Tensor) -> Tensor:
    large, half, power = _exponentials(e.abs(x))
    return e.where(large, half, power * 0.5 + 0.5 / power)


@also_complex
def arcsinh(x: Any) -> Tensor:
    """The number with this hyperbolic sine. Within 3 ULP.

    Args:
        x: of any shape, real or complex; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.asinh(1.0)), 6)
        0.881374
    """
    return composed("arcsinh", _arcsinh, x, slopes=lambda x: (_arcsinh_slope(x),))


# From here on sqrt(x**2 + 1) is x, in float64 too.
_HUGE = 2.0**28
_LN2 = math.log(2)


def _arcsinh(x: Tensor) -> Tensor:
    size = e.abs(x)
    square = size * size
    near = e.log1p(size + square / (1 + e.sqrt(1 + square)))
    return with_sign_of(e.where(e.greater(size, _HUGE), e.log(size) + _LN2, near), x)


def _arcsinh_slope(x: Tensor) -> Tensor:
    huge = e.greater(e.abs(x), _HUGE)
    inside, outside = e.where(huge, 1.0, x), e.where(huge, x, 1.0)
    return e.where(huge, 1 / e.abs(outside), 1 / e.sqrt(1 + inside * inside))


@also_complex
def arccosh(x: Any) -> Tensor:
    """The number >= 0 with this hyperbolic cosine; NaN below 1. Within 3 ULP.

    Args:
        x: of any shape, real or complex; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.acosh(1.0).tolist()
        0.0
    """
    return composed("arccosh", _arccosh, x, slopes=lambda x: (_arccosh_slope(x),))


def _arccosh(x: Tensor) -> Tensor:
    above = x - 1
    near = e.log1p(above + e.sqrt(above * (above + 2)))
    result = e.where(e.greater(x, _HUGE), e.log(x) + _LN2, near)
    return e.where(e.less(x, 1.0), math.nan, result)


def _arccosh_slope(x: Tensor) -> Tensor:
    huge = e.greater(x, _HUGE)
    inside, outside = e.where(huge, 2.0, x), e.where(huge, x, 1.0)
    slope = e.where(huge, 1 / outside, 1 / e.sqrt((inside - 1) * (inside + 1)))
    return e.where(e.less(x, 1.0), math.nan, slope)


@also_complex
def arctanh(x: Any) -> Tensor:
    """The number with this hyperbolic tangent; infinite at -1 and 1, NaN beyond. Within 3 ULP.

    Args:
        x: of any shape, real or complex; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.atanh(1.0).tolist()
        inf
    """
    return composed("arctanh", _arctanh, x, slopes=lambda x: (1 / ((1 - x) * (1 + x)),))


def _arctanh(x: Tensor) -> Tensor:
    size = e.abs(x)
    # 2 x / (1 - x), doubled last so that no subnormal number loses its last bit.
    return with_sign_of(e.log1p(size / (1 - size) * 2) * 0.5, x)


acos, acosh, asin, asinh, atan, atanh = arccos, arccosh, arcsin, arcsinh, arctan, arctanh
