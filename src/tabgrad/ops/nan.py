"""Reductions that leave NaNs out, as NumPy's nan* functions do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tabgrad.dtypes import limits
from tabgrad.ir import build as b
from tabgrad.ops import elementwise as e
from tabgrad.ops import reduction
from tabgrad.ops.arguments import common, node_of
from tabgrad.tensor import Tensor

Axis = int | Sequence[int] | None


def _filled(x: Any, value: Any) -> tuple[Tensor, Tensor]:
    """x with another value for its NaNs, and where they are."""
    node = node_of(x)
    missing = e.isnan(Tensor(node))
    return e.where(missing, Tensor(b.like(node, value)), Tensor(node)), missing


def nansum(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Sum of what is not NaN.

    Args:
        x: real numbers of any shape; small integers add up in 32 bits.
        axis: the axes to fold, all of them by default.
        keepdims: whether these axes stay, with size 1.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.nansum([1.0, float("nan"), 2.0]).tolist()
        3.0
    """
    return reduction.sum(_filled(x, 0)[0], axis, keepdims)


def nanprod(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Product of what is not NaN.

    Args:
        x: real numbers of any shape; small integers multiply in 32 bits.
        axis: the axes to fold, all of them by default.
        keepdims: whether these axes stay, with size 1.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.nanprod([3.0, float("nan"), 2.0]).tolist()
        6.0
    """
    return reduction.prod(_filled(x, 1)[0], axis, keepdims)


def _extremum(x: Any, axis: Axis, keepdims: bool, largest: bool) -> Tensor:
    node = node_of(x)
    fold = reduction.max if largest else reduction.min
    if not node.dtype.is_float:
        return fold(Tensor(node), axis, keepdims)
    value, missing = _filled(Tensor(node), limits(node.dtype)[0 if largest else 1])
    nothing = reduction.all(missing, axis, keepdims)
    return e.where(nothing, math.nan, fold(value, axis, keepdims))


def nanmax(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Largest element that is not NaN; NaN where all are.

    Args:
        x: real numbers of any shape; the result has their dtype.
        axis: the axes to fold, all of them by default.
        keepdims: whether these axes stay, with size 1.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.nanmax([1.0, float("nan")]).tolist()
        1.0
    """
    return _extremum(x, axis, keepdims, True)


def nanmin(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Smallest element that is not NaN; NaN where all are.

    Args:
        x: real numbers of any shape; the result has their dtype.
        axis: the axes to fold, all of them by default.
        keepdims: whether these axes stay, with size 1.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.nanmin([1.0, float("nan")]).tolist()
        1.0
    """
    return _extremum(x, axis, keepdims, False)


def nanmean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Mean of what is not NaN; NaN where all are.

    Args:
        x: real numbers of any shape; integers and bools become float32.
        axis: the axes to fold, all of them by default.
        keepdims: whether these axes stay, with size 1.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.nanmean([1.0, float("nan"), 2.0]).tolist()
        1.5
    """
    (node,) = common("nanmean", x, floating=True)
    value, missing = _filled(Tensor(node), 0)
    count = reduction.sum(e.logical_not(missing), axis, keepdims)
    return e.divide(reduction.sum(value, axis, keepdims), e.cast(count, node.dtype))


def nanvar(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Variance of what is not NaN; NaN where all are.

    Args:
        x: real numbers of any shape; integers and bools become float32.
        axis: the axes to fold, all of them by default.
        keepdims: whether these axes stay, with size 1.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.nanvar([1.0, float("nan"), 2.0]).tolist()
        0.25
    """
    (node,) = common("nanvar", x, floating=True)
    centred = e.subtract(Tensor(node), nanmean(Tensor(node), axis, True))
    return nanmean(e.square(centred), axis, keepdims)


def nanstd(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Standard deviation of what is not NaN; NaN where all are.

    Args:
        x: real numbers of any shape; integers and bools become float32.
        axis: the axes to fold, all of them by default.
        keepdims: whether these axes stay, with size 1.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.nanstd([1.0, float("nan"), 2.0]).tolist()
        0.5
    """
    return e.sqrt(nanvar(x, axis, keepdims))


def nanargmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the first largest element that is not NaN; -1 where all are, as in JAX.

    Args:
        x: real numbers of any shape.
        axis: the axis to look along; None looks through all elements in row-major order.
        keepdims: whether the axis stays, with size 1.

    Returns:
        Int32 indices.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.nanargmax([float("nan"), 1.0, 2.0]).tolist()
        2
    """
    return _place(x, axis, keepdims, True)


def nanargmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the first smallest element that is not NaN; -1 where all are, as in JAX.

    Args:
        x: real numbers of any shape.
        axis: the axis to look along; None looks through all elements in row-major order.
        keepdims: whether the axis stays, with size 1.

    Returns:
        Int32 indices.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.nanargmin([float("nan"), 1.0, 2.0]).tolist()
        1
    """
    return _place(x, axis, keepdims, False)


def _place(x: Any, axis: int | None, keepdims: bool, largest: bool) -> Tensor:
    node = node_of(x)
    find = reduction.argmax if largest else reduction.argmin
    if not node.dtype.is_float:
        return find(Tensor(node), axis, keepdims)
    value, missing = _filled(Tensor(node), limits(node.dtype)[0 if largest else 1])
    found = find(value, axis, keepdims)
    return e.where(reduction.all(missing, axis, keepdims), -1, found)
