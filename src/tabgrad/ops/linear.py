"""Products of matrices and tensors: matmul, dot, tensordot, kron, cross. What sums is the primitive
`dot`. `einsum` has a file of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad import dtypes
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import (
    axis_of,
    broadcast_shapes,
    common,
    on_products,
    parts_of,
    spread,
)
from tabgrad.ops.complex_numbers import conj
from tabgrad.ops.elementwise import multiply, subtract
from tabgrad.ops.manipulation import moveaxis, stack
from tabgrad.tensor import Tensor


def _pair(name: str, x1: Any, x2: Any) -> tuple[Node, Node]:
    x, y = common(name, x1, x2)
    if x.dtype.kind == "b":
        x, y = b.cast(x, dtypes.int32), b.cast(y, dtypes.int32)
    return x, y


@on_products("x1", "x2")
def matmul(x1: Any, x2: Any) -> Tensor:
    """Matrix product of the last two axes, broadcasting the others; 1-d operands are vectors.

    Args:
        x1: (..., m, k), or (k,).
        x2: (..., k, n), or (k,).

    Returns:
        (..., m, n), without m or n where an operand is a vector. Bools are counted as int32.

    Raises:
        ShapeError: numbers without axes, or inner sizes that differ, with both shapes.

    Example:
        >>> import tabgrad as tg
        >>> tg.matmul(tg.ones((2, 3)), tg.ones((3, 4))).shape
        (2, 4)
    """
    x, y = _pair("matmul", x1, x2)
    if not x.shape or not y.shape:
        raise ShapeError(
            f"matmul expected at least one axis in each operand; received {list(x.shape)} and "
            f"{list(y.shape)}. "
            "Multiply by a number with *"
        )
    k_x, k_y = len(x.shape) - 1, max(len(y.shape) - 2, 0)
    if x.shape[k_x] != y.shape[k_y]:
        raise ShapeError(
            f"matmul expected equal inner sizes; received {list(x.shape)} and {list(y.shape)}. "
            "The last axis of the first meets the second last of the other: transpose "
            "one with .mT"
        )
    lead_x, lead_y = x.shape[:-2], y.shape[:-2]
    if not lead_y:  # every row of x meets one matrix: no batch at all
        return Tensor(make("dot", x, y, contract=((k_x,), (k_y,)), batch=((), ())))
    batch = broadcast_shapes("matmul", lead_x, lead_y)
    n = len(batch)
    x = b.broadcast(x, batch + x.shape[len(lead_x) :], _tail_dims(lead_x, n, x))
    y = b.broadcast(y, batch + y.shape[len(lead_y) :], _tail_dims(lead_y, n, y))
    both = tuple(range(n))
    k = ((len(x.shape) - 1,), (len(y.shape) - 2,))
    return Tensor(make("dot", x, y, contract=k, batch=(both, both)))


def _tail_dims(lead: Sequence[int], n: int, node: Node) -> list[int]:
    core = len(node.shape) - len(lead)
    return [*range(n - len(lead), n), *range(n, n + core)]


@on_products("x1", "x2")
def dot(x1: Any, x2: Any) -> Tensor:
    """NumPy's dot: the last axis of x1 with the second last of x2, no broadcasting.

    Args:
        x1: (..., k), or a number.
        x2: (..., k, n), (k,), or a number.

    Returns:
        The leading axes of x1, then those of x2 and n; the product where one is a number.

    Raises:
        ShapeError: inner sizes that differ.

    Example:
        >>> import tabgrad as tg
        >>> int(tg.ops.dot([1, 2], [3, 4]))
        11
    """
    x, y = _pair("dot", x1, x2)
    if not x.shape or not y.shape:
        return multiply(Tensor(x), Tensor(y))
    k_y = max(len(y.shape) - 2, 0)
    if x.shape[-1] != y.shape[k_y]:
        raise ShapeError(
            f"dot expected equal inner sizes; received {list(x.shape)} and {list(y.shape)}. "
            "The last axis of the first meets the second last of the other: transpose "
            "one, or use tensordot"
        )
    return Tensor(make("dot", x, y, contract=((len(x.shape) - 1,), (k_y,)), batch=((), ())))


@on_products("x1", "x2")
def inner(x1: Any, x2: Any) -> Tensor:
    """NumPy's inner: sums over the last axes of both; the product where one is a number.

    Args:
        x1: numbers (..., n).
        x2: numbers (..., n); the dtypes are promoted.

    Raises:
        ShapeError: last axes of different sizes.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.inner([[1, 2], [3, 4]], [1, 1]).tolist()
        [3, 7]
    """
    x, y = _pair("inner", x1, x2)
    if not x.shape or not y.shape:
        return multiply(Tensor(x), Tensor(y))
    if x.shape[-1] != y.shape[-1]:
        raise ShapeError(
            f"inner expected equal last sizes; received {list(x.shape)} and {list(y.shape)}. "
            "The last axes meet: transpose one, or use tensordot"
        )
    k = ((len(x.shape) - 1,), (len(y.shape) - 1,))
    return Tensor(make("dot", x, y, contract=k, batch=((), ())))


def vdot(x1: Any, x2: Any) -> Tensor:
    """Sum of the products of all elements, flattened; complex x1 is conjugated.

    Args:
        x1: numbers of any shape, flattened.
        x2: as many; the dtypes are promoted.

    Raises:
        ShapeError: different numbers of elements.

    Example:
        >>> import tabgrad as tg
        >>> int(tg.ops.vdot([[1, 2], [3, 4]], [[1, 1], [1, 1]]))
        10
    """
    return _flat_dot(conj(x1), x2)


@on_products("x1", "x2")
def _flat_dot(x1: Any, x2: Any) -> Tensor:
    x, y = _pair("vdot", x1, x2)
    if x.size != y.size:
        raise ShapeError(
            f"vdot expected as many elements in both; received {list(x.shape)} and {list(y.shape)}."
            " Flatten and cut one of them"
        )
    x, y = b.reshape(x, (x.size,)), b.reshape(y, (y.size,))
    return Tensor(make("dot", x, y, contract=((0,), (0,)), batch=((), ())))


def vecdot(x1: Any, x2: Any, axis: int = -1) -> Tensor:
    """Sum of products along one axis, broadcasting the others; complex x1 is conjugated.

    Args:
        x1: numbers.
        x2: numbers, of the same size on `axis`.
        axis: counted from the last axis where the ranks differ, so negative.

    Returns:
        Sums in the common dtype: integers wrap, bools are counted as int32.

    Raises:
        ShapeError: sizes that differ on the axis, or others that do not broadcast.

    Example:
        >>> import tabgrad as tg
        >>> tg.vecdot([[1, 2], [3, 4]], [1, 1]).tolist()
        [3, 7]
    """
    return _vecdot(conj(x1), x2, axis)


@on_products("x1", "x2")
def _vecdot(x1: Any, x2: Any, axis: int) -> Tensor:
    x, y = _pair("vecdot", x1, x2)
    if axis >= 0 and len(x.shape) == len(y.shape):
        axis -= len(x.shape)
    rank = min(len(x.shape), len(y.shape))
    axis_of("vecdot", axis, rank)
    if axis >= 0 or x.shape[axis] != y.shape[axis]:
        raise ShapeError(
            f"vecdot expected equal sizes on axis {axis}; received {list(x.shape)} and "
            f"{list(y.shape)}. "
            "Name another axis, or transpose one"
        )
    shape = broadcast_shapes("vecdot", x.shape, y.shape)
    product = b.mul(spread(x, shape), spread(y, shape))
    return Tensor(b.reduce("reduce_sum", product, (len(shape) + axis,)))


@on_products("x1", "x2")
def outer(x1: Any, x2: Any) -> Tensor:
    """All products of the elements of two vectors (other shapes are flattened).

    Args:
        x1: numbers, flattened to (n,).
        x2: numbers, flattened to (m,); the dtypes are promoted.

    Example:
        >>> import tabgrad as tg
        >>> tg.outer([1, 2], [3, 4]).tolist()
        [[3, 4], [6, 8]]
    """
    x, y = _pair("outer", x1, x2)
    shape = (x.size, y.size)
    x = b.broadcast(b.reshape(x, (x.size,)), shape, (0,))
    y = b.broadcast(b.reshape(y, (y.size,)), shape, (1,))
    return Tensor(b.mul(x, y))


@on_products("x1", "x2")
def tensordot(x1: Any, x2: Any, axes: int | Sequence[Any] = 2) -> Tensor:
    """Sum over pairs of axes.

    Args:
        x1: numbers.
        x2: numbers.
        axes: n for the last n axes of x1 with the first n of x2, or two axes, or two lists of axes.

    Returns:
        The other axes of x1, then those of x2.

    Raises:
        ShapeError: axes that are not there, or have different sizes.
        ArgumentError: axes that are neither a number nor two lists.

    Example:
        >>> import tabgrad as tg
        >>> tg.tensordot(tg.ones((2, 3, 4)), tg.ones((3, 4, 5))).shape
        (2, 5)
    """
    x, y = _pair("tensordot", x1, x2)
    rank_x, rank_y = len(x.shape), len(y.shape)
    if isinstance(axes, int):
        if not 0 <= axes <= min(rank_x, rank_y):
            raise ShapeError(
                f"tensordot expected axes from 0 to {min(rank_x, rank_y)} for shapes "
                f"{list(x.shape)} and {list(y.shape)}; received {axes}. "
                "Give fewer axes, or transpose one operand"
            )
        mine, theirs = tuple(range(rank_x - axes, rank_x)), tuple(range(axes))
    else:
        if len(axes) != 2:
            raise ArgumentError(
                f"tensordot expected a number or two lists of axes; received {axes!r}"
            )
        first, second = ([a] if isinstance(a, int) else list(a) for a in axes)
        mine = tuple(axis_of("tensordot", a, rank_x) for a in first)
        theirs = tuple(axis_of("tensordot", a, rank_y) for a in second)
    distinct = len(set(mine)) == len(mine) and len(set(theirs)) == len(theirs)
    if not distinct or [x.shape[a] for a in mine] != [y.shape[a] for a in theirs]:
        raise ShapeError(
            f"tensordot expected pairs of axes of equal sizes; received axes {axes!r} of shapes "
            f"{list(x.shape)} and {list(y.shape)}. "
            "Axes meet in the order they are given"
        )
    return Tensor(make("dot", x, y, contract=(mine, theirs), batch=((), ())))


@on_products("x1", "x2")
def kron(x1: Any, x2: Any) -> Tensor:
    """The Kronecker product: a block of all of x2 for each element of x1, times that element.

    Args:
        x1: numbers of any shape; the shorter shape gets leading axes of size 1.
        x2: numbers of any shape.

    Returns:
        Each size is the product of both sizes.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.kron([1, 10], [1, 2]).tolist()
        [1, 2, 10, 20]
    """
    x, y = _pair("kron", x1, x2)
    rank = max(len(x.shape), len(y.shape))
    a = (*[1] * (rank - len(x.shape)), *x.shape)
    c = (*[1] * (rank - len(y.shape)), *y.shape)
    both = [n for pair in zip(a, c, strict=True) for n in pair]
    x = b.broadcast(b.reshape(x, a), both, range(0, 2 * rank, 2))
    y = b.broadcast(b.reshape(y, c), both, range(1, 2 * rank, 2))
    return Tensor(b.reshape(b.mul(x, y), [n * m for n, m in zip(a, c, strict=True)]))


def vectors_last(name: str, x: Any, axis: int) -> Tensor:
    """x with `axis` as its last one."""
    value = Tensor(*parts_of(x))
    return moveaxis(value, axis_of(name, axis, value.ndim), -1)


def cross(
    x1: Any, x2: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Tensor:
    """The cross product of vectors of 3 (or 2) elements, broadcasting the other axes.

    Args:
        x1: vectors along `axisa`, of size 3 or 2; a missing third element counts as 0.
        x2: vectors along `axisb`, of size 3 or 2.
        axisa: axis of the vectors of x1.
        axisb: axis of the vectors of x2.
        axisc: axis of the vectors of the result, which has none where both had 2 elements.
        axis: all three at once.

    Returns:
        Of the promoted dtype.

    Raises:
        ShapeError: vectors of another size, or shapes that do not broadcast.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.cross([1, 0, 0], [0, 1, 0]).tolist()
        [0, 0, 1]
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    a, c = vectors_last("cross", x1, axisa), vectors_last("cross", x2, axisb)
    sizes = a.shape[-1], c.shape[-1]
    if not set(sizes) <= {2, 3}:
        raise ShapeError(
            f"cross expected vectors of 2 or 3 elements; received sizes {sizes[0]} and {sizes[1]} "
            f"in shapes {list(a.shape)} and {list(c.shape)}. "
            "Say with axis where the vectors lie"
        )

    def minor(i: int, j: int) -> Tensor | None:
        """a_i c_j - a_j c_i, elements that are not there being 0."""
        plus = multiply(a[..., i], c[..., j]) if i < sizes[0] and j < sizes[1] else None
        minus = multiply(a[..., j], c[..., i]) if j < sizes[0] and i < sizes[1] else None
        if plus is None:
            return None if minus is None else -minus
        return plus if minus is None else subtract(plus, minus)

    last = minor(0, 1)
    assert last is not None
    first, second = minor(1, 2), minor(2, 0)
    if first is None or second is None:
        return last
    return moveaxis(stack([first, second, last], -1), -1, axisc)
