"""Elementwise functions of numbers: arithmetic, rounding, choice, conversion.

Comparison, logic and bits are in `logic.py`, roots, exponentials and trigonometry in
`transcendental.py`; both are found here, too.

All broadcast as NumPy does and promote as `tabgrad.dtypes` says; integers given to a function of
real numbers become float32. Accuracy of float32 results: within 2 ULP (sigmoid and tanh 4, pow 4).
"""

from __future__ import annotations

from typing import Any, overload

from tabgrad import dtypes
from tabgrad.dtypes import as_dtype, bool_
from tabgrad.errors import ArgumentError, NotSupportedError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import (
    aligned,
    also_complex,
    broadcast_shapes,
    common,
    node_of,
    on_parts,
    parts_of,
    scalar,
    spread,
)
from tabgrad.ops.dtype_functions import result_type as result_type
from tabgrad.ops.logic import bitwise_and as bitwise_and
from tabgrad.ops.logic import bitwise_invert as bitwise_invert
from tabgrad.ops.logic import bitwise_left_shift as bitwise_left_shift
from tabgrad.ops.logic import bitwise_not as bitwise_not
from tabgrad.ops.logic import bitwise_or as bitwise_or
from tabgrad.ops.logic import bitwise_right_shift as bitwise_right_shift
from tabgrad.ops.logic import bitwise_xor as bitwise_xor
from tabgrad.ops.logic import equal as equal
from tabgrad.ops.logic import greater as greater
from tabgrad.ops.logic import greater_equal as greater_equal
from tabgrad.ops.logic import isfinite as isfinite
from tabgrad.ops.logic import isinf as isinf
from tabgrad.ops.logic import isnan as isnan
from tabgrad.ops.logic import less as less
from tabgrad.ops.logic import less_equal as less_equal
from tabgrad.ops.logic import logical_and as logical_and
from tabgrad.ops.logic import logical_not as logical_not
from tabgrad.ops.logic import logical_or as logical_or
from tabgrad.ops.logic import logical_xor as logical_xor
from tabgrad.ops.logic import not_equal as not_equal
from tabgrad.ops.transcendental import cos as cos
from tabgrad.ops.transcendental import erf as erf
from tabgrad.ops.transcendental import exp as exp
from tabgrad.ops.transcendental import expm1 as expm1
from tabgrad.ops.transcendental import log as log
from tabgrad.ops.transcendental import log1p as log1p
from tabgrad.ops.transcendental import reciprocal as reciprocal
from tabgrad.ops.transcendental import rsqrt as rsqrt
from tabgrad.ops.transcendental import sigmoid as sigmoid
from tabgrad.ops.transcendental import sin as sin
from tabgrad.ops.transcendental import sqrt as sqrt
from tabgrad.ops.transcendental import tan as tan
from tabgrad.ops.transcendental import tanh as tanh
from tabgrad.tensor import Tensor, converted


def convert_to_tensor(
    x: Any, dtype: Any = None, sparse: bool | None = None, ragged: bool | None = None
) -> Tensor:
    """Anything array-like as a Tensor, converted to `dtype` if given. All tensors are dense.

    Args:
        x: a tensor, a number, nested lists, or an array of any shape.
        dtype: by default that of x.
        sparse: as in Keras; only False and None.
        ragged: as in Keras; only False and None.

    Raises:
        NotSupportedError: sparse or ragged.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.convert_to_tensor([1, 2]).dtype
        int32
    """
    if sparse or ragged:
        raise NotSupportedError(
            "expected sparse=None and ragged=None: tensors are dense; received True. See "
            "tg.segment.sparse_to_dense and tg.segment.ragged_tensor_to_tensor"
        )
    if dtype is None:
        return Tensor(*parts_of(x))
    want = as_dtype(dtype)
    return converted(Tensor(*parts_of(x, want)), want)


def cast(x: Any, dtype: Any) -> Tensor:
    """x converted to `dtype`: floats truncate and saturate, integers wrap, non-zero is True.

    A complex x becomes complex or bool; for anything else take `tg.real` or `tg.abs` first.

    Returns:
        The shape of x.

    Example:
        >>> import tabgrad as tg
        >>> tg.cast([1.7, -1.7], "int32").tolist()
        [1, -1]
    """
    want = as_dtype(dtype)
    if type(x) is int and not want.is_complex:
        return Tensor(scalar(x, want))  # which may not fit the default integer dtype
    return converted(Tensor(*parts_of(x)), want)


astype = cast


def _numeric(name: str, *xs: Any) -> list[Node]:
    nodes = aligned(name, *xs)
    if nodes[0].dtype is bool_:  # NumPy's bool arithmetic differs per function; be explicit
        nodes = [b.cast(node, dtypes.int32) for node in nodes]
    return nodes


@also_complex
def add(x1: Any, x2: Any) -> Tensor:
    """x1 + x2.

    Args:
        x1: real or complex numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted; two bools become int32.

    Example:
        >>> import tabgrad as tg
        >>> tg.add([1, 2], 3).tolist()
        [4, 5]
    """
    return Tensor(make("add", *_numeric("add", x1, x2)))


@also_complex
def subtract(x1: Any, x2: Any) -> Tensor:
    """x1 - x2.

    Args:
        x1: real or complex numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted; two bools become int32.

    Example:
        >>> import tabgrad as tg
        >>> tg.subtract([1, 2], 3).tolist()
        [-2, -1]
    """
    return Tensor(make("sub", *_numeric("subtract", x1, x2)))


@also_complex
def multiply(x1: Any, x2: Any) -> Tensor:
    """x1 * x2.

    Args:
        x1: real or complex numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted; two bools become int32.

    Example:
        >>> import tabgrad as tg
        >>> tg.multiply([1, 2], 3).tolist()
        [3, 6]
    """
    return Tensor(make("mul", *_numeric("multiply", x1, x2)))


@also_complex
def divide(x1: Any, x2: Any) -> Tensor:
    """x1 / x2, always floating point.

    Args:
        x1: real or complex numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted; integers become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.divide([1, 2], 4).tolist()
        [0.25, 0.5]
    """
    return Tensor(make("div", *aligned("divide", x1, x2, floating=True)))


true_divide = divide


def floor_divide(x1: Any, x2: Any) -> Tensor:
    """floor(x1 / x2); an integer divided by 0 gives 0.

    Args:
        x1: real numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.floor_divide([7, -7], 2).tolist()
        [3, -4]
    """
    return Tensor(make("floordiv", *_numeric("floor_divide", x1, x2)))


def mod(x1: Any, x2: Any) -> Tensor:
    """x1 - x2*floor(x1/x2), with the sign of x2; integers modulo 0 give 0.

    Args:
        x1: real numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted.

    Example:
        >>> import tabgrad as tg
        >>> tg.mod([7, -7], 3).tolist()
        [1, 2]
    """
    return Tensor(make("mod", *_numeric("mod", x1, x2)))


remainder = mod


@also_complex
def power(x1: Any, x2: Any) -> Tensor:
    """x1**x2; small constant integer exponents become products.

    Args:
        x1: real or complex numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted.

    Example:
        >>> import tabgrad as tg
        >>> tg.power([2, 3], 2).tolist()
        [4, 9]
    """
    if isinstance(x2, (int, float)) and not isinstance(x2, bool):
        if isinstance(x2, float):  # an integer array takes the exponent's type
            x1 = Tensor(common("power", x1, x2)[0])
        if x2 == 2:
            return square(x1)
        if x2 == 1:
            return convert_to_tensor(x1)
        if x2 == 0.5:
            return sqrt(x1)
        if x2 == -1:
            return reciprocal(x1)
        if x2 == 3:
            return multiply(square(x1), x1)
    return Tensor(make("pow", *_numeric("power", x1, x2)))


def maximum(x1: Any, x2: Any) -> Tensor:
    """The larger of each pair; NaN if either is.

    Args:
        x1: real numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted.

    Example:
        >>> import tabgrad as tg
        >>> tg.maximum([1, 5], 3).tolist()
        [3, 5]
    """
    return Tensor(make("max", *aligned("maximum", x1, x2)))


def minimum(x1: Any, x2: Any) -> Tensor:
    """The smaller of each pair; NaN if either is.

    Args:
        x1: real numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted.

    Example:
        >>> import tabgrad as tg
        >>> tg.minimum([1, 5], 3).tolist()
        [1, 3]
    """
    return Tensor(make("min", *aligned("minimum", x1, x2)))


def arctan2(x1: Any, x2: Any) -> Tensor:
    """The angle of the point (x2, x1), in radians from -pi to pi.

    Args:
        x1: real numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted; integers become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.arctan2([0.0], [1.0]).tolist()
        [0.0]
    """
    return Tensor(make("atan2", *aligned("arctan2", x1, x2, floating=True)))


def clip(x: Any, x_min: Any, x_max: Any) -> Tensor:
    """x limited to [x_min, x_max].

    Args:
        x: real numbers of any shape.
        x_min: a number or tensor that broadcasts; None for no bound.
        x_max: likewise.

    Returns:
        The broadcast shape and the promoted dtype.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.clip([-5, 0, 5], -1, 1).tolist()
        [-1, 0, 1]
    """
    return minimum(maximum(x, x_min), x_max)


@also_complex
def negative(x: Any) -> Tensor:
    """-x.

    Args:
        x: of any shape, real or complex; the result has its shape and dtype, int32 for bools.

    Example:
        >>> import tabgrad as tg
        >>> tg.negative([1, -2]).tolist()
        [-1, 2]
    """
    return Tensor(make("neg", *_numeric("negative", x)))


@also_complex
def positive(x: Any) -> Tensor:
    """x itself, of a numeric dtype.

    Args:
        x: of any shape and dtype, which the result has, too.

    Example:
        >>> import tabgrad as tg
        >>> tg.positive([1, -2]).tolist()
        [1, -2]
    """
    return Tensor(*_numeric("positive", x))


@also_complex
def abs(x: Any) -> Tensor:
    """|x|.

    Args:
        x: of any shape, real or complex; the result has its shape and dtype (the float of a
            complex one).

    Example:
        >>> import tabgrad as tg
        >>> tg.abs(tg.tensor([-3.0, 3 + 4j])).tolist()
        [3.0, 5.0]
    """
    node = node_of(x)
    return Tensor(node if node.dtype.kind in "bu" else make("abs", node))


absolute = abs


@also_complex
def sign(x: Any) -> Tensor:
    """-1, 0 or 1; NaN stays NaN.

    Args:
        x: of any shape, real or complex; the result has its shape and dtype, int32 for bools.

    Example:
        >>> import tabgrad as tg
        >>> tg.sign([-3.0, 0.0]).tolist()
        [-1.0, 0.0]
    """
    return Tensor(make("sign", *_numeric("sign", x)))


def _rounding(name: str, x: Any) -> Tensor:
    node = node_of(x)
    return Tensor(make(name, node) if node.dtype.is_float else node)


def floor(x: Any) -> Tensor:
    """Largest integer not above x.

    Args:
        x: real numbers of any shape; the result has their shape and dtype.

    Example:
        >>> import tabgrad as tg
        >>> tg.floor([1.5, -1.5]).tolist()
        [1.0, -2.0]
    """
    return _rounding("floor", x)


def ceil(x: Any) -> Tensor:
    """Smallest integer not below x.

    Args:
        x: real numbers of any shape; the result has their shape and dtype.

    Example:
        >>> import tabgrad as tg
        >>> tg.ceil([1.5, -1.5]).tolist()
        [2.0, -1.0]
    """
    return _rounding("ceil", x)


def trunc(x: Any) -> Tensor:
    """x without its fraction.

    Args:
        x: real numbers of any shape; the result has their shape and dtype.

    Example:
        >>> import tabgrad as tg
        >>> tg.trunc([1.5, -1.5]).tolist()
        [1.0, -1.0]
    """
    return _rounding("trunc", x)


@on_parts()
def round(x: Any, decimals: int = 0) -> Tensor:
    """Nearest integer, halves to even; with `decimals` digits after the point.

    Args:
        x: of any shape, real or complex; the result has its shape and dtype.
        decimals: how many digits stay; negative ones before the point.

    Example:
        >>> import tabgrad as tg
        >>> tg.round([0.5, 1.5]).tolist()
        [0.0, 2.0]
    """
    if decimals == 0:
        return _rounding("round", x)
    given = Tensor(*parts_of(x))
    if given.dtype.is_integer:
        return given if decimals > 0 else _rounded_integer(given, 10**-decimals)
    # By a power of ten that is a whole number, which floats hold exactly.
    scale = 10.0 ** (decimals if decimals > 0 else -decimals)
    if decimals > 0:
        return divide(_rounding("round", multiply(x, scale)), scale)
    return multiply(_rounding("round", divide(x, scale)), scale)


def _rounded_integer(x: Tensor, unit: int) -> Tensor:
    """The multiple of `unit` that is nearest to each integer, halves to even multiples."""
    if unit > dtypes.limits(x.dtype)[1]:
        return multiply(x, 0)
    times = floor_divide(x, unit)
    rest = subtract(x, multiply(times, unit))
    up = logical_or(
        greater(rest, subtract(unit, rest)),
        logical_and(equal(rest, subtract(unit, rest)), equal(mod(times, 2), 1)),
    )
    return multiply(add(times, cast(up, x.dtype)), unit)


@also_complex
def square(x: Any) -> Tensor:
    """x * x.

    Args:
        x: of any shape, real or complex; the result has its shape and dtype, int32 for bools.

    Example:
        >>> import tabgrad as tg
        >>> tg.square([3, -4]).tolist()
        [9, 16]
    """
    (node,) = _numeric("square", x)
    return Tensor(b.mul(node, node))


@overload
def where(condition: Any) -> tuple[Tensor, ...]: ...
@overload
def where(condition: Any, x1: Any, x2: Any) -> Tensor: ...
@on_parts("x1", "x2")
def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """x1 where `condition` holds, x2 elsewhere; without both, `nonzero(condition)`.

    Args:
        condition: bools of any shape; other numbers are True unless 0.
        x1: of any dtype; its shape broadcasts with the condition's.
        x2: likewise; both are promoted to one dtype.

    Raises:
        ArgumentError: one of x1 and x2 without the other.

    Example:
        >>> import tabgrad as tg
        >>> tg.where([True, False], 1, [2, 3]).tolist()
        [1, 3]
    """
    if x1 is None and x2 is None:
        from tabgrad.ops.sets import nonzero  # which needs this file

        return nonzero(condition)
    if x1 is None or x2 is None:
        raise ArgumentError(
            "where expected both x1 and x2, or none of them; received one. "
            "Give both, or use tg.ops.nonzero for the places"
        )
    x, y = common("where", x1, x2)
    cond = b.cast(node_of(condition), bool_)
    shape = broadcast_shapes("where", cond.shape, x.shape, y.shape)
    return Tensor(make("select", spread(cond, shape), spread(x, shape), spread(y, shape)))


def view(x: Any, dtype: Any = None) -> Tensor:
    """The same bits read as another dtype of the same size; x itself without one.

    Raises:
        DtypeError: dtypes of different sizes.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.view(tg.tensor([1.0]), "int32").tolist()
        [1065353216]
    """
    return convert_to_tensor(x) if dtype is None else bitcast(x, dtype)


def bitcast(x: Any, dtype: Any) -> Tensor:
    """The same bits read as another dtype of the same size.

    Args:
        x: of any shape and dtype.
        dtype: one of as many bytes.

    Returns:
        The shape of x.

    Example:
        >>> import tabgrad as tg
        >>> tg.bitcast(tg.tensor([1.0]), "int32").tolist()
        [1065353216]
    """
    node, want = node_of(x), as_dtype(dtype)
    return Tensor(node if node.dtype is want else make("bitcast", node, dtype=want))


@on_parts()
def stop_gradient(variable: Any) -> Tensor:
    """A tensor or Variable, through which no gradient flows.

    Args:
        variable: of any shape and dtype, which the result has, too.

    Example:
        >>> import tabgrad as tg
        >>> tg.grad(lambda x: x * tg.stop_gradient(x))(tg.tensor(3.0)).item()
        3.0
    """
    return Tensor(make("stop", node_of(variable)))
