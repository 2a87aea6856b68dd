"""Complex numbers: parts, arithmetic, comparison. A complex tensor is a pair of float nodes, so
gradients, engines and exports know nothing of it.

The rules here are what `elementwise` and `reduction` call for complex arguments. Functions with
branch cuts (exp, log, sqrt, sin, ...) are in `complex_math.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tabgrad import dtypes
from tabgrad.errors import ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node
from tabgrad.ops import elementwise as e
from tabgrad.ops import manipulation, reduction
from tabgrad.ops.arguments import (
    aligned,
    axes_of,
    common,
    complex_parts,
    complex_rule,
    is_complex,
    parts_of,
)
from tabgrad.tensor import Tensor

Axis = int | Sequence[int] | None
Complex = complex  # the name `complex` is a function below


def complex(real: Any, imag: Any) -> Tensor:
    """real + i*imag from two real arrays that broadcast; complex128 for float64, else complex64.

    Returns:
        Complex64 of the broadcast shape, complex128 for float64.

    Raises:
        DtypeError: a complex argument.

    Example:
        >>> import tabgrad as tg
        >>> tg.complex([1.0, 2.0], 3.0).tolist()
        [(1+3j), (2+3j)]
    """
    x, y = aligned("complex", real, imag, floating=True)
    part = dtypes.complex_of(x.dtype).part
    return Tensor(b.cast(x, part), b.cast(y, part))


def real(x: Any) -> Tensor:
    """The real part; x itself where x is real.

    Args:
        x: of any shape and dtype.

    Returns:
        Of that shape; a float for a complex x, else the dtype of x.

    Example:
        >>> import tabgrad as tg
        >>> tg.real(tg.tensor([1 + 2j])).tolist()
        [1.0]
    """
    return Tensor(parts_of(x)[0])


def imag(x: Any) -> Tensor:
    """The imaginary part; zeros where x is real.

    Args:
        x: of any shape and dtype.

    Returns:
        Of that shape; a float for a complex x, else the dtype of x.

    Example:
        >>> import tabgrad as tg
        >>> tg.imag(tg.tensor([1 + 2j])).tolist()
        [2.0]
    """
    node, imaginary = parts_of(x)
    return Tensor(b.like(node, 0) if imaginary is None else imaginary)


def conj(x: Any) -> Tensor:
    """x with the sign of its imaginary part changed; x itself where x is real.

    Args:
        x: of any shape and dtype, which the result has, too.

    Example:
        >>> import tabgrad as tg
        >>> tg.conj(tg.tensor([1 + 2j])).tolist()
        [(1-2j)]
    """
    node, imaginary = parts_of(x)
    return Tensor(node) if imaginary is None else Tensor(node, b.neg(imaginary))


conjugate = conj


def angle(x: Any, deg: bool = False) -> Tensor:
    """The argument of x in radians, from -pi to pi: 0 or pi for real numbers (pi for -0.0).

    Args:
        x: numbers of any shape.
        deg: whether to give degrees, from -180 to 180.

    Returns:
        The angles, float32 but for float16, float64 and complex128.

    Example:
        >>> import tabgrad as tg
        >>> tg.angle(tg.tensor([1 + 0j, -1.0])).shape
        (2,)
    """
    if deg:
        return e.multiply(angle(x), 180 / math.pi)
    if is_complex(x):
        return e.arctan2(imag(x), real(x))
    (node,) = common("angle", x, floating=True)
    # The sign of 1 / x says on which side of 0 a zero is.
    below = b.lt(b.select(b.eq(node, b.like(node, 0)), b.div(b.like(node, 1), node), node),
                 b.like(node, 0))  # fmt: skip
    flat = b.select(below, b.like(node, math.pi), b.like(node, 0))
    return e.where(e.isnan(Tensor(node)), Tensor(node), Tensor(flat))


def polar(abs_: Any, angle: Any) -> Tensor:
    """The complex number with this magnitude and argument: abs_ * (cos(angle) + i*sin(angle)).

    Args:
        abs_, angle: real numbers that broadcast; the angle is in radians.

    Returns:
        Complex64 of the broadcast shape, complex128 for float64.

    Raises:
        DtypeError: a complex argument.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.polar(2.0, 0.0).tolist()
        (2+0j)
    """
    nodes = common("polar", abs_, angle, floating=True)
    single = nodes[0].dtype.itemsize < 4  # of what complex64 is made of
    size, turn = (Tensor(b.cast(x, dtypes.float32) if single else x) for x in nodes)
    return complex(e.multiply(size, e.cos(turn)), e.multiply(size, e.sin(turn)))


def view_as_complex(x: Any) -> Tensor:
    """The complex numbers whose parts lie along the last axis, of size 2.

    Args:
        x: floats (..., 2).

    Returns:
        Complex numbers (...).

    Raises:
        ShapeError: a last axis of another size than 2.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.view_as_complex([[1.0, 2.0]]).tolist()
        [(1+2j)]
    """
    (node,) = common("view_as_complex", x, floating=True)
    if not node.shape or node.shape[-1] != 2:
        raise ShapeError(
            f"view_as_complex expected a last axis of size 2, the parts; received "
            f"{list(node.shape)}. "
            "Stack the parts with tg.ops.stack([real, imag], -1)"
        )
    last = len(node.shape) - 1
    parts = [manipulation.cut(node, last, i, i + 1) for i in range(2)]
    return complex(*(Tensor(b.reshape(part, node.shape[:-1])) for part in parts))


def view_as_real(x: Any) -> Tensor:
    """The parts of complex numbers along a new last axis of size 2.

    Args:
        x: complex numbers (...).

    Returns:
        Floats (..., 2).

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.view_as_real(tg.tensor([1 + 2j])).tolist()
        [[1.0, 2.0]]
    """
    return manipulation.stack([Tensor(part) for part in complex_parts(x)], -1)


def complex_aligned(name: str, *xs: Any) -> list[tuple[Node, Node | None]]:
    """(real, imaginary or None) of all arguments, of one float dtype and one shape."""
    flat: list[Any] = []
    for x in xs:
        if isinstance(x, (int, float)):
            flat.append(x)
        elif isinstance(x, Complex):
            flat += [x.real, x.imag]
        else:
            flat += [Tensor(part) for part in parts_of(x) if part is not None]
    # A complex result needs float32 at least, also where the arrays beside a complex number are
    # integers or halves.
    wide = max(
        (dtypes.complex_of(v.dtype).part for v in flat if isinstance(v, Tensor)),
        key=lambda dtype: dtype.itemsize,
        default=dtypes.float32,
    )
    flat = [e.cast(v, wide) if isinstance(v, Tensor) else v for v in flat]
    nodes = iter(aligned(name, *flat, Tensor(b.const(0, wide)), floating=True))
    return [(next(nodes), next(nodes) if is_complex(x) else None) for x in xs]


@complex_rule("add")
def _add(x1: Any, x2: Any) -> Tensor:
    (a, bi), (c, di) = complex_aligned("add", x1, x2)
    imaginary = [part for part in (bi, di) if part is not None]
    return Tensor(b.add(a, c), imaginary[0] if len(imaginary) == 1 else b.add(*imaginary))


@complex_rule("subtract")
def _subtract(x1: Any, x2: Any) -> Tensor:
    (a, bi), (c, di) = complex_aligned("subtract", x1, x2)
    if di is None:
        return Tensor(b.sub(a, c), bi)
    return Tensor(b.sub(a, c), b.neg(di) if bi is None else b.sub(bi, di))


@complex_rule("multiply")
def _multiply(x1: Any, x2: Any) -> Tensor:
    (a, bi), (c, di) = complex_aligned("multiply", x1, x2)
    if bi is None or di is None:
        factor, (re, im) = (c, (a, bi)) if di is None else (a, (c, di))
        assert im is not None
        return Tensor(b.mul(re, factor), b.mul(im, factor))
    return Tensor(
        b.sub(b.mul(a, c), b.mul(bi, di)),
        b.add(b.mul(a, di), b.mul(bi, c)),
    )


@complex_rule("divide")
def _divide(x1: Any, x2: Any) -> Tensor:
    (a, bi), (c, di) = complex_aligned("divide", x1, x2)
    if di is None:
        assert bi is not None
        return Tensor(b.div(a, c), b.div(bi, c))
    bi = b.like(a, 0) if bi is None else bi
    # Smith's algorithm (CACM 5, 1962, algorithm 116): the larger part of the divisor divides, so
    # that no square overflows.
    wide = b.make("le", b.unary("abs", di), b.unary("abs", c))
    large, small = b.select(wide, c, di), b.select(wide, di, c)
    nothing = b.eq(large, b.like(large, 0))
    ratio = b.div(small, b.select(nothing, b.like(large, 1), large))
    scale = b.add(large, b.mul(small, ratio))
    first, second = b.select(wide, a, bi), b.select(wide, bi, a)
    re = b.div(b.add(first, b.mul(second, ratio)), scale)
    im = b.div(b.sub(second, b.mul(first, ratio)), scale)
    return Tensor(re, b.select(wide, im, b.neg(im)))


@complex_rule("negative")
def _negative(x: Any) -> Tensor:
    re, im = complex_parts(x)
    return Tensor(b.neg(re), b.neg(im))


@complex_rule("positive")
def _positive(x: Any) -> Tensor:
    return Tensor(*complex_parts(x))


@complex_rule("reciprocal")
def _reciprocal(x: Any) -> Tensor:
    return _divide(1.0, x)


@complex_rule("square")
def _square(x: Any) -> Tensor:
    re, im = complex_parts(x)
    # (a - b)(a + b) keeps the digits that a*a - b*b loses where |a| is near |b|.
    product = b.mul(re, im)
    return Tensor(b.mul(b.sub(re, im), b.add(re, im)), b.add(product, product))


@complex_rule("abs")
def modulus(x: Any) -> Tensor:
    """|x| without overflow on the way; infinite where either part is."""
    return Tensor(modulus_of(*complex_parts(x)))


def modulus_of(re: Node, im: Node) -> Node:
    """sqrt(re**2 + im**2) of two nodes."""
    re, im = b.unary("abs", re), b.unary("abs", im)
    large, small = ordered(re, im)
    infinite = b.make("or", *(b.eq(part, b.like(part, math.inf)) for part in (re, im)))
    zero = b.like(large, 0)
    plain = b.make("or", infinite, b.eq(large, zero))
    one = b.like(large, 1)
    ratio = b.div(b.select(plain, one, small), b.select(plain, one, large))
    length = b.mul(large, b.unary("sqrt", b.add(one, b.mul(ratio, ratio))))
    return b.select(plain, b.select(infinite, b.like(large, math.inf), zero), length)


def ordered(x: Node, y: Node) -> tuple[Node, Node]:
    """The larger and the smaller of two nodes, the larger a NaN where either is.

    By a choice, not by max and min: where both are equal, what is made of them is as smooth as one
    branch of it, and so has derivatives of every order.
    """
    turned = b.make("or", b.lt(x, y), b.make("ne", y, y))
    return b.select(turned, y, x), b.select(turned, x, y)


@complex_rule("sign")
def _sign(x: Any) -> Tensor:
    re, im = complex_parts(x)
    length = modulus_of(re, im)
    nothing = b.eq(length, b.like(length, 0))
    zero = b.like(length, 0)
    length = b.select(nothing, b.like(length, 1), length)
    return Tensor(*(b.select(nothing, zero, b.div(part, length)) for part in (re, im)))


@complex_rule("equal")
def _equal(x1: Any, x2: Any) -> Tensor:
    (a, bi), (c, di) = complex_aligned("equal", x1, x2)
    zero = b.like(a, 0)
    im = b.eq(zero if bi is None else bi, zero if di is None else di)
    return Tensor(b.make("and", b.eq(a, c), im))


@complex_rule("not_equal")
def _not_equal(x1: Any, x2: Any) -> Tensor:
    return e.logical_not(_equal(x1, x2))


@complex_rule("isnan")
def _isnan(x: Any) -> Tensor:
    return e.logical_or(e.isnan(real(x)), e.isnan(imag(x)))


@complex_rule("isinf")
def _isinf(x: Any) -> Tensor:
    return e.logical_or(e.isinf(real(x)), e.isinf(imag(x)))


@complex_rule("isfinite")
def _isfinite(x: Any) -> Tensor:
    return e.logical_and(e.isfinite(real(x)), e.isfinite(imag(x)))


@complex_rule("sum")
def _sum(x: Any, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    value = Tensor(*parts_of(x)) if dtype is None else e.cast(x, dtype)
    if not value.dtype.is_complex:  # bool, the one real dtype a complex x can become
        return reduction.sum(value, axis, keepdims)
    return Tensor(*(reduction.sum(Tensor(p), axis, keepdims).node for p in complex_parts(value)))


@complex_rule("prod")
def _prod(x: Any, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    """The product as a tree: no primitive multiplies pairs."""
    value = Tensor(*complex_parts(x if dtype is None else e.cast(x, dtype)))
    axes = axes_of("prod", axis, value.ndim)
    for d in axes:
        while value.shape[d] > 1:
            n = value.shape[d]
            parts = value.parts
            half = [
                Tensor(*(manipulation.cut(p, d, lo, lo + n // 2) for p in parts if p is not None))
                for lo in (0, n // 2)
            ]
            joined = _multiply(*half)
            if n % 2:
                last = Tensor(*(manipulation.cut(p, d, n - 1, n) for p in parts if p is not None))
                joined = manipulation.concatenate([joined, last], d)
            value = joined
    shape = [1 if d in axes else n for d, n in enumerate(value.shape)]
    if value.size == 0 and 0 not in shape:
        re, im = b.full(shape, 1, value.dtype.part), b.full(shape, 0, value.dtype.part)
        value = Tensor(re, im)
    kept = shape if keepdims else [n for d, n in enumerate(shape) if d not in axes]
    return manipulation.reshape(value, kept)
