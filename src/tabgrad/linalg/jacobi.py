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
from typing import Any, NamedTuple

from tabgrad.dtypes import bool_
from tabgrad.ir import build as b
from tabgrad.linalg.matrices import adjoint, diagonal_of, eps, identity, indices, squares
from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import is_complex
from tabgrad.ops.complex_numbers import conj, imag, real
from tabgrad.ops.control import scan, while_loop
from tabgrad.ops.linear import matmul
from tabgrad.ops.manipulation import concatenate, expand_dims, matrix_transpose
from tabgrad.ops.reduction import any as any_
from tabgrad.ops.reduction import max as max_
from tabgrad.ops.reduction import sum as sum_
from tabgrad.ops.repeating import pad
from tabgrad.tensor import Tensor

LIMIT = 30
"""Sweeps at most; 256 rows take about ten."""


def diagonalise(x: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (..., n) of Hermitian matrices in no order, and a unitary W (..., n, n), the
    adjoint of their eigenvectors: W x Wᴴ is diagonal."""
    n = x.shape[-1]
    size, unit, padded = _evened(x)
    h = size // 2
    total = _total(padded)
    same = expand_dims(indices(size), 1) == indices(size)

    def rotated(rotation: Tensor) -> tuple[Tensor, Tensor]:
        a = matmul(matmul(rotation, padded), adjoint(rotation))
        return a, _total(e.where(same, 0.0, a)) / e.where(total > 0, total, 1.0)

    def sweep(rotation: Tensor, a: Tensor) -> Tensor:
        parts = (a[..., :h, :h], a[..., :h, h:], a[..., h:, h:])
        rows = (rotation[..., :h, :], rotation[..., h:, :])
        (_, rows), _ = scan(_two_sided, (parts, rows), length=size - 1)
        return concatenate(list(rows), -2)

    rotation, a = _until_still(sweep, rotated, unit)
    return real(diagonal_of(a))[..., :n], rotation[..., :n, :n]


def _total(x: Tensor) -> Tensor:
    return squares(x.reshape((*x.shape[:-2], -1)))


def orthogonal_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """W x with orthogonal rows, in no order, and the unitary W, for square x."""
    n = x.shape[-1]
    size, unit, padded = _evened(x)
    h = size // 2
    largest = max_(squares(padded), -2, True)
    same = expand_dims(indices(size), 1) == indices(size)

    def rotated(rotation: Tensor) -> tuple[Tensor, Tensor]:
        a = matmul(rotation, padded)
        gram = matmul(a, adjoint(a))
        square = e.square(real(gram))
        if is_complex(gram):
            square = square + e.square(imag(gram))
        # How much a row has of another, not of itself: rows that are all rounding count as little.
        length = squares(a)
        bound = e.maximum(length, matrix_transpose(length)) * largest
        return a, e.where(same, 0.0, square) / e.where(bound > 0, bound, 1.0)

    def sweep(rotation: Tensor, a: Tensor) -> Tensor:
        carry = (a[..., :h, :], a[..., h:, :], rotation[..., :h, :], rotation[..., h:, :])
        carry, _ = scan(_one_sided, carry, length=size - 1)
        return concatenate([carry[2], carry[3]], -2)

    rotation, a = _until_still(sweep, rotated, unit)
    return a[..., :n, :n], rotation[..., :n, :n]


def _evened(x: Tensor) -> tuple[int, Tensor, Tensor]:
    """An even number of rows for the tournament: a row and a column of zeros are never rotated, and
    after each sweep they are the last again."""
    n = x.shape[-1]
    size = max(n + n % 2, 2)
    wide = [(0, 0)] * (x.ndim - 2) + [(0, size - n)] * 2
    return size, identity(size, size, x.shape[:-2], x.dtype), pad(x, wide)


def _until_still(
    sweep: Callable[[Tensor, Tensor], Tensor],
    rotated: Callable[[Tensor], tuple[Tensor, Tensor]],
    start: Tensor,
) -> tuple[Tensor, Tensor]:
    """Sweeps until every matrix of the stack is as diagonal as rounding allows, then one more.

    `rotated` applies a product of rotations to the original matrix, and says how far the result is
    from diagonal: squares, relative.
    """
    tolerance = start.shape[-1] * eps(start.dtype) ** 2

    def moving(rotation: Tensor, a: Tensor, off: Tensor, still: Tensor) -> Tensor:
        return e.logical_not(still)

    def step(
        rotation: Tensor, a: Tensor, off: Tensor, still: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        turned = orthogonalised(sweep(rotation, a))
        return turned, *rotated(turned), e.logical_not(any_(off > tolerance))

    still = Tensor(b.const(False, bool_))
    found = while_loop(moving, step, (start, *rotated(start), still), maximum_iterations=LIMIT)
    return found[0], found[1]


def orthogonalised(x: Tensor) -> Tensor:
    """The nearest unitary matrix to one that is nearly so: a step of Newton and Schulz."""
    n = x.shape[-1]
    gram = matmul(x, adjoint(x))
    return 1.5 * x - matmul(0.5 * gram, x) if n else x


class Rotation(NamedTuple):
    """Cosines and sines of plane rotations, and for complex matrices the phases before them."""

    c: Tensor
    s: Tensor
    phase: Tensor | None

    def along(self, axis: int) -> Rotation:
        """With one more axis, of size 1."""
        phase = None if self.phase is None else expand_dims(self.phase, axis)
        return Rotation(expand_dims(self.c, axis), expand_dims(self.s, axis), phase)

    def conjugate(self) -> Rotation:
        """The same for columns."""
        return self._replace(phase=None if self.phase is None else conj(self.phase))

    def turn(self, top: Tensor, bottom: Tensor) -> tuple[Tensor, Tensor]:
        """Rotated rows."""
        if self.phase is not None:
            bottom = self.phase * bottom
        return self.c * top - self.s * bottom, self.s * top + self.c * bottom


def _rotation(p: Tensor, q: Tensor, between: Tensor) -> Rotation:
    """The rotations that diagonalise [[p, between], [conj(between), q]]: of both angles that do,
    the smaller one, of at most 45 degrees."""
    phase = None
    size = between
    if is_complex(between):
        size = e.abs(between)
        phase = e.where(size == 0, 1.0, between / e.where(size == 0, 1.0, size))
    nothing = size == 0
    slope = (q - p) / e.where(nothing, 1.0, 2 * size)
    t = e.where(slope < 0, -1.0, 1.0) / (e.abs(slope) + e.sqrt(1 + e.square(slope)))
    t = e.where(nothing, 0.0, t)
    c = 1 / e.sqrt(1 + e.square(t))
    return Rotation(c, t * c, phase)


def _two_sided(carry: Any, _: Any) -> tuple[Any, None]:
    (tt, tb, bb), (top, bottom) = carry
    found = _rotation(real(diagonal_of(tt)), real(diagonal_of(bb)), diagonal_of(tb))
    down, across = found.along(-1), found.conjugate().along(-2)
    left_t, left_b = down.turn(tt, adjoint(tb))
    right_t, right_b = down.turn(tb, bb)
    tt, tb = across.turn(left_t, right_t)
    _, bb = across.turn(left_b, right_b)
    same = expand_dims(indices(tb.shape[-1]), 1) == indices(tb.shape[-1])
    tb = e.where(same, 0.0, tb)
    left_t, left_b = _moved_on(tt, adjoint(tb), -2)
    right_t, right_b = _moved_on(tb, bb, -2)
    tt, tb = _moved_on(left_t, right_t, -1)
    _, bb = _moved_on(left_b, right_b, -1)
    return ((tt, tb, bb), _moved_on(*down.turn(top, bottom), -2)), None


def _one_sided(carry: Any, _: Any) -> tuple[Any, None]:
    a_top, a_bottom, top, bottom = carry
    between = sum_(a_top * conj(a_bottom), -1, True)
    found = _rotation(squares(a_top), squares(a_bottom), between)
    a = _moved_on(*found.turn(a_top, a_bottom), -2)
    return (*a, *_moved_on(*found.turn(top, bottom), -2)), None


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
