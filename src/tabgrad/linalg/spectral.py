"""Eigenvalues and eigenvectors of Hermitian matrices."""

from __future__ import annotations

from typing import Any, NamedTuple

from tabgrad.linalg.jacobi import diagonalise
from tabgrad.linalg.matrices import (
    adjoint,
    as_diagonal,
    as_type,
    ascending,
    inverse_of,
    lower,
    matrix,
    rows_in,
    same_float,
    unit_scale,
    with_rule,
)
from tabgrad.ops.complex_numbers import real
from tabgrad.ops.indexing import take_along_axis
from tabgrad.ops.linear import matmul
from tabgrad.ops.manipulation import expand_dims, squeeze
from tabgrad.tensor import Tensor


class EighResult(NamedTuple):
    """Ascending eigenvalues, and eigenvectors as columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


def eigh(x: Any) -> EighResult:
    """Eigenvalues w and orthonormal eigenvectors V of Hermitian matrices: x V = V diag(w).

    By Jacobi's method, as accurate as rounding allows. The gradient treats the eigenvectors of
    equal eigenvalues as fixed: right for every function that does not depend on their choice.

    Args:
        x: (..., n, n), float or complex; only the lower triangle is read.

    Returns:
        `(eigenvalues, eigenvectors)`: (..., n), real and ascending, and (..., n, n), whose columns
        are the eigenvectors, each determined up to its sign (its phase where complex).

    Raises:
        ShapeError: matrices that are not square.

    Example:
        >>> import tabgrad as tg
        >>> w = tg.linalg.eigh([[2.0, 1.0], [1.0, 2.0]]).eigenvalues
        >>> [round(y, 5) for y in w.tolist()]
        [1.0, 3.0]
    """
    value = matrix("eigh", x, square=True)
    (work,) = same_float(value)
    w, v = with_rule(_sorted, _rule, lower(work) + adjoint(lower(work, -1)))
    return EighResult(as_type(w, value.dtype), as_type(v, value.dtype))


def _sorted(x: Tensor) -> tuple[Tensor, Tensor]:
    n = x.shape[-1]
    if x.size == 0:
        return real(x).reshape((*x.shape[:-2], n)) if n == 0 else real(x[..., 0]), x
    scale = unit_scale(x)
    w, rows = diagonalise(x / scale)
    order = ascending(w)
    w = take_along_axis(w, order, -1) * squeeze(scale, -1)
    return w, adjoint(rows_in(rows, order))


def _rule(xs: Any, result: Any, g_w: Tensor, g_v: Tensor) -> tuple[Tensor]:
    w, v = result
    gaps = expand_dims(w, -2) - expand_dims(w, -1)
    inner = as_diagonal(g_w) + inverse_of(gaps) * matmul(adjoint(v), g_v)
    whole = matmul(matmul(v, inner), adjoint(v))
    return (0.5 * (whole + adjoint(whole)),)


def eigvalsh(x: Any) -> Tensor:
    """The eigenvalues of Hermitian matrices, ascending.

    Args:
        x: (..., n, n), float or complex; only the lower triangle is read.

    Returns:
        Real eigenvalues (..., n).

    Raises:
        ShapeError: matrices that are not square.

    Example:
        >>> import tabgrad as tg
        >>> [round(y, 5) for y in tg.linalg.eigvalsh([[2.0, 1.0], [1.0, 2.0]]).tolist()]
        [1.0, 3.0]
    """
    return eigh(matrix("eigvalsh", x, square=True)).eigenvalues
