"""Norms of vectors and matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.linalg.matrices import (
    as_type,
    floats,
    matrix,
)
from tabgrad.linalg.singular import svdvals
from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import axes_of, axis_of, is_complex
from tabgrad.ops.complex_numbers import imag, real
from tabgrad.ops.manipulation import expand_dims, moveaxis
from tabgrad.ops.reduction import max as max_
from tabgrad.ops.reduction import min as min_
from tabgrad.ops.reduction import sum as sum_
from tabgrad.tensor import Tensor

Axis = int | Sequence[int] | None


def vector_norm(x: Any, axis: Axis = None, keepdims: bool = False, ord: Any = 2) -> Tensor:
    """The norm of vectors: (sum |x_i|**ord)**(1/ord) along `axis`.

    Args:
        x: any shape, float or complex.
        axis: one axis or several; by default all of x is one vector.
        keepdims: whether to keep the axes, with size 1.
        ord: a number; inf and -inf for the largest and smallest magnitude, 0 for the number of
            elements that are not 0.

    Returns:
        Real norms. The gradient of the norm of a zero vector is 0.

    Raises:
        ShapeError: bad axes. ArgumentError: another `ord`.

    Example:
        >>> import tabgrad as tg
        >>> float(tg.linalg.vector_norm([3.0, 4.0]))
        5.0
    """
    value = floats(x)
    if not isinstance(ord, (int, float)) or isinstance(ord, bool):
        raise ArgumentError(
            f"linalg.vector_norm expected a number as ord; received {ord!r}. "
            "For matrices use matrix_norm"
        )
    axes = axes_of("vector_norm", axis, value.ndim)
    if not axes:
        # The norm of a number is its magnitude, whatever the order but 0 is.
        return e.cast(e.not_equal(value, 0), real(value).dtype) if ord == 0 else e.abs(value)
    if ord == math.inf:
        return max_(e.abs(value), axes, keepdims)
    if ord == -math.inf:
        return min_(e.abs(value), axes, keepdims)
    if ord == 0:
        return sum_(e.cast(e.not_equal(value, 0), real(value).dtype), axes, keepdims)
    if ord == 1:
        return sum_(e.abs(value), axes, keepdims)
    if ord == 2:
        return _root(_square_sum(value, axes, keepdims))
    total = sum_(e.power(e.abs(value), float(ord)), axes, keepdims)
    return e.power(total, 1.0 / ord)


def _square_sum(x: Tensor, axes: Sequence[int], keepdims: bool) -> Tensor:
    total = sum_(e.square(real(x)), axes, keepdims)
    return total + sum_(e.square(imag(x)), axes, keepdims) if is_complex(x) else total


def _root(x: Tensor) -> Tensor:
    """The square root, with derivative 0 at 0."""
    nothing = x == 0
    return e.where(nothing, 0.0, e.sqrt(e.where(nothing, 1.0, x)))


def matrix_norm(x: Any, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """The norm of the matrices on the last two axes.

    Args:
        x: (..., m, n), float or complex.
        keepdims: whether to keep the last two axes, with size 1.
        ord: "fro" (Frobenius), "nuc" (sum of the singular values), 1 or -1 (largest or smallest sum
            of magnitudes of a column), inf or -inf (of a row), 2 or -2 (largest or smallest
            singular value).

    Returns:
        Real norms (...).

    Raises:
        ShapeError: fewer than two axes. ArgumentError: another `ord`.

    Example:
        >>> import tabgrad as tg
        >>> float(tg.linalg.matrix_norm([[3.0, 0.0], [0.0, 4.0]]))
        5.0
    """
    value = matrix("matrix_norm", x)
    if ord in ("fro", None):
        return _root(_square_sum(value, (value.ndim - 2, value.ndim - 1), keepdims))
    if ord in (1, -1, math.inf, -math.inf):
        summed, chosen = (-2, -1) if abs(ord) == 1 else (-1, -2)
        sums = sum_(e.abs(value), summed, True)
        found = max_(sums, chosen, True) if ord > 0 else min_(sums, chosen, True)
    elif ord in ("nuc", 2, -2):
        s = expand_dims(svdvals(value), -1)
        if ord == "nuc":
            found = sum_(s, -2, True)
        elif s.shape[-2] == 0:
            found = sum_(s, -2, True) if ord == 2 else min_(s, -2, True)
        else:
            found = s[..., :1, :] if ord == 2 else s[..., -1:, :]
        found = as_type(found, value.dtype)
    else:
        raise ArgumentError(
            'linalg.matrix_norm expected ord "fro", "nuc", 1, -1, 2, -2, inf or -inf; received '
            f"{ord!r}. "
            "For other orders of vectors use vector_norm"
        )
    return found if keepdims else found[..., 0, 0]


def norm(x: Any, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The norm of a vector or matrix, as `numpy.linalg.norm`.

    Args:
        x: any shape, float or complex.
        ord: which norm, see `vector_norm` and `matrix_norm`; None for the Euclidean (Frobenius).
        axis: one axis for vectors, two for matrices. By default with `ord` None all of x is one
            vector, else x must have one or two axes.
        keepdims: whether to keep the axes, with size 1.

    Returns:
        Real norms.

    Raises:
        ShapeError: axes that are neither of a vector nor of a matrix. ArgumentError: a bad `ord`.

    Example:
        >>> import tabgrad as tg
        >>> tg.linalg.norm([[3.0, 4.0], [0.0, 2.0]], axis=1).tolist()
        [5.0, 2.0]
    """
    value = floats(x)
    if axis is None:
        if ord is None:
            return vector_norm(value, None, keepdims)
        axis = tuple(range(value.ndim))
    # A matrix's axes are not sorted: the first counts rows.
    given = (axis,) if isinstance(axis, int) else tuple(axis)
    axes = [axis_of("linalg.norm", a, value.ndim) for a in given]
    if len(axes) == 1:
        return vector_norm(value, axes, keepdims, 2 if ord is None else ord)
    if len(axes) != 2 or axes[0] == axes[1]:
        raise ShapeError(
            f"linalg.norm expected one axis for vectors or two for matrices; received {given} for "
            f"shape {list(value.shape)}. "
            "Give axis, or flatten with x.ravel()"
        )
    found = matrix_norm(moveaxis(value, axes, (-2, -1)), False, "fro" if ord is None else ord)
    return expand_dims(found, sorted(axes)) if keepdims else found


def cond(x: Any, p: Any = None) -> Tensor:
    """The condition number of matrices: norm(x) norm(inv(x)) in the norm `p`.

    Args:
        x: (..., m, n); square but for `p` None, 2 and -2.
        p: None or 2 for the ratio of the largest and the smallest singular value, -2 for its
            inverse, otherwise an `ord` of `matrix_norm`.

    Returns:
        Real numbers (...), infinite where x is singular.

    Raises:
        ShapeError: matrices that are not square. ArgumentError: a bad `p`.

    Example:
        >>> import tabgrad as tg
        >>> float(tg.linalg.cond([[2.0, 0.0], [0.0, 8.0]]))
        4.0
    """
    value = matrix("cond", x, square=p not in (None, 2, -2))
    if p in (None, 2, -2):
        s = svdvals(value)
        if s.shape[-1] == 0:
            raise ShapeError(
                f"linalg.cond expected matrices with elements; received {x.shape}. "
                "An empty matrix has no condition number"
            )
        large, small = (s[..., 0], s[..., -1]) if p != -2 else (s[..., -1], s[..., 0])
        return large / small
    from tabgrad.linalg.elimination import inv

    product = matrix_norm(value, ord=p) * matrix_norm(inv(value), ord=p)
    return e.where(e.isnan(product), math.inf, product)
