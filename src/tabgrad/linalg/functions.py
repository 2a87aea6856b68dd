"""Functions of whole matrices: powers, exponentials, products of several."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.linalg.elimination import inv, solve
from tabgrad.linalg.matrices import (
    adjoint,
    as_type,
    floats,
    identity,
    indices,
    matrix,
    part_type,
    same_float,
    with_rule,
)
from tabgrad.linalg.norms import matrix_norm
from tabgrad.ops import elementwise as e
from tabgrad.ops.control import scan
from tabgrad.ops.creation import zeros_like
from tabgrad.ops.linear import cross as _cross
from tabgrad.ops.linear import matmul, vectors_last
from tabgrad.ops.manipulation import concatenate, expand_dims, moveaxis, squeeze
from tabgrad.ops.reduction import prod
from tabgrad.ops.special import log2
from tabgrad.tensor import Tensor


def matrix_power(x: Any, n: int) -> Tensor:
    """x multiplied with itself n times, by repeated squaring; the inverse's power for negative n.

    Args:
        x: (..., k, k), float or complex.
        n: a Python integer.

    Raises:
        ShapeError: matrices that are not square. ArgumentError: an n that is no integer.

    Example:
        >>> import tabgrad as tg
        >>> tg.linalg.matrix_power([[1.0, 1.0], [0.0, 1.0]], 5).tolist()
        [[1.0, 5.0], [0.0, 1.0]]
    """
    value = matrix("matrix_power", x, square=True)
    if not isinstance(n, int) or isinstance(n, bool):
        raise ArgumentError(
            f"linalg.matrix_power expected a Python integer n; received {n!r}. "
            "For another exponent use the eigenvalues: tg.linalg.eig"
        )
    size = value.shape[-1]
    if n == 0:
        return identity(size, size, value.shape[:-2], value.dtype)
    power, rest = inv(value) if n < 0 else value, abs(n)
    result: Tensor | None = None
    while True:
        if rest & 1:
            result = power if result is None else matmul(result, power)
        rest >>= 1
        if result is not None and not rest:
            return result
        power = matmul(power, power)


def multi_dot(arrays: Sequence[Any]) -> Tensor:
    """The product of two or more matrices, in the order that needs the fewest multiplications.

    Args:
        arrays: matrices; the first and the last may be vectors.

    Returns:
        Of the promoted dtype.

    Raises:
        ShapeError: shapes that do not fit. ArgumentError: fewer than two arrays.

    Example:
        >>> import tabgrad as tg
        >>> tg.linalg.multi_dot([tg.ones((2, 3)), tg.ones((3, 4)), tg.ones(4)]).tolist()
        [12.0, 12.0]
    """
    xs = [floats(x) for x in arrays]
    if len(xs) < 2:
        raise ArgumentError(
            f"linalg.multi_dot expected at least two arrays; received {len(xs)}. "
            "One array needs no product"
        )
    first, last = xs[0].ndim == 1, xs[-1].ndim == 1
    xs[0] = expand_dims(xs[0], 0) if first else xs[0]
    xs[-1] = expand_dims(xs[-1], 1) if last else xs[-1]
    fits = all(x.ndim == 2 for x in xs)
    if not fits or any(x.shape[1] != y.shape[0] for x, y in itertools.pairwise(xs)):
        raise ShapeError(
            "linalg.multi_dot expected matrices whose inner sizes agree; received shapes "
            f"{[list(x.shape) for x in xs]}. "
            "Transpose one with .mT, or change their order"
        )
    sizes = [xs[0].shape[0], *(x.shape[1] for x in xs)]

    @functools.cache
    def best(i: int, j: int) -> tuple[int, int]:
        """Cost of the product of xs[i..j], and after which of them to cut it."""
        if i == j:
            return 0, i
        return min(
            (best(i, k)[0] + best(k + 1, j)[0] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
            for k in range(i, j)
        )

    def product(i: int, j: int) -> Tensor:
        if i == j:
            return xs[i]
        cut = best(i, j)[1]
        return matmul(product(i, cut), product(cut + 1, j))

    result = product(0, len(xs) - 1)
    axes = ([0] if first else []) + ([1] if last else [])
    return squeeze(result, axes) if axes else result


def cross(x1: Any, x2: Any, axis: int = -1) -> Tensor:
    """The cross product of vectors of 3 elements along an axis, broadcasting the others.

    Args:
        x1: numbers.
        x2: numbers.
        axis: the axis of the vectors, counted from the last one where the ranks differ.

    Raises:
        ShapeError: vectors of another size, or shapes that do not broadcast.

    Example:
        >>> import tabgrad as tg
        >>> tg.linalg.cross([1, 0, 0], [0, 1, 0]).tolist()
        [0, 0, 1]
    """
    a, c = vectors_last("linalg.cross", x1, axis), vectors_last("linalg.cross", x2, axis)
    if a.shape[-1] != 3 or c.shape[-1] != 3:
        raise ShapeError(
            f"linalg.cross expected vectors of 3 elements on axis {axis}; received sizes "
            f"{a.shape[-1]} and {c.shape[-1]}. tg.ops.cross takes vectors of 2 elements, too"
        )
    return moveaxis(_cross(a, c), -1, axis)


def expm(x: Any) -> Tensor:
    """The exponential of matrices, sum x**k / k!.

    By scaling and squaring with a Padé approximant (Higham, The scaling and squaring method for the
    matrix exponential revisited, 2005). The gradient is the exponential of a block matrix.

    Args:
        x: (..., n, n), float or complex. Norms beyond about 2**24 (2**33 in float64) give NaN.

    Returns:
        Matrices of the same shape.

    Raises:
        ShapeError: matrices that are not square.

    Example:
        >>> import tabgrad as tg
        >>> tg.linalg.expm([[0.0, 1.0], [0.0, 0.0]]).tolist()
        [[1.0, 1.0], [0.0, 1.0]]
    """
    value = matrix("expm", x, square=True)
    (work,) = same_float(value)
    return as_type(_exponential(work), value.dtype)


def _exponential(x: Tensor) -> Tensor:
    return with_rule(_pade, _exponential_rule, x)


# Coefficients of the numerator of the diagonal Padé approximants of orders 7 and 13, and the norms
# up to which they are exact to rounding in float32 and float64 (Higham, tables 2.3 and 2.1).
_SINGLE = (17297280.0, 8648640.0, 1995840.0, 277200.0, 25200.0, 1512.0, 56.0, 1.0)
_DOUBLE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0,
    129060195264000.0, 10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0,
    40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
_THETA = {4: 3.925724783138660, 8: 5.371920351148152}
_SQUARINGS = 24


def _pade(x: Tensor) -> Tensor:
    n = x.shape[-1]
    if x.size == 0:
        return x
    size = part_type(x.dtype).itemsize
    coefficients = _SINGLE if size == 4 else _DOUBLE
    norm = matrix_norm(x, True, 1)
    times = e.ceil(log2(norm / _THETA[size]))
    # Powers of two by multiplication, which is exact.
    halves = e.where(e.cast(indices(_SQUARINGS), times.dtype) < times, 0.5, 1.0)
    a = x * prod(halves, -1, True)
    square = matmul(a, a)
    unit = identity(n, n, x.shape[:-2], x.dtype)
    odd, even = coefficients[-1] * unit, coefficients[-2] * unit
    for k in range(len(coefficients) - 3, 0, -2):
        odd = matmul(square, odd) + coefficients[k] * unit
        even = matmul(square, even) + coefficients[k - 1] * unit
    odd = matmul(a, odd)
    result = solve(even - odd, even + odd)

    def step(power: Tensor, k: Tensor) -> tuple[Tensor, None]:
        return e.where(e.cast(k, times.dtype) < times, matmul(power, power), power), None

    result, _ = scan(step, result, indices(_SQUARINGS))
    return e.where(times > _SQUARINGS, math.nan, result)


def _exponential_rule(xs: Any, result: Tensor, g: Tensor) -> tuple[Tensor]:
    # Van Loan's block: exp([[A, E], [0, A]]) has the derivative of exp at A along E in its corner.
    n = xs[0].shape[-1]
    back = adjoint(xs[0])
    top = concatenate([back, g], -1)
    bottom = concatenate([zeros_like(back), back], -1)
    return (_exponential(concatenate([top, bottom], -2))[..., :n, n:],)
