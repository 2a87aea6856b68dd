"""Averages, ranges, distances, correlations, integrals: numbers that sum an array up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad import dtypes
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ops import elementwise as e
from tabgrad.ops import linear, manipulation, reduction, repeating
from tabgrad.ops.arguments import axes_of, axis_of, common, node_of, parts_of
from tabgrad.ops.indexing import getitem
from tabgrad.tensor import Tensor

Axis = int | Sequence[int] | None


def ptp(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Largest less smallest element ("peak to peak").

    Args:
        x: real numbers of any shape; the result has their dtype, int32 for bools.
        axis: the axes to fold, all of them by default.
        keepdims: whether these axes stay, with size 1.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.ptp([3, 9, 4]).tolist()
        6
    """
    return e.subtract(reduction.max(x, axis, keepdims), reduction.min(x, axis, keepdims))


def average(x: Any, axis: Axis = None, weights: Any = None) -> Tensor:
    """Mean with weights, which have the shape of x or, with one axis, its length.

    Returns:
        Of the promoted dtype, float32 for integers.

    Raises:
        ShapeError: weights of another shape.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.average([1.0, 4.0], weights=[2.0, 1.0]).tolist()
        2.0
    """
    if weights is None:
        given = Tensor(*parts_of(x))
        axes_of("average", axis, given.ndim)
        return reduction.mean(given, axis)
    value, weight = (Tensor(node) for node in common("average", x, weights, floating=True))
    axes_of("average", axis, value.ndim)
    if weight.shape != value.shape:
        if not isinstance(axis, int) or weight.shape != (value.shape[axis],):
            raise ShapeError(
                f"average expected weights of shape {list(value.shape)}, or as many as the axis "
                f"has elements; received {list(weight.shape)} with axis {axis}. "
                "Give one weight for each element of the axis"
            )
        where = axis_of("average", axis, value.ndim)
        shape = [n if d == where else 1 for d, n in enumerate(value.shape)]
        weight = manipulation.broadcast_to(manipulation.reshape(weight, shape), value.shape)
    total = reduction.sum(e.multiply(value, weight), axis)
    return e.divide(total, reduction.sum(weight, axis))


def corrcoef(x: Any) -> Tensor:
    """Pearson's correlation of each row with each other, clipped to [-1, 1]; NaN where a row is
    constant or empty. A single row has a 0-d result, as in NumPy.

    Args:
        x: real numbers (variables, observations); integers become float32.

    Raises:
        ShapeError: more than two axes.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.round(tg.ops.corrcoef([[1.0, 2.0], [4.0, 2.0]]), 3).tolist()
        [[1.0, -1.0], [-1.0, 1.0]]
    """
    (node,) = common("corrcoef", x, floating=True)
    if len(node.shape) > 2:
        raise ShapeError(
            f"corrcoef expected rows of a matrix; received {list(node.shape)}. "
            "A vector is a matrix of one row, x[None]"
        )
    rows = manipulation.reshape(Tensor(node), (1, -1)) if len(node.shape) < 2 else Tensor(node)
    centred = e.subtract(rows, reduction.mean(rows, 1, True))
    size = e.sqrt(reduction.sum(e.square(centred), 1, True))
    if not rows.shape[1]:
        found = manipulation.broadcast_to(e.divide(size, size), (rows.shape[0],) * 2)
    else:
        unit = e.divide(centred, size)
        found = e.clip(linear.matmul(unit, manipulation.transpose(unit)), -1.0, 1.0)
    return manipulation.reshape(found, ()) if found.size == 1 else found


def correlate(x1: Any, x2: Any, mode: str = "valid") -> Tensor:
    """Sums of products of two vectors at every shift of the second; bools count as int32.

    Args:
        x1: (n,).
        x2: (m,).
        mode: "valid" (where both overlap fully), "same" (as many as the longer has) or "full".

    Raises:
        ArgumentError: another mode. ShapeError: x1 or x2 is no vector.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.correlate([1, 2, 3], [0, 1]).tolist()
        [2, 3]
    """
    x, y = (Tensor(node) for node in common("correlate", x1, x2))
    if x.dtype is dtypes.bool_:
        x, y = e.cast(x, dtypes.int32), e.cast(y, dtypes.int32)
    if x.ndim != 1 or y.ndim != 1 or not x.size or not y.size:
        raise ShapeError(
            f"correlate expected two vectors with elements; received {list(x.shape)} and "
            f"{list(y.shape)}. "
            "Flatten them with x.ravel()"
        )
    n, m = x.size, y.size
    if mode not in ("valid", "same", "full"):
        raise ArgumentError(f"correlate expected mode 'valid', 'same' or 'full'; received {mode!r}")
    # Every window of the padded x against y.
    wide = repeating.pad(x, m - 1)
    count = n + m - 1
    rows, columns = b.iota((count, m), 0, dtypes.int32), b.iota((count, m), 1, dtypes.int32)
    windows = getitem(wide, Tensor(b.add(rows, columns)))
    every = reduction.sum(e.multiply(windows, y), 1, dtype=x.dtype)
    if mode == "full":
        return every
    length = max(n, m) if mode == "same" else max(n, m) - min(n, m) + 1
    start = min(n, m) - 1 if mode == "valid" else (count - length + (m > n)) // 2
    return getitem(every, slice(start, start + length))


def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Tensor:
    """The integral along an axis by the trapezoidal rule, samples at x or dx apart.

    Args:
        y: numbers of any shape.
        x: where the numbers were taken, with gaps that may differ.
        dx: the distance between them, where x is None.
        axis: the axis to integrate along.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.trapezoid([1.0, 2.0, 3.0]).tolist()
        4.0
    """
    (node,) = common("trapezoid", y, floating=True)
    value = manipulation.moveaxis(Tensor(node), axis, -1)
    middle = e.divide(e.add(getitem(value, (..., slice(1, None))),
                            getitem(value, (..., slice(None, -1)))), 2)  # fmt: skip
    if x is None:
        return e.multiply(reduction.sum(middle, -1), dx)
    places = Tensor(node_of(x))
    if places.ndim == value.ndim:
        places = manipulation.moveaxis(places, axis, -1)
    return reduction.sum(e.multiply(middle, manipulation.diff(places)), -1)


def cdist(x: Any, y: Any) -> Tensor:
    """Euclidean distances of each row of x from each row of y, over any leading axes.

    Args:
        x: (..., n, d).
        y: (..., m, d).

    Returns:
        (..., n, m), float32 for integers.

    Raises:
        ShapeError: rows of different lengths.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.cdist([[0.0, 0.0]], [[3.0, 4.0]]).tolist()
        [[5.0]]
    """
    one, other = (Tensor(node) for node in common("cdist", x, y, floating=True))
    if one.ndim < 2 or other.ndim < 2 or one.shape[-1] != other.shape[-1]:
        raise ShapeError(
            f"cdist expected rows of one length; received {list(one.shape)} and "
            f"{list(other.shape)}. Points are the rows: transpose one with .T"
        )
    apart = e.subtract(manipulation.expand_dims(one, -2), manipulation.expand_dims(other, -3))
    squared = reduction.sum(e.square(apart), -1)
    # The root has no slope at 0, where a point meets itself.
    same = e.equal(squared, 0)
    return e.where(same, 0.0, e.sqrt(e.where(same, 1.0, squared)))
