"""Windows of images as axes of their own: unfold and fold ("im2col" and "col2im").

Pooling and convolution never store their windows; what is here does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad.dtypes import int32
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import common, node_of
from tabgrad.ops.convolution import Spatial, tuple_of
from tabgrad.tensor import Tensor


def padded(x: Node, first: int, pads: Sequence[tuple[int, int]], fill: float) -> Node:
    """x with a rim of `fill` on the axes from `first`."""
    if not any(lo or hi for lo, hi in pads):
        return x
    rest = len(x.shape) - first - len(pads)
    return make(
        "pad",
        x,
        b.const(fill, x.dtype),
        low=(*(0,) * first, *(lo for lo, _ in pads), *(0,) * rest),
        high=(*(0,) * first, *(hi for _, hi in pads), *(0,) * rest),
        interior=(0,) * len(x.shape),
    )


def places(out: int, size: int, step: int, hole: int) -> Node:
    """Index of element k of window i along an axis: i * step + k * hole, shaped (out, size)."""
    grid = (out, size)
    i, k = b.iota(grid, 0, int32), b.iota(grid, 1, int32)
    return b.add(b.mul(i, b.like(i, step)), b.mul(k, b.like(k, hole)))


def outputs(
    name: str,
    sizes: Sequence[int],
    spans: Sequence[int],
    steps: Sequence[int],
    pads: Sequence[tuple[int, int]],
) -> list[int]:
    """How many windows there are along each axis; raises ShapeError where none fits."""
    wide = [n + lo + hi for n, (lo, hi) in zip(sizes, pads, strict=True)]
    if any(n < span for n, span in zip(wide, spans, strict=True)):
        raise ShapeError(
            f"{name} expected a window that fits; received one reaching over {list(spans)} for "
            f"{list(sizes)}, with padding {wide}. "
            "Pad more, or take a smaller window or dilation"
        )
    return [(n - span) // s + 1 for n, span, s in zip(wide, spans, steps, strict=True)]


def _paired(value: Any, name: str) -> tuple[int, int]:
    given = (value, value) if isinstance(value, int) else tuple(value)
    if len(given) != 2 or any(not isinstance(v, int) or v < 0 for v in given):
        raise ArgumentError(
            f"expected {name} to be an int of at least 0 or two of them; received {value!r}"
        )
    return given[0], given[1]


def unfold(
    x: Any,
    kernel_size: Spatial,
    dilation: Spatial = 1,
    padding: Spatial = 0,
    stride: Spatial = 1,
) -> Tensor:
    """Every window of an image as a column ("im2col").

    Args:
        x: (batch, channels, height, width).
        kernel_size: height and width of a window, or one int.
        dilation, stride: an int or two.
        padding: rows and columns of 0 on each side, an int or two.

    Returns:
        (batch, channels * window size, windows), windows row by row.

    Raises:
        ShapeError: not four axes, or a window that does not fit.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.reshape(tg.arange(4.0), (1, 1, 2, 2))
        >>> tg.nn.unfold(x, (1, 2)).tolist()
        [[[0.0, 2.0], [1.0, 3.0]]]
    """
    node = node_of(x)
    if len(node.shape) != 4:
        raise ShapeError(
            f"unfold expected (batch, channels, height, width); received {list(node.shape)}. "
            "Move channels first with tg.ops.transpose(x, (0, 3, 1, 2))"
        )
    size, holes = tuple_of("kernel_size", kernel_size, 2), tuple_of("dilation", dilation, 2)
    steps, rim = tuple_of("stride", stride, 2), _paired(padding, "padding")
    pads = [(n, n) for n in rim]
    spans = [(k - 1) * d + 1 for k, d in zip(size, holes, strict=True)]
    high, wide = outputs("unfold", node.shape[2:], spans, steps, pads)
    node = padded(node, 2, pads, 0)
    # (batch, channels, high, k, wide, k): each axis gives way to (windows, elements).
    node = make("gather", node, places(wide, size[1], steps[1], holes[1]), axis=3)
    node = make("gather", node, places(high, size[0], steps[0], holes[0]), axis=2)
    batch, channels = node.shape[:2]
    node = b.permute(node, (0, 1, 3, 5, 2, 4))
    return Tensor(b.reshape(node, (batch, channels * size[0] * size[1], high * wide)))


def fold(
    x: Any,
    output_size: Spatial,
    kernel_size: Spatial,
    dilation: Spatial = 1,
    padding: Spatial = 0,
    stride: Spatial = 1,
) -> Tensor:
    """Columns put back to their windows of an image, added where windows overlap ("col2im").

    Args:
        x: (batch, channels * window size, windows), as `unfold` makes it.
        output_size: height and width of the image, or one int.
        kernel_size, dilation, padding, stride: as in `unfold`.

    Returns:
        (batch, channels, height, width), of the dtype of x; int32 for bools.

    Raises:
        ShapeError: columns that are not those of such an image.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.fold(tg.ones((1, 2, 2)), (1, 3), (1, 2)).tolist()
        [[[[1.0, 2.0, 1.0]]]]
    """
    (node,) = common("fold", x)
    if node.dtype.kind == "b":
        node = b.cast(node, int32)
    image = tuple_of("output_size", output_size, 2)
    size, holes = tuple_of("kernel_size", kernel_size, 2), tuple_of("dilation", dilation, 2)
    steps, rim = tuple_of("stride", stride, 2), _paired(padding, "padding")
    spans = [(k - 1) * d + 1 for k, d in zip(size, holes, strict=True)]
    high, wide = outputs("fold", image, spans, steps, [(n, n) for n in rim])
    area = size[0] * size[1]
    if len(node.shape) != 3 or node.shape[1] % area or node.shape[2] != high * wide:
        raise ShapeError(
            f"fold expected (batch, channels * {area}, {high * wide}), the windows of an image of "
            f"{list(image)}; received {list(node.shape)}. "
            "Give the sizes that unfold was called with"
        )
    batch, channels = node.shape[0], node.shape[1] // area
    node = b.reshape(node, (batch, channels, *size, high, wide))
    node = b.permute(node, (0, 1, 4, 2, 5, 3))
    tall, broad = (n + 2 * p for n, p in zip(image, rim, strict=True))
    rows = places(high, size[0], steps[0], holes[0])
    empty = b.full((batch, channels, tall, wide, size[1]), 0, node.dtype)
    node = make("scatter", empty, rows, node, axis=2, op="add")
    columns = places(wide, size[1], steps[1], holes[1])
    empty = b.full((batch, channels, tall, broad), 0, node.dtype)
    node = make("scatter", empty, columns, node, axis=3, op="add")
    return Tensor(
        make(
            "slice",
            node,
            start=(0, 0, *rim),
            stop=(batch, channels, rim[0] + image[0], rim[1] + image[1]),
            step=(1,) * 4,
        )
    )
