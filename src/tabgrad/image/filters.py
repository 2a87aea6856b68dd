"""Filters: blur, edges, thresholds, and the similarity of images that blurring measures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tabgrad import dtypes, ops
from tabgrad.dtypes import int32
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.image.colour import GRAY
from tabgrad.image.layout import Images, choice
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import common, node_of
from tabgrad.ops.manipulation import cut
from tabgrad.ops.windows import constant
from tabgrad.tensor import Tensor


def _gaussian(size: int, sigma: Any, dtype: Any) -> Tensor:
    """Weights (size,) that add up to 1; sigma may be a tensor."""
    if isinstance(sigma, (int, float)):
        row = [math.exp(-0.5 * ((i - (size - 1) / 2) / sigma) ** 2) for i in range(size)]
        total = math.fsum(row)
        return constant([v / total for v in row], (size,), dtype)
    at = (ops.arange(size, dtype=dtype) - (size - 1) / 2) / ops.cast(sigma, dtype)
    weights = ops.exp(ops.square(at) * -0.5)
    return weights / ops.sum(weights)


def _separable(x: Node, rows: Tensor, columns: Tensor, padding: str) -> Node:
    """Every channel convolved by the product of two vectors, one after the other."""
    channels = x.shape[3]
    out = Tensor(x)
    for shape, weights in (((-1, 1), rows), ((1, -1), columns)):
        kernel = ops.reshape(weights, (*shape, 1, 1))
        kernel = ops.broadcast_to(kernel, (*kernel.shape[:2], channels, 1))
        out = ops.depthwise_conv(out, kernel, padding=padding)
    return out.node


def gaussian_blur(
    images: Any,
    kernel_size: Sequence[int] = (3, 3),
    sigma: Any = (1.0, 1.0),
    data_format: str | None = None,
) -> Tensor:
    """Images blurred by a Gaussian; beyond the edges they are 0.

    Args:
        images: (h, w, c) or (batch, h, w, c), channels first with `data_format`.
        kernel_size: pixels of the Gaussian along width and height.
        sigma: its standard deviation along width and height, numbers or a tensor (2,).
        data_format: "channels_last" (default) or "channels_first".

    Returns:
        The shape of the images, floats.

    Raises:
        ArgumentError: sizes that are not positive.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.image.gaussian_blur(tg.ones((5, 5, 1)))[2, 2, 0]), 4)
        1.0
    """
    given = Images("gaussian_blur", images, data_format).with_pixels("gaussian_blur")
    sizes = tuple(kernel_size)
    if len(sizes) != 2 or any(not isinstance(n, int) or n < 1 for n in sizes):
        raise ArgumentError(
            f"gaussian_blur expected two positive sizes as kernel_size; received {kernel_size}. "
            "Give one odd number for both, or a pair (height, width)"
        )
    x = given.floats()
    if isinstance(sigma, (list, tuple)):
        wide, high = sigma
    else:
        both = Tensor(node_of(sigma))
        wide, high = both[0], both[1]
    across, down = (_gaussian(n, s, x.dtype) for n, s in zip(sizes, (wide, high), strict=True))
    return given.restored(_separable(x, down, across, "same"))


def sobel_edges(images: Any, data_format: str | None = None) -> Tensor:
    """The slopes of images by Sobel's filter; beyond the edges they are 0.

    Args:
        images: (h, w, c) or (batch, h, w, c), channels first with `data_format`.
        data_format: "channels_last" or "channels_first"; None for that of the configuration.

    Returns:
        The shape and the float dtype of the images, and an axis more: [downwards, to the right].

    Example:
        >>> import tabgrad as tg
        >>> tg.image.sobel_edges(tg.ones((1, 3, 3, 1)))[0, 1, 1, 0].tolist()
        [0.0, 0.0]
    """
    given = Images("sobel_edges", images, data_format).with_pixels("sobel_edges")
    x = given.floats()
    slope, smooth = (constant(v, (3,), x.dtype) for v in ([-1.0, 0.0, 1.0], [1.0, 2.0, 1.0]))
    down = given.restored(_separable(x, slope, smooth, "same"))
    right = given.restored(_separable(x, smooth, slope, "same"))
    return ops.stack([down, right], -1)


def ssim(
    image1: Any,
    image2: Any,
    max_val: float = 1.0,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    data_format: str | None = None,
) -> Tensor:
    """Structural similarity of images (Wang et al., "Image quality assessment: from error
    visibility to structural similarity", 2004).

    Args:
        image1, image2: (h, w, c) or (batch, h, w, c) of one shape, channels first with
            `data_format`.
        max_val: the largest value that a pixel can have.
        filter_size, filter_sigma: the Gaussian over which is averaged.
        k1, k2: keep the quotient finite.
        data_format: "channels_last" or "channels_first"; None for that of the configuration.

    Returns:
        One number an image, 1 for equal images.

    Raises:
        ShapeError: images of two shapes, or smaller than the filter.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.ones((12, 12, 1))
        >>> float(tg.image.ssim(x, x))
        1.0
    """
    one, other = common("ssim", image1, image2, floating=True)
    if one.shape != other.shape:
        raise ShapeError(
            f"ssim expected images of one shape; received {list(one.shape)} and "
            f"{list(other.shape)}. Resize one of them with tg.image.resize, or crop it"
        )
    given = Images("ssim", Tensor(one), data_format)
    x, y = given.node, Images("ssim", Tensor(other), data_format).node
    if min(x.shape[1:3]) < filter_size:
        raise ShapeError(
            f"ssim expected images of at least filter_size {filter_size} pixels each way; received "
            f"{list(one.shape)}. Choose a smaller filter_size"
        )
    weights = _gaussian(filter_size, float(filter_sigma), x.dtype)

    def blurred(node: Node) -> Tensor:
        return Tensor(_separable(node, weights, weights, "valid"))

    mean_x, mean_y = blurred(x), blurred(y)
    c1, c2 = (k1 * max_val) ** 2, (k2 * max_val) ** 2
    xx, yy, xy = mean_x * mean_x, mean_y * mean_y, mean_x * mean_y
    var_x, var_y = blurred(b.mul(x, x)) - xx, blurred(b.mul(y, y)) - yy
    both = blurred(b.mul(x, y)) - xy
    top = (xy * 2.0 + c1) * (both * 2.0 + c2)
    result = ops.mean(top / ((xx + yy + c1) * (var_x + var_y + c2)), (1, 2, 3))
    return result[0] if given.single else result


LEVELS = 256


def threshold(
    image: Any, method: str = "binary", inverted: bool = False, thresh_value: float = 0.5
) -> Tensor:
    """Images in black and white, as `tf.image.threshold` of TensorFlow.js.

    Args:
        image: (h, w, c) or (batch, h, w, c), values from 0 to 255; three channels are made gray
            first.
        method: "binary" (a given threshold) or "otsu" (for each image the threshold between whose
            sides the variance is largest; Otsu, 1979).
        inverted: white is what is not above the threshold.
        thresh_value: the threshold for "binary", as a share of 255.

    Returns:
        int32, 0 or 255, one channel.

    Raises:
        ArgumentError: an unknown method. ShapeError: another number of channels than 1 or 3.

    Example:
        >>> import tabgrad as tg
        >>> image = tg.tensor([[[10.0], [200.0], [220.0]]])
        >>> tg.image.threshold(image, "otsu")[0, :, 0].tolist()
        [0, 255, 255]
    """
    given = Images("threshold", image, None)
    choice("threshold", "method", method, ("binary", "otsu"))
    x = given.floats()
    if x.shape[3] not in (1, 3):
        raise ShapeError(
            f"threshold expected 1 or 3 channels; received {list(x.shape)}. "
            "Take tg.image.rgb_to_grayscale of the images first"
        )
    if x.shape[3] == 3:
        weights = constant(GRAY, (3,), x.dtype).node
        x = b.reduce("reduce_sum", b.mul(x, b.broadcast(weights, x.shape, (3,))), (3,))
        x = b.reshape(x, (*x.shape, 1))
    if method == "binary":
        level = b.full(x.shape, thresh_value * 255, x.dtype)
    else:
        level = b.broadcast(b.cast(_otsu(x), x.dtype), x.shape, (0,))
    white = make("le", x, level) if inverted else b.lt(level, x)
    return given.restored(b.scale(b.cast(white, int32), 255))


def _otsu(x: Node) -> Node:
    """The level, int32 (batch,), after which an image falls into two parts best; -1 where none."""
    batch, pixels = x.shape[0], x.shape[1] * x.shape[2]
    grid = (batch, LEVELS)
    values = b.reshape(b.cast(b.unary("round", x), int32), (batch, pixels))
    each = b.add(values, b.scale(b.iota(values.shape, 0, int32), LEVELS))
    fits = make("and", make("le", b.like(values, 0), values),
                b.lt(values, b.like(values, LEVELS)))  # fmt: skip
    each = b.select(fits, each, b.like(each, -1))
    counts = ops.segment_sum(
        Tensor(b.full((each.size,), 1, int32)), Tensor(b.reshape(each, (each.size,))),
        batch * LEVELS,
    )  # fmt: skip
    histogram = b.cast(b.reshape(counts.node, grid), x.dtype)
    weighted = b.mul(histogram, b.iota(grid, 1, x.dtype))
    square = (LEVELS, LEVELS)
    below = make("le", b.iota(square, 0, int32), b.iota(square, 1, int32))
    triangle = b.cast(below, x.dtype)
    first, moment = (
        make("dot", v, triangle, contract=((1,), (0,)), batch=((), ()))
        for v in (histogram, weighted)
    )
    all_of, all_moment = (cut(v, 1, LEVELS - 1, LEVELS) for v in (first, moment))
    second = b.sub(b.broadcast(all_of, grid, (0, 1)), first)
    rest = b.sub(b.broadcast(all_moment, grid, (0, 1)), moment)
    share = b.mul(b.scale(first, 1 / pixels), b.scale(second, 1 / pixels))
    zero = b.like(share, 0)
    split = b.lt(zero, share)
    one = b.like(share, 1)
    apart = b.sub(
        b.div(moment, b.select(split, first, one)), b.div(rest, b.select(split, second, one))
    )
    variance = b.select(split, b.mul(share, b.mul(apart, apart)), zero)
    best = make("argmax", variance, axis=1)
    any_split = b.cast(b.reduce("reduce_max", b.cast(split, int32), (1,)), dtypes.bool_)
    return b.select(any_split, best, b.like(best, -1))
