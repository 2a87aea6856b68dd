"""Elementwise comparison, logic and bits: functions whose results are bools, or made of bits.

All broadcast as NumPy does and promote as `tabgrad.dtypes` says.
"""

from __future__ import annotations

import math
from typing import Any

from tabgrad.dtypes import bool_
from tabgrad.errors import DtypeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import make
from tabgrad.ops.arguments import aligned, also_complex, node_of, parts_of
from tabgrad.tensor import Tensor, converted


@also_complex
def equal(x1: Any, x2: Any) -> Tensor:
    """x1 == x2; False for NaN.

    Args:
        x1: numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted.

    Returns:
        Bools.

    Example:
        >>> import tabgrad as tg
        >>> tg.equal([1, 2], 2).tolist()
        [False, True]
    """
    return Tensor(make("eq", *aligned("equal", x1, x2)))


@also_complex
def not_equal(x1: Any, x2: Any) -> Tensor:
    """x1 != x2; True for NaN.

    Args:
        x1: numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted.

    Returns:
        Bools.

    Example:
        >>> import tabgrad as tg
        >>> tg.not_equal([1, 2], 2).tolist()
        [True, False]
    """
    return Tensor(make("ne", *aligned("not_equal", x1, x2)))


def less(x1: Any, x2: Any) -> Tensor:
    """x1 < x2.

    Args:
        x1: real numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted.

    Returns:
        Bools.

    Example:
        >>> import tabgrad as tg
        >>> tg.less([1, 2], 2).tolist()
        [True, False]
    """
    return Tensor(make("lt", *aligned("less", x1, x2)))


def less_equal(x1: Any, x2: Any) -> Tensor:
    """x1 <= x2.

    Args:
        x1: real numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted.

    Returns:
        Bools.

    Example:
        >>> import tabgrad as tg
        >>> tg.less_equal([1, 2], 2).tolist()
        [True, True]
    """
    return Tensor(make("le", *aligned("less_equal", x1, x2)))


def greater(x1: Any, x2: Any) -> Tensor:
    """x1 > x2.

    Args:
        x1: real numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted.

    Returns:
        Bools.

    Example:
        >>> import tabgrad as tg
        >>> tg.greater([2, 3], 2).tolist()
        [False, True]
    """
    return less(x2, x1)


def greater_equal(x1: Any, x2: Any) -> Tensor:
    """x1 >= x2.

    Args:
        x1: real numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted.

    Returns:
        Bools.

    Example:
        >>> import tabgrad as tg
        >>> tg.greater_equal([1, 2], 2).tolist()
        [False, True]
    """
    return less_equal(x2, x1)


@also_complex
def isnan(x: Any) -> Tensor:
    """True where x is NaN.

    Args:
        x: of any shape and dtype.

    Returns:
        Bools of that shape.

    Example:
        >>> import tabgrad as tg
        >>> tg.isnan([1.0, float("nan")]).tolist()
        [False, True]
    """
    node = node_of(x)
    return Tensor(make("ne", node, node))


@also_complex
def isfinite(x: Any) -> Tensor:
    """True where x is neither infinite nor NaN.

    Args:
        x: of any shape and dtype.

    Returns:
        Bools of that shape.

    Example:
        >>> import tabgrad as tg
        >>> tg.isfinite([1.0, float("inf")]).tolist()
        [True, False]
    """
    node = node_of(x)
    if not node.dtype.is_float:
        return Tensor(b.full(node.shape, True, bool_))
    return Tensor(b.lt(make("abs", node), b.like(node, math.inf)))


@also_complex
def isinf(x: Any) -> Tensor:
    """True where x is infinite.

    Args:
        x: of any shape and dtype.

    Returns:
        Bools of that shape.

    Example:
        >>> import tabgrad as tg
        >>> tg.isinf([1.0, float("inf")]).tolist()
        [False, True]
    """
    node = node_of(x)
    if not node.dtype.is_float:
        return Tensor(b.full(node.shape, False, bool_))
    return Tensor(b.eq(make("abs", node), b.like(node, math.inf)))


def _logical(name: str, primitive: str, *xs: Any) -> Tensor:
    nodes = aligned(name, *(converted(Tensor(*parts_of(x)), bool_) for x in xs))
    return Tensor(make(primitive, *nodes))


def logical_and(x1: Any, x2: Any) -> Tensor:
    """True where both are non-zero.

    Args:
        x1: of any shape and dtype; numbers are True unless 0.
        x2: likewise; the shapes broadcast.

    Returns:
        Bools.

    Example:
        >>> import tabgrad as tg
        >>> tg.logical_and([True, True], [True, False]).tolist()
        [True, False]
    """
    return _logical("logical_and", "and", x1, x2)


def logical_or(x1: Any, x2: Any) -> Tensor:
    """True where either is non-zero.

    Args:
        x1: of any shape and dtype; numbers are True unless 0.
        x2: likewise; the shapes broadcast.

    Returns:
        Bools.

    Example:
        >>> import tabgrad as tg
        >>> tg.logical_or([True, False], False).tolist()
        [True, False]
    """
    return _logical("logical_or", "or", x1, x2)


def logical_xor(x1: Any, x2: Any) -> Tensor:
    """True where exactly one is non-zero.

    Args:
        x1: of any shape and dtype; numbers are True unless 0.
        x2: likewise; the shapes broadcast.

    Returns:
        Bools.

    Example:
        >>> import tabgrad as tg
        >>> tg.logical_xor([True, False], True).tolist()
        [False, True]
    """
    return _logical("logical_xor", "xor", x1, x2)


def logical_not(x: Any) -> Tensor:
    """True where x is zero.

    Args:
        x: of any shape and dtype; numbers are True unless 0.

    Returns:
        Bools of that shape.

    Example:
        >>> import tabgrad as tg
        >>> tg.logical_not([True, False]).tolist()
        [False, True]
    """
    return _logical("logical_not", "not", x)


def _bitwise(name: str, primitive: str, *xs: Any) -> Tensor:
    nodes = aligned(name, *xs)
    if nodes[0].dtype.is_float:
        raise DtypeError(
            f"{name} expected integers or bools; received {nodes[0].dtype.name}. "
            "Cast them, or use logical_and and its like for truth"
        )
    return Tensor(make(primitive, *nodes))


def _shifted(name: str, primitive: str, x: Any, y: Any) -> Tensor:
    nodes = aligned(name, x, y)
    if not nodes[0].dtype.is_integer:
        raise DtypeError(
            f"{name} expected integers; received {nodes[0].dtype.name}. Cast them, for instance to "
            "int32"
        )
    return Tensor(make(primitive, *nodes))


def bitwise_and(x: Any, y: Any) -> Tensor:
    """x & y.

    Args:
        x: integers or bools of any shape.
        y: likewise; the shapes broadcast, the dtypes are promoted.

    Example:
        >>> import tabgrad as tg
        >>> tg.bitwise_and([6], 3).tolist()
        [2]
    """
    return _bitwise("bitwise_and", "and", x, y)


def bitwise_or(x: Any, y: Any) -> Tensor:
    """x | y.

    Args:
        x: integers or bools of any shape.
        y: likewise; the shapes broadcast, the dtypes are promoted.

    Example:
        >>> import tabgrad as tg
        >>> tg.bitwise_or([6], 3).tolist()
        [7]
    """
    return _bitwise("bitwise_or", "or", x, y)


def bitwise_xor(x: Any, y: Any) -> Tensor:
    """x ^ y.

    Args:
        x: integers or bools of any shape.
        y: likewise; the shapes broadcast, the dtypes are promoted.

    Example:
        >>> import tabgrad as tg
        >>> tg.bitwise_xor([6], 3).tolist()
        [5]
    """
    return _bitwise("bitwise_xor", "xor", x, y)


def bitwise_invert(x: Any) -> Tensor:
    """~x.

    Args:
        x: integers or bools of any shape; the result has their dtype.

    Example:
        >>> import tabgrad as tg
        >>> tg.bitwise_invert([0]).tolist()
        [-1]
    """
    return _bitwise("bitwise_invert", "not", x)


bitwise_not = bitwise_invert


def bitwise_left_shift(x: Any, y: Any) -> Tensor:
    """x << y; 0 when y is out of range.

    Args:
        x: integers of any shape.
        y: likewise; the shapes broadcast, the dtypes are promoted.

    Example:
        >>> import tabgrad as tg
        >>> tg.bitwise_left_shift([1], 4).tolist()
        [16]
    """
    return _shifted("bitwise_left_shift", "shl", x, y)


def bitwise_right_shift(x: Any, y: Any) -> Tensor:
    """x >> y, keeping the sign of signed integers.

    Args:
        x: integers of any shape.
        y: likewise; the shapes broadcast, the dtypes are promoted.

    Example:
        >>> import tabgrad as tg
        >>> tg.bitwise_right_shift([-8], 1).tolist()
        [-4]
    """
    return _shifted("bitwise_right_shift", "shr", x, y)
