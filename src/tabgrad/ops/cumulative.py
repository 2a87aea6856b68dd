"""Running sums, products and extrema along an axis."""

from __future__ import annotations

from typing import Any

from tabgrad import dtypes
from tabgrad.dtypes import DType, int32
from tabgrad.errors import DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.cumulative import cumulative
from tabgrad.ir.graph import Node
from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import also_complex, axis_of, complex_rule, node_of, on_parts
from tabgrad.ops.associative import associative_scan
from tabgrad.ops.manipulation import concatenate, reshape
from tabgrad.tensor import Tensor


@on_parts()
def cumulative_sum(
    x: Any, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Tensor:
    """Sums of all elements up to each one along `axis` (Array API).

    Args:
        x: numbers, real or complex.
        axis: may be left out for one axis.
        dtype: what to add up in; by default that of x, at least 32 bits for integers.
        include_initial: begin with the sum of nothing, so that the axis grows by one.

    Raises:
        ShapeError: several axes, or none, and no `axis`. DtypeError: bool as dtype.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.cumulative_sum(tg.tensor([1, 2, 3]), include_initial=True).tolist()
        [0, 1, 3, 6]
    """
    return _standard("cumulative_sum", "sum", x, axis, dtype, include_initial)


@also_complex
def cumulative_prod(
    x: Any, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Tensor:
    """Products of all elements up to each one along `axis` (Array API).

    Args:
        x: numbers, real or complex.
        axis: may be left out for one axis.
        dtype: what to multiply in; by default that of x, at least 32 bits for integers.
        include_initial: begin with the product of nothing, so that the axis grows by one.

    Raises:
        ShapeError: several axes, or none, and no `axis`. DtypeError: bool as dtype.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.cumulative_prod(tg.tensor([1, 2, 3]), include_initial=True).tolist()
        [1, 1, 2, 6]
    """
    return _standard("cumulative_prod", "prod", x, axis, dtype, include_initial)


@on_parts()
def cumsum(x: Any, axis: int | None = None, dtype: Any = None, *, reverse: bool = False) -> Tensor:
    """Running sums as in NumPy: of the flattened array unless there is an `axis`.

    Args:
        x: numbers or bools, which count as 0 and 1.
        axis: the axis to add up along.
        dtype: what to add up in; by default that of x, at least 32 bits for integers.
        reverse: add up from the end.

    Raises:
        RangeError: an axis that x does not have.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.cumsum(tg.tensor([1, 2, 3])).tolist()
        [1, 3, 6]
    """
    return _running("cumsum", "sum", _wide(node_of(x), dtype), axis, reverse)


@also_complex
def cumprod(x: Any, axis: int | None = None, dtype: Any = None, *, reverse: bool = False) -> Tensor:
    """Running products as in NumPy: of the flattened array unless there is an `axis`.

    Args:
        x: numbers or bools, which count as 0 and 1.
        axis: the axis to multiply along.
        dtype: what to multiply in; by default that of x, at least 32 bits for integers.
        reverse: multiply from the end.

    Raises:
        RangeError: an axis that x does not have.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.cumprod(tg.tensor([1, 2, 3])).tolist()
        [1, 2, 6]
    """
    return _running("cumprod", "prod", _wide(node_of(x), dtype), axis, reverse)


def cummax(x: Any, axis: int | None = None, *, reverse: bool = False) -> Tensor:
    """Largest element so far, as `numpy.maximum.accumulate`; NaN from the first NaN on.

    Args:
        x: numbers or bools.
        axis: the axis to walk along; without one the flattened array is walked.
        reverse: walk from the end.

    Raises:
        RangeError: an axis that x does not have.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.cummax(tg.tensor([1, 3, 2])).tolist()
        [1, 3, 3]
    """
    return _running("cummax", "max", node_of(x), axis, reverse)


def cummin(x: Any, axis: int | None = None, *, reverse: bool = False) -> Tensor:
    """Smallest element so far, as `numpy.minimum.accumulate`; NaN from the first NaN on.

    Args:
        x: numbers or bools.
        axis: the axis to walk along; without one the flattened array is walked.
        reverse: walk from the end.

    Raises:
        RangeError: an axis that x does not have.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.cummin(tg.tensor([3, 1, 2])).tolist()
        [3, 1, 1]
    """
    return _running("cummin", "min", node_of(x), axis, reverse)


def logcumsumexp(x: Any, axis: int | None = None, *, reverse: bool = False) -> Tensor:
    """log(cumsum(exp(x))), computed so that neither large nor small x overflow.

    Args:
        x: numbers, as floats.
        axis: the axis to walk along; without one the flattened array is walked.
        reverse: walk from the end.

    Raises:
        RangeError: an axis that x does not have.

    Example:
        >>> import tabgrad as tg
        >>> [round(v, 4) for v in tg.ops.logcumsumexp(tg.tensor([0.0, 0.0])).tolist()]
        [0.0, 0.6931]
    """
    node = node_of(x)
    value = Tensor(node if node.dtype.is_float else b.cast(node, dtypes.float32))
    if axis is None:
        value, axis = reshape(value, (-1,)), 0
    axis_of("logcumsumexp", axis, len(value.shape))
    result = associative_scan(_log_of_sum, value, reverse=reverse, axis=axis)
    assert isinstance(result, Tensor)
    return result


def nancumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    """Running sums in which NaNs count as 0.

    Args:
        x: numbers or bools.
        axis: the axis to add up along; without one the flattened array is added up.
        dtype: what to add up in.

    Raises:
        RangeError: an axis that x does not have.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.nancumsum(tg.tensor([1.0, float("nan"), 2.0])).tolist()
        [1.0, 1.0, 3.0]
    """
    return cumsum(_without_nans(x, 0), axis, dtype)


def nancumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    """Running products in which NaNs count as 1.

    Args:
        x: numbers or bools.
        axis: the axis to multiply along; without one the flattened array is multiplied up.
        dtype: what to multiply in.

    Raises:
        RangeError: an axis that x does not have.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.nancumprod(tg.tensor([2.0, float("nan"), 3.0])).tolist()
        [2.0, 2.0, 6.0]
    """
    return cumprod(_without_nans(x, 1), axis, dtype)


def _log_of_sum(x: Tensor, y: Tensor) -> Tensor:
    """log(exp(x) + exp(y)). Where the larger one is infinite, so is the result, without a NaN from
    the difference of two infinities."""
    larger = e.maximum(x, y)
    apart = e.where(e.isinf(larger), 0.0, -e.abs(x - y))
    return larger + e.log1p(e.exp(apart))


def _without_nans(x: Any, fill: float) -> Tensor:
    node = node_of(x)
    if not node.dtype.is_float:
        return Tensor(node)
    return Tensor(b.select(b.make("ne", node, node), b.like(node, fill), node))


def _wide(node: Node, dtype: Any) -> Node:
    """In the dtype asked for; small integers and bools in 32 bits."""
    if dtype is not None:
        want = dtypes.as_dtype(dtype)
        if want.kind == "b":
            raise DtypeError(
                "expected a numeric dtype to add up in; received bool. "
                "Use an integer dtype to count, or logical_or for any"
            )
        return b.cast(node, want)
    return b.cast(node, _accumulated(node.dtype))


def _accumulated(dtype: DType) -> DType:
    if dtype.kind == "b" or (dtype.is_integer and dtype.itemsize < 4):
        return dtypes.uint32 if dtype.kind == "u" else int32
    return dtype


def _running(name: str, op: str, node: Node, axis: int | None, reverse: bool = False) -> Tensor:
    if axis is None:
        node, axis = b.reshape(node, (node.size,)), 0
    return Tensor(cumulative(node, axis_of(name, axis, len(node.shape)), op, bool(reverse)))


def _standard(
    name: str, op: str, x: Any, axis: int | None, dtype: Any, include_initial: bool
) -> Tensor:
    node = _wide(node_of(x), dtype)
    at = _axis(name, node.shape, axis)
    result = cumulative(node, at, op)
    if include_initial:
        result = _led(result, at, 0 if op == "sum" else 1)
    return Tensor(result)


def _axis(name: str, shape: tuple[int, ...], axis: int | None) -> int:
    if not shape:
        raise ShapeError(
            f"{name} expected an array with an axis; received a scalar. Insert one with x[None]"
        )
    if axis is None:
        if len(shape) > 1:
            raise ShapeError(
                f"{name} expected an axis for {len(shape)} of them, shape {list(shape)}; received "
                "None. Pass axis="
            )
        return 0
    return axis_of(name, axis, len(shape))


def _led(x: Node, axis: int, first: float) -> Node:
    """x with one more element at the beginning of an axis."""
    rank = len(x.shape)
    low = tuple(int(d == axis) for d in range(rank))
    fill = b.const(first, x.dtype)
    return b.make("pad", x, fill, low=low, high=(0,) * rank, interior=(0,) * rank)


@complex_rule("cumprod")
def _complex_cumprod(
    x: Any, axis: int | None = None, dtype: Any = None, *, reverse: bool = False
) -> Tensor:
    value = x if dtype is None else x.astype(dtype)
    if axis is None:
        value, axis = reshape(value, (-1,)), 0
    axis_of("cumprod", axis, len(value.shape))
    result = associative_scan(e.multiply, value, reverse=reverse, axis=axis)
    assert isinstance(result, Tensor)
    return result


@complex_rule("cumulative_prod")
def _complex_cumulative_prod(
    x: Any, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Tensor:
    at = _axis("cumulative_prod", tuple(x.shape), axis)
    result = _complex_cumprod(x, at, dtype)
    if not include_initial:
        return result
    one = tuple(1 if d == at else n for d, n in enumerate(x.shape))
    dtype = result.parts[0].dtype
    first = Tensor(b.full(one, 1, dtype), b.full(one, 0, dtype))
    return concatenate([first, result], axis=at)
