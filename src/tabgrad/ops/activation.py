"""Activation functions, as in `keras.ops` and `keras.activations`.

All take integers as float32 (relu, relu6 and threshold keep them) and keep the shape of x, but for
glu, which halves one axis. Where a formula has branches, each is finite on the whole line: a
gradient meets no infinity in the branch that was not taken.

Accuracy: within 3 ULP of the result; silu, mish, gelu and tanh_shrink within 4 ULP of x where the
result is smaller than that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tabgrad.errors import ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.cumulative import cumulative
from tabgrad.ir.graph import make
from tabgrad.ops import elementwise as e
from tabgrad.ops import reduction as r
from tabgrad.ops.arguments import axis_of, common
from tabgrad.ops.dtype_functions import finfo
from tabgrad.ops.manipulation import moveaxis, split
from tabgrad.tensor import Tensor


def _float(name: str, x: Any) -> Tensor:
    return Tensor(common(name, x, floating=True)[0])


def relu(x: Any) -> Tensor:
    """max(x, 0); NaN stays NaN, and the gradient at 0 is 0.

    Args:
        x: real numbers of any shape; the result has their shape and dtype.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.relu([-1.0, 0.0, 2.0]).tolist()
        [0.0, 0.0, 2.0]
    """
    (node,) = common("relu", x)
    zero = b.like(node, 0)
    return Tensor(b.select(make("le", node, zero), zero, node))


def relu6(x: Any) -> Tensor:
    """min(max(x, 0), 6) (Krizhevsky, 2010).

    Args:
        x: real numbers of any shape; the result has their shape and dtype.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.relu6([-1.0, 3.0, 8.0]).tolist()
        [0.0, 3.0, 6.0]
    """
    t = relu(x)
    return e.where(e.greater_equal(t, 6), 6, t)


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Tensor:
    """x above 0, negative_slope * x below (Maas et al., 2013).

    Args:
        x: real numbers of any shape; integers and bools become float32.
        negative_slope: a number.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.leaky_relu([-2.0, 3.0], negative_slope=0.5).tolist()
        [-1.0, 3.0]
    """
    t = _float("leaky_relu", x)
    return e.where(e.greater_equal(t, 0), t, e.multiply(t, negative_slope))


def prelu(x: Any, alpha: Any) -> Tensor:
    """x above 0, alpha * x below, with a slope that is learnt (He et al., 2015).

    Args:
        x: a tensor of any shape.
        alpha: slopes that broadcast to x: (channels,) for one a channel.

    Returns:
        Of the promoted float dtype.

    Raises:
        ShapeError: alpha does not broadcast to x's shape.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.prelu([[-2.0, -2.0]], [0.5, 0.25]).tolist()
        [[-1.0, -0.5]]
    """
    nodes = common("prelu", x, alpha, floating=True)
    t, slope = Tensor(nodes[0]), Tensor(nodes[1])
    result = e.where(e.greater_equal(t, 0), t, e.multiply(t, slope))
    if result.shape != t.shape:
        raise ShapeError(
            f"prelu expected slopes that broadcast to x of shape {list(t.shape)}; received "
            f"{list(slope.shape)}. Give a slope for each channel or one for all"
        )
    return result


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """x above 0, alpha * (e**x - 1) below (Clevert et al., 2015).

    Args:
        x: real numbers of any shape; integers and bools become float32.
        alpha: a number, minus the limit far below 0.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.elu([-1e9, 2.0]).tolist()
        [-1.0, 2.0]
    """
    t = _float("elu", x)
    below = e.multiply(e.expm1(e.where(e.greater(t, 0), 0.0, t)), alpha)
    return e.where(e.greater(t, 0), t, below)


def selu(x: Any) -> Tensor:
    """Scaled elu with the constants of Klambauer et al. (2017), which keep mean 0 and variance 1.

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.nn.selu(1.0)), 4)
        1.0507
    """
    return e.multiply(elu(x, 1.6732632423543772), 1.0507009873554805)


def celu(x: Any, alpha: float = 1.0) -> Tensor:
    """x above 0, alpha * (e**(x/alpha) - 1) below: smooth for every alpha (Barron, 2017).

    Args:
        x: real numbers of any shape; integers and bools become float32.
        alpha: a number, minus the limit far below 0.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.celu([-1e9, 2.0], alpha=0.5).tolist()
        [-0.5, 2.0]
    """
    t = _float("celu", x)
    below = e.expm1(e.divide(e.where(e.greater(t, 0), 0.0, t), alpha))
    return e.where(e.greater(t, 0), t, e.multiply(below, alpha))


def gelu(x: Any, approximate: bool = True) -> Tensor:
    """x * Phi(x) (Hendrycks and Gimpel, 2016), by tanh or exactly by erf.

    The exact one has an error relative to x, not to a result that is tiny.

    Args:
        x: real numbers of any shape; integers and bools become float32.
        approximate: whether to compute it by tanh instead of erf.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.nn.gelu(1.0)), 4), round(float(tg.nn.gelu(1.0, approximate=False)), 4)
        (0.8412, 0.8413)
    """
    t = _float("gelu", x)
    if not approximate:
        return e.multiply(e.multiply(t, 0.5), e.add(e.erf(e.multiply(t, math.sqrt(0.5))), 1.0))
    # (1 + tanh(u)) / 2 is sigmoid(2 u), which keeps its digits where it is tiny. Beyond 30 it is 0
    # or 1 long since, and a square would overflow in the slope.
    near = e.clip(t, -30.0, 30.0)
    inner = e.add(near, e.multiply(e.multiply(e.square(near), near), 0.044715))
    return e.multiply(t, e.sigmoid(e.multiply(inner, 2 * math.sqrt(2 / math.pi))))


def silu(x: Any) -> Tensor:
    """x * sigmoid(x) (Elfwing et al., 2017; Ramachandran et al., 2017).

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.nn.silu(1.0)), 4)
        0.7311
    """
    t = _float("silu", x)
    return e.multiply(t, e.sigmoid(t))


swish = silu


def mish(x: Any) -> Tensor:
    """x * tanh(softplus(x)) (Misra, 2019).

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.nn.mish(1.0)), 4)
        0.8651
    """
    t = _float("mish", x)
    return e.multiply(t, e.tanh(softplus(t)))


def softplus(x: Any) -> Tensor:
    """log(1 + e**x), without overflow (Dugas et al., 2001).

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> [round(v, 4) for v in tg.nn.softplus([0.0, 1000.0]).tolist()]
        [0.6931, 1000.0]
    """
    t = _float("softplus", x)
    return e.add(e.maximum(t, 0), e.log1p(e.exp(e.negative(e.abs(t)))))


def softsign(x: Any) -> Tensor:
    """x / (1 + |x|) (Turian et al., 2009).

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.softsign([-1.0, 3.0]).tolist()
        [-0.5, 0.75]
    """
    t = _float("softsign", x)
    return e.divide(t, e.add(e.abs(t), 1.0))


def squareplus(x: Any, b: float = 4) -> Tensor:
    """(x + sqrt(x**2 + b)) / 2 (Barron, 2021), for b >= 0; b = 0 is relu.

    Neither x**2 overflows nor does a sum cancel below 0.

    Args:
        x: real numbers of any shape; integers and bools become float32.
        b: a number, how round the corner is.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.squareplus([0.0, 1.5]).tolist()
        [1.0, 2.0]
    """
    t = _float("squareplus", x)
    # Scaling by a constant changes neither the root nor its slope. Finite, or infinities are NaN.
    unit = e.stop_gradient(e.clip(e.abs(t), 1.0, finfo(t.dtype).max))
    root = e.sqrt(e.square(t / unit) + (b / unit) / unit) * unit
    size = e.where(e.greater_equal(t, 0), t, e.negative(t))
    half = root * 0.5 + size * 0.5
    return e.where(e.greater_equal(t, 0), half, (b / 4) / half)


def soft_shrink(x: Any, threshold: float = 0.5) -> Tensor:
    """x moved towards 0 by `threshold`, and 0 where it would pass it (Donoho, 1995). NaN stays NaN.

    Args:
        x: real numbers of any shape; integers and bools become float32.
        threshold: a number of at least 0.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.soft_shrink([-2.0, 0.25, 2.0]).tolist()
        [-1.5, 0.0, 1.5]
    """
    t = _float("soft_shrink", x)
    moved = e.where(e.greater(t, 0), t - threshold, t + threshold)
    return e.where(e.less_equal(e.abs(t), threshold), 0.0, moved)


def hard_shrink(x: Any, threshold: float = 0.5) -> Tensor:
    """x where |x| exceeds `threshold`, 0 elsewhere. NaN stays NaN.

    Args:
        x: real numbers of any shape; integers and bools become float32.
        threshold: a number of at least 0.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.hard_shrink([-2.0, 0.25, 2.0]).tolist()
        [-2.0, 0.0, 2.0]
    """
    t = _float("hard_shrink", x)
    return e.where(e.less_equal(e.abs(t), threshold), 0.0, t)


def tanh_shrink(x: Any) -> Tensor:
    """x - tanh(x); its error is relative to x, not to the difference.

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.nn.tanh_shrink(2.0)), 4)
        1.036
    """
    t = _float("tanh_shrink", x)
    return t - e.tanh(t)


def threshold(x: Any, threshold: float, default_value: float) -> Tensor:
    """x where it exceeds `threshold`, `default_value` elsewhere.

    Args:
        x: real numbers of any shape; integers and bools become float32.
        threshold: a number.
        default_value: a number.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.threshold([-1.0, 0.5, 2.0], 1.0, -5.0).tolist()
        [-5.0, -5.0, 2.0]
    """
    t = e.convert_to_tensor(x)
    return e.where(e.greater(t, threshold), t, default_value)


def sparse_plus(x: Any) -> Tensor:
    """0 below -1, (x + 1)**2 / 4 to 1, x above: softplus with flat ends.

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.sparse_plus([-3.0, 0.0, 3.0]).tolist()
        [0.0, 0.25, 3.0]
    """
    t = _float("sparse_plus", x)
    # Clipped, so that the square is finite where it is not taken.
    middle = e.square(e.clip(t, -1.0, 1.0) + 1.0) * 0.25
    return e.where(e.less_equal(t, -1.0), 0.0, e.where(e.greater_equal(t, 1.0), t, middle))


def log_sigmoid(x: Any) -> Tensor:
    """log(sigmoid(x)), without overflow.

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> [round(v, 4) for v in tg.nn.log_sigmoid([0.0, -1000.0]).tolist()]
        [-0.6931, -1000.0]
    """
    return e.negative(softplus(e.negative(x)))


def sparse_sigmoid(x: Any) -> Tensor:
    """(x + 1) / 2 limited to [0, 1]: sigmoid with flat ends.

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.sparse_sigmoid([-3.0, 0.0, 0.5]).tolist()
        [0.0, 0.5, 0.75]
    """
    return e.clip(_float("sparse_sigmoid", x) + 1.0, 0.0, 2.0) * 0.5


def hard_sigmoid(x: Any) -> Tensor:
    """relu6(x + 3) / 6 (Howard et al., 2019).

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.hard_sigmoid([-3.0, 0.0, 9.0]).tolist()
        [0.0, 0.5, 1.0]
    """
    return e.divide(relu6(e.add(x, 3.0)), 6.0)


def hard_silu(x: Any) -> Tensor:
    """x * hard_sigmoid(x) (Howard et al., 2019).

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.hard_silu([-1.5, 1.5, 9.0]).tolist()
        [-0.375, 1.125, 9.0]
    """
    t = _float("hard_silu", x)
    return e.multiply(t, hard_sigmoid(t))


hard_swish = hard_silu


def hard_tanh(x: Any) -> Tensor:
    """x limited to [-1, 1]; the slope at the ends is 1.

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.hard_tanh([-3.0, 0.5]).tolist()
        [-1.0, 0.5]
    """
    t = _float("hard_tanh", x)
    return e.where(e.greater(t, 1), 1.0, e.where(e.less(t, -1), -1.0, t))


def glu(x: Any, axis: int = -1) -> Tensor:
    """First half of x times the sigmoid of the second half, along `axis` (Dauphin et al., 2016).

    Args:
        x: real numbers of any shape; integers and bools become float32.
        axis: the axis to halve.

    Raises:
        ShapeError: an axis of odd size.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.glu([[3.0, 0.0]]).tolist()
        [[1.5]]
    """
    t = _float("glu", x)
    where = axis_of("glu", axis, len(t.shape))
    if t.shape[where] % 2:
        raise ShapeError(
            f"glu expected an even size on axis {axis}; received shape {list(t.shape)}. Half of "
            "it are values, half are gates"
        )
    values, gates = split(t, 2, axis=where)
    return values * e.sigmoid(gates)


def _shifted(name: str, x: Any, axis: int | Sequence[int] | None) -> Tensor:
    t = _float(name, x)
    return e.subtract(t, e.stop_gradient(r.max(t, axis, True)))


def softmax(x: Any, axis: int | Sequence[int] | None = -1) -> Tensor:
    """e**x divided by its sum along `axis` (one, several, or None for all), without overflow.

    Args:
        x: real numbers of any shape; integers and bools become float32.
        axis: the axis, or axes, that are one distribution.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.softmax([1000.0, 1000.0]).tolist()
        [0.5, 0.5]
    """
    powers = e.exp(_shifted("softmax", x, axis))
    # The sum is between 1 and the number of elements: its reciprocal costs 1 ULP, and less time.
    return e.multiply(powers, e.divide(1.0, r.sum(powers, axis, True)))


def log_softmax(x: Any, axis: int | Sequence[int] | None = -1) -> Tensor:
    """log(softmax(x)), without overflow or underflow.

    Args:
        x: real numbers of any shape; integers and bools become float32.
        axis: the axis, or axes, that are one distribution.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.log_softmax([0.0, -1000.0]).tolist()
        [0.0, -1000.0]
    """
    shifted = _shifted("log_softmax", x, axis)
    return e.subtract(shifted, e.log(r.sum(e.exp(shifted), axis, True)))


def sparsemax(x: Any, axis: int = -1) -> Tensor:
    """The nearest point to x whose elements along `axis` are probabilities; many are exactly 0
    (Martins and Astudillo, 2016).

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.sparsemax([2.0, 1.5, -1.0]).tolist()
        [0.75, 0.25, 0.0]
    """
    t = _float("sparsemax", x)
    where = axis_of("sparsemax", axis, len(t.shape))
    rows = moveaxis(t, where, -1)
    rows = e.subtract(rows, e.stop_gradient(r.max(rows, -1, True)))
    # Only which elements stay is searched in the sorted row; the slope needs none of it.
    fixed = e.stop_gradient(rows)
    last = len(rows.shape) - 1
    falling = -Tensor(make("sort", b.neg(fixed.node)))
    rank = Tensor(b.iota(falling.shape, last, t.dtype)) + 1.0
    stays = e.greater(falling * rank, Tensor(cumulative(falling.node, last, "sum")) - 1.0)
    size = r.sum(e.cast(stays, t.dtype), -1, True)
    kept = e.greater(fixed, (r.sum(e.where(stays, falling, 0.0), -1, True) - 1.0) / size)
    cut = (r.sum(e.where(kept, rows, 0.0), -1, True) - 1.0) / r.sum(e.cast(kept, t.dtype), -1, True)
    return moveaxis(e.where(kept, rows - cut, 0.0), -1, where)
