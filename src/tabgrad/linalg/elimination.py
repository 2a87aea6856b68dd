"""Gaussian elimination: LU with partial pivoting, and what follows from it (solve, inv, det).

One loop over the columns, each step one pass over the matrix (Golub and Van Loan, Matrix
Computations, 4th edition, algorithm 3.4.1). Triangular solves and their gradients are in
`triangular.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tabgrad.linalg.matrices import (
    adjoint,
    as_diagonal,
    as_type,
    column,
    diagonal_of,
    element,
    identity,
    indices,
    lower,
    magnitude,
    matrix,
    outer_product,
    row,
    rows_in,
    same_float,
    upper,
    with_rule,
)
from tabgrad.linalg.triangular import solve_with_triangle, substitute, system
from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import is_complex
from tabgrad.ops.complex_numbers import conj, imag, real
from tabgrad.ops.control import scan
from tabgrad.ops.indexing import take_along_axis
from tabgrad.ops.linear import matmul
from tabgrad.ops.manipulation import (
    broadcast_to,
    concatenate,
    expand_dims,
    matrix_transpose,
    moveaxis,
    squeeze,
)
from tabgrad.ops.reduction import argmax, prod
from tabgrad.ops.reduction import sum as sum_
from tabgrad.ops.repeating import pad
from tabgrad.tensor import Tensor


class SlogdetResult(NamedTuple):
    """Sign (a unit complex number for complex matrices) and logarithm of the magnitude."""

    sign: Tensor
    logabsdet: Tensor


class Elimination(NamedTuple):
    """P x Q = L U: both factors in one matrix, the rows and columns of x in the order in which they
    were taken, and the sign of both orders together. Columns stay in place but for complete
    pivoting."""

    packed: Tensor
    rows: Tensor
    columns: Tensor
    pivots: Tensor
    sign: Tensor


def eliminate(x: Tensor, complete: bool = False) -> Elimination:
    """LU decomposition without a gradient; `complete` pivots over the whole remaining matrix."""
    *lead, m, n = x.shape
    i, j = indices(m), indices(n)
    rows = broadcast_to(i, (*lead, m))
    columns = broadcast_to(j, (*lead, n))
    steps = min(m, n)
    if x.size == 0:
        pivots = broadcast_to(indices(steps), (*lead, steps))
        return Elimination(x, rows, columns, pivots, broadcast_to(e.cast(1.0, "float32"), lead))
    down = expand_dims(i, -1)

    def step(carry: Any, k: Tensor) -> tuple[Any, Tensor]:
        a, rows, columns, sign = carry
        if complete:
            size = e.where(e.logical_and(down >= k, j >= k), magnitude(a), -1.0)
            where = argmax(size.reshape((*lead, m * n)), -1)
            q = expand_dims(where % n, -1)
            a = _exchange_columns(a, k, q)
            columns = _exchange(columns, k, q)
            sign = e.where(squeeze(q, -1) == k, sign, -sign)
            p = expand_dims(where // n, -1)
            first = column(a, k)
        else:
            first = column(a, k)
            p = expand_dims(argmax(e.where(i >= k, magnitude(first), -1.0), -1), -1)
        top, chosen = row(a, k), squeeze(rows_in(a, p), -2)
        pivot = element(chosen, k)
        first = e.where(i == p, element(first, k), first)
        factor = e.where(i > k, first / e.where(pivot == 0, 1.0, pivot), 0.0)
        a = e.where(
            down == k,
            expand_dims(chosen, -2),
            e.where(down == expand_dims(p, -1), expand_dims(top, -2), a),
        )
        reduced = a - outer_product(factor, chosen)
        below = e.where(j > k, reduced, e.where(j == k, expand_dims(factor, -1), a))
        a = e.where(down > k, below, a)
        sign = e.where(squeeze(p, -1) == k, sign, -sign)
        return (a, _exchange(rows, k, p), columns, sign), squeeze(p, -1)

    sign = broadcast_to(e.cast(1.0, "float32"), lead)
    (packed, rows, columns, sign), pivots = scan(step, (x, rows, columns, sign), indices(steps))
    return Elimination(packed, rows, columns, moveaxis(pivots, 0, -1), sign)


def _exchange(x: Tensor, k: Tensor, p: Tensor) -> Tensor:
    """Elements k and p (..., 1) of vectors exchanged."""
    i = indices(x.shape[-1])
    there = take_along_axis(x, p, -1)
    return e.where(i == k, there, e.where(i == p, element(x, k), x))


def _exchange_columns(x: Tensor, k: Tensor, p: Tensor) -> Tensor:
    j = indices(x.shape[-1])
    here, there = expand_dims(column(x, k), -1), take_along_axis(x, expand_dims(p, -2), -1)
    return e.where(j == k, there, e.where(j == expand_dims(p, -2), here, x))


def in_order(x: Tensor, order: Tensor, inverse: bool = False) -> Tensor:
    """Rows of x (..., n, k) taken in an order (..., n), or put back from it."""
    if x.size == 0:
        return x
    if inverse:
        n = order.shape[-1]
        # Where each number stands: the column in which the matrix of the permutation has its one.
        hit = expand_dims(order, -2) == expand_dims(indices(n), -1)
        order = sum_(e.where(hit, indices(n), 0), -1)
    return rows_in(x, order)


def lu(x: Any) -> tuple[Tensor, Tensor, Tensor]:
    """P, L and U with x = P L U: L unit lower triangular, U upper triangular, P a permutation.

    Args:
        x: (..., m, n), float or complex.

    Returns:
        P (..., m, m), L (..., m, k) and U (..., k, n) with k = min(m, n), as `scipy.linalg.lu`.

    Raises:
        ShapeError: fewer than two axes.

    Example:
        >>> import tabgrad as tg
        >>> p, l, u = tg.linalg.lu([[0.0, 2.0], [4.0, 2.0]])
        >>> p.tolist(), u.tolist()
        ([[0.0, 1.0], [1.0, 0.0]], [[4.0, 2.0], [0.0, 2.0]])
    """
    value = matrix("lu", x)
    found, left, right = _factors(value)
    m = value.shape[-2]
    hit = expand_dims(found.rows, -2) == expand_dims(indices(m), -1)
    order = e.cast(hit, value.dtype)
    return order, as_type(left, value.dtype), as_type(right, value.dtype)


def lu_factor(x: Any) -> tuple[Tensor, Tensor]:
    """L and U in one matrix (the ones of L left out), and the pivots: row i was exchanged with row
    pivots[i], as `scipy.linalg.lu_factor` and LAPACK's getrf.

    Args:
        x: (..., m, n), float or complex.

    Returns:
        The factors (..., m, n) and int32 pivots (..., min(m, n)).

    Example:
        >>> import tabgrad as tg
        >>> packed, pivots = tg.linalg.lu_factor([[0.0, 2.0], [4.0, 2.0]])
        >>> packed.tolist(), pivots.tolist()
        ([[4.0, 2.0], [0.0, 2.0]], [1, 1])
    """
    value = matrix("lu_factor", x)
    found, left, right = _factors(value)
    *_, m, n = value.shape
    k = min(m, n)
    strict = lower(left, -1)
    wide, tall = [(0, 0)] * (value.ndim - 1), [(0, 0)] * (value.ndim - 2)
    packed = pad(strict, [*wide, (0, n - k)]) + pad(right, [*tall, (0, m - k), (0, 0)])
    return as_type(packed, value.dtype), found.pivots


def _factors(value: Tensor) -> tuple[Elimination, Tensor, Tensor]:
    """The elimination of x, and L and U as differentiable functions of x."""
    (work,) = same_float(value)
    found = eliminate(e.stop_gradient(work))
    ordered = in_order(work, found.rows)
    *_, m, n = work.shape
    k = min(m, n)
    packed = found.packed[..., :k, :k]

    def value_of(_: Tensor) -> tuple[Tensor, Tensor]:
        unit = identity(k, k, work.shape[:-2], work.dtype)
        return lower(packed, -1) + unit, upper(packed)

    left, right = with_rule(value_of, _factors_rule, ordered[..., :k, :k])
    # The rest of a tall or wide matrix follows from the square part by a triangular solve.
    if m > k:
        rest = ordered[..., k:, :]
        rest = matrix_transpose(
            solve_with_triangle(matrix_transpose(right), matrix_transpose(rest), lower=True)
        )
        left = concatenate([left, rest], -2)
    if n > k:
        rest = solve_with_triangle(left, ordered[..., k:], lower=True, unit=True)
        right = concatenate([right, rest], -1)
    return found, left, right


def _factors_rule(xs: Any, result: Any, g_l: Tensor, g_u: Tensor) -> tuple[Tensor]:
    # De Hoog, Anderssen and Lukas, Differentiation of matrix functionals using triangular
    # factorization, Math. Comp. 80 (2011).
    left, right = result
    inner = lower(matmul(adjoint(left), g_l), -1) + upper(matmul(g_u, adjoint(right)))
    half = solve_with_triangle(left, inner, lower=True, adjoined=True, unit=True)
    return (adjoint(solve_with_triangle(right, adjoint(half), lower=False)),)


def solve(a: Any, b: Any) -> Tensor:
    """x with a x = b, by elimination with partial pivoting.

    Args:
        a: (..., n, n), float or complex.
        b: (n,), or (..., n, k); leading axes broadcast.

    Returns:
        x of the shape of b, leading axes broadcast; infinite or NaN where a is singular, for inside
        a graph no error can be raised.

    Raises:
        ShapeError: shapes that do not fit.

    Example:
        >>> import tabgrad as tg
        >>> tg.linalg.solve([[2.0, 1.0], [1.0, 3.0]], [4.0, 7.0]).tolist()
        [1.0, 2.0]
    """
    left, right, vector = system("solve", a, b)
    work_a, work_b = same_float(left, right)
    found = solve_eliminated(work_a, eliminate(e.stop_gradient(work_a)), work_b)
    found = as_type(found, left.dtype)
    return squeeze(found, -1) if vector else found


def solve_eliminated(a: Tensor, found: Elimination, b: Tensor, adjoined: bool = False) -> Tensor:
    """x with a x = b (or aᴴ x = b), given the elimination of a; its gradient uses it again."""

    def value(a: Tensor, b: Tensor) -> Tensor:
        packed, rows = found.packed, found.rows
        if adjoined:
            packed = adjoint(packed)
            half = substitute(packed, b, below=True)
            return in_order(substitute(packed, half, below=False, unit=True), rows, inverse=True)
        half = substitute(packed, in_order(b, rows), below=True, unit=True)
        return substitute(packed, half, below=False)

    def rule(xs: Any, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        g_b = solve_eliminated(xs[0], found, g, not adjoined)
        return (-matmul(x, adjoint(g_b)) if adjoined else -matmul(g_b, adjoint(x))), g_b

    return with_rule(value, rule, a, b)


def inv(x: Any) -> Tensor:
    """The inverse of square matrices.

    Args:
        x: (..., n, n), float or complex.

    Returns:
        Matrices of the same shape; infinite or NaN where x is singular.

    Raises:
        ShapeError: matrices that are not square.

    Example:
        >>> import tabgrad as tg
        >>> tg.linalg.inv([[2.0, 0.0], [0.0, 4.0]]).tolist()
        [[0.5, 0.0], [0.0, 0.25]]
    """
    value = matrix("inv", x, square=True)
    (work,) = same_float(value)
    return as_type(_inverse(work, eliminate(e.stop_gradient(work))), value.dtype)


def _inverse(x: Tensor, found: Elimination, adjoined: bool = False) -> Tensor:
    n = x.shape[-1]
    return solve_eliminated(x, found, identity(n, n, x.shape[:-2], x.dtype), adjoined)


def det(x: Any) -> Tensor:
    """The determinants of square matrices.

    The gradient is the matrix of cofactors, right for singular matrices, too. The second
    derivatives need an inverse.

    Args:
        x: (..., n, n), float or complex.

    Returns:
        Determinants (...); 1 for n = 0.

    Raises:
        ShapeError: matrices that are not square.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.linalg.det([[1.0, 2.0], [3.0, 4.0]])), 5)
        -2.0
    """
    value = matrix("det", x, square=True)
    (work,) = same_float(value)

    def rule(xs: Any, result: Tensor, g: Tensor) -> tuple[Tensor]:
        return (expand_dims(g, (-1, -2)) * conj(_cofactors(xs[0])),)

    return as_type(with_rule(_det, rule, work), value.dtype)


def _det(x: Tensor) -> Tensor:
    found = eliminate(x)
    return e.cast(found.sign, real(x).dtype) * prod(diagonal_of(found.packed), -1)


def _cofactors(x: Tensor) -> Tensor:
    """det(x) inv(x)ᵀ, continued to singular matrices."""
    n = x.shape[-1]

    def value(x: Tensor) -> Tensor:
        # P x Q = L U with all small pivots last. The adjugate of a product is the product of the
        # adjugates in opposite order; that of U needs no division by its last pivot.
        found = eliminate(x, complete=True)
        unit = identity(n, n, x.shape[:-2], x.dtype)
        last = found.packed[..., -1:, -1:]
        front = found.packed[..., : n - 1, : n - 1]
        pivots = diagonal_of(front)
        safe = front + as_diagonal(e.where(pivots == 0, 1.0, 0.0))
        inverse = substitute(safe, unit[..., : n - 1, : n - 1], below=False)
        edge = matmul(inverse, found.packed[..., : n - 1, -1:])
        product = expand_dims(prod(pivots, -1), (-1, -2))
        one = product if n > 1 else unit
        top = concatenate([last * product * inverse, -product * edge], -1)
        bottom = concatenate([unit[..., -1:, : n - 1], one], -1)
        adjugate = concatenate([top, bottom], -2)
        inverse_l = substitute(found.packed, in_order(unit, found.rows), below=True, unit=True)
        adjugate = in_order(matmul(adjugate, inverse_l), found.columns, inverse=True)
        sign = expand_dims(e.cast(found.sign, real(x).dtype), (-1, -2))
        return sign * matrix_transpose(adjugate)

    def rule(xs: Any, result: Tensor, g: Tensor) -> tuple[Tensor]:
        # With C = det(x) inv(x)ᵀ: dC = C tr(inv(x) dx) - inv(x)ᵀ dxᵀ C.
        inverse = adjoint(inv(xs[0]))
        total = expand_dims(sum_(conj(result) * g, (-1, -2)), (-1, -2))
        turned = matmul(matmul(conj(result), matrix_transpose(g)), inverse)
        return (total * inverse - turned,)

    if n == 0:
        return x
    return with_rule(value, rule, x)


def slogdet(x: Any) -> SlogdetResult:
    """Sign and logarithm of the magnitude of determinants, which neither over- nor underflow.

    Args:
        x: (..., n, n), float or complex.

    Returns:
        `(sign, logabsdet)`, each (...): sign 0 and logarithm -inf where x is singular.

    Raises:
        ShapeError: matrices that are not square.

    Example:
        >>> import tabgrad as tg
        >>> sign, logarithm = tg.linalg.slogdet([[0.0, 1.0], [1.0, 0.0]])
        >>> float(sign), float(logarithm)
        (-1.0, 0.0)
    """
    value = matrix("slogdet", x, square=True)
    (work,) = same_float(value)
    found = eliminate(e.stop_gradient(work))

    def value_of(_: Tensor) -> tuple[Tensor, Tensor]:
        pivots = diagonal_of(found.packed)
        sign = e.cast(found.sign, real(work).dtype) * prod(e.sign(pivots), -1)
        return sign, sum_(e.log(e.abs(pivots)), -1)

    def rule(xs: Any, result: Any, g_sign: Tensor, g_log: Tensor) -> tuple[Tensor]:
        # log det is analytic: its real part is logabsdet, its imaginary part turns the sign.
        total = g_log
        if is_complex(work):
            turn = imag(g_sign * conj(result[0]))
            total = Tensor(g_log.node, turn.node)
        return (expand_dims(total, (-1, -2)) * _inverse(xs[0], found, adjoined=True),)

    sign, logarithm = with_rule(value_of, rule, work)
    dtype = value.dtype
    return SlogdetResult(as_type(sign, dtype), as_type(logarithm, dtype))
