"""Parts, neighbours and kinds of numbers: signs, exponents, infinities, remainders, divisors.

All results are exact. Functions of floats turn integers into float32, where not said otherwise.
Comparisons with a tolerance and casts that saturate are here, too.
"""

from __future__ import annotations

import math
from typing import Any

from tabgrad import dtypes, realize
from tabgrad.dtypes import bool_
from tabgrad.errors import DtypeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import aligned, common, is_complex, node_of, on_parts, parts_of
from tabgrad.ops.composing import (
    bits_type,
    composed,
    constant,
    sign_mask,
    with_sign_of,
    with_slopes,
)
from tabgrad.ops.dtype_functions import finfo
from tabgrad.ops.reduction import all as all_
from tabgrad.tensor import Tensor


def copysign(x1: Any, x2: Any) -> Tensor:
    """|x1| with the sign of x2, also that of zeros and NaN (IEEE 754).

    Args:
        x1: real numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted; integers become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.copysign([1.0, -2.0], [-0.0, 3.0]).tolist()
        [-1.0, 2.0]
    """

    def slopes(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        same = e.equal(_sign_bit(x), _sign_bit(y))
        one = constant(x, 1)
        return e.where(same, one, -one), constant(y, 0)

    return composed("copysign", with_sign_of, x1, x2, slopes=slopes)


def _sign_bit(x: Tensor) -> Tensor:
    return e.less(e.bitcast(x, bits_type(x.dtype)), 0)


def signbit(x: Any) -> Tensor:
    """True where the sign bit is set: negative numbers, -0.0 and some NaN.

    Args:
        x: real numbers of any shape.

    Returns:
        Bools of that shape.

    Example:
        >>> import tabgrad as tg
        >>> tg.signbit([-0.0, 0.0, -3.0]).tolist()
        [True, False, True]
    """
    node = node_of(x)
    if node.dtype.is_float:
        return _sign_bit(Tensor(node))
    if node.dtype.kind in "bu":
        return Tensor(b.full(node.shape, False, bool_))
    return e.less(Tensor(node), 0)


def nextafter(x1: Any, x2: Any) -> Tensor:
    """The next number after x1 in the direction of x2; x2 where they are equal (IEEE 754).

    The gradient is that of x1.

    Args:
        x1: real numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted; integers become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.nextafter(0.0, 1.0).tolist() == 2.0**-149
        True
    """
    nodes = aligned("nextafter", x1, x2, floating=True)
    with realize.capture_scope():
        x, y = map(Tensor, nodes)
        kind, sign = bits_type(x.dtype), sign_mask(x.dtype)
        bits = e.bitcast(x, kind)
        away = e.equal(e.less(x, y), e.greater_equal(bits, 0))
        step = bits + e.where(away, constant(bits, 1), constant(bits, -1))
        # From either zero the smallest number with the sign of the direction.
        smallest = e.bitwise_or(e.bitwise_and(e.bitcast(y, kind), sign), 1)
        moved = e.bitcast(e.where(e.equal(x, 0.0), smallest, step), x.dtype)
        moved = e.where(e.equal(x, y), y, e.where(e.isnan(x), x, e.where(e.isnan(y), y, moved)))
        slopes = constant(x, 1), constant(y, 0)
        return Tensor(with_slopes(moved.node, nodes, lambda x, y: slopes))


def ldexp(x1: Any, x2: Any) -> Tensor:
    """x1 * 2**x2 for integers x2, rounded once.

    Args:
        x1: real numbers of any shape; integers become float32.
        x2: integers; the shapes broadcast.

    Raises:
        DtypeError: x2 is not of an integer dtype.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.ldexp(1.5, [1, -2]).tolist()
        [3.0, 0.375]
    """
    power = node_of(x2)
    if not power.dtype.is_integer:
        raise DtypeError(
            f"ldexp expected exponents of an integer dtype; received {power.dtype.name}. Cast "
            "them, or multiply by tg.ops.exp2(x2)"
        )
    (node,) = common("ldexp", x1, floating=True)
    wide = dtypes.float64 if node.dtype is dtypes.float64 else dtypes.float32
    kind, bias, fraction = (
        (dtypes.int64, 1023, 52) if wide is dtypes.float64 else (dtypes.int32, 127, 23)
    )
    with realize.capture_scope():
        x = Tensor(b.cast(node, wide))
        limit = 3 * (bias - 1)
        if power.dtype.itemsize > 1:
            high = min(limit, dtypes.limits(power.dtype)[1])
            low = max(-limit, dtypes.limits(power.dtype)[0])
            n = e.cast(e.clip(Tensor(power), low, high), kind)
        else:
            n = e.cast(Tensor(power), kind)
        # Three factors, for one alone may overflow. The last is the largest, so that only that
        # product is rounded: where an earlier one is, the result is 0.
        last = e.clip(n, 1 - bias, bias)
        middle = e.clip(n - last, 1 - bias, bias)
        for part in (n - last - middle, middle, last):
            x = x * e.bitcast(e.bitwise_left_shift(part + bias, fraction), wide)
        return Tensor(b.cast(x.node, node.dtype))


def heaviside(x1: Any, x2: Any) -> Tensor:
    """0 below 0, 1 above, x2 at 0; NaN for NaN.

    Args:
        x1: real numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted; integers become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.heaviside([-1.0, 0.0, 2.0], 0.5).tolist()
        [0.0, 0.5, 1.0]
    """

    def body(x: Tensor, y: Tensor) -> Tensor:
        step = e.where(e.greater(x, 0.0), 1.0, e.where(e.less(x, 0.0), 0.0, y))
        return e.where(e.isnan(x), math.nan, step)

    def slopes(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        zero = constant(x, 0)
        return zero, e.where(e.equal(x, 0.0), 1.0, zero)

    return composed("heaviside", body, x1, x2, slopes=slopes)


def fmod(x1: Any, x2: Any) -> Tensor:
    """The exact remainder of x1 / x2 with the sign of x1, as C's; integers keep their dtype.

    NaN for an infinite x1 or a zero x2; integers modulo 0 give 0.

    Args:
        x1: real numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.fmod([-7.0, 7.0], [3.0, -3.0]).tolist()
        [-1.0, 1.0]
    """
    nodes = aligned("fmod", x1, x2)
    if nodes[0].dtype.is_float:

        def slopes(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return constant(x, 1), -e.trunc(x / y)

        def body(x: Tensor, y: Tensor) -> Tensor:
            return with_sign_of(e.mod(e.abs(x), e.abs(y)), x)

        return composed("fmod", body, x1, x2, slopes=slopes)
    x, y = (Tensor(b.cast(n, dtypes.int32) if n.dtype is bool_ else n) for n in nodes)
    floored = e.mod(x, y)
    if x.dtype.kind == "u":
        return floored
    other = e.logical_and(e.not_equal(floored, 0), e.not_equal(e.less(floored, 0), e.less(x, 0)))
    return e.where(other, floored - y, floored)


@on_parts()
def nan_to_num(
    x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """x with numbers for NaN and the infinities; by default 0 and the largest and lowest finite.

    Args:
        x: of any shape, real or complex; the result has its shape and dtype.
        nan: what takes the place of NaN.
        posinf: of inf; the largest finite number by default.
        neginf: of -inf; the lowest finite number by default.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.nan_to_num([float("nan"), 2.0], nan=-1.0).tolist()
        [-1.0, 2.0]
    """
    node = node_of(x)
    if not node.dtype.is_float:
        return Tensor(node)
    t, largest = Tensor(node), finfo(node.dtype).max
    high = largest if posinf is None else posinf
    low = -largest if neginf is None else neginf
    result = e.where(e.equal(t, math.inf), high, e.where(e.equal(t, -math.inf), low, t))
    return e.where(e.isnan(t), nan, result)


def isposinf(x: Any) -> Tensor:
    """True where x is +infinity.

    Args:
        x: real numbers of any shape.

    Returns:
        Bools of that shape.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.isposinf([float("inf"), -float("inf")]).tolist()
        [True, False]
    """
    return _is(x, math.inf)


def isneginf(x: Any) -> Tensor:
    """True where x is -infinity.

    Args:
        x: real numbers of any shape.

    Returns:
        Bools of that shape.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.isneginf([float("inf"), -float("inf")]).tolist()
        [False, True]
    """
    return _is(x, -math.inf)


def _is(x: Any, value: float) -> Tensor:
    node = node_of(x)
    if not node.dtype.is_float:
        return Tensor(b.full(node.shape, False, bool_))
    return Tensor(b.eq(node, b.like(node, value)))


def _integers(name: str, *xs: Any) -> list[Node]:
    nodes = aligned(name, *xs)
    if not nodes[0].dtype.is_integer:
        raise DtypeError(
            f"{name} expected arguments of an integer dtype; received {nodes[0].dtype.name}. Cast "
            "them to integers"
        )
    return nodes


def gcd(x1: Any, x2: Any) -> Tensor:
    """The greatest common divisor of integers, not negative; gcd(0, 0) is 0.

    Of the smallest integer of a dtype and itself or 0 it is that integer, as in NumPy: it wraps.

    Args:
        x1: integers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.gcd([12, -8], 18).tolist()
        [6, 2]
    """
    return Tensor(make("gcd", *_integers("gcd", x1, x2)))


def lcm(x1: Any, x2: Any) -> Tensor:
    """The least common multiple of integers, not negative; 0 where either is. Wraps on overflow.

    Args:
        x1: integers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.lcm([4, 0], 6).tolist()
        [12, 0]
    """
    x, y = _integers("lcm", x1, x2)
    divisor = make("gcd", x, y)
    if x.dtype.kind == "i":
        x, y = make("abs", x), make("abs", y)
    return Tensor(b.mul(make("floordiv", x, divisor), y))


def fabs(x: Any) -> Tensor:
    """|x| as a float.

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.fabs([-2, 3]).tolist()
        [2.0, 3.0]
    """
    return e.abs(Tensor(common("fabs", x, floating=True)[0]))


def fmax(x1: Any, x2: Any) -> Tensor:
    """The larger; where one is NaN, the other (IEEE 754-2008 maxNum).

    Args:
        x1: real numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.fmax([1.0, float("nan")], [2.0, 3.0]).tolist()
        [2.0, 3.0]
    """
    return _ignoring_nan("max", *aligned("fmax", x1, x2))


def fmin(x1: Any, x2: Any) -> Tensor:
    """The smaller; where one is NaN, the other (IEEE 754-2008 minNum).

    Args:
        x1: real numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.fmin([1.0, float("nan")], [2.0, 3.0]).tolist()
        [1.0, 3.0]
    """
    return _ignoring_nan("min", *aligned("fmin", x1, x2))


def _ignoring_nan(name: str, x: Node, y: Node) -> Tensor:
    if x.dtype.is_float:
        x, y = b.select(make("ne", x, x), y, x), b.select(make("ne", y, y), x, y)
    return Tensor(make(name, x, y))


def divide_no_nan(x1: Any, x2: Any) -> Tensor:
    """x1 / x2, and 0 where x2 is 0, with gradients 0 there.

    Args:
        x1: real numbers of any shape.
        x2: likewise; the shapes broadcast, the dtypes are promoted; integers become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.divide_no_nan([1.0, 2.0], [0.0, 4.0]).tolist()
        [0.0, 0.5]
    """
    x, y = map(Tensor, aligned("divide_no_nan", x1, x2, floating=True))
    zero = e.equal(y, 0.0)
    return e.where(zero, 0.0, e.divide(x, e.where(zero, 1.0, y)))


def isclose(
    x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """True where |x1 - x2| <= atol + rtol * |x2|; infinities are close to themselves.

    Args:
        x1: numbers of any shape.
        x2: likewise; the shapes broadcast.
        rtol: how far they may be apart, as a share of the size of x2.
        atol: how far beside that.
        equal_nan: whether NaN is close to NaN.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.isclose([1.0, 2.0], [1.0000001, 2.1]).tolist()
        [True, False]
    """
    if is_complex(x1) or is_complex(x2):
        x, y = e.convert_to_tensor(x1), e.convert_to_tensor(x2)
    else:
        x, y = map(Tensor, aligned("isclose", x1, x2, floating=True))
    near = e.less_equal(e.abs(x - y), e.abs(y) * rtol + atol)
    close = e.logical_or(e.logical_and(near, e.isfinite(y)), e.equal(x, y))
    if equal_nan:
        close = e.logical_or(close, e.logical_and(e.isnan(x), e.isnan(y)))
    return close


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Tensor:
    """Whether two arrays have the same shape and the same elements, a 0-d bool.

    Args:
        a1: of any shape and dtype.
        a2: likewise.
        equal_nan: whether NaNs count as equal.

    Example:
        >>> import tabgrad as tg
        >>> bool(tg.array_equal([1, 2], [1.0, 2.0])), bool(tg.array_equal([1], [1, 1]))
        (True, False)
    """
    one, other = Tensor(*parts_of(a1)), Tensor(*parts_of(a2))
    if one.shape != other.shape:
        return Tensor(b.full((), False, bool_))
    same = e.equal(one, other)
    if equal_nan:
        same = e.logical_or(same, e.logical_and(e.isnan(one), e.isnan(other)))
    return all_(same)


def allclose(
    x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """True where all elements are close, as a 0-d bool tensor; see `isclose`.

    Args:
        x1: numbers of any shape.
        x2: likewise; the shapes broadcast.
        rtol: how far they may be apart, as a share of the size of x2.
        atol: how far beside that.
        equal_nan: whether NaN is close to NaN.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.allclose([1.0, 2.0], [1.0000001, 2.0]).tolist()
        True
    """
    return all_(isclose(x1, x2, rtol, atol, equal_nan))


def isreal(x: Any) -> Tensor:
    """True where the imaginary part is 0: everywhere in a real tensor.

    Args:
        x: of any shape and dtype.

    Returns:
        Bools of that shape.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.isreal(tg.complex([1.0, 2.0], [0.0, 3.0])).tolist()
        [True, False]
    """
    real, imag = parts_of(x)
    if imag is None:
        return Tensor(b.full(real.shape, True, bool_))
    return Tensor(b.eq(imag, b.like(imag, 0)))


def saturate_cast(x: Any, dtype: Any) -> Tensor:
    """x converted to `dtype`, what is out of range to the nearest limit (floats: finite limit).

    NaN becomes 0 in integers.

    Args:
        x: of any shape.
        dtype: of the result.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.saturate_cast([-3, 70, 300], "uint8").tolist()
        [0, 70, 255]
    """
    source, target = Tensor(node_of(x)), dtypes.as_dtype(dtype)
    if source.dtype.is_integer and target.is_integer:
        (low, high), (lowest, highest) = dtypes.limits(source.dtype), dtypes.limits(target)
        source = e.clip(source, max(low, lowest), min(high, highest))
    elif source.dtype.is_float and target.is_float:
        largest = min(finfo(source.dtype).max, finfo(target).max)
        source = e.clip(source, -largest, largest)
    return e.cast(source, target)


left_shift, right_shift = e.bitwise_left_shift, e.bitwise_right_shift
