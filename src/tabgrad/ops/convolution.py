"""Convolution and pooling with Keras's arguments; layouts are axes' names, never copies.

`data_format` is "channels_last" (default) or "channels_first"; kernels are (*space, in, out).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import common
from tabgrad.ops.elementwise import cast, divide
from tabgrad.tensor import Tensor

Spatial = int | Sequence[int]


def tuple_of(name: str, value: Spatial, n: int) -> tuple[int, ...]:
    """A positive entry for each of n spatial axes."""
    given = (value,) * n if isinstance(value, int) else tuple(value)
    if len(given) != n or any(not isinstance(v, int) or v < 1 for v in given):
        raise ArgumentError(
            f"expected {name} to be a positive int or {n} of them; received {value}"
        )
    return given


def channels_last(data_format: str | None) -> bool:
    """Whether the channel axis is the last; raises ArgumentError on an unknown format."""
    if data_format not in (None, "channels_last", "channels_first"):
        raise ArgumentError(
            f"expected data_format 'channels_last' or 'channels_first'; received {data_format!r}"
        )
    return data_format != "channels_first"


def same_padding(n: int, span: int, stride: int) -> tuple[int, int]:
    """Padding that makes the output ceil(n / stride) long, the odd one behind (as TensorFlow)."""
    total = max((-(-n // stride) - 1) * stride + span - n, 0)
    return total // 2, total - total // 2


def _padding(
    name: str, padding: Any, sizes: Sequence[int], spans: Sequence[int], strides: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    if padding == "valid":
        return ((0, 0),) * len(sizes)
    if padding == "same":
        return tuple(map(same_padding, sizes, spans, strides))
    if padding == "causal" and len(sizes) == 1:
        return ((spans[0] - 1, 0),)
    raise ArgumentError(f"{name} expected padding 'valid' or 'same'; received {padding!r}")


def _specs(rank: int, last: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(batch, feature, *space) axes of the data, (out, in, *space) axes of a Keras kernel."""
    space = range(1, rank - 1) if last else range(2, rank)
    data = (0, rank - 1 if last else 1, *space)
    return data, (rank - 1, rank - 2, *range(rank - 2))


def conv(
    inputs: Any,
    kernel: Any,
    strides: Spatial = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Spatial = 1,
) -> Tensor:
    """Convolution (cross-correlation) over 1 to 3 spatial axes.

    Args:
        inputs: (batch, *space, channels), or channels first.
        kernel: (*space, channels per group, filters); fewer channels than the inputs have make
            groups.
        strides, dilation_rate: an int or one for each spatial axis.
        padding: "valid" (none), "same" (output of ceil(size / stride)), "causal" for one axis.

    Raises:
        ShapeError: channels that do not fit, or a kernel larger than the padded inputs.
    """
    x, w = common("conv", inputs, kernel, floating=True)
    rank, last = len(x.shape), channels_last(data_format)
    if rank < 3 or len(w.shape) != rank:
        raise ShapeError(
            "conv expected inputs (batch, *space, channels) and a kernel (*space, in, out) of the "
            f"same rank; received {list(x.shape)} and {list(w.shape)}"
        )
    n = rank - 2
    steps, holes = tuple_of("strides", strides, n), tuple_of("dilation_rate", dilation_rate, n)
    data, kernel_spec = _specs(rank, last)
    channels, per_group = x.shape[data[1]], w.shape[-2]
    if per_group == 0 or channels % per_group:
        raise ShapeError(
            f"conv expected input channels divisible by the kernel's {per_group}; received "
            f"{channels} for inputs {list(x.shape)} and kernel {list(w.shape)}"
        )
    sizes = [x.shape[d] for d in data[2:]]
    spans = [(k - 1) * d + 1 for k, d in zip(w.shape[:n], holes, strict=True)]
    node = make(
        "conv",
        x,
        w,
        strides=steps,
        padding=_padding("conv", padding, sizes, spans, steps),
        lhs_dilation=(1,) * n,
        rhs_dilation=holes,
        groups=channels // per_group,
        batch_groups=1,
        dims=(data, kernel_spec, data),
    )
    return Tensor(node)


def depthwise_conv(
    inputs: Any,
    kernel: Any,
    strides: Spatial = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Spatial = 1,
) -> Tensor:
    """Each channel convolved by kernels of its own: kernel (*space, channels, multiplier)."""
    x, w = common("depthwise_conv", inputs, kernel, floating=True)
    space, (channels, multiplier) = w.shape[:-2], w.shape[-2:]
    grouped = b.reshape(w, (*space, 1, channels * multiplier))
    return conv(Tensor(x), Tensor(grouped), strides, padding, data_format, dilation_rate)


def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: Spatial = 1,
    padding: str = "valid",
    output_padding: Spatial | None = None,
    data_format: str | None = None,
    dilation_rate: Spatial = 1,
) -> Tensor:
    """Transposed convolution (the gradient of a convolution): kernel (*space, out, in)."""
    x, w = common("conv_transpose", inputs, kernel, floating=True)
    rank, last = len(x.shape), channels_last(data_format)
    n = rank - 2
    steps, holes = tuple_of("strides", strides, n), tuple_of("dilation_rate", dilation_rate, n)
    extra = (
        [None] * n
        if output_padding is None
        else list((output_padding,) * n if isinstance(output_padding, int) else output_padding)
    )
    data, _ = _specs(rank, last)
    pads = []
    for k, s, d, more in zip(w.shape[:n], steps, holes, extra, strict=True):
        span = (k - 1) * d + 1
        # Keras's rule: the output is n*s for "same" and n*s + max(span - s, 0) for "valid"; with
        # output_padding it is (n - 1)*s + output_padding + span % 2 or span.
        if padding == "same":
            total = span - 2 + (s if more is None else span % 2 + more)
            before = min(-(-total // 2), span - 1)
            pads.append((before, total - before))
        elif padding == "valid":
            after = max(s - span, 0) if more is None else more
            pads.append((span - 1, span - 1 + after))
        else:
            raise ArgumentError(
                f"conv_transpose expected padding 'valid' or 'same'; received {padding!r}"
            )
    turned = make("flip", w, axes=tuple(range(n)))
    node = make(
        "conv",
        x,
        turned,
        strides=(1,) * n,
        padding=tuple(pads),
        lhs_dilation=steps,
        rhs_dilation=holes,
        groups=1,
        batch_groups=1,
        dims=(data, (rank - 2, rank - 1, *range(n)), data),
    )
    return Tensor(node)


def _pool(
    name: str, op: str, inputs: Any, pool_size: Spatial, strides: Spatial | None, padding: str,
    data_format: str | None,
) -> tuple[Node, Node, dict[str, Any]]:  # fmt: skip
    (x,) = common(name, inputs, floating=op == "sum")
    rank = len(x.shape)
    n = rank - 2
    if n < 1:
        raise ShapeError(f"{name} expected (batch, *space, channels); received {list(x.shape)}")
    size = tuple_of("pool_size", pool_size, n)
    steps = size if strides is None else tuple_of("strides", strides, n)
    first = 1 if channels_last(data_format) else 2
    sizes = x.shape[first : first + n]
    pads = _padding(name, padding, sizes, size, steps)

    def full(space: Sequence[Any], one: Any) -> tuple[Any, ...]:
        return (*(one,) * first, *space, *(one,) * (rank - first - n))

    params = {
        "window": full(size, 1),
        "strides": full(steps, 1),
        "padding": full(pads, (0, 0)),
        "dilation": (1,) * rank,
    }
    return make("window_reduce", x, op=op, **params), x, params


def max_pool(
    inputs: Any,
    pool_size: Spatial,
    strides: Spatial | None = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Tensor:
    """Maximum of each window; windows touch without overlapping unless `strides` says otherwise."""
    return Tensor(_pool("max_pool", "max", inputs, pool_size, strides, padding, data_format)[0])


def average_pool(
    inputs: Any,
    pool_size: Spatial,
    strides: Spatial | None = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Tensor:
    """Mean of each window, over the elements that are not padding."""
    total, x, params = _pool(
        "average_pool", "sum", inputs, pool_size, strides, padding, data_format
    )
    if all(pair == (0, 0) for pair in params["padding"]):
        area = 1
        for n in params["window"]:
            area *= n
        return Tensor(b.div(total, b.like(total, area)))
    # The window sizes at the border depend on space alone, so a batch and channel of one will do.
    flat = [n if w > 1 else 1 for n, w in zip(x.shape, params["window"], strict=True)]
    counts = make("window_reduce", b.full(flat, 1, x.dtype), op="sum", **{
        **params, "strides": tuple(
            s if w > 1 else 1 for s, w in zip(params["strides"], params["window"], strict=True)
        ),
    })  # fmt: skip
    if any(s > 1 and w == 1 for s, w in zip(params["strides"], params["window"], strict=True)):
        counts = make("window_reduce", b.full(x.shape, 1, x.dtype), op="sum", **params)
    rank = len(x.shape)
    return divide(
        Tensor(total), cast(Tensor(b.broadcast(counts, total.shape, range(rank))), x.dtype)
    )
