"""Convolution with Keras's arguments; layouts are axes' names, never copies.

`data_format` is "channels_last" (default) or "channels_first"; kernels are (*space, in, out). What
windows have in common with pooling (sizes, padding, formats) is here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import make
from tabgrad.ops.arguments import common
from tabgrad.tensor import Tensor

Spatial = int | Sequence[int]
Padding = str | int | Sequence[Sequence[int]]


def tuple_of(name: str, value: Spatial, n: int) -> tuple[int, ...]:
    """A positive entry for each of n spatial axes."""
    given = (value,) * n if isinstance(value, int) else tuple(value)
    if len(given) != n or any(not isinstance(v, int) or v < 1 for v in given):
        raise ArgumentError(
            f"expected {name} to be a positive int or {n} of them; received {value}. "
            "One number stands for every axis"
        )
    return given


def channels_last(data_format: str | None) -> bool:
    """Whether the channel axis is the last; raises ArgumentError on an unknown format."""
    if data_format not in (None, "channels_last", "channels_first"):
        raise ArgumentError(
            f"expected data_format 'channels_last' or 'channels_first'; received {data_format!r}. "
            "None is channels_last"
        )
    return data_format != "channels_first"


def same_padding(n: int, span: int, stride: int) -> tuple[int, int]:
    """Padding that makes the output ceil(n / stride) long, the odd one behind (as TensorFlow)."""
    total = max((-(-n // stride) - 1) * stride + span - n, 0)
    return total // 2, total - total // 2


def padding_of(
    name: str,
    padding: Padding,
    sizes: Sequence[int],
    spans: Sequence[int],
    strides: Sequence[int],
    causal: bool = False,
) -> tuple[tuple[int, int], ...]:
    """(before, after) for each spatial axis: by name, one int for all sides, or pairs given."""
    n = len(sizes)
    if padding == "valid":
        return ((0, 0),) * n
    if padding == "same":
        return tuple(map(same_padding, sizes, spans, strides))
    if causal and padding == "causal" and n == 1:
        return ((spans[0] - 1, 0),)
    if isinstance(padding, int) and not isinstance(padding, bool) and padding >= 0:
        return ((padding, padding),) * n
    if isinstance(padding, (list, tuple)) and len(padding) == n:
        pairs = [tuple(pair) for pair in padding if isinstance(pair, (list, tuple))]
        if len(pairs) == n and all(
            len(pair) == 2 and all(isinstance(v, int) and v >= 0 for v in pair) for pair in pairs
        ):
            return tuple((lo, hi) for lo, hi in pairs)
    names = "'valid', 'same' or 'causal' (one spatial axis)" if causal else "'valid' or 'same'"
    raise ArgumentError(
        f"{name} expected padding {names}, an int of at least 0, or {n} pairs (before, after); "
        f"received {padding!r}"
    )


def _specs(rank: int, last: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(batch, feature, *space) axes of the data, (out, in, *space) axes of a Keras kernel."""
    space = range(1, rank - 1) if last else range(2, rank)
    data = (0, rank - 1 if last else 1, *space)
    return data, (rank - 1, rank - 2, *range(rank - 2))


def conv(
    inputs: Any,
    kernel: Any,
    strides: Spatial = 1,
    padding: Padding = "valid",
    data_format: str | None = None,
    dilation_rate: Spatial = 1,
) -> Tensor:
    """Convolution (cross-correlation) over 1 to 3 spatial axes.

    In float32, 3x3 convolutions of stride 1 over 8 channels (last) and more, and their gradients,
    are computed with fewer products where fused multiply-adds may be used (not with
    `deterministic=True`): by Winograd's F(2x2, 3x3), after Lavin and Gray, "Fast Algorithms for
    Convolutional Neural Networks", 2015. The largest error, over the largest result, is at most
    1.5e-6 up to 512 channels, about half that of direct sums. What is infinite or NaN reaches the
    same results as in direct sums, infinite ones perhaps as NaN; sums overflow where direct ones of
    numbers with nine times as large products might.

    Args:
        inputs: (batch, *space, channels), or channels first.
        kernel: (*space, channels per group, filters); fewer channels than the inputs have make
            groups.
        strides, dilation_rate: an int or one for each spatial axis.
        padding: "valid" (none), "same" (output of ceil(size / stride)), "causal" for one axis, an
            int for all sides, or a pair (before, after) for each spatial axis.
        data_format: "channels_last" (default) or "channels_first".

    Returns:
        (batch, *space, filters), or channels first; floating point.

    Raises:
        ShapeError: channels that do not fit, or a kernel larger than the padded inputs.
        ArgumentError: a padding, a format or sizes that are not as above.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.conv(tg.ones((2, 8, 8, 3)), tg.ones((3, 3, 3, 16)), padding="same").shape
        (2, 8, 8, 16)
    """
    x, w = common("conv", inputs, kernel, floating=True)
    rank, last = len(x.shape), channels_last(data_format)
    if rank < 3 or len(w.shape) != rank:
        raise ShapeError(
            "conv expected inputs (batch, *space, channels) and a kernel (*space, in, out) of the "
            f"same rank; received {list(x.shape)} and {list(w.shape)}. "
            "Insert the missing axis: inputs[None] is a batch of one"
        )
    n = rank - 2
    steps, holes = tuple_of("strides", strides, n), tuple_of("dilation_rate", dilation_rate, n)
    data, kernel_spec = _specs(rank, last)
    channels, per_group = x.shape[data[1]], w.shape[-2]
    if per_group == 0 or channels % per_group or w.shape[-1] % max(channels // per_group, 1):
        raise ShapeError(
            f"conv expected input channels divisible by the kernel's {per_group}, and filters by "
            f"the number of groups; received {channels} channels and {w.shape[-1]} filters for "
            f"inputs {list(x.shape)} and kernel {list(w.shape)}. "
            "A kernel whose in is the number of channels makes one group"
        )
    sizes = [x.shape[d] for d in data[2:]]
    spans = [(k - 1) * d + 1 for k, d in zip(w.shape[:n], holes, strict=True)]
    node = make(
        "conv",
        x,
        w,
        strides=steps,
        padding=padding_of("conv", padding, sizes, spans, steps, causal=True),
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
    padding: Padding = "valid",
    data_format: str | None = None,
    dilation_rate: Spatial = 1,
) -> Tensor:
    """Each channel convolved by kernels of its own.

    Args:
        inputs: (batch, *space, channels), or channels first.
        kernel: (*space, channels, multiplier).
        strides, padding, data_format, dilation_rate: as in `conv`.

    Returns:
        (batch, *space, channels * multiplier): the results of a channel are neighbours.

    Raises:
        ShapeError: a kernel for another number of channels.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.depthwise_conv(tg.ones((1, 5, 5, 3)), tg.ones((3, 3, 3, 2))).shape
        (1, 3, 3, 6)
    """
    x, w = common("depthwise_conv", inputs, kernel, floating=True)
    channels = x.shape[-1 if channels_last(data_format) else 1] if len(x.shape) > 2 else None
    if channels is None or len(w.shape) != len(x.shape) or w.shape[-2] != channels:
        raise ShapeError(
            "depthwise_conv expected inputs (batch, *space, channels) and a kernel (*space, "
            f"channels, multiplier) with as many channels; received {list(x.shape)} and "
            f"{list(w.shape)}. "
            "Channels are the last axis unless data_format is 'channels_first'"
        )
    grouped = b.reshape(w, (*w.shape[:-2], 1, w.shape[-2] * w.shape[-1]))
    return conv(Tensor(x), Tensor(grouped), strides, padding, data_format, dilation_rate)


def separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Spatial = 1,
    padding: Padding = "valid",
    data_format: str | None = None,
    dilation_rate: Spatial = 1,
) -> Tensor:
    """A depthwise convolution, then one that mixes channels at each place (Chollet, 2017).

    Args:
        inputs: (batch, *space, channels), or channels first.
        depthwise_kernel: (*space, channels, multiplier).
        pointwise_kernel: (1, ..., 1, channels * multiplier, filters).
        strides, padding, data_format, dilation_rate: of the depthwise step, as in `conv`.

    Raises:
        ShapeError: kernels that do not fit the inputs or each other.

    Example:
        >>> import tabgrad as tg
        >>> x, deep, point = tg.ones((1, 5, 5, 3)), tg.ones((3, 3, 3, 2)), tg.ones((1, 1, 6, 4))
        >>> tg.nn.separable_conv(x, deep, point, padding="same").shape
        (1, 5, 5, 4)
    """
    deep = depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return conv(deep, pointwise_kernel, 1, "valid", data_format)


def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: Spatial = 1,
    padding: str = "valid",
    output_padding: Spatial | None = None,
    data_format: str | None = None,
    dilation_rate: Spatial = 1,
) -> Tensor:
    """Transposed convolution: what the gradient of `conv` does to its cotangent.

    Args:
        inputs: (batch, *space, channels), or channels first.
        kernel: (*space, filters, channels).
        strides: how far apart the inputs are spread.
        padding: "valid" (size * stride + max(span - stride, 0)) or "same" (size * stride).
        output_padding: size added behind; None gives the sizes above.
        data_format, dilation_rate: as in `conv`.

    Raises:
        ShapeError: a kernel for another number of channels.
        ArgumentError: another padding.

    Example:
        >>> import tabgrad as tg
        >>> x, kernel = tg.ones((1, 4, 4, 3)), tg.ones((3, 3, 8, 3))
        >>> tg.nn.conv_transpose(x, kernel, strides=2, padding="same").shape
        (1, 8, 8, 8)
    """
    x, w = common("conv_transpose", inputs, kernel, floating=True)
    rank, last = len(x.shape), channels_last(data_format)
    n = rank - 2
    if n < 1 or len(w.shape) != rank or w.shape[-1] != x.shape[-1 if last else 1]:
        raise ShapeError(
            "conv_transpose expected inputs (batch, *space, channels) and a kernel (*space, "
            f"filters, channels) with as many channels; received {list(x.shape)} and "
            f"{list(w.shape)}. "
            "The kernel's last axis is the channels of the inputs, the one before it "
            "the filters"
        )
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
                f"conv_transpose expected padding 'valid' or 'same'; received {padding!r}. "
                "Cut or pad the result for other sizes"
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
