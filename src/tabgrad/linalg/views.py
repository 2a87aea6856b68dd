"""Parts of matrices: diagonals, traces, bands."""

from __future__ import annotations

from typing import Any

from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.linalg.matrices import diagonal_of, indices
from tabgrad.ops import elementwise as e
from tabgrad.ops.manipulation import expand_dims
from tabgrad.ops.reduction import sum as sum_
from tabgrad.tensor import Tensor


def _matrices(name: str, x: Any) -> Tensor:
    value = e.convert_to_tensor(x)
    if value.ndim < 2:
        raise ShapeError(
            f"linalg.{name} expected matrices, of at least two axes; received shape "
            f"{list(value.shape)}. "
            "Give a vector as a matrix of one row, x[None]"
        )
    return value


def diagonal(x: Any, offset: int = 0) -> Tensor:
    """The elements on a diagonal of the matrices on the last two axes.

    Args:
        x: (..., m, n), any dtype.
        offset: how far above the main diagonal; below it where negative.

    Returns:
        (..., k), with k = 0 where the offset leads out of the matrix.

    Raises:
        ShapeError: fewer than two axes.

    Example:
        >>> import tabgrad as tg
        >>> tg.linalg.diagonal([[1, 2], [3, 4]], offset=1).tolist()
        [2]
    """
    value = _matrices("diagonal", x)
    m, n = value.shape[-2:]
    below, right = min(max(-offset, 0), m), min(max(offset, 0), n)
    return diagonal_of(value[..., below:, right:])


def trace(x: Any, offset: int = 0, dtype: Any = None) -> Tensor:
    """The sum of the elements on a diagonal of the matrices on the last two axes.

    Args:
        x: (..., m, n), any number type.
        offset: how far above the main diagonal; below it where negative.
        dtype: the dtype to sum in; by default that of `tg.sum`.

    Returns:
        Sums (...).

    Raises:
        ShapeError: fewer than two axes.

    Example:
        >>> import tabgrad as tg
        >>> int(tg.linalg.trace([[1, 2], [3, 4]]))
        5
    """
    found = diagonal(_matrices("trace", x), offset)
    return sum_(found if dtype is None else e.cast(found, dtype), -1)


def band_part(x: Any, num_lower: int, num_upper: int) -> Tensor:
    """The matrices on the last two axes with everything outside a band around the diagonal set to 0
    (`tf.linalg.bandPart` of TensorFlow.js).

    Args:
        x: (..., m, n), any dtype.
        num_lower: how many diagonals below the main one to keep; all where negative.
        num_upper: how many above it; all where negative.

    Raises:
        ShapeError: fewer than two axes. ArgumentError: numbers beyond the size of the matrices.

    Example:
        >>> import tabgrad as tg
        >>> tg.linalg.band_part([[1, 2, 3], [4, 5, 6], [7, 8, 9]], 0, 1).tolist()
        [[1, 2, 0], [0, 5, 6], [0, 0, 9]]
    """
    value = _matrices("band_part", x)
    m, n = value.shape[-2:]
    if num_lower > m or num_upper > n:
        raise ArgumentError(
            f"linalg.band_part expected at most {m} diagonals below and {n} above the main one of "
            f"matrices of shape {list(value.shape)}; received {num_lower} and {num_upper}"
        )
    down, right = expand_dims(indices(m), 1), indices(n)
    low, high = m if num_lower < 0 else num_lower, n if num_upper < 0 else num_upper
    inside = e.logical_and(down - right <= low, right - down <= high)
    return e.where(inside, value, e.cast(0, value.dtype))
