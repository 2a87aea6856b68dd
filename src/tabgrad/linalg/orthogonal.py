"""Orthogonal bases: QR by Householder reflections, and Gram-Schmidt.

The reflections are LAPACK's (larfg, geqrf), so signs are those of NumPy. The gradient is that of
Walter and Lehmann, Algorithmic differentiation of linear algebra functions, 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.linalg.matrices import (
    adjoint,
    as_type,
    column,
    diagonal_of,
    element,
    floats,
    identity,
    indices,
    lower,
    matrix,
    outer_product,
    same_float,
    squares,
    unit_scale,
    upper,
    with_rule,
)
from tabgrad.linalg.triangular import solve_with_triangle
from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import is_complex
from tabgrad.ops.complex_numbers import conj, imag, real
from tabgrad.ops.control import scan
from tabgrad.ops.creation import zeros_like
from tabgrad.ops.linear import matmul
from tabgrad.ops.manipulation import concatenate, expand_dims, squeeze, stack
from tabgrad.ops.repeating import pad
from tabgrad.tensor import Tensor


class QRResult(NamedTuple):
    """x = Q R with orthonormal columns in Q and an upper triangular R."""

    Q: Tensor
    R: Tensor


def qr(x: Any, mode: str = "reduced") -> QRResult:
    """Q with orthonormal columns and upper triangular R, such that x = Q R.

    Args:
        x: (..., m, n), float or complex.
        mode: "reduced" for Q (..., m, k) and R (..., k, n) with k = min(m, n); "complete" for
            Q (..., m, m) and R (..., m, n).

    Returns:
        `(Q, R)`. The gradient is that of a matrix whose first k columns are independent; the second
        derivatives of the columns that "complete" adds are not known.

    Raises:
        ArgumentError: another mode. ShapeError: fewer than two axes.

    Example:
        >>> import tabgrad as tg
        >>> q, r = tg.linalg.qr([[3.0, 1.0], [4.0, 2.0]])
        >>> [[round(y, 4) for y in row] for row in r.tolist()]
        [[-5.0, -2.2], [0.0, 0.4]]
    """
    if mode not in ("reduced", "complete"):
        raise ArgumentError(f'linalg.qr expected mode "reduced" or "complete"; received {mode!r}')
    value = matrix("qr", x)
    (work,) = same_float(value)
    q, r = _reduced(work, complete=mode == "complete")
    return QRResult(as_type(q, value.dtype), as_type(r, value.dtype))


def _reduced(x: Tensor, complete: bool) -> tuple[Tensor, Tensor]:
    *_, m, n = x.shape
    k = min(m, n)
    # The columns beyond a square follow from its Q.
    first = x[..., :k] if n > k else x

    def value(a: Tensor) -> tuple[Tensor, Tensor]:
        return reflect(a, m if complete else k)

    q, r = with_rule(lambda a: _front(value(a), k), _rule, first)
    if n > k:
        r = concatenate([r, matmul(adjoint(q), x[..., k:])], -1)
    if complete and m > k:
        basis = e.stop_gradient(value(e.stop_gradient(first))[0])
        q = completed(q, basis[..., k:])
        r = pad(r, [(0, 0)] * (r.ndim - 2) + [(0, m - k), (0, 0)])
    return q, r


def _front(factors: tuple[Tensor, Tensor], k: int) -> tuple[Tensor, Tensor]:
    return factors[0][..., :k], factors[1]


def completed(q: Tensor, rest: Tensor) -> Tensor:
    """Orthonormal columns q, and to their right the constant `rest` that completes the basis.

    The derivative of what is to the right keeps it orthogonal to q: the columns may be any basis,
    and only the space they span has a derivative.
    """
    fixed = e.stop_gradient(q)
    turned = rest - matmul(fixed, matmul(adjoint(q - fixed), rest))
    return concatenate([q, turned], -1)


def reflect(x: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """The first columns of Q and the k x n upper part of R, without a gradient."""
    *lead, m, n = x.shape
    k = min(m, n)
    if k == 0:
        return identity(m, columns, lead, x.dtype), x[..., :k, :]
    i = indices(m)
    scale = unit_scale(x)

    def step(a: Tensor, at: Tensor) -> tuple[Tensor, Any]:
        below = column(a, at)
        head = element(below, at)
        tail = e.where(i > at, below, 0.0)
        rest = squares(tail)
        length = e.sqrt(rest + squares(head))
        beta = e.where(real(head) > 0, -length, length)
        # Nothing to reflect: the column is 0 below the diagonal, and real on it.
        done = rest == 0
        if is_complex(head):
            done = e.logical_and(done, imag(head) == 0)
        tau = e.where(done, 0.0, (beta - head) / e.where(done, 1.0, beta))
        v = e.where(i == at, 1.0, tail / e.where(done, 1.0, head - beta))
        along = squeeze(matmul(expand_dims(conj(v), -2), a), -2)
        return a - outer_product(conj(tau) * v, along), (v, tau)

    reduced, reflections = scan(step, x / scale, indices(k))
    triangle = upper(reduced[..., :k, :]) * scale

    def back(q: Tensor, reflection: Any) -> tuple[Tensor, None]:
        v, tau = reflection
        along = squeeze(matmul(expand_dims(conj(v), -2), q), -2)
        return q - outer_product(tau * v, along), None

    q, _ = scan(back, identity(m, columns, lead, x.dtype), reflections, reverse=True)
    return q, triangle


def _rule(xs: Any, result: Any, g_q: Tensor, g_r: Tensor) -> tuple[Tensor]:
    q, r = result
    inner = matmul(r, adjoint(g_r)) - matmul(adjoint(g_q), q)
    strict = lower(inner, -1)
    diagonal = lower(inner) - strict
    if is_complex(diagonal):
        diagonal = Tensor(real(diagonal).node, zeros_like(real(diagonal)).node)
    both = g_q + matmul(q, strict + adjoint(strict) + diagonal)
    return (adjoint(solve_with_triangle(r, adjoint(both), lower=False)),)


def gram_schmidt(xs: Any) -> Any:
    """Orthonormal vectors spanning what the given ones span, first one first (`tf.linalg.
    gramSchmidt` of TensorFlow.js).

    Args:
        xs: vectors as the rows of (..., m, n), or as a list of 1-d tensors; m <= n.

    Returns:
        As many orthonormal vectors, in the form of the argument: row i is a combination of the
        first i + 1 rows of xs, with a positive share of row i.

    Raises:
        ShapeError: more vectors than they have elements.

    Example:
        >>> import tabgrad as tg
        >>> tg.linalg.gram_schmidt([[0.0, 2.0], [1.0, 1.0]]).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    several = isinstance(xs, Sequence) and len(xs) > 0 and all(isinstance(x, Tensor) for x in xs)
    value = matrix("gram_schmidt", stack([floats(x) for x in xs]) if several else xs)
    if value.shape[-2] > value.shape[-1]:
        raise ShapeError(
            "linalg.gram_schmidt expected no more vectors than they have elements; received "
            f"{value.shape[-2]} vectors of {value.shape[-1]}. "
            "More vectors than that depend on each other: leave some out"
        )
    q, r = qr(adjoint(value))
    pivots = diagonal_of(r)
    sign = e.cast(e.where(real(pivots) < 0, -1.0, 1.0), pivots.dtype)
    rows = adjoint(q * expand_dims(sign, -2))
    return [rows[i] for i in range(len(xs))] if several else rows
