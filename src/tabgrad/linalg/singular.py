"""Singular values, and what they answer: pseudo-inverse, least squares, rank, condition."""

from __future__ import annotations

from typing import Any, NamedTuple

from tabgrad.errors import ArgumentError
from tabgrad.linalg.jacobi import orthogonal_rows
from tabgrad.linalg.matrices import (
    adjoint,
    as_diagonal,
    as_type,
    ascending,
    diagonal_of,
    eps,
    identity,
    inverse_of,
    matrix,
    rows_in,
    same_float,
    squares,
    unit_scale,
    with_rule,
)
from tabgrad.linalg.orthogonal import completed, reflect
from tabgrad.linalg.triangular import system
from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import is_complex
from tabgrad.ops.complex_numbers import complex as complex_
from tabgrad.ops.complex_numbers import imag, real
from tabgrad.ops.creation import zeros_like
from tabgrad.ops.linear import matmul
from tabgrad.ops.manipulation import expand_dims, squeeze
from tabgrad.ops.reduction import max as max_
from tabgrad.ops.reduction import sum as sum_
from tabgrad.tensor import Tensor


class SVDResult(NamedTuple):
    """x = U diag(S) Vh."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """Singular values and vectors: x = U diag(S) Vh.

    By Jacobi's method on the R of a QR decomposition. The gradient treats the vectors of equal
    singular values as fixed, and of the columns that `full_matrices` adds only the space they span
    has a derivative, to first order.

    Args:
        x: (..., m, n), float or complex.
        full_matrices: U (..., m, m) and Vh (..., n, n) instead of (..., m, k) and (..., k, n) with
            k = min(m, n).
        compute_uv: whether to compute U and Vh at all.

    Returns:
        `(U, S, Vh)` with S (..., k) real and descending; S alone without `compute_uv`.

    Raises:
        ShapeError: fewer than two axes.

    Example:
        >>> import tabgrad as tg
        >>> tg.linalg.svd([[0.0, 2.0], [1.0, 0.0]]).S.tolist()
        [2.0, 1.0]
    """
    value = matrix("svd", x)
    if not compute_uv:
        return svdvals(value)
    (work,) = same_float(value)
    wide = work.shape[-1] > work.shape[-2]
    tall = adjoint(work) if wide else work
    u, s, v = _tall(tall)
    if full_matrices and tall.shape[-2] > tall.shape[-1]:
        m, k = tall.shape[-2:]
        fixed = e.stop_gradient(tall)
        u = completed(u, e.stop_gradient(reflect(fixed, m)[0])[..., k:])
    left, right = (v, u) if wide else (u, v)
    dtype = value.dtype
    return SVDResult(as_type(left, dtype), as_type(s, dtype), as_type(adjoint(right), dtype))


def svdvals(x: Any) -> Tensor:
    """The singular values, descending.

    Args:
        x: (..., m, n), float or complex.

    Returns:
        Real singular values (..., min(m, n)).

    Raises:
        ShapeError: fewer than two axes.

    Example:
        >>> import tabgrad as tg
        >>> tg.linalg.svdvals([[0.0, 2.0], [1.0, 0.0]]).tolist()
        [2.0, 1.0]
    """
    value = matrix("svdvals", x)
    (work,) = same_float(value)
    wide = work.shape[-1] > work.shape[-2]
    return as_type(_tall(adjoint(work) if wide else work)[1], value.dtype)


def _tall(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U (..., m, n), S (..., n) and V (..., n, n) of matrices with m >= n."""
    return with_rule(_decomposed, _rule, x)


def _decomposed(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    *lead, m, n = x.shape
    if x.size == 0:
        s = sum_(real(x), -2)
        return identity(m, n, lead, x.dtype), s, identity(n, n, lead, x.dtype)
    scale = unit_scale(x)
    q, r = reflect(x / scale, n)
    rows, rotation = orthogonal_rows(r)
    s = squeeze(e.sqrt(squares(rows)), -1)
    order = ascending(-s)
    rows, rotation = rows_in(rows, order), rows_in(rotation, order)
    s = squeeze(e.sqrt(squares(rows)), -1)
    # The rows are s_i times the adjoint of v_i. Those of which nothing is left have no direction;
    # reflections find one that is orthogonal to the rest, and leave the others where they are.
    v, triangle = reflect(adjoint(rows), n)
    v = v * expand_dims(e.where(real(diagonal_of(triangle)) < 0, -1.0, 1.0), -2)
    return matmul(q, adjoint(rotation)), s * squeeze(scale, -1), v


def _rule(xs: Any, result: Any, g_u: Tensor, g_s: Tensor, g_v: Tensor) -> tuple[Tensor]:
    # Townsend, Differentiating the singular value decomposition, 2016; the phase that complex
    # vectors are free to turn by is counted to U.
    u, s, v = result
    across, down = expand_dims(s, -2), expand_dims(s, -1)
    gaps = inverse_of((across - down) * (across + down))
    inverse = inverse_of(s)
    turn_u, turn_v = matmul(adjoint(u), g_u), matmul(adjoint(v), g_v)
    inner = gaps * (turn_u - adjoint(turn_u)) * across
    inner = inner + down * (gaps * (turn_v - adjoint(turn_v))) + as_diagonal(g_s)
    if is_complex(inner):
        phase = imag(diagonal_of(turn_u)) * inverse
        inner = inner + as_diagonal(complex_(zeros_like(phase), phase))
    scaled_u, scaled_v = g_u * expand_dims(inverse, -2), g_v * expand_dims(inverse, -2)
    left = matmul(u, inner) + scaled_u - matmul(u, matmul(adjoint(u), scaled_u))
    outside = scaled_v - matmul(v, matmul(adjoint(v), scaled_v))
    return (matmul(left, adjoint(v)) + matmul(u, adjoint(outside)),)


def pinv(x: Any, rcond: Any = None, rtol: Any = None) -> Tensor:
    """The Moore-Penrose pseudo-inverse.

    Args:
        x: (..., m, n), float or complex.
        rcond: singular values up to `rcond` times the largest count as 0: a number, or one for
            each matrix of the stack; max(m, n) times the machine epsilon by default.
        rtol: the same under the Array API's name.

    Returns:
        (..., n, m). The gradient is that at constant rank.

    Raises:
        ShapeError: fewer than two axes. ArgumentError: both rtol and rcond.

    Example:
        >>> import tabgrad as tg
        >>> tg.linalg.pinv([[2.0, 0.0], [0.0, 0.0]]).tolist()
        [[0.5, 0.0], [0.0, 0.0]]
    """
    value = matrix("pinv", x)
    if rtol is not None and rcond is not None:
        raise ArgumentError(
            "linalg.pinv expected rtol or rcond, which are the same; received both. "
            "Leave one of them out"
        )
    (work,) = same_float(value)
    return as_type(_pseudo_inverse(work, rcond if rtol is None else rtol), value.dtype)


def _pseudo_inverse(x: Tensor, rtol: Any) -> Tensor:
    def value(x: Tensor) -> Tensor:
        u, inverse, v = _inverted(x, rtol)
        return matmul(v * expand_dims(inverse, -2), adjoint(u))

    def rule(xs: Any, result: Tensor, g: Tensor) -> tuple[Tensor]:
        return (_pseudo_rule(xs[0], result, g),)

    return with_rule(value, rule, x)


def _inverted(x: Tensor, rtol: Any) -> tuple[Tensor, Tensor, Tensor]:
    """U, 1/S (0 where S counts as 0) and V."""
    wide = x.shape[-1] > x.shape[-2]
    u, s, v = _decomposed(adjoint(x) if wide else x)
    kept = _counts(s, x, rtol)
    inverse = e.where(kept, 1 / e.where(kept, s, 1.0), 0.0)
    return (v, inverse, u) if wide else (u, inverse, v)


def _counts(s: Tensor, x: Tensor, rtol: Any) -> Tensor:
    if s.size == 0:
        return s > 0
    if rtol is None:
        rtol = max(x.shape[-2:]) * eps(x.dtype)
    elif not isinstance(rtol, (int, float)):
        rtol = expand_dims(e.convert_to_tensor(rtol), -1)
    return e.greater(s, rtol * max_(s, -1, True))


def _pseudo_rule(x: Tensor, inverse: Tensor, g: Tensor) -> Tensor:
    # Golub and Pereyra, The differentiation of pseudo-inverses, 1973, at constant rank.
    back, ginv = adjoint(inverse), adjoint(g)
    first = matmul(ginv, matmul(inverse, back))
    first = first - matmul(x, matmul(inverse, first))
    second = matmul(matmul(back, inverse), ginv)
    second = second - matmul(matmul(second, inverse), x)
    return first + second - matmul(back, matmul(g, back))


def lstsq(a: Any, b: Any, rcond: Any = None) -> Tensor:
    """The x of smallest norm among those that minimise the norm of a x - b.

    Args:
        a: (..., m, n), float or complex.
        b: (m,), or (..., m, k).
        rcond: singular values of a up to `rcond` times the largest count as 0; max(m, n) times the
            machine epsilon by default.

    Returns:
        (n,), or (..., n, k), as `keras.ops.lstsq`. The gradient is that at constant rank.

    Raises:
        ShapeError: shapes that do not fit.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.linalg.lstsq([[1.0], [1.0]], [1.0, 3.0])[0]), 5)
        2.0
    """
    left, right, vector = system("lstsq", a, b, square=False)
    work = same_float(left, right)

    def value(a: Tensor, b: Tensor) -> Tensor:
        u, inverse, v = _inverted(a, rcond)
        return matmul(v, expand_dims(inverse, -1) * matmul(adjoint(u), b))

    def rule(xs: Any, result: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        a, b = xs
        inverse = _pseudo_inverse(a, rcond)
        return _pseudo_rule(a, inverse, matmul(g, adjoint(b))), matmul(adjoint(inverse), g)

    found = as_type(with_rule(value, rule, *work), left.dtype)
    return squeeze(found, -1) if vector else found


def matrix_rank(x: Any, tol: Any = None, rtol: Any = None) -> Tensor:
    """The number of singular values that count as more than 0.

    Args:
        x: (..., m, n), float or complex.
        tol: singular values up to this count as 0: a number, or one for each matrix.
        rtol: the same as a share of the largest; max(m, n) times the machine epsilon by default.

    Returns:
        Ranks (...), int32.

    Raises:
        ShapeError: fewer than two axes. ArgumentError: both tol and rtol.

    Example:
        >>> import tabgrad as tg
        >>> int(tg.linalg.matrix_rank([[1.0, 2.0], [2.0, 4.0]]))
        1
    """
    value = matrix("matrix_rank", x)
    if tol is not None and rtol is not None:
        raise ArgumentError(
            "linalg.matrix_rank expected tol or rtol; received both. "
            "Leave one of them out: tol is absolute, rtol relative"
        )
    s = svdvals(value)
    if tol is None:
        kept = _counts(s, value, rtol)
    else:
        if not isinstance(tol, (int, float)):
            tol = expand_dims(e.convert_to_tensor(tol), -1)
        kept = e.greater(s, tol)
    return sum_(e.cast(kept, "int32"), -1)
