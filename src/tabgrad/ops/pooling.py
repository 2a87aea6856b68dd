"""Pooling: windows of any size, stride, padding and dilation; whole images; a fixed output size.

`data_format` is "channels_last" (default) or "channels_first". Padding never counts: a maximum is
of the elements there are, and a mean is over them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tabgrad.dtypes import DType, int32, limits
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops import reduction as r
from tabgrad.ops.arguments import common
from tabgrad.ops.convolution import Padding, Spatial, channels_last, padding_of, tuple_of
from tabgrad.tensor import Tensor


def _image(name: str, inputs: Any, data_format: str | None, floating: bool) -> tuple[Node, int]:
    """The node and its first spatial axis."""
    (x,) = common(name, inputs, floating=floating)
    if len(x.shape) < 3:
        raise ShapeError(
            f"{name} expected (batch, *space, channels), or channels first; received "
            f"{list(x.shape)}. "
            "A single image is a batch of one, inputs[None]"
        )
    return x, 1 if channels_last(data_format) else 2


class _Windows:
    """Where the windows of one call lie: a value for each axis, one for those not pooled."""

    def __init__(
        self,
        name: str,
        x: Node,
        first: int,
        pool_size: Spatial,
        strides: Spatial | None,
        padding: Padding,
        dilation_rate: Spatial,
    ) -> None:
        n = len(x.shape) - 2
        size = tuple_of("pool_size", pool_size, n)
        steps = size if strides is None else tuple_of("strides", strides, n)
        holes = tuple_of("dilation_rate", dilation_rate, n)
        sizes = x.shape[first : first + n]
        spans = [(w - 1) * d + 1 for w, d in zip(size, holes, strict=True)]
        pads = padding_of(name, padding, sizes, spans, steps)
        if any(
            max(pair) >= span and max(pair) for pair, span in zip(pads, spans, strict=True)
        ) and not isinstance(padding, str):
            raise ArgumentError(
                f"{name} expected padding below the reach of the window, {spans}, so that no "
                f"window is all padding; received {padding!r}. "
                "Pad less, or take a larger window"
            )
        self.space = range(first, first + n)

        def full(space: Sequence[Any], one: Any) -> tuple[Any, ...]:
            return (*(one,) * first, *space, *(one,) * (len(x.shape) - first - n))

        self.params = {
            "window": full(size, 1),
            "strides": full(steps, 1),
            "padding": full(pads, (0, 0)),
            "dilation": full(holes, 1),
        }

    def counts(self, x: Node, out: Sequence[int], dtype: DType) -> Node | None:
        """How many elements of x each window holds, shaped `out`; None when all are full."""
        p, total = self.params, None
        for d in self.space:
            (lo, hi), w, hole = p["padding"][d], p["window"][d], p["dilation"][d]
            if not lo and not hi:
                continue
            line = (out[d],)
            start = b.iota(line, 0, int32)
            start = b.sub(b.mul(start, b.like(start, p["strides"][d])), b.like(start, lo))
            space = b.sub(b.like(start, x.shape[d] - 1), start)
            missed = b.neg(start)
            if hole > 1:
                space = make("floordiv", space, b.like(space, hole))
                missed = b.neg(make("floordiv", start, b.like(start, hole)))
            last = make("min", space, b.like(space, w - 1))
            first = make("max", missed, b.like(missed, 0))
            along = b.cast(b.add(b.sub(last, first), b.like(last, 1)), dtype)
            along = b.broadcast(along, out, (d,))
            total = along if total is None else b.mul(total, along)
        if total is None:
            return None
        full = 1
        for d in self.space:
            full *= 1 if any(p["padding"][d]) else p["window"][d]
        return b.mul(total, b.like(total, full)) if full > 1 else total


def max_pool(
    inputs: Any,
    pool_size: Spatial,
    strides: Spatial | None = None,
    padding: Padding = "valid",
    data_format: str | None = None,
    dilation_rate: Spatial = 1,
) -> Tensor:
    """Maximum of each window.

    Args:
        inputs: (batch, *space, channels) with 1 to 3 spatial axes, or channels first.
        pool_size: size of the window, an int or one for each spatial axis.
        strides: steps of the window; None lets windows touch without overlapping.
        padding: "valid", "same", an int for all sides, or a pair for each spatial axis.
        data_format: "channels_last" (default) or "channels_first".
        dilation_rate: distance between the elements of a window.

    Raises:
        ShapeError: a window larger than the padded inputs.
        ArgumentError: a padding, a format or sizes that are not as above.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.max_pool(tg.reshape(tg.arange(4.0), (1, 4, 1)), 2).tolist()
        [[[1.0], [3.0]]]
    """
    x, first = _image("max_pool", inputs, data_format, floating=False)
    windows = _Windows("max_pool", x, first, pool_size, strides, padding, dilation_rate)
    return Tensor(make("window_reduce", x, op="max", **windows.params))


def average_pool(
    inputs: Any,
    pool_size: Spatial,
    strides: Spatial | None = None,
    padding: Padding = "valid",
    data_format: str | None = None,
    dilation_rate: Spatial = 1,
) -> Tensor:
    """Mean of each window, over the elements that are not padding.

    Args:
        inputs, pool_size, strides, padding, data_format, dilation_rate: as in `max_pool`.

    Returns:
        Of a float dtype, float32 for integers.

    Raises:
        ShapeError: a window larger than the padded inputs.
        ArgumentError: a padding, a format or sizes that are not as above.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.average_pool(tg.reshape(tg.arange(4.0), (1, 4, 1)), 2).tolist()
        [[[0.5], [2.5]]]
    """
    x, first = _image("average_pool", inputs, data_format, floating=True)
    windows = _Windows("average_pool", x, first, pool_size, strides, padding, dilation_rate)
    total = make("window_reduce", x, op="sum", **windows.params)
    counts = windows.counts(x, total.shape, x.dtype)
    if counts is None:
        area = 1
        for n in windows.params["window"]:
            area *= n
        counts = b.like(total, area)
    return Tensor(b.div(total, counts))


def max_pool_with_argmax(
    inputs: Any,
    pool_size: Spatial,
    strides: Spatial | None = None,
    padding: Padding = "valid",
    data_format: str | None = None,
    dilation_rate: Spatial = 1,
    include_batch_in_index: bool = False,
) -> tuple[Tensor, Tensor]:
    """Maximum of each window, and where it was found (`tf.nn.max_pool_with_argmax`).

    Args:
        inputs, pool_size, strides, padding, data_format, dilation_rate: as in `max_pool`.
        include_batch_in_index: count places through the whole batch instead of in each image.

    Returns:
        The maxima, and int32 row-major flat indices of the first of each, in an image of the shape
        and layout of inputs[0] (or in inputs).

    Raises:
        ShapeError: a window larger than the padded inputs, or 2**31 elements.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.reshape(tg.tensor([1.0, 5.0, 7.0, 2.0]), (1, 4, 1))
        >>> best, at = tg.nn.max_pool_with_argmax(x, 2)
        >>> best.tolist(), at.tolist()
        ([[[5.0], [7.0]]], [[[1], [2]]])
    """
    name = "max_pool_with_argmax"
    x, first = _image(name, inputs, data_format, floating=False)
    if x.size >= 2**31:
        raise ShapeError(
            f"{name} expected fewer than 2**31 elements, which int32 can count; received "
            f"{list(x.shape)}. Split the batch"
        )
    windows = _Windows(name, x, first, pool_size, strides, padding, dilation_rate)
    best = make("window_reduce", x, op="max", **windows.params)
    at = make("window_argmax", x, **windows.params)
    if not include_batch_in_index:
        image = x.size // max(x.shape[0], 1)
        before = b.mul(b.iota(at.shape, 0, int32), b.like(at, image))
        at = b.sub(at, before)
    return Tensor(best), Tensor(at)


def _whole(
    name: str, fold: Callable[..., Tensor], inputs: Any, data_format: str | None, keepdims: bool
) -> Tensor:
    x, first = _image(name, inputs, data_format, floating=False)
    return fold(Tensor(x), tuple(range(first, first + len(x.shape) - 2)), keepdims)


def global_max_pool(inputs: Any, data_format: str | None = None, keepdims: bool = False) -> Tensor:
    """Maximum of each channel of an image: (batch, *space, channels) to (batch, channels).

    Args:
        inputs: (batch, *space, channels), or channels first.
        data_format: "channels_last" (default) or "channels_first".
        keepdims: keep the spatial axes with size 1.

    Returns:
        Of the dtype of inputs.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.global_max_pool(tg.ones((2, 6, 6, 3))).shape
        (2, 3)
    """
    return _whole("global_max_pool", r.max, inputs, data_format, keepdims)


def global_average_pool(
    inputs: Any, data_format: str | None = None, keepdims: bool = False
) -> Tensor:
    """Mean of each channel of an image: (batch, *space, channels) to (batch, channels).

    Args:
        inputs, data_format, keepdims: as in `global_max_pool`.

    Returns:
        Of a float dtype, float32 for integers.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.global_average_pool(tg.ones((2, 6, 6, 3)), keepdims=True).shape
        (2, 1, 1, 3)
    """
    return _whole("global_average_pool", r.mean, inputs, data_format, keepdims)


def adaptive_max_pool(inputs: Any, output_size: Spatial, data_format: str | None = None) -> Tensor:
    """Maximum of windows that divide each spatial axis into `output_size` parts.

    Part i of an axis of n reaches from floor(i n / out) to ceil((i + 1) n / out).

    Args:
        inputs: (batch, *space, channels), or channels first.
        output_size: an int or one for each spatial axis.
        data_format: "channels_last" (default) or "channels_first".

    Raises:
        ArgumentError: an output size that is not positive.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.reshape(tg.arange(5.0), (1, 5, 1))
        >>> tg.nn.adaptive_max_pool(x, 2).tolist()
        [[[2.0], [4.0]]]
    """
    return _adaptive("adaptive_max_pool", "max", inputs, output_size, data_format)


def adaptive_average_pool(
    inputs: Any, output_size: Spatial, data_format: str | None = None
) -> Tensor:
    """Mean of windows that divide each spatial axis into `output_size` parts.

    Args:
        inputs, output_size, data_format: as in `adaptive_max_pool`.

    Raises:
        ArgumentError: an output size that is not positive.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.reshape(tg.arange(5.0), (1, 5, 1))
        >>> tg.nn.adaptive_average_pool(x, 2).tolist()
        [[[1.0], [3.0]]]
    """
    return _adaptive("adaptive_average_pool", "sum", inputs, output_size, data_format)


def _adaptive(
    name: str, op: str, inputs: Any, output_size: Spatial, data_format: str | None
) -> Tensor:
    x, first = _image(name, inputs, data_format, floating=op == "sum")
    n = len(x.shape) - 2
    wanted = tuple_of("output_size", output_size, n)
    for axis, out in zip(range(first, first + n), wanted, strict=True):
        x = _part(x, axis, out, op)
    return Tensor(x)


def _part(x: Node, axis: int, out: int, op: str) -> Node:
    """One axis divided into `out` parts, each folded: parts differ in length by one at most, so
    they are read with the longer one and what is beyond the end is masked."""
    n = x.shape[axis]
    longest = max(-(-((i + 1) * n) // out) - i * n // out for i in range(out))
    grid = (out, longest)
    part = b.iota((out,), 0, int32)
    start = make("floordiv", b.mul(part, b.like(part, n)), b.like(part, out))
    above = b.mul(b.add(part, b.like(part, 1)), b.like(part, n))
    stop = b.neg(make("floordiv", b.neg(above), b.like(part, out)))
    length = b.sub(stop, start)
    offset = b.iota(grid, 1, int32)
    gathered = make("gather", x, b.add(b.broadcast(start, grid, (0,)), offset), axis=axis)
    inside = b.lt(offset, b.broadcast(length, grid, (0,)))
    inside = b.broadcast(inside, gathered.shape, (axis, axis + 1))
    if op == "sum":
        kept = b.select(inside, gathered, b.like(gathered, 0))
        total = b.reduce("reduce_sum", kept, (axis + 1,))
        return b.div(total, b.broadcast(b.cast(length, x.dtype), total.shape, (axis,)))
    lowest = b.like(gathered, limits(x.dtype)[0])
    return b.reduce("reduce_max", b.select(inside, gathered, lowest), (axis + 1,))
