"""The Array API standard (2024.12) where its signature is not that of `keras.ops`.

`tabgrad` itself exports these; `tabgrad.ops` has Keras's functions of the same names. Where one
signature serves both, there is one function, in the file of its topic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad.dtypes import as_dtype, limits
from tabgrad.errors import DtypeError
from tabgrad.ops import arguments, indexing, manipulation
from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import node_of, parts_of
from tabgrad.tensor import Tensor, check_device, converted


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """x as another dtype; with `copy=False` x itself where it has that dtype already.

    Args:
        x: any tensor.
        dtype: of the result.
        copy: False for x itself where it has that dtype already.
        device: "cpu" or None.

    Returns:
        The shape of x.

    Raises:
        DtypeError: a complex x and a real dtype.

    Example:
        >>> import tabgrad as tg
        >>> tg.astype(tg.tensor([1.7, -1.7]), tg.int32).tolist()
        [1, -1]
    """
    check_device(device)
    given = x if isinstance(x, Tensor) else Tensor(*parts_of(x))
    result = converted(given, as_dtype(dtype))
    return Tensor(*result.parts) if copy and result is given else result


def reshape(x: Any, /, shape: int | Sequence[int], *, copy: bool | None = None) -> Tensor:
    """x under another shape; one size may be -1, to be computed. Nothing is ever copied, and
    nothing that happens to the result can change x, so `copy` makes no difference.

    Raises:
        ShapeError: another number of elements.

    Example:
        >>> import tabgrad as tg
        >>> tg.reshape(tg.arange(6), (2, -1)).tolist()
        [[0, 1, 2], [3, 4, 5]]
    """
    return manipulation.reshape(x, shape)


def clip(x: Any, /, min: Any = None, max: Any = None) -> Tensor:
    """x limited to [min, max], in the dtype of x; None is no limit.

    Limits beyond what an integer dtype holds limit nothing.

    Returns:
        The broadcast shape, the dtype of x.

    Raises:
        DtypeError: a limit of a higher kind than x has.

    Example:
        >>> import tabgrad as tg
        >>> tg.clip([-5, 0, 5], -1).tolist()
        [-1, 0, 5]
    """
    result = Tensor(node_of(x))
    dtype = result.dtype
    for limit, function in ((min, e.maximum), (max, e.minimum)):
        if limit is None:
            continue
        if isinstance(limit, int) and dtype.is_integer:
            low, high = limits(dtype)
            limit = low if limit < low else high if limit > high else limit
        elif not isinstance(limit, (int, float)):
            kind = node_of(limit).dtype
            if kind.is_float and not dtype.is_float:
                raise DtypeError(
                    f"clip expected limits of an integer dtype for {dtype.name} values; received "
                    f"{kind.name}. Convert x first: tg.astype(x, {kind.name!r})"
                )
            limit = e.cast(limit, dtype)
        result = function(result, limit)
    return converted(result, dtype)


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along an axis, which they no longer have.

    Returns:
        The parts, of the dtype of x.

    Raises:
        RangeError: an axis that x does not have.

    Example:
        >>> import tabgrad as tg
        >>> [part.tolist() for part in tg.unstack(tg.tensor([[1, 2], [3, 4]]), axis=1)]
        [[1, 3], [2, 4]]
    """
    return tuple(manipulation.unstack(x, axis=axis))


def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Tensor:
    """For each place, the element whose index along `axis` stands there in `indices`.

    Returns:
        The dtype of x.

    Raises:
        ShapeError: indices of another rank than x.

    Example:
        >>> import tabgrad as tg
        >>> tg.take_along_axis([[3, 4, 5]], [[2, 0]]).tolist()
        [[5, 3]]
    """
    return indexing.take_along_axis(x, indices, axis)


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that arrays of these shapes broadcast to.

    Args:
        shapes: tuples of integers.

    Raises:
        ShapeError: shapes that do not fit.

    Example:
        >>> import tabgrad as tg
        >>> tg.broadcast_shapes((3, 1), (2,))
        (3, 2)
    """
    return arguments.broadcast_shapes("broadcast_shapes", *shapes)


def floor_divide(x1: Any, x2: Any, /) -> Tensor:
    """floor(x1 / x2), which `//` is, too; an integer divided by 0 gives 0.

    Where one number is infinite this is the quotient of the standard, inf // 2 = inf and
    -1 // inf = -0. NumPy (and `tg.ops.floor_divide`) gives NaN and -1 there.

    Args:
        x1: real numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted.

    Example:
        >>> import tabgrad as tg
        >>> (tg.tensor([7.0, -7.0]) // 2).tolist()
        [3.0, -4.0]
    """
    result = e.floor_divide(x1, x2)
    if not result.dtype.is_float:
        return result
    infinite = e.logical_or(e.isinf(x1), e.isinf(x2))
    return e.where(infinite, e.floor(e.divide(x1, x2)), result)
