"""Eigenvalues and eigenvectors of general matrices, by the shifted QR algorithm on complex numbers.

The matrix is brought to Hessenberg form, and from there by unitary similarities to a triangle, its
Schur form (Golub and Van Loan, Matrix Computations, 4th edition, sections 7.4 to 7.6). Each step is
a QR decomposition of the block that is still coupled, for every matrix of a stack at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tabgrad.ir import build as b
from tabgrad.linalg.elimination import inv
from tabgrad.linalg.matrices import (
    adjoint,
    as_diagonal,
    as_type,
    column,
    diagonal_of,
    element,
    eps,
    identity,
    indices,
    inverse_of,
    magnitude,
    matrix,
    outer_product,
    row,
    same_float,
    squares,
    unit_scale,
    upper,
    with_rule,
)
from tabgrad.linalg.orthogonal import reflect
from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import is_complex
from tabgrad.ops.complex_numbers import conj, imag, real
from tabgrad.ops.control import scan, while_loop
from tabgrad.ops.linear import matmul
from tabgrad.ops.manipulation import expand_dims, squeeze
from tabgrad.ops.reduction import any as any_
from tabgrad.ops.reduction import max as max_
from tabgrad.ops.reduction import sum as sum_
from tabgrad.tensor import Tensor

STEPS = 30
"""QR steps at most, for each row; two or three are usual."""


class EigResult(NamedTuple):
    """Complex eigenvalues, and eigenvectors as columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


def eig(x: Any) -> EigResult:
    """Eigenvalues w and eigenvectors V of general square matrices: x V = V diag(w).

    For Hermitian matrices `eigh` is faster and more accurate. The gradient needs eigenvalues that
    differ, and is that of vectors of unit length whose phase does not matter.

    Args:
        x: (..., n, n), float or complex.

    Returns:
        `(eigenvalues, eigenvectors)`: (..., n) and (..., n, n), complex, in no particular order;
        eigenvectors have unit length.

    Raises:
        ShapeError: matrices that are not square.

    Example:
        >>> import tabgrad as tg
        >>> w = tg.linalg.eig([[0.0, 1.0], [-1.0, 0.0]]).eigenvalues
        >>> sorted(round(z.imag) for z in w.tolist())
        [-1, 1]
    """
    value = matrix("eig", x, square=True)
    (work,) = same_float(value)
    w, v = with_rule(_decomposed, _rule, _complex(work))
    return EigResult(as_type(w, value.dtype), as_type(v, value.dtype))


def eigvals(x: Any) -> Tensor:
    """The eigenvalues of general square matrices, complex, in no particular order. See `eig`.

    Args:
        x: (..., n, n), float or complex.

    Raises:
        ShapeError: matrices that are not square.

    Example:
        >>> import tabgrad as tg
        >>> sorted(z.real for z in tg.linalg.eigvals([[2.0, 1.0], [0.0, 3.0]]).tolist())
        [2.0, 3.0]
    """
    return eig(matrix("eigvals", x, square=True)).eigenvalues


def _complex(x: Tensor) -> Tensor:
    return x if is_complex(x) else Tensor(x.node, b.like(x.node, 0))


def _decomposed(x: Tensor) -> tuple[Tensor, Tensor]:
    if x.size == 0:
        return sum_(x, -1), x
    scale = unit_scale(x)
    triangle, basis = _schur(*_hessenberg(x / scale))
    vectors = matmul(basis, _vectors_of(triangle))
    vectors = vectors / e.sqrt(squares(vectors, -2))
    return diagonal_of(triangle) * squeeze(scale, -1), vectors


def _hessenberg(x: Tensor) -> tuple[Tensor, Tensor]:
    """H, 0 below its first subdiagonal, and a unitary Z with x = Z H Zᴴ."""
    n = x.shape[-1]
    unit = identity(n, n, x.shape[:-2], x.dtype)
    if n < 3:
        return x, unit
    i = indices(n)

    def step(carry: Any, k: Tensor) -> tuple[Any, None]:
        h, z = carry
        below = column(h, k)
        head = element(below, k + 1)
        tail = e.where(i > k + 1, below, 0.0)
        rest = squares(tail)
        done = rest == 0
        # v = x + phase(head) |x| e: the larger of both choices.
        length = e.sqrt(rest + squares(head))
        size = e.abs(head)
        phase = e.where(size == 0, 1.0, head / e.where(size == 0, 1.0, size))
        v = e.where(i == k + 1, head + phase * length, tail)
        weight = e.where(done, 0.0, 2.0 / e.where(done, 1.0, squares(v)))
        along = squeeze(matmul(expand_dims(conj(v), -2), h), -2)
        h = h - outer_product(weight * v, along)
        h = h - outer_product(squeeze(matmul(h, expand_dims(v, -1)), -1), weight * conj(v))
        z = z - outer_product(squeeze(matmul(z, expand_dims(v, -1)), -1), weight * conj(v))
        return (h, z), None

    (h, z), _ = scan(step, (x, unit), indices(n - 2))
    return upper(h, -1), z


def _schur(h: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """An upper triangular T and a unitary Z' with Z H Zᴴ = Z' T Z'ᴴ."""
    n = h.shape[-1]
    i, j = expand_dims(indices(n), -1), indices(n)
    unit = e.where(i == j, 1.0, 0.0)
    unit = _complex(e.cast(unit, real(h).dtype))
    small = eps(h.dtype)

    def coupled(h: Tensor) -> Tensor:
        """(..., n): whether row k is coupled to row k - 1."""
        size = magnitude(h)
        pivots = diagonal_of(size)
        low = sum_(e.where(i == j + 1, size, 0.0), -1)
        before = e.where(j > 0, sum_(e.where(i == j + 1, expand_dims(pivots, -2), 0.0), -1), 0.0)
        return low > small * (pivots + before)

    def going(h: Tensor, z: Tensor, turn: Tensor) -> Tensor:
        return any_(coupled(h))

    def step(h: Tensor, z: Tensor, turn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        joined = coupled(h)
        h = e.where(e.logical_and(i == j + 1, e.logical_not(expand_dims(joined, -1))), 0.0, h)
        # The last block that is still coupled: rows first to last.
        last = max_(e.where(joined, j, 0), -1, True)
        first = max_(e.where(e.logical_and(e.logical_not(joined), j <= last), j, 0), -1, True)
        shift = expand_dims(_shift(h, last, turn), -1)
        inside = e.logical_and(j >= first, j <= last)
        block = e.logical_and(expand_dims(inside, -1), expand_dims(inside, -2))
        q, _ = reflect(e.where(block, h - shift * unit, unit), n)
        return upper(matmul(matmul(adjoint(q), h), q), -1), matmul(z, q), turn + 1

    def _shift(h: Tensor, last: Tensor, turn: Tensor) -> Tensor:
        """Wilkinson's shift: of the eigenvalues of the last 2 x 2 the one nearer to its corner; now
        and then another one, should that go round in circles. (..., 1)"""

        def at(down: Tensor, across: Tensor) -> Tensor:
            chosen = e.logical_and(i == expand_dims(down, -1), j == expand_dims(across, -1))
            return expand_dims(sum_(e.where(chosen, h, 0.0), (-2, -1)), -1)

        before = e.maximum(last - 1, 0)
        a, d = at(before, before), at(last, last)
        product = at(before, last) * at(last, before)
        half = (a - d) * 0.5
        root = e.sqrt(half * half + product)
        # The root on the side of `half`, so that nothing cancels.
        side = real(half) * real(root) + imag(half) * imag(root)
        total = half + e.where(side < 0, -root, root)
        nothing = magnitude(total) == 0
        found = d - e.where(nothing, 0.0, product / e.where(nothing, 1.0, total))
        other = d + magnitude(at(last, before))
        return e.where(turn % 11 == 10, other, found)

    start = (h, z, e.cast(0, "int32"))
    found = while_loop(going, step, start, maximum_iterations=STEPS * n)
    return upper(found[0]), found[1]


def _vectors_of(t: Tensor) -> Tensor:
    """Eigenvectors of upper triangular matrices as columns, upper triangular, too."""
    n = t.shape[-1]
    j = indices(n)
    w = diagonal_of(t)
    i = expand_dims(j, -1)
    # Equal eigenvalues are told apart by as much as rounding would.
    least = eps(t.dtype) * e.maximum(max_(magnitude(t), (-2, -1), True)[..., 0], 1e-30)

    def step(found: Tensor, k: Tensor) -> tuple[Tensor, None]:
        along = e.where(j > k, row(t, k), 0.0)
        total = squeeze(matmul(expand_dims(along, -2), found), -2)
        gap = element(w, k) - w
        gap = e.where(magnitude(gap) < least, _complex(least), gap)
        new = e.where(j > k, -total / e.where(j > k, gap, 1.0), e.where(j == k, 1.0, 0.0))
        found = e.where(i == k, expand_dims(new, -2), found)
        # Vectors that grow without bound are kept within it; their length is of no importance.
        size = magnitude(new)
        return found / expand_dims(e.where(size > 1e6, size, 1.0), -2), None

    found: Tensor
    found, _ = scan(step, t - t, j, reverse=True)
    return found


def _rule(xs: Any, result: Any, g_w: Tensor, g_v: Tensor) -> tuple[Tensor]:
    w, v = result
    # Of a change of a unit vector along itself nothing is left.
    g_v = g_v - v * sum_(conj(v) * g_v, -2, True)
    gaps = inverse_of(expand_dims(w, -2) - expand_dims(w, -1))
    inner = as_diagonal(g_w) + conj(gaps) * matmul(adjoint(v), g_v)
    return (matmul(matmul(adjoint(inv(v)), inner), adjoint(v)),)
