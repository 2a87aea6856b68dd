"""Grey-scale morphology: dilation and erosion by a structuring function (Serra, 1982)."""

from __future__ import annotations

import math
from typing import Any

from tabgrad.errors import ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import make
from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import common
from tabgrad.ops.convolution import Padding, Spatial, channels_last, padding_of, tuple_of
from tabgrad.ops.patches import outputs, padded, places
from tabgrad.tensor import Tensor


def dilation2d(
    inputs: Any,
    kernel: Any,
    strides: Spatial = 1,
    padding: Padding = "valid",
    data_format: str | None = None,
    dilation_rate: Spatial = 1,
) -> Tensor:
    """Grey-scale dilation: the maximum over a window of input + kernel (`tf.nn.dilation2d`).

    Args:
        inputs: (batch, height, width, channels), or channels first.
        kernel: (height, width, channels), the structuring function; zeros give a flat one.
        strides, dilation_rate: an int or two.
        padding: "valid", "same", an int or two pairs; padding never is the maximum.
        data_format: "channels_last" (default) or "channels_first".

    Returns:
        (batch, height', width', channels), or channels first.

    Raises:
        ShapeError: a kernel for other channels, or one that does not fit.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.reshape(tg.tensor([0.0, 3.0, 1.0, 0.0]), (1, 1, 4, 1))
        >>> tg.nn.dilation2d(x, tg.zeros((1, 3, 1)), padding="same").tolist()
        [[[[3.0], [3.0], [3.0], [1.0]]]]
    """
    return _dilated("dilation2d", inputs, kernel, strides, padding, data_format, dilation_rate)


def erosion2d(
    inputs: Any,
    kernel: Any,
    strides: Spatial = 1,
    padding: Padding = "valid",
    data_format: str | None = None,
    dilation_rate: Spatial = 1,
) -> Tensor:
    """Grey-scale erosion: the minimum over a window of input - the kernel turned around
    (`tf.nn.erosion2d`), the dual of `dilation2d`.

    Args:
        inputs, kernel, strides, padding, data_format, dilation_rate: as in `dilation2d`.

    Returns:
        (batch, height, width, channels) of the dtype of the input.

    Raises:
        ShapeError: a kernel for other channels, or one that does not fit.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.reshape(tg.tensor([5.0, 3.0, 4.0, 6.0]), (1, 1, 4, 1))
        >>> tg.nn.erosion2d(x, tg.zeros((1, 3, 1)), padding="same").tolist()
        [[[[3.0], [3.0], [3.0], [4.0]]]]
    """
    x, w = common("erosion2d", inputs, kernel, floating=True)
    turned = make("flip", w, axes=(0, 1)) if len(w.shape) == 3 else w
    return e.negative(
        _dilated(
            "erosion2d", Tensor(b.neg(x)), Tensor(turned), strides, padding, data_format,
            dilation_rate,
        )
    )  # fmt: skip


def _dilated(
    name: str,
    inputs: Any,
    kernel: Any,
    strides: Spatial,
    padding: Padding,
    data_format: str | None,
    dilation_rate: Spatial,
) -> Tensor:
    x, w = common(name, inputs, kernel, floating=True)
    last = channels_last(data_format)
    if len(x.shape) != 4 or len(w.shape) != 3 or w.shape[2] != x.shape[3 if last else 1]:
        raise ShapeError(
            f"{name} expected inputs (batch, height, width, channels) and a kernel (height, width, "
            f"channels) with as many channels; received {list(x.shape)} and {list(w.shape)}. "
            "A single image is a batch of one, inputs[None]"
        )
    first = 1 if last else 2
    size, sizes = w.shape[:2], x.shape[first : first + 2]
    steps, holes = tuple_of("strides", strides, 2), tuple_of("dilation_rate", dilation_rate, 2)
    spans = [(k - 1) * d + 1 for k, d in zip(size, holes, strict=True)]
    pads = padding_of(name, padding, sizes, spans, steps)
    high, wide = outputs(name, sizes, spans, steps, pads)
    x = padded(x, first, pads, -math.inf)
    x = make("gather", x, places(wide, size[1], steps[1], holes[1]), axis=first + 1)
    x = make("gather", x, places(high, size[0], steps[0], holes[0]), axis=first)
    window = (first + 1, first + 3)
    if last:
        here = b.broadcast(w, x.shape, (*window, 5))
    else:
        here = b.broadcast(b.permute(w, (2, 0, 1)), x.shape, (1, *window))
    raised = b.add(x, here)
    return Tensor(b.reduce("reduce_max", raised, window))
