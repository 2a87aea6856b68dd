"""Functions known at points: interpolation, slopes, convolution, polynomials, covariance."""

from __future__ import annotations

import math
from typing import Any

from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import axes_of, axis_of, common, is_complex, on_products, parts_of
from tabgrad.ops.complex_numbers import conj
from tabgrad.ops.creation import full
from tabgrad.ops.cumulative import cumsum
from tabgrad.ops.indexing import getitem, take
from tabgrad.ops.linear import matmul
from tabgrad.ops.manipulation import concatenate, diff, flip, reshape, swapaxes
from tabgrad.ops.measures import correlate
from tabgrad.ops.order import argsort, searchsorted
from tabgrad.ops.reduction import mean
from tabgrad.tensor import Tensor


def interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Tensor:
    """Straight lines between the points (xp, fp), at x.

    Args:
        x: where, of any shape; the result has it.
        xp: (n,), increasing (in any order with `period`).
        fp: (n,), the values there.
        left: the value below xp[0], which is fp[0] by default.
        right: the value above xp[-1], which is fp[-1] by default.
        period: the distance after which everything repeats.

    Raises:
        ShapeError: points that are no two vectors of one length of at least 1.
        ArgumentError: a period of 0.

    Example:
        >>> import tabgrad as tg
        >>> tg.interp([0.5, 9.0], [0.0, 1.0, 2.0], [10.0, 20.0, 40.0]).tolist()
        [15.0, 40.0]
    """
    at, xs, ys = (Tensor(node) for node in common("interp", x, xp, fp, floating=True))
    if xs.ndim != 1 or xs.shape != ys.shape or not xs.size:
        raise ShapeError(
            "interp expected xp and fp to be vectors of one length of at least 1; received "
            f"{list(xs.shape)} and {list(ys.shape)}. "
            "Flatten them with x.ravel()"
        )
    if period is not None:
        if period == 0:
            raise ArgumentError(
                "interp expected a period other than 0; received 0. "
                "Leave it out where nothing repeats"
            )
        at, xs = e.mod(at, period), e.mod(xs, period)
        order = argsort(xs)
        xs, ys = take(xs, order), take(ys, order)
        before, after = getitem(xs, slice(-1, None)), getitem(xs, slice(0, 1))
        xs = concatenate([e.subtract(before, period), xs, e.add(after, period)])
        ys = concatenate([getitem(ys, slice(-1, None)), ys, getitem(ys, slice(0, 1))])
    if xs.size == 1:
        found = e.add(e.multiply(at, 0), getitem(ys, 0))
    else:
        i = e.clip(searchsorted(xs, at, side="right"), 1, xs.size - 1)
        low, high = take(xs, e.subtract(i, 1)), take(xs, i)
        start, end = take(ys, e.subtract(i, 1)), take(ys, i)
        width = e.subtract(high, low)
        part = e.divide(e.subtract(at, low), e.where(e.equal(width, 0), 1.0, width))
        found = e.add(start, e.multiply(part, e.subtract(end, start)))
    if period is not None:
        return found
    first, last = getitem(xs, 0), getitem(xs, -1)
    found = e.where(e.less(at, first), getitem(ys, 0) if left is None else left, found)
    return e.where(e.greater(at, last), getitem(ys, -1) if right is None else right, found)


def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Slopes of a function given at points, by differences of second order inside.

    Args:
        f: (..., n, ...) with at least `edge_order + 1` points along each axis.
        varargs: nothing (distance 1), one distance for all axes, or for each axis a distance or
            the vector of its coordinates.
        axis: an axis or several, all by default.
        edge_order: 1 or 2, the order of the differences at both ends.

    Returns:
        A tensor like f for one axis, a list of them for several.

    Raises:
        ShapeError: too few points, or other coordinates than points.
        ArgumentError: another edge_order, or another number of distances than axes.

    Example:
        >>> import tabgrad as tg
        >>> tg.gradient([1.0, 2.0, 4.0, 7.0]).tolist()
        [1.0, 1.5, 2.5, 3.0]
    """
    given = Tensor(*parts_of(f))
    if not (given.dtype.is_float or given.dtype.is_complex):
        given = e.cast(given, "float32")
    axes = axes_of("gradient", axis, given.ndim)
    if not isinstance(axis, int) and axis is not None:  # in the order they are given
        axes = tuple(axis_of("gradient", a, given.ndim) for a in axis)
    spacings = list(varargs) if len(varargs) != 1 else list(varargs) * len(axes)
    spacings = spacings or [1.0] * len(axes)
    if len(spacings) != len(axes):
        raise ArgumentError(
            f"gradient expected no distance, one, or {len(axes)}; received {len(varargs)}. "
            "Give one distance for all axes, or one for each"
        )
    if edge_order not in (1, 2):
        raise ArgumentError(f"gradient expected edge_order 1 or 2; received {edge_order}")
    found = [_slope(given, h, a, edge_order) for h, a in zip(spacings, axes, strict=True)]
    return found[0] if len(found) == 1 else found


def _slope(f: Tensor, spacing: Any, axis: int, edge_order: int) -> Tensor:
    n = f.shape[axis]
    if n < edge_order + 1:
        raise ShapeError(
            f"gradient expected at least {edge_order + 1} points along axis {axis}; received {n}. "
            "Name other axes, or give more points"
        )
    at = Tensor(*parts_of(spacing))
    if at.ndim:
        if at.shape != (n,):
            raise ShapeError(
                f"gradient expected {n} coordinates for axis {axis}; received {list(at.shape)}. "
                "Give one coordinate for each point"
            )
        steps = diff(at)
    else:
        steps = full((n - 1,), 1.0) * at
    steps = reshape(e.cast(steps, _real(f)), [-1 if d == axis else 1 for d in range(f.ndim)])
    slopes = e.divide(diff(f, axis=axis), steps)  # between neighbours

    def piece(x: Tensor, start: int, stop: int | None) -> Tensor:
        return getitem(x, (*[slice(None)] * axis, slice(start, stop)))

    parts = []
    if n > 2 and not at.ndim:
        # Without the point in the middle, as NumPy: it may be infinite.
        twice = e.cast(at * 2, _real(f))
        parts = [e.divide(piece(f, 2, None) - piece(f, 0, -2), twice)]
    elif n > 2:
        before, after = piece(steps, 0, -1), piece(steps, 1, None)
        left, right = piece(slopes, 0, -1), piece(slopes, 1, None)
        total = e.add(before, after)
        parts = [e.divide(e.add(e.multiply(left, after), e.multiply(right, before)), total)]
    first, last = piece(slopes, 0, 1), piece(slopes, n - 2, n - 1)
    if edge_order == 2:
        # The parabola through the last three points.
        begin, end = piece(slopes, 1, 2), piece(slopes, n - 3, n - 2)
        h0, h1 = piece(steps, 0, 1), piece(steps, 1, 2)
        first = first - e.divide(h0 * (begin - first), h0 + h1)
        h0, h1 = piece(steps, n - 2, n - 1), piece(steps, n - 3, n - 2)
        last = last + e.divide(h0 * (last - end), h0 + h1)
    return concatenate([first, *parts, last], axis=axis)


def _real(x: Tensor) -> Any:
    return x.dtype.part if x.dtype.is_complex else x.dtype


def unwrap(
    p: Any, discont: float | None = None, axis: int = -1, *, period: float = 2 * math.pi
) -> Tensor:
    """Angles without jumps: multiples of the period are added where neighbours differ by more than
    half of it.

    Args:
        p: real numbers.
        discont: the least difference that is a jump, half a period by default (and at least).
        axis: along which.
        period: a whole turn.

    Example:
        >>> import tabgrad as tg
        >>> tg.unwrap([0.0, 3.0, 6.0, 1.0], period=8.0).tolist()
        [0.0, 3.0, 6.0, 9.0]
    """
    (node,) = common("unwrap", p, floating=True)
    given = Tensor(node)
    where = axis_of("unwrap", axis, given.ndim)
    half = period / 2
    jump = diff(given, axis=where)
    rest = e.subtract(e.mod(e.add(jump, half), period), half)
    rest = e.where(e.logical_and(e.equal(rest, -half), e.greater(jump, 0)), half, rest)
    least = half if discont is None else discont
    change = e.where(e.less(e.abs(jump), least), 0.0, e.subtract(rest, jump))
    start = Tensor(b.like(getitem(given, (*[slice(None)] * where, slice(0, 1))).node, 0))
    return e.add(given, concatenate([start, cumsum(change, axis=where)], axis=where))


@on_products("a", "v")
def convolve(a: Any, v: Any, mode: str = "full") -> Tensor:
    """The convolution of two vectors: sums of a[i] v[k - i].

    Args:
        a: (n,), real or complex.
        v: (m,); both dtypes are promoted.
        mode: "full" (n + m - 1 sums), "same" (as many as the longer has) or "valid" (those that
            overlap wholly).

    Raises:
        ShapeError: operands that are no vectors, or empty.

    Example:
        >>> import tabgrad as tg
        >>> tg.convolve([1.0, 2.0, 3.0], [0.0, 1.0, 0.5]).tolist()
        [0.0, 1.0, 2.5, 4.0, 1.5]
    """
    one, other = (Tensor(node) for node in common("convolve", a, v))
    if one.ndim != 1 or other.ndim != 1 or not one.size or not other.size:
        raise ShapeError(
            "convolve expected two vectors that are not empty; received "
            f"{list(one.shape)} and {list(other.shape)}. "
            "Flatten them with x.ravel(); images are for tg.nn.conv"
        )
    if other.size > one.size:
        one, other = other, one
    return correlate(one, flip(other), mode)


def polyval(p: Any, x: Any) -> Tensor:
    """A polynomial with coefficients p, that of the highest power first, at x; by Horner's rule.

    Args:
        p: (n,) real or complex coefficients.
        x: where, of any shape; the result has it.

    Raises:
        ShapeError: coefficients that are no vector.

    Example:
        >>> import tabgrad as tg
        >>> tg.polyval([1, 0, 2], [3, 4]).tolist()
        [11, 18]
    """
    factors, at = Tensor(*parts_of(p)), Tensor(*parts_of(x))
    if factors.ndim != 1:
        raise ShapeError(
            f"polyval expected a vector of coefficients; received {list(factors.shape)}. "
            "The highest power comes first"
        )
    found = e.multiply(at, 0)
    for i in range(factors.size):
        found = e.add(e.multiply(found, at), getitem(factors, i))
    return found


def cov(
    m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None
) -> Tensor:
    """The covariances of variables.

    Args:
        m: (variables, observations), or (observations,) for one.
        y: more variables of the same observations.
        rowvar: whether variables are rows; else they are columns.
        bias: whether to divide by the number of observations, not by one less.
        ddof: what is taken from that number, whatever `bias` says.

    Returns:
        (variables, variables), or a scalar for one variable.

    Raises:
        ShapeError: more than two axes.

    Example:
        >>> import tabgrad as tg
        >>> tg.cov([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]).tolist()
        [[1.0, -1.0], [-1.0, 1.0]]
    """
    rows = []
    for given in (m,) if y is None else (m, y):
        x = Tensor(*parts_of(given))
        if x.ndim > 2:
            raise ShapeError(
                f"cov expected at most two axes; received {list(x.shape)}. "
                "Variables are the rows; flatten the other axes"
            )
        x = reshape(x, (1, x.size)) if x.ndim < 2 else x if rowvar else swapaxes(x, 0, 1)
        rows.append(x if x.dtype.is_float or x.dtype.is_complex else e.cast(x, "float32"))
    x = concatenate(rows, axis=0)
    less = ddof if ddof is not None else 0 if bias else 1
    x = e.subtract(x, mean(x, axis=1, keepdims=True))
    other = swapaxes(conj(x) if is_complex(x) else x, 0, 1)
    found = e.divide(matmul(x, other), float(x.shape[1] - less))
    return reshape(found, ()) if found.size == 1 else found
