"""Normalisation: batch, layer, group, RMS and local response; vectors of norm 1.

Half precision is computed in float32 and rounded once at the end. Means divide by `count`, so a
batch with fewer true rows is normalised by its own statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad.dtypes import DType, float32
from tabgrad.errors import ArgumentError, NotSupportedError, ShapeError
from tabgrad.ir.graph import make
from tabgrad.ops import elementwise as e
from tabgrad.ops import manipulation as m
from tabgrad.ops import reduction as r
from tabgrad.ops.arguments import axes_of, axis_of, common
from tabgrad.tensor import Tensor

Axis = int | Sequence[int]

EPSILON = 1e-7
"""Keras's `config.epsilon()`: what a function adds whose `epsilon` is None."""

SMALLEST = 2.0**-126
"""The smallest normal float32: what is divided by is never below."""


def _wide(name: str, x: Any) -> tuple[Tensor, DType]:
    """x in at least float32, and the dtype its result shall have."""
    (node,) = common(name, x, floating=True)
    wide = e.cast(Tensor(node), float32) if node.dtype.itemsize < 4 else Tensor(node)
    return wide, node.dtype


def _placed(name: str, what: str, value: Any, x: Tensor, axes: Sequence[int]) -> Tensor:
    """A parameter of the sizes of `axes`, with axes of 1 for the others of x."""
    t = e.cast(e.convert_to_tensor(value), x.dtype)
    if len(t.shape) == len(x.shape):
        wanted = t.shape
        fits = all(n in (1, x.shape[d]) for d, n in enumerate(t.shape))
    else:
        wanted = tuple(n if d in axes else 1 for d, n in enumerate(x.shape))
        fits = t.shape == tuple(x.shape[d] for d in axes)
    if not fits:
        raise ShapeError(
            f"{name} expected {what} of shape {[x.shape[d] for d in axes]}, the sizes of axes "
            f"{list(axes)} of x {list(x.shape)}; received {list(t.shape)}. "
            "Its sizes are those of the axes that are normalised, in their order"
        )
    return m.reshape(t, wanted)


def moments(
    x: Any, axes: Axis, keepdims: bool = False, synchronized: bool = False
) -> tuple[Tensor, Tensor]:
    """Mean and variance along `axes`.

    Args:
        x: a tensor of any shape.
        axes: one axis or several.
        keepdims: keep the axes with size 1.
        synchronized: only False: there is one device.

    Returns:
        Of a float dtype, float32 for integers.

    Raises:
        NotSupportedError: synchronized=True.

    Example:
        >>> import tabgrad as tg
        >>> mean, variance = tg.nn.moments([1.0, 3.0], axes=0)
        >>> float(mean), float(variance)
        (2.0, 1.0)
    """
    if synchronized:
        raise NotSupportedError(
            "moments expected synchronized=False; received True. There is one device: leave it out"
        )
    t, dtype = _wide("moments", x)
    mean, variance = r.mean(t, axes, keepdims), r.var(t, axes, keepdims=keepdims)
    return e.cast(mean, dtype), e.cast(variance, dtype)


def batch_normalization(
    x: Any,
    mean: Any,
    variance: Any,
    axis: int,
    offset: Any = None,
    scale: Any = None,
    epsilon: float = 1e-3,
) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset (Ioffe and Szegedy, 2015).

    Args:
        x: a tensor of any shape.
        mean, variance: one number for each place on `axis`.
        axis: the axis of the channels.
        offset, scale: one number for each place on `axis`, or None.
        epsilon: added to the variance.

    Raises:
        ShapeError: statistics or parameters of another size.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.tensor([[1.0], [3.0]])
        >>> tg.nn.batch_normalization(x, [2.0], [1.0], axis=-1, epsilon=0.0).tolist()
        [[-1.0], [1.0]]
    """
    name = "batch_normalization"
    t, dtype = _wide(name, x)
    where = (axis_of(name, axis, len(t.shape)),)
    # One factor and one shift for a channel: whatever made x can take both as its epilogue.
    factor = e.rsqrt(_placed(name, "a variance", variance, t, where) + epsilon)
    if scale is not None:
        factor = factor * _placed(name, "a scale", scale, t, where)
    shift = e.negative(_placed(name, "a mean", mean, t, where)) * factor
    if offset is not None:
        shift = shift + _placed(name, "an offset", offset, t, where)
    return e.cast(t * factor + shift, dtype)


def layer_normalization(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    axis: Axis = -1,
    epsilon: float | None = None,
    rms_scaling: bool = False,
) -> Tensor:
    """x with mean 0 and variance 1 along `axis`, times gamma, plus beta (Ba et al., 2016).

    Args:
        x: a tensor of any shape.
        gamma, beta: numbers shaped like the axes normalised, or None.
        axis: one axis or several.
        epsilon: added to the variance; None is 1e-7.
        rms_scaling: leave the mean and beta alone, as Keras's old option; see `rms_normalization`.

    Raises:
        ShapeError: parameters of another shape.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.layer_normalization([[1.0, 3.0]], epsilon=0.0).tolist()
        [[-1.0, 1.0]]
    """
    name = "layer_normalization"
    t, dtype = _wide(name, x)
    axes = axes_of(name, axis if isinstance(axis, int) else tuple(axis), len(t.shape))
    centred = t - r.mean(t, axes, True)
    variance = r.mean(e.square(centred), axes, True)
    inverse = e.rsqrt(variance + (EPSILON if epsilon is None else epsilon))
    result = (t if rms_scaling else centred) * inverse
    if gamma is not None:
        result = result * _placed(name, "a gamma", gamma, t, axes)
    if beta is not None and not rms_scaling:
        result = result + _placed(name, "a beta", beta, t, axes)
    return e.cast(result, dtype)


def group_normalization(
    x: Any,
    groups: int = 32,
    gamma: Any = None,
    beta: Any = None,
    axis: int = -1,
    epsilon: float = 1e-3,
) -> Tensor:
    """Mean 0 and variance 1 in each sample and group of channels (Wu and He, 2018).

    Args:
        x: (batch, ..., channels), or the channels on another `axis`.
        groups: number of groups; 1 is layer, -1 or the number of channels instance normalisation.
        gamma, beta: a number for each channel, or None.
        axis: the axis of the channels.
        epsilon: added to the variance.

    Raises:
        ArgumentError: a number of groups that does not divide the channels.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.tensor([[1.0, 3.0, 10.0, 30.0]])
        >>> tg.nn.group_normalization(x, 2, epsilon=0.0).tolist()
        [[-1.0, 1.0, -1.0, 1.0]]
    """
    name = "group_normalization"
    t, dtype = _wide(name, x)
    shape = t.shape
    at = axis_of(name, axis, len(shape))
    if at == 0:
        raise ArgumentError(
            f"{name} expected the batch on axis 0 and channels on another; received axis={axis}. "
            "Move the batch first with tg.moveaxis"
        )
    count = shape[at] if groups == -1 else groups
    if not isinstance(count, int) or count < 1 or shape[at] % count:
        raise ArgumentError(
            f"{name} expected a number of groups that divides {shape[at]} channels; received "
            f"{groups}. "
            "Choose a divisor; as many groups as channels normalise each by itself"
        )
    split = m.reshape(t, (*shape[:at], count, shape[at] // count, *shape[at + 1 :]))
    axes = tuple(d for d in range(1, len(shape) + 1) if d != at)
    centred = split - r.mean(split, axes, True)
    inverse = e.rsqrt(r.mean(e.square(centred), axes, True) + epsilon)
    result = m.reshape(centred * inverse, shape)
    if gamma is not None:
        result = result * _placed(name, "a gamma", gamma, t, (at,))
    if beta is not None:
        result = result + _placed(name, "a beta", beta, t, (at,))
    return e.cast(result, dtype)


def rms_normalization(
    x: Any, scale: Any = None, axis: Axis = -1, epsilon: float | None = None
) -> Tensor:
    """x divided by its root mean square along `axis` (Zhang and Sennrich, 2019).

    Args:
        x: a tensor of any shape.
        scale: factors that broadcast to x, or None.
        axis: one axis or several.
        epsilon: added to the mean square; None is 1e-7.

    Returns:
        Of a float dtype, float32 for integers.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.rms_normalization([[3.0, -3.0]], epsilon=0.0).tolist()
        [[1.0, -1.0]]
    """
    t, dtype = _wide("rms_normalization", x)
    if not t.shape:
        t = m.reshape(t, (1,))
    axes = axes_of("rms_normalization", axis, len(t.shape))
    square = r.mean(e.square(t), axes, True)
    result = t * e.rsqrt(square + (EPSILON if epsilon is None else epsilon))
    if scale is not None:
        result = result * e.cast(e.convert_to_tensor(scale), t.dtype)
    return e.cast(result, dtype)


def local_response_normalization(
    x: Any,
    depth_radius: int = 5,
    bias: float = 1.0,
    alpha: float = 1.0,
    beta: float = 0.5,
    axis: int = -1,
) -> Tensor:
    """x / (bias + alpha * sum of squares of the neighbouring channels)**beta
    (Krizhevsky et al., 2012), as `tf.nn.local_response_normalization`.

    Args:
        x: a tensor of any shape.
        depth_radius: how many channels on each side count.
        bias: above 0, so that nothing is divided by 0.
        alpha, beta: factor and exponent.
        axis: the axis of the channels.

    Returns:
        Of a float dtype, float32 for integers.

    Raises:
        ArgumentError: a negative radius.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.local_response_normalization([[3.0, 4.0]], bias=0.0).tolist()
        [[0.6000000238418579, 0.800000011920929]]
    """
    name = "local_response_normalization"
    (node,) = common(name, x, floating=True)
    rank = len(node.shape)
    at = axis_of(name, axis, rank)
    if not isinstance(depth_radius, int) or depth_radius < 0:
        raise ArgumentError(f"{name} expected a radius of at least 0; received {depth_radius}")

    def here(value: Any, other: Any) -> tuple[Any, ...]:
        return tuple(value if d == at else other for d in range(rank))

    t = Tensor(node)
    squares = make(
        "window_reduce",
        e.square(t).node,
        op="sum",
        window=here(2 * depth_radius + 1, 1),
        strides=(1,) * rank,
        padding=here((depth_radius, depth_radius), (0, 0)),
        dilation=(1,) * rank,
    )
    base = Tensor(squares) * alpha + bias
    if beta == 0.5:
        return t * e.rsqrt(base)
    return t / base if beta == 1 else t * e.power(base, -beta)


def normalize(x: Any, axis: Axis = -1, order: int = 2, epsilon: float | None = None) -> Tensor:
    """x / max(its norm along `axis`, epsilon).

    Args:
        x: a tensor of any shape.
        axis: one axis or several.
        order: of the norm: 1 sums magnitudes, 2 is Euclid's.
        epsilon: the smallest norm that is divided by; None is 1e-7.

    Raises:
        ArgumentError: an order that is not an int of at least 1.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.normalize([3.0, 4.0]).tolist()
        [0.6000000238418579, 0.800000011920929]
    """
    if not isinstance(order, int) or isinstance(order, bool) or order < 1:
        raise ArgumentError(
            f"normalize expected order to be an int of at least 1; received {order!r}"
        )
    t = Tensor(common("normalize", x, floating=True)[0])
    if not t.shape:
        t = m.reshape(t, (1,))
    axes = axes_of("normalize", axis, len(t.shape))
    least = EPSILON if epsilon is None else epsilon
    # The bound is under the root: at 0 the root has no slope.
    if order == 2:
        square = r.sum(e.square(t), axes, True)
        return t * e.rsqrt(e.maximum(square, max(least * least, SMALLEST)))
    if order == 1:
        return t / e.maximum(r.sum(e.abs(t), axes, True), least)
    # Powers of numbers up to 1 do not overflow.
    largest = e.stop_gradient(e.maximum(r.max(e.abs(t), axes, True), max(least, SMALLEST)))
    powers = r.sum(e.power(e.abs(t) / largest, order), axes, True)
    norm = largest * e.power(e.maximum(powers, SMALLEST), 1.0 / order)
    return t / e.maximum(norm, least)


def l2_normalize(x: Any, axis: Axis | None = None, epsilon: float = 1e-12) -> Tensor:
    """x / sqrt(max(sum of squares along `axis`, epsilon)), as `tf.math.l2_normalize`.

    Args:
        x: a tensor of any shape.
        axis: one axis, several, or None for all.
        epsilon: the smallest square of a norm that is divided by.

    Returns:
        Of a float dtype, float32 for integers.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.l2_normalize([3.0, 4.0]).tolist()
        [0.6000000238418579, 0.800000011920929]
    """
    t = Tensor(common("l2_normalize", x, floating=True)[0])
    return t * e.rsqrt(e.maximum(r.sum(e.square(t), axis, True), epsilon))
