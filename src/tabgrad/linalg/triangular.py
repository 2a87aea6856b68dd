"""Triangular systems and the Cholesky decomposition.

Loops over columns with rank-one updates: their graphs have the same size for every n, and each step
is one pass over the matrix. Gradients are the closed formulas (Murray, Differentiation of the
Cholesky decomposition, 2016, section 3.2).
"""

from __future__ import annotations

from typing import Any

from tabgrad.errors import ShapeError
from tabgrad.linalg.matrices import (
    adjoint,
    as_type,
    broadcast_stacks,
    column,
    element,
    floats,
    identity,
    indices,
    lower,
    matrix,
    outer_product,
    row,
    same_float,
    upper,
    with_rule,
)
from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import is_complex
from tabgrad.ops.complex_numbers import conj, real
from tabgrad.ops.control import scan
from tabgrad.ops.linear import matmul
from tabgrad.ops.manipulation import expand_dims, matrix_transpose, moveaxis, squeeze
from tabgrad.tensor import Tensor


def cholesky(x: Any, upper: bool = False) -> Tensor:
    """The triangular factor L of positive definite matrices: x = L Lᴴ.

    Args:
        x: (..., n, n), float or complex; only the triangle of the result's side is read.
        upper: whether to return U = Lᴴ instead, with x = Uᴴ U.

    Returns:
        Triangular matrices of the same shape. Where x is not positive definite there are NaNs:
        inside a graph no error can be raised.

    Raises:
        ShapeError: matrices that are not square.

    Example:
        >>> import tabgrad as tg
        >>> tg.linalg.cholesky([[4.0, 2.0], [2.0, 5.0]]).tolist()
        [[2.0, 0.0], [1.0, 2.0]]
    """
    value = matrix("cholesky", x, square=True)
    (work,) = same_float(adjoint(value) if upper else value)
    factor = as_type(with_rule(_factor, _factor_rule, work), value.dtype)
    return adjoint(factor) if upper else factor


def _factor(x: Tensor) -> Tensor:
    n = x.shape[-1]
    if x.size == 0:
        return x
    i = indices(n)

    def step(rest: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        below = column(rest, k)
        pivot = e.sqrt(real(element(below, k)))
        factor = e.where(i >= k, below / pivot, 0.0)
        if is_complex(factor):  # the diagonal is real, whatever rounding or the caller left there
            factor = e.where(i == k, pivot, factor)
        return rest - outer_product(factor, conj(factor)), factor

    _, columns = scan(step, x, i)
    return moveaxis(columns, 0, -1)


def _factor_rule(xs: Any, factor: Tensor, g: Tensor) -> tuple[Tensor]:
    inner = lower(matmul(adjoint(factor), g))
    inner = inner - 0.5 * _on_diagonal(inner)
    inner = inner + adjoint(inner)
    left = solve_with_triangle(factor, inner, lower=True, adjoined=True)
    whole = adjoint(solve_with_triangle(factor, adjoint(left), lower=True, adjoined=True))
    return (0.25 * (whole + adjoint(whole)),)


def _on_diagonal(x: Tensor) -> Tensor:
    """x on the diagonal, its real part only, 0 elsewhere."""
    n = x.shape[-1]
    kept = e.where(expand_dims(indices(n), 1) == indices(n), real(x), 0.0)
    return kept


def cholesky_inverse(x: Any, upper: bool = False) -> Tensor:
    """The inverse of the matrix whose Cholesky factor is x.

    Args:
        x: (..., n, n), lower triangular, or upper with `upper`.
        upper: whether x is the upper factor.

    Returns:
        Of a float dtype, float32 for integers.

    Example:
        >>> import tabgrad as tg
        >>> tg.linalg.cholesky_inverse([[2.0, 0.0], [0.0, 4.0]]).tolist()
        [[0.25, 0.0], [0.0, 0.0625]]
    """
    value = matrix("cholesky_inverse", x, square=True)
    (factor,) = same_float(adjoint(value) if upper else value)
    n = factor.shape[-1]
    inverse = solve_with_triangle(
        factor, identity(n, n, factor.shape[:-2], factor.dtype), lower=True
    )
    return as_type(matmul(adjoint(inverse), inverse), value.dtype)


def solve_triangular(
    a: Any, b: Any, lower: bool = False, trans: int = 0, unit_diagonal: bool = False
) -> Tensor:
    """x with a x = b for triangular a; the other triangle of a is not read.

    Args:
        a: (..., n, n).
        b: (..., n, k), or (n,).
        lower: whether a is lower triangular; upper by default, as in SciPy and Keras.
        trans: 0 for a, 1 for its transpose, 2 for its conjugate transpose.
        unit_diagonal: take the diagonal of a as ones.

    Returns:
        x of the shape of b (leading axes broadcast), float32 for integers; infinite or NaN where a
        is singular.

    Raises:
        ShapeError: shapes that do not fit.

    Example:
        >>> import tabgrad as tg
        >>> tg.linalg.solve_triangular([[2.0, 0.0], [1.0, 4.0]], [2.0, 9.0], lower=True).tolist()
        [1.0, 2.0]
    """
    left, right, vector = system("solve_triangular", a, b)
    (m, r), dtype = same_float(left, right), right.dtype
    m = _triangle(m, lower)
    if trans:
        m, lower = adjoint(m) if trans == 2 else matrix_transpose(m), not lower
    found = as_type(solve_with_triangle(m, r, lower=lower, unit=unit_diagonal), dtype)
    return squeeze(found, -1) if vector else found


def system(name: str, a: Any, b: Any, *, square: bool = True) -> tuple[Tensor, Tensor, bool]:
    """Matrices and right-hand sides of a x = b as stacks of one dtype and one leading shape, and
    whether b was a vector."""
    left, right = matrix(name, a, square=square), floats(b)
    vector = right.ndim == 1
    if right.ndim < 1 or right.shape[-1 if vector else -2] != left.shape[-2]:
        raise ShapeError(
            f"linalg.{name} expected right-hand sides with {left.shape[-2]} rows for matrices of "
            f"shape {list(left.shape)}; received shape {list(right.shape)}. "
            "Right-hand sides are the columns: give a vector as b[:, None]"
        )
    dtype = e.result_type(left, right)
    left, right = e.cast(left, dtype), e.cast(right, dtype)
    return (*broadcast_stacks(name, left, expand_dims(right, -1) if vector else right), vector)


def _triangle(x: Tensor, below: bool) -> Tensor:
    return lower(x) if below else upper(x)


def solve_with_triangle(
    a: Tensor, b: Tensor, lower: bool, adjoined: bool = False, unit: bool = False
) -> Tensor:
    """Triangular solve with its gradient; `adjoined` solves with aᴴ instead."""

    def value(a: Tensor, b: Tensor) -> Tensor:
        if adjoined:
            return substitute(adjoint(a), b, not lower, unit)
        return substitute(a, b, lower, unit)

    def rule(xs: Any, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        g_b = solve_with_triangle(xs[0], g, lower, not adjoined, unit)
        g_a = -matmul(x, adjoint(g_b)) if adjoined else -matmul(g_b, adjoint(x))
        g_a = _triangle(g_a, lower)
        if unit:
            n = g_a.shape[-1]
            g_a = e.where(expand_dims(indices(n), 1) == indices(n), 0.0, g_a)
        return g_a, g_b

    return with_rule(value, rule, a, b)


def substitute(a: Tensor, b: Tensor, below: bool, unit: bool = False) -> Tensor:
    """Forward or backward substitution; reads the given triangle of a. No gradient of its own."""
    n = a.shape[-1]
    if a.size == 0 or b.size == 0:
        return b
    i = indices(n)

    def step(rest: Tensor, x: Any) -> tuple[Tensor, Tensor]:
        k, along = x
        found = row(rest, k)
        if not unit:
            found = found / element(along, k)
        still = i > k if below else i < k
        factor = e.where(still, along, 0.0)
        return rest - outer_product(factor, found), found

    if is_complex(a) and not is_complex(b):
        b = e.cast(b, a.dtype)
    _, rows = scan(step, b, (i, moveaxis(a, -1, 0)), reverse=not below)
    return moveaxis(rows, 0, -2)
