"""NumPy's ways to put arrays together and take them apart again, by direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ops.arguments import axis_of, parts_of
from tabgrad.ops.manipulation import concatenate, expand_dims, ravel, reshape, split
from tabgrad.tensor import Tensor


def _all(name: str, xs: Sequence[Any]) -> list[Tensor]:
    found = [Tensor(*parts_of(x)) for x in xs]
    if not found:
        raise ArgumentError(
            f"{name} expected at least one array; received none. Check that the list is not empty"
        )
    return found


def append(x1: Any, x2: Any, axis: int | None = None) -> Tensor:
    """x2 behind x1 along an axis; both are flattened first when it is None.

    Returns:
        Of the promoted dtype.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.append([1, 2], [[3], [4]]).tolist()
        [1, 2, 3, 4]
    """
    pair = _all("append", (x1, x2))
    return concatenate([ravel(x) for x in pair] if axis is None else pair, axis or 0)


def hstack(xs: Sequence[Any]) -> Tensor:
    """Joined along the second axis, along the only one for vectors.

    Args:
        xs: tensors whose other sizes agree; their dtypes are promoted.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.hstack([[1, 2], [3]]).tolist()
        [1, 2, 3]
    """
    found = [reshape(x, (1,)) if not x.shape else x for x in _all("hstack", xs)]
    return concatenate(found, 0 if found[0].ndim == 1 else 1)


def vstack(xs: Sequence[Any]) -> Tensor:
    """Joined along the first axis; vectors are rows.

    Args:
        xs: tensors whose other sizes agree; their dtypes are promoted.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.vstack([[1, 2], [3, 4]]).tolist()
        [[1, 2], [3, 4]]
    """
    found = [reshape(x, (1, x.size)) if x.ndim < 2 else x for x in _all("vstack", xs)]
    return concatenate(found, 0)


def dstack(xs: Sequence[Any]) -> Tensor:
    """Joined along the third axis; vectors and matrices get one.

    Args:
        xs: tensors whose other sizes agree; their dtypes are promoted.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.dstack([[1, 2], [3, 4]]).tolist()
        [[[1, 3], [2, 4]]]
    """
    found = [
        expand_dims(reshape(x, (1, x.size)) if x.ndim < 2 else x, 2) if x.ndim < 3 else x
        for x in _all("dstack", xs)
    ]
    return concatenate(found, 2)


def array_split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Parts along an axis; where a number of parts does not divide its size, the first are longer.

    Args:
        x: of any dtype, which the parts have, too.
        indices_or_sections: how many parts, or the indices at which to cut.
        axis: the axis to cut.

    Raises:
        ArgumentError: less than one part.

    Example:
        >>> import tabgrad as tg
        >>> [part.tolist() for part in tg.ops.array_split([1, 2, 3], 2)]
        [[1, 2], [3]]
    """
    if not isinstance(indices_or_sections, int):
        return split(x, indices_or_sections, axis)
    if indices_or_sections < 1:
        raise ArgumentError(
            f"array_split expected at least one part; received {indices_or_sections}. "
            "Give their number, or the places to cut at"
        )
    value = Tensor(*parts_of(x))
    size = value.shape[axis_of("array_split", axis, value.ndim)]
    each, longer = divmod(size, indices_or_sections)
    edges = [i * each + min(i, longer) for i in range(1, indices_or_sections)]
    return split(value, edges, axis)


def hsplit(x: Any, indices_or_sections: int | Sequence[int]) -> list[Tensor]:
    """`split` along the second axis, along the only one of a vector.

    Args:
        x: of any dtype, which the parts have, too.
        indices_or_sections: how many equal parts, or the indices at which to cut.

    Example:
        >>> import tabgrad as tg
        >>> [part.tolist() for part in tg.ops.hsplit([1, 2, 3, 4], 2)]
        [[1, 2], [3, 4]]
    """
    value = _with_axes("hsplit", x, 1)
    return split(value, indices_or_sections, 0 if value.ndim == 1 else 1)


def vsplit(x: Any, indices_or_sections: int | Sequence[int]) -> list[Tensor]:
    """`split` along the first axis of a matrix.

    Args:
        x: of any dtype, which the parts have, too.
        indices_or_sections: how many equal parts, or the indices at which to cut.

    Example:
        >>> import tabgrad as tg
        >>> [part.tolist() for part in tg.ops.vsplit([[1, 2], [3, 4]], 2)]
        [[[1, 2]], [[3, 4]]]
    """
    return split(_with_axes("vsplit", x, 2), indices_or_sections, 0)


def dsplit(x: Any, indices_or_sections: int | Sequence[int]) -> list[Tensor]:
    """`split` along the third axis.

    Args:
        x: of any dtype, which the parts have, too.
        indices_or_sections: how many equal parts, or the indices at which to cut.

    Example:
        >>> import tabgrad as tg
        >>> [part.shape for part in tg.ops.dsplit(tg.ones((1, 2, 4)), 2)]
        [(1, 2, 2), (1, 2, 2)]
    """
    return split(_with_axes("dsplit", x, 3), indices_or_sections, 2)


def _with_axes(name: str, x: Any, least: int) -> Tensor:
    value = Tensor(*parts_of(x))
    if value.ndim < least:
        raise ShapeError(
            f"{name} expected at least {least} axes; received {list(value.shape)}. "
            "Insert axes with x[None]"
        )
    return value
