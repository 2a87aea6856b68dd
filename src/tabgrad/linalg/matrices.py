"""What the decompositions have in common: checked arguments, columns and rows of stacks of
matrices at an index known only while a loop runs, gradient rules.

Matrices are the last two axes of their arguments; all axes in front are a stack. Nothing here is
public.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tabgrad import realize
from tabgrad.dtypes import DType, as_dtype, float32, int32
from tabgrad.errors import ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node
from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import broadcast_shapes, is_complex, spread
from tabgrad.ops.complex_numbers import conj, imag, real
from tabgrad.ops.indexing import take_along_axis
from tabgrad.ops.manipulation import expand_dims, matrix_transpose
from tabgrad.ops.reduction import max as max_
from tabgrad.ops.reduction import sum as sum_
from tabgrad.tensor import Tensor
from tabgrad.transformations.custom import custom_gradient

Result = TypeVar("Result")


def floats(x: Any) -> Tensor:
    """x as a float or complex tensor; integers and bools become float32."""
    value = e.convert_to_tensor(x)
    return value if value.dtype.kind in "fc" else e.cast(value, float32)


def matrix(name: str, x: Any, square: bool = False) -> Tensor:
    """x as a stack of float matrices; raises ShapeError when it is none."""
    value = floats(x)
    if value.ndim < 2:
        raise ShapeError(
            f"linalg.{name} expected matrices, of at least two axes; received shape "
            f"{list(value.shape)}. Reshape it, for instance to (1, -1)"
        )
    if square and value.shape[-1] != value.shape[-2]:
        raise ShapeError(
            f"linalg.{name} expected square matrices; received shape {list(value.shape)}. "
            "For other shapes there are linalg.pinv, lstsq, qr and svd"
        )
    return value


def same_float(*xs: Tensor) -> list[Tensor]:
    """Float tensors in one dtype, which has digits enough for many dependent steps: float16
    becomes float32."""
    wide = max((part_type(x.dtype) for x in xs), key=lambda d: d.itemsize)
    wide = float32 if wide.itemsize < 4 else wide
    # Complex and real may stay beside each other: a product with a real matrix is cheaper.
    return [map_parts(lambda node: b.cast(node, wide), x) for x in xs]


def as_type(x: Tensor, dtype: DType) -> Tensor:
    """x in the precision of `dtype` (of its parts, where that is complex)."""
    return map_parts(lambda node: b.cast(node, part_type(dtype)), x)


def part_type(dtype: DType) -> DType:
    """The float type of the parts of a complex type; another type itself."""
    return as_dtype(f"float{dtype.itemsize * 4}") if dtype.kind == "c" else dtype


def map_parts(function: Callable[[Node], Node], x: Tensor) -> Tensor:
    """A function of nodes applied to the real and, where there is one, to the imaginary part."""
    re, im = x.parts
    return Tensor(function(re), None if im is None else function(im))


def eps(dtype: DType) -> float:
    """The distance from 1 to the next number."""
    return {2: 2.0**-10, 4: 2.0**-23, 8: 2.0**-52}[part_type(dtype).itemsize]


def indices(n: int) -> Tensor:
    """0, 1 ... n - 1, int32."""
    return Tensor(b.iota((n,), 0, int32))


def identity(n: int, m: int, lead: Sequence[int], dtype: DType) -> Tensor:
    """The first m columns of the identity of size n, for each matrix of a stack."""
    shape, part = (*lead, n, m), part_type(dtype)
    rank = len(shape)
    same = b.eq(b.iota(shape, rank - 2, int32), b.iota(shape, rank - 1, int32))
    ones = b.select(same, b.full(shape, 1, part), b.full(shape, 0, part))
    return Tensor(ones, b.like(ones, 0) if dtype.kind == "c" else None)


def lower(x: Tensor, offset: int = 0) -> Tensor:
    """The elements on and below a diagonal (`offset` above the main one), others 0."""
    return _part(x, offset, True)


def upper(x: Tensor, offset: int = 0) -> Tensor:
    """The elements on and above a diagonal (`offset` above the main one), others 0."""
    return _part(x, offset, False)


def _part(x: Tensor, offset: int, below: bool) -> Tensor:
    m, n = x.shape[-2:]
    row_index, column_index = expand_dims(indices(m), 1) + offset, indices(n)
    return e.where(row_index >= column_index if below else row_index <= column_index, x, 0.0)


def diagonal_of(x: Tensor) -> Tensor:
    """The main diagonals, (..., min(m, n))."""
    m, n = x.shape[-2:]
    k = min(m, n)
    if k == 0:
        return x.reshape((*x.shape[:-2], 0)) if x.size == 0 else x[..., :0, 0]
    flat = x.reshape((*x.shape[:-2], m * n))
    return flat[..., : (k - 1) * (n + 1) + 1 : n + 1]


def as_diagonal(x: Tensor) -> Tensor:
    """Square matrices with x (..., n) on their diagonals."""
    n = x.shape[-1]
    return e.where(expand_dims(indices(n), 1) == indices(n), expand_dims(x, -1), 0.0)


def column(x: Tensor, k: Tensor) -> Tensor:
    """Column k of each matrix, (..., m); k is a 0-d int32 tensor."""
    return _window(x, k, -1)


def row(x: Tensor, k: Tensor) -> Tensor:
    """Row k of each matrix, (..., n); k is a 0-d int32 tensor."""
    return _window(x, k, -2)


def element(x: Tensor, k: Tensor) -> Tensor:
    """Element k of each vector, (..., 1); k is a 0-d int32 tensor."""
    return expand_dims(_window(x, k, -1), -1)


def _window(x: Tensor, k: Tensor, axis: int) -> Tensor:
    axis %= x.ndim
    sizes = tuple(1 if d == axis else n for d, n in enumerate(x.shape))
    zero = b.const(0, int32)
    starts = [k.node if d == axis else zero for d in range(x.ndim)]
    shape = [n for d, n in enumerate(x.shape) if d != axis]
    return map_parts(
        lambda node: b.reshape(b.make("dynamic_slice", node, *starts, sizes=sizes), shape), x
    )


def outer_product(x: Tensor, y: Tensor) -> Tensor:
    """x_i y_j of vectors (..., m) and (..., n)."""
    return expand_dims(x, -1) * expand_dims(y, -2)


def adjoint(x: Tensor) -> Tensor:
    """The conjugate transpose."""
    return conj(matrix_transpose(x))


def squares(x: Tensor, axis: int = -1) -> Tensor:
    """Sum of squared magnitudes along an axis, which is kept."""
    total = sum_(e.square(real(x)), axis, True)
    return total + sum_(e.square(imag(x)), axis, True) if is_complex(x) else total


def magnitude(x: Tensor) -> Tensor:
    """|x|; for complex x a number between the magnitude and 1.42 times it, which costs no root."""
    return e.abs(real(x)) + e.abs(imag(x)) if is_complex(x) else e.abs(x)


def unit_scale(x: Tensor) -> Tensor:
    """Numbers (..., 1, 1) to divide x by so that no square over- or underflows: 1 unless the
    largest element is huge or tiny, so that ordinary numbers keep every bit."""
    small = 1e-12 if part_type(x.dtype).itemsize == 4 else 1e-100
    if x.size == 0:
        return Tensor(b.full((*x.shape[:-2], 1, 1), 1, part_type(x.dtype)))
    largest = max_(magnitude(x), (-2, -1), True)
    strange = e.logical_or(largest > 1 / small, largest < small)
    usable = e.logical_and(e.isfinite(largest), largest > 0)
    return e.where(e.logical_and(strange, usable), largest, 1.0)


def broadcast_stacks(name: str, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Two stacks of matrices with their leading axes broadcast together."""
    lead = broadcast_shapes(f"linalg.{name}", x.shape[:-2], y.shape[:-2])
    first, second = (
        map_parts(lambda node: spread(node, (*lead, *node.shape[-2:])), v) for v in (x, y)
    )
    return first, second


def with_rule(
    value: Callable[..., Result], rule: Callable[..., tuple[Any, ...]], *args: Tensor
) -> Result:
    """`value(*args)`, with the gradient `rule(args, result, cotangents)`.

    A rule may call functions that have rules, its own among them; as deep as gradients are nested.

    Cotangents of complex x + iy are taken and given as g_x + i g_y, in which the closed formulas of
    real matrices hold with adjoints in the place of transposes.
    """

    def both(*xs: Tensor) -> tuple[Any, Callable[..., Any]]:
        result = value(*xs)

        def backward(upstream: Any) -> tuple[Any, ...]:
            several = isinstance(result, tuple)
            given = [conj(g) for g in upstream] if several else [conj(upstream)]
            # In a gradient of a gradient the result has a gradient, too.
            known = with_rule(value, rule, *xs) if realize.wants_rules() else result
            return tuple(
                None if g is None else conj(g) if is_complex(x) else real(g)
                for g, x in zip(rule(xs, known, *given), xs, strict=True)
            )

        return result, backward

    if not realize.wants_rules():
        return value(*args)
    found: Result = custom_gradient(both)(*args)
    return found


def ascending(x: Tensor) -> Tensor:
    """The order (..., n) in which elements of vectors ascend; equal ones keep theirs."""
    n = x.shape[-1]
    i = indices(n)
    this, other = expand_dims(x, -1), expand_dims(x, -2)
    earlier = e.logical_and(other == this, i < expand_dims(i, -1))
    place = sum_(e.where(e.logical_or(other < this, earlier), 1, 0), -1)
    hit = expand_dims(place, -2) == expand_dims(i, -1)
    return sum_(e.where(hit, i, 0), -1)


def rows_in(x: Tensor, order: Tensor) -> Tensor:
    """Rows of x (..., n, k) taken in an order (..., n)."""
    return x if x.size == 0 else take_along_axis(x, expand_dims(order, -1), -2)


def inverse_of(x: Tensor) -> Tensor:
    """1/x, 0 where x is 0."""
    nothing = x == 0
    return e.where(nothing, 0.0, 1 / e.where(nothing, 1.0, x))
