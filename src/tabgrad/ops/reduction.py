"""Reductions: sums, means, extrema, along any axes. Means divide by the true number of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tabgrad import dtypes
from tabgrad.dtypes import as_dtype, bool_, int32
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import (
    also_complex,
    axes_of,
    axis_of,
    common,
    complex_parts,
    is_complex,
    node_of,
    on_parts,
)
from tabgrad.ops.creation import full
from tabgrad.ops.manipulation import expand_dims
from tabgrad.tensor import Tensor

Axis = int | Sequence[int] | None


def _fold(name: str, node: Node, axis: Axis, keepdims: bool) -> Tensor:
    axes = axes_of(name.removeprefix("reduce_"), axis, len(node.shape))
    out = b.reduce(name, node, axes)
    return Tensor(_keep(out, node, axes) if keepdims else out)


def _keep(out: Node, node: Node, axes: Sequence[int]) -> Node:
    return b.reshape(out, [1 if d in axes else n for d, n in enumerate(node.shape)])


def _countable(x: Any) -> Node:
    node = node_of(x)
    small = node.dtype.kind == "b" or (node.dtype.is_integer and node.dtype.itemsize < 4)
    return b.cast(node, dtypes.uint32 if node.dtype.kind == "u" else int32) if small else node


@also_complex
def sum(x: Any, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    """Sum; bools and small integers add up in 32 bits, unless `dtype` says otherwise.

    Args:
        x: of any shape, real or complex.
        axis: the axes to fold, all of them by default.
        keepdims: whether these axes stay, with size 1.
        dtype: of the result.

    Example:
        >>> import tabgrad as tg
        >>> tg.sum([[1, 2], [3, 4]], axis=0).tolist()
        [4, 6]
    """
    if dtype is not None and as_dtype(dtype).is_complex:
        return sum(e.cast(x, dtype), axis, keepdims)
    node = _countable(x) if dtype is None else node_of(e.cast(x, dtype))
    return _fold("reduce_sum", node, axis, keepdims)


@also_complex
def prod(x: Any, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    """Product; bools and small integers multiply in 32 bits, unless `dtype` says otherwise.

    Args:
        x: of any shape, real or complex.
        axis: the axes to fold, all of them by default.
        keepdims: whether these axes stay, with size 1.
        dtype: of the result.

    Example:
        >>> import tabgrad as tg
        >>> tg.prod([2, 3, 4]).item()
        24
    """
    if dtype is not None and as_dtype(dtype).is_complex:
        return prod(e.cast(x, dtype), axis, keepdims)
    node = _countable(x) if dtype is None else node_of(e.cast(x, dtype))
    return _fold("reduce_prod", node, axis, keepdims)


def max(x: Any, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Tensor:
    """Largest element; NaN if any is. With `initial` at least that, also where there is none.

    Args:
        x: real numbers of any shape; the result has their dtype.
        axis: the axes to fold, all of them by default.
        keepdims: whether these axes stay, with size 1.
        initial: a number that takes part, and the result where there is nothing.

    Example:
        >>> import tabgrad as tg
        >>> tg.max([1, 5, 3]).item()
        5
    """
    return _extremum("reduce_max", x, axis, keepdims, initial, e.maximum)


def min(x: Any, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Tensor:
    """Smallest element; NaN if any is. With `initial` at most that, also where there is none.

    Args:
        x: real numbers of any shape; the result has their dtype.
        axis: the axes to fold, all of them by default.
        keepdims: whether these axes stay, with size 1.
        initial: a number that takes part, and the result where there is nothing.

    Example:
        >>> import tabgrad as tg
        >>> tg.min([4, 5, 3]).item()
        3
    """
    return _extremum("reduce_min", x, axis, keepdims, initial, e.minimum)


def _extremum(
    name: str,
    x: Any,
    axis: Axis,
    keepdims: bool,
    initial: Any,
    combine: Callable[[Any, Any], Tensor],
) -> Tensor:
    node = node_of(x)
    if initial is None:
        return _fold(name, node, axis, keepdims)
    axes = axes_of(name.removeprefix("reduce_"), axis, len(node.shape))
    if 0 not in [node.shape[d] for d in axes]:
        return e.cast(combine(_fold(name, node, axis, keepdims), initial), node.dtype)
    kept = [1 if d in axes else n for d, n in enumerate(node.shape) if keepdims or d not in axes]
    return full(kept, initial, node.dtype)


amax, amin = max, min


def any(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """True where any element is non-zero.

    Args:
        x: of any shape and dtype; numbers are True unless 0.
        axis: the axes to fold, all of them by default.
        keepdims: whether these axes stay, with size 1.

    Returns:
        Bools.

    Example:
        >>> import tabgrad as tg
        >>> tg.any([0, 2]).item()
        True
    """
    return _logical("reduce_max", x, axis, keepdims)


def all(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """True where every element is non-zero.

    Args:
        x: of any shape and dtype; numbers are True unless 0.
        axis: the axes to fold, all of them by default.
        keepdims: whether these axes stay, with size 1.

    Returns:
        Bools.

    Example:
        >>> import tabgrad as tg
        >>> tg.all([0, 2]).item()
        False
    """
    return _logical("reduce_min", x, axis, keepdims)


def _logical(name: str, x: Any, axis: Axis, keepdims: bool) -> Tensor:
    return _fold(name, e.cast(x, bool_).node, axis, keepdims)


def count(x: Any, axis: Axis = None) -> Tensor:
    """Number of elements along `axis` as a 0-d int32.

    Where a batch axis is among them this is the true number of rows at run time, which an exported
    page may make smaller than the batch size it was compiled for.

    Args:
        x: of any shape and dtype.
        axis: the axes to fold, all of them by default.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.count(tg.ones((2, 3)), axis=0).item()
        2
    """
    node = node_of(x)
    return Tensor(make("size", node, axes=axes_of("count", axis, len(node.shape))))


@on_parts()
def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Arithmetic mean, always floating point.

    Args:
        x: of any shape, real or complex; integers and bools become float32.
        axis: the axes to fold, all of them by default.
        keepdims: whether these axes stay, with size 1.

    Example:
        >>> import tabgrad as tg
        >>> tg.mean([1, 2, 6]).item()
        3.0
    """
    (node,) = common("mean", x, floating=True)
    total = sum(Tensor(node), axis, keepdims)
    return e.divide(total, e.cast(count(Tensor(node), axis), node.dtype))


def var(
    x: Any,
    axis: Axis = None,
    keepdims: bool = False,
    correction: float = 0.0,
    *,
    ddof: float | None = None,
) -> Tensor:
    """Sum of squared distances from the mean, divided by the number of elements less `correction`
    (0: population variance, 1: unbiased sample variance).

    Args:
        x: numbers of any shape; integers and bools become float32. The result is real.
        axis: the axes to fold, all of them by default.
        keepdims: whether these axes stay, with size 1.
        correction: what is taken from the number of elements to divide by: 1 for a sample.
        ddof: another name for `correction`, NumPy's.

    Example:
        >>> import tabgrad as tg
        >>> tg.var([1.0, 3.0]).item()
        1.0
    """
    correction = correction if ddof is None else ddof
    if is_complex(x):  # of |x - mean|²
        parts = complex_parts(x)
        return e.add(*(var(Tensor(part), axis, keepdims, correction) for part in parts))
    (node,) = common("var", x, floating=True)
    squares = e.square(e.subtract(Tensor(node), mean(Tensor(node), axis, True)))
    if correction == 0:
        return mean(squares, axis, keepdims)
    freedom = e.subtract(e.cast(count(Tensor(node), axis), node.dtype), correction)
    return e.divide(sum(squares, axis, keepdims), e.maximum(freedom, 0.0))


def std(
    x: Any,
    axis: Axis = None,
    keepdims: bool = False,
    correction: float = 0.0,
    *,
    ddof: float | None = None,
) -> Tensor:
    """Square root of the variance.

    Its gradient is NaN where all numbers are equal, as in JAX: the root has none at 0. That of
    `tg.sqrt(tg.var(x) + epsilon)` is 0 there.

    Args:
        x: numbers of any shape; integers and bools become float32. The result is real.
        axis: the axes to fold, all of them by default.
        keepdims: whether these axes stay, with size 1.
        correction: what is taken from the number of elements to divide by: 1 for a sample.
        ddof: another name for `correction`, NumPy's.

    Example:
        >>> import tabgrad as tg
        >>> tg.std([1.0, 3.0]).item()
        1.0
    """
    return e.sqrt(var(x, axis, keepdims, correction, ddof=ddof))


def _arg(name: str, x: Any, axis: int | None, keepdims: bool) -> Tensor:
    node = node_of(x)
    if node.dtype is bool_:
        node = b.cast(node, int32)
    shape = node.shape
    if axis is None:
        out = make(name, b.reshape(node, (node.size,)), axis=0)
        return Tensor(b.reshape(out, (1,) * len(shape)) if keepdims else out)
    where = axis_of(name, axis, len(shape))
    along = Tensor(make(name, node, axis=where))
    return expand_dims(along, where) if keepdims else along


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the first largest element (of the first NaN if any), int32; flat without axis.

    Args:
        x: real numbers of any shape.
        axis: the axis to look along; None looks through all elements in row-major order.
        keepdims: whether the axis stays, with size 1.

    Example:
        >>> import tabgrad as tg
        >>> tg.argmax([1, 5, 3]).item()
        1
    """
    return _arg("argmax", x, axis, keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the first smallest element (of the first NaN if any), int32; flat without axis.

    Args:
        x: real numbers of any shape.
        axis: the axis to look along; None looks through all elements in row-major order.
        keepdims: whether the axis stays, with size 1.

    Example:
        >>> import tabgrad as tg
        >>> tg.argmin([4, 5, 3]).item()
        2
    """
    return _arg("argmin", x, axis, keepdims)


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) without overflow.

    Args:
        x: real numbers of any shape; integers and bools become float32.
        axis: the axes to fold, all of them by default.
        keepdims: whether these axes stay, with size 1.

    Example:
        >>> import tabgrad as tg
        >>> tg.logsumexp([1000.0]).item()
        1000.0
    """
    (node,) = common("logsumexp", x, floating=True)
    t = Tensor(node)
    peak = max(t, axis, True)
    # An infinite maximum must not become inf - inf.
    peak = e.stop_gradient(e.where(e.isfinite(peak), peak, 0.0))
    total = e.log(sum(e.exp(e.subtract(t, peak)), axis, True))
    result = e.add(total, peak)
    axes = axes_of("logsumexp", axis, len(node.shape))
    if keepdims:
        return result
    return Tensor(b.reshape(result.node, [n for d, n in enumerate(node.shape) if d not in axes]))


def norm(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Euclidean norm.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.norm([3.0, 4.0]).item()
        5.0
    """
    return e.sqrt(sum(e.square(x), axis, keepdims))


def count_nonzero(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Number of non-zero elements, int32.

    Args:
        x: of any shape and dtype.
        axis: the axes to fold, all of them by default.
        keepdims: whether these axes stay, with size 1.

    Example:
        >>> import tabgrad as tg
        >>> tg.count_nonzero([0, 2, 3]).item()
        2
    """
    return sum(e.cast(x, bool_), axis, keepdims)
