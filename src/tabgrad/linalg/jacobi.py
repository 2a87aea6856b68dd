"""Jacobi's method: many plane rotations at a time, for eigenvalues and singular values.

Each round rotates n/2 disjoint pairs of rows at once; a round-robin tournament brings every pair
together once in n - 1 rounds, a sweep (Brent and Luk, The solution of singular-value and symmetric
eigenvalue problems on multiprocessor arrays, 1985). The first half of the rows plays the second:
row i of one meets row i of the other, and then all but one move on by one place.

Rotations by thousands leave a trace of their rounding, so after each sweep the product of all of
them is made orthogonal again and applied to the original matrix: what the last sweeps do is tiny,
and so is what they leave.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tabgrad.linalg.matrices import (
    adjoint,
    conj,
    diagonal_of,
    eps,
    identity,
    imag,
    indices,
    loop,
    part_type,
    real,
    squares,
)
from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import is_complex
from tabgrad.ops.linear import matmul
from tabgrad.ops.manipulation import concatenate, expand_dims, matrix_transpose, pad
from tabgrad.ops.reduction import max as max_
from tabgrad.ops.reduction import sum as sum_
from tabgrad.tensor import Tensor

LIMIT = 30
"""Sweeps at most; 256 rows take about ten."""


def diagonalise(x: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (..., n) of Hermitian matrices in no order, and a unitary W (..., n, n), the
    adjoint of their eigenvectors: W x Wᴴ is diagonal."""
    n = x.shape[-1]
    size, unit, padded = _evened(x)
    frobenius = squares(padded.reshape((*x.shape[:-2], size * size)))

    def sweep(rotation: Tensor) -> Tensor:
        a = matmul(matmul(rotation, padded), adjoint(rotation))
        h = size // 2
        parts = (a[..., :h, :h], a[..., :h, h:], a[..., h:, h:])
        rows = (rotation[..., :h, :], rotation[..., h:, :])
        (_, rows), _ = loop(_two_sided, (parts, rows), length=size - 1)
        return orthogonalised(concatenate(list(rows), -2))

    def off(rotation: Tensor) -> Tensor:
        a = matmul(matmul(rotation, padded), adjoint(rotation))
        outside = e.where(expand_dims(indices(size), 1) == indices(size), 0.0, a)
        return squares(outside.reshape((*x.shape[:-2], size * size))) / e.where(
            frobenius > 0, frobenius, 1.0
        )

    rotation = _until(sweep, off, unit, eps(x.dtype) ** 2 * size)
    a = matmul(matmul(rotation, padded), adjoint(rotation))
    return real(diagonal_of(a))[..., :n], rotation[..., :n, :n]


def orthogonal_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """W x with orthogonal rows, in no order, and the unitary W, for square x."""
    n = x.shape[-1]
    size, unit, padded = _evened(x)
    largest = max_(squares(padded), -2, True)

    def sweep(rotation: Tensor) -> Tensor:
        a = matmul(rotation, padded)
        h = size // 2
        both = (a[..., :h, :], a[..., h:, :], rotation[..., :h, :], rotation[..., h:, :])
        both, _ = loop(_one_sided, both, length=size - 1)
        return orthogonalised(concatenate([both[2], both[3]], -2))

    def off(rotation: Tensor) -> Tensor:
        a = matmul(rotation, padded)
        length = squares(a)
        bound = e.maximum(length, matrix_transpose(length)) * largest
        gram = matmul(a, adjoint(a))
        square = e.square(real(gram))
        if is_complex(gram):
            square = square + e.square(imag(gram))
        same = expand_dims(indices(size), 1) == indices(size)
        ratio = e.where(same, 0.0, square) / e.where(bound > 0, bound, 1.0)
        return max_(ratio, (-2, -1))

    rotation = _until(sweep, off, unit, eps(x.dtype) ** 2 * size)
    return matmul(rotation, padded)[..., :n, :n], rotation[..., :n, :n]


def _evened(x: Tensor) -> tuple[int, Tensor, Tensor]:
    """An even number of rows for the tournament: a row and a column of zeros are never rotated, and
    after each sweep they are the last again."""
    n = x.shape[-1]
    size = max(n + n % 2, 2)
    wide = [(0, 0)] * (x.ndim - 2) + [(0, size - n)] * 2
    return size, identity(size, size, x.shape[:-2], x.dtype), pad(x, wide)


def _until(
    sweep: Callable[[Tensor], Tensor],
    off: Callable[[Tensor], Tensor],
    start: Tensor,
    tolerance: float,
) -> Tensor:
    """Sweeps until all matrices of the stack are as diagonal as rounding allows, then one more."""
    size = start.shape[-1]
    count = size.bit_length() + (3 if part_type(start.dtype).itemsize == 4 else 5)
    final, _ = loop(lambda rotation, _: (sweep(rotation), None), start, length=count)
    return final  # type: ignore[no-any-return]


def orthogonalised(x: Tensor) -> Tensor:
    """The nearest unitary matrix to one that is nearly so: a step of Newton and Schulz."""
    n = x.shape[-1]
    gram = matmul(x, adjoint(x))
    return 1.5 * x - matmul(0.5 * gram, x) if n else x


def _angles(p: Tensor, q: Tensor, between: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Cosine, sine and phase of the rotations that diagonalise [[p, between], [conj, q]]; all
    (..., h). The smaller of both angles, of at most 45 degrees."""
    phase = None
    size = between
    if is_complex(between):
        size = e.abs(between)
        nothing = size == 0
        phase = e.where(nothing, 1.0, between / e.where(nothing, 1.0, size))
    nothing = size == 0
    slope = (q - p) / e.where(nothing, 1.0, 2 * size)
    t = e.where(slope < 0, -1.0, 1.0) / (e.abs(slope) + e.sqrt(1 + e.square(slope)))
    t = e.where(nothing, 0.0, t)
    c = 1 / e.sqrt(1 + e.square(t))
    return c, t * c, phase


def _rotate(
    top: Tensor, bottom: Tensor, c: Tensor, s: Tensor, phase: Tensor | None
) -> tuple[Tensor, Tensor]:
    if phase is not None:
        bottom = phase * bottom
    return c * top - s * bottom, s * top + c * bottom


def _two_sided(carry: Any, _: Any) -> tuple[Any, None]:
    (tt, tb, bb), (top, bottom) = carry
    p, q = real(diagonal_of(tt)), real(diagonal_of(bb))
    c, s, phase = _angles(p, q, diagonal_of(tb))
    down = [expand_dims(v, -1) for v in (c, s)]
    down_phase = None if phase is None else expand_dims(phase, -1)
    across = [expand_dims(v, -2) for v in (c, s)]
    across_phase = None if phase is None else expand_dims(conj(phase), -2)
    left_t, left_b = _rotate(tt, adjoint(tb), *down, down_phase)
    right_t, right_b = _rotate(tb, bb, *down, down_phase)
    tt, tb = _rotate(left_t, right_t, *across, across_phase)
    _, bb = _rotate(left_b, right_b, *across, across_phase)
    same = expand_dims(indices(tb.shape[-1]), 1) == indices(tb.shape[-1])
    tb = e.where(same, 0.0, tb)
    bt = adjoint(tb)
    first = _moved_on(tt, bt, -2), _moved_on(tb, bb, -2)
    tt, tb = _moved_on(first[0][0], first[1][0], -1)
    _, bb = _moved_on(first[0][1], first[1][1], -1)
    rows = _moved_on(*_rotate(top, bottom, *down, down_phase), -2)
    return ((tt, tb, bb), rows), None


def _one_sided(carry: Any, _: Any) -> tuple[Any, None]:
    a_top, a_bottom, top, bottom = carry
    p, q = squares(a_top), squares(a_bottom)
    between = sum_(a_top * conj(a_bottom), -1, True)
    c, s, phase = _angles(p, q, between)
    a = _moved_on(*_rotate(a_top, a_bottom, c, s, phase), -2)
    rows = _moved_on(*_rotate(top, bottom, c, s, phase), -2)
    return (*a, *rows), None


def _moved_on(top: Tensor, bottom: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The next round of the tournament: row 0 stays, the others go round."""
    h = top.shape[axis]
    if h == 1:
        return top, bottom

    def part(x: Tensor, lo: int, hi: int) -> Tensor:
        return x[..., lo:hi] if axis == -1 else x[..., lo:hi, :]

    new_top = concatenate([part(top, 0, 1), part(bottom, 0, 1), part(top, 1, h - 1)], axis)
    new_bottom = concatenate([part(bottom, 1, h), part(top, h - 1, h)], axis)
    return new_top, new_bottom
