"""Resizing: every output pixel is a weighted sum of a few input pixels along each axis.

Where they are and how much they weigh is known while building and computed by Python in double
precision, as in `jax.image.resize`: kernels by Keys, "Cubic convolution interpolation for digital
image processing" (1981) with a = -0.5, and Lanczos (Duchon, 1979). The axes are done one by one.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from tabgrad import dtypes
from tabgrad.dtypes import int32
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.image.layout import Images, choice
from tabgrad.image.sampling import sampled
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import axis_of, common, node_of, scalar
from tabgrad.ops.manipulation import cut
from tabgrad.ops.windows import constant
from tabgrad.tensor import Tensor

UNROLLED = 4
"""So many weighted pixels are added one by one; more are a sum along an axis."""


def _triangle(x: float) -> float:
    return max(0.0, 1 - abs(x))


def _cubic(x: float) -> float:
    x = abs(x)
    if x >= 2:
        return 0.0
    return ((1.5 * x - 2.5) * x) * x + 1 if x < 1 else ((-0.5 * x + 2.5) * x - 4) * x + 2


def _lanczos(radius: int) -> Callable[[float], float]:
    def kernel(x: float) -> float:
        if abs(x) >= radius:
            return 0.0
        at = math.pi * x
        return radius * math.sin(at) * math.sin(at / radius) / at**2 if abs(x) > 1e-8 else 1.0

    return kernel


KERNELS: dict[str, tuple[Callable[[float], float], int]] = {
    "bilinear": (_triangle, 1),
    "bicubic": (_cubic, 2),
    "lanczos3": (_lanczos(3), 3),
    "lanczos5": (_lanczos(5), 5),
}
"""By name: the kernel, and how far it reaches."""


def resize(
    images: Any,
    size: Sequence[int],
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
    *,
    align_corners: bool = False,
    half_pixel_centers: bool = True,
) -> Tensor:
    """Images in another size.

    Args:
        images: (h, w, c) or (batch, h, w, c), channels first with `data_format`.
        size: (height, width).
        interpolation: "nearest", "bilinear", "bicubic", "lanczos3" or "lanczos5".
        antialias: where the image shrinks, average over all pixels that become one.
        crop_to_aspect_ratio: cut the image to the new proportions first.
        pad_to_aspect_ratio: surround it by `fill_value` to have them.
        fill_mode: "constant", the only one.
        fill_value: what padding consists of.
        data_format: "channels_last" (default) or "channels_first".
        align_corners: put the centres of the corner pixels onto each other, as TensorFlow.js does
            with this option.
        half_pixel_centers: pixels are squares with a centre; without it pixel i is at i * scale, as
            in TensorFlow.js by default.

    Returns:
        The images in the new size and the dtype they have; integers are rounded.

    Raises:
        ArgumentError: an unknown interpolation, or both kinds of aspect ratio.
        ShapeError: images of another rank, or without pixels; a size that is not positive.

    Example:
        >>> import tabgrad as tg
        >>> image = tg.tensor([[[0.0], [1.0]]])
        >>> tg.image.resize(image, (1, 4)).tolist()
        [[[0.0], [0.25], [0.75], [1.0]]]
    """
    given = Images("resize", images, data_format)
    choice("resize", "interpolation", interpolation, ("nearest", *KERNELS))
    choice("resize", "fill_mode", fill_mode, ("constant",))
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ArgumentError(
            "resize expected crop_to_aspect_ratio or pad_to_aspect_ratio; received both. Choose one"
        )
    want = tuple(size)
    if len(want) != 2 or any(not isinstance(n, int) or n < 1 for n in want):
        raise ShapeError(
            f"resize expected a positive size (height, width); received {size}. "
            "Give it as a tuple of two ints"
        )
    node = given.node
    given.with_pixels("resize")
    if crop_to_aspect_ratio:
        node = _cropped(node, want)
    elif pad_to_aspect_ratio:
        node = _padded(node, want, fill_value)
    if interpolation != "nearest" and not node.dtype.is_float:
        node = b.cast(node, dtypes.float32)
    # The axis that shrinks most comes first: less is left for the other.
    for axis in sorted((1, 2), key=lambda d: want[d - 1] / node.shape[d]):
        node = _along(node, axis, want[axis - 1], interpolation, antialias, align_corners,
                      half_pixel_centers)  # fmt: skip
    return given.restored(node, given.dtype)


def _cropped(x: Node, size: Sequence[int]) -> Node:
    height, width = x.shape[1:3]
    rows = max(min(height, int(width * size[0] / size[1])), 1)
    columns = max(min(width, int(height * size[1] / size[0])), 1)
    top, left = (height - rows) // 2, (width - columns) // 2
    return cut(cut(x, 1, top, top + rows), 2, left, left + columns)


def _padded(x: Node, size: Sequence[int], value: float) -> Node:
    height, width = x.shape[1:3]
    top = (max(height, int(width * size[0] / size[1])) - height) // 2
    left = (max(width, int(height * size[1] / size[0])) - width) // 2
    low = (0, top, 0 if top else left, 0)
    return make("pad", x, scalar(value, x.dtype), low=low, high=low, interior=(0,) * 4)


def _along(
    x: Node, axis: int, size: int, interpolation: str, antialias: bool, corners: bool, half: bool
) -> Node:
    n = x.shape[axis]
    if n == size:
        return x  # in every mode pixel i is then taken from i
    return _summed(x, axis, _rows(n, size, interpolation, antialias, corners, half))


@lru_cache(maxsize=64)
def _rows(
    n: int, size: int, interpolation: str, antialias: bool, corners: bool, half: bool
) -> list[list[tuple[int, float]]]:
    """For each new pixel of an axis the old ones it is made of, with their weights."""
    if interpolation == "nearest":
        if corners:  # halves count as the next pixel
            gaps = max(size - 1, 1)
            nearest = [(2 * i * (n - 1) + gaps) // (2 * gaps) for i in range(size)]
        else:
            nearest = [(2 * i + half) * n // (2 * size) for i in range(size)]
        return [[(i, 1.0)] for i in nearest]
    if corners:
        places = [i * (n - 1) / max(size - 1, 1) for i in range(size)]
    elif half:
        places = [(i + 0.5) * n / size - 0.5 for i in range(size)]
    else:
        places = [i * n / size for i in range(size)]
    kernel, reach = KERNELS[interpolation]
    wider = max(n / size, 1.0) if antialias else 1.0
    return [_weights(place, n, kernel, reach, wider) for place in places]


def _weights(
    place: float, n: int, kernel: Callable[[float], float], reach: int, wider: float
) -> list[tuple[int, float]]:
    """(pixel, weight) of those that are inside; the weights add up to 1."""
    low = max(0, math.ceil(place - reach * wider))
    high = min(n - 1, math.floor(place + reach * wider))
    found = [(j, kernel((place - j) / wider)) for j in range(low, high + 1)]
    total = math.fsum(w for _, w in found)
    found = [(j, w / total) for j, w in found if w]
    return found or [(min(max(round(place), 0), n - 1), 1.0)]


def _summed(x: Node, axis: int, rows: Sequence[Sequence[tuple[int, float]]]) -> Node:
    """Weighted sums of elements of one axis."""
    most = max(len(row) for row in rows)
    full = [[*row, *[(row[-1][0], 0.0)] * (most - len(row))] for row in rows]
    if most == 1:
        return make("gather", x, _indices([row[0][0] for row in full], (len(rows),)), axis=axis)
    if most <= UNROLLED:
        total: Node | None = None
        for k in range(most):
            part = make("gather", x, _indices([r[k][0] for r in full], (len(rows),)), axis=axis)
            weight = constant([r[k][1] for r in full], (len(rows),), x.dtype).node
            part = b.mul(part, b.broadcast(weight, part.shape, (axis,)))
            total = part if total is None else b.add(total, part)
        assert total is not None
        return total
    grid = (len(rows), most)
    part = make("gather", x, _indices([i for row in full for i, _ in row], grid), axis=axis)
    weight = constant([w for row in full for _, w in row], grid, x.dtype).node
    part = b.mul(part, b.broadcast(weight, part.shape, (axis, axis + 1)))
    return b.reduce("reduce_sum", part, (axis + 1,))


def _indices(values: Sequence[int], shape: Sequence[int]) -> Node:
    data = struct.pack(f"<{len(values)}i", *values)
    return make("array", data=data, shape=tuple(shape), dtype=int32)


METHODS = {"linear": "bilinear", "trilinear": "bilinear", "cubic": "bicubic", "tricubic": "bicubic"}


def scale_and_translate(
    images: Any,
    output_shape: Sequence[int],
    scale: Any,
    translation: Any,
    spatial_dims: Sequence[int],
    method: str,
    antialias: bool = True,
) -> Tensor:
    """Images scaled and moved by amounts that may be tensors: pixel x goes to x * scale +
    translation, where pixel i reaches from i to i + 1.

    Args:
        images: of any rank.
        output_shape: shape of the result, that of the images except on `spatial_dims`.
        scale, translation: (k,), one number for each spatial axis.
        spatial_dims: the k axes.
        method: "linear", "bilinear", "trilinear", "cubic", "bicubic", "tricubic", "lanczos3" or
            "lanczos5".
        antialias: widen the kernel where the image shrinks.

    Returns:
        Floats; 0 where there is no image. Differentiable by scale and translation as well, as in
        `jax.image.scale_and_translate`.

    Raises:
        ArgumentError: an unknown method.
        ShapeError: shapes that do not fit.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.tensor([[[1.0], [2.0], [3.0]]])
        >>> tg.image.scale_and_translate(x, (1, 3, 1), [1.0], [1.0], (1,), "linear").tolist()
        [[[0.0], [1.0], [2.0]]]
    """
    name = "scale_and_translate"
    choice(name, "method", method, (*KERNELS, *METHODS))
    kernel = METHODS.get(method, method)
    x, scales, moves = common(name, images, scale, translation, floating=True)
    rank = len(x.shape)
    axes = [axis_of(name, d, rank) for d in spatial_dims]
    k = len(axes)
    fixed = [d for d in range(rank) if d not in axes]
    if (
        len(output_shape) != rank
        or any(output_shape[d] != x.shape[d] for d in fixed)
        or scales.shape != (k,)
        or moves.shape != (k,)
        or len(set(axes)) != k
    ):
        raise ShapeError(
            f"{name} expected an output_shape like {list(x.shape)} except on spatial_dims, and a "
            f"scale and a translation for each of those; received {list(output_shape)}, "
            f"{list(spatial_dims)}, {list(scales.shape)} and {list(moves.shape)}"
        )
    for i, axis in enumerate(axes):
        one, move = (b.reshape(cut(v, 0, i, i + 1), ()) for v in (scales, moves))
        matrix = _matrix(x.shape[axis], output_shape[axis], one, move, kernel, antialias)
        x = make("dot", x, matrix, contract=((axis,), (0,)), batch=((), ()))
        order = [*range(axis), rank - 1, *range(axis, rank - 1)]
        x = b.permute(x, order)
    return Tensor(x)


def _matrix(n: int, size: int, scale: Node, move: Node, kernel: str, antialias: bool) -> Node:
    """Weights (n, size) by the same rule as `_weights`, with numbers known at run time only."""
    grid, dtype = (n, size), scale.dtype
    one = b.const(1, dtype)
    inverse = b.div(one, scale)
    wider = make("max", inverse, one) if antialias else one

    def everywhere(v: Node) -> Node:
        return b.broadcast(v, grid, ())

    half = b.full(grid, 0.5, dtype)
    i = b.add(b.iota(grid, 1, dtype), half)
    place = b.sub(b.mul(b.sub(i, everywhere(move)), everywhere(inverse)), half)
    away = b.div(b.sub(place, b.iota(grid, 0, dtype)), everywhere(wider))
    weights = _kernel_node(kernel, b.unary("abs", away))
    total = b.expand(b.reduce("reduce_sum", weights, (0,)), grid, (0,))
    least = b.full(grid, 1000 * 2.0**-23, dtype)
    some = b.lt(least, b.unary("abs", total))
    weights = b.div(weights, b.select(some, total, b.full(grid, 1, dtype)))
    inside = make(
        "and",
        make("le", b.full(grid, -0.5, dtype), place),
        make("le", place, b.full(grid, n - 0.5, dtype)),
    )
    return b.select(make("and", some, inside), weights, b.full(grid, 0, dtype))


def _kernel_node(name: str, x: Node) -> Node:
    """A kernel of a distance that is not negative."""

    def number(v: float) -> Node:
        return b.like(x, v)

    def horner(*coefficients: float) -> Node:
        result = number(coefficients[0])
        for c in coefficients[1:]:
            result = b.add(b.mul(result, x), number(c))
        return result

    zero = number(0)
    if name == "bilinear":
        return make("max", b.sub(number(1), x), zero)
    if name == "bicubic":
        far = b.select(b.lt(x, number(2)), horner(-0.5, 2.5, -4, 2), zero)
        return b.select(b.lt(x, number(1)), horner(1.5, -2.5, 0, 1), far)
    radius = KERNELS[name][1]
    near = b.lt(x, number(1e-3))  # where rounding of the quotient is larger than its distance to 1
    at = b.scale(b.select(near, number(1), x), math.pi)
    value = b.mul(b.unary("sin", at), b.unary("sin", b.scale(at, 1 / radius)))
    value = b.div(b.scale(value, radius), b.mul(at, at))
    square = b.mul(x, x)
    series = b.sub(number(1), b.scale(square, math.pi**2 / 6 * (1 + 1 / radius**2)))
    value = b.select(near, series, value)
    return b.select(b.lt(x, number(radius)), value, zero)


def crop_and_resize(
    image: Any,
    boxes: Any,
    box_indices: Any,
    crop_size: Sequence[int],
    method: str = "bilinear",
    extrapolation_value: float = 0.0,
) -> Tensor:
    """Pieces of images, all in one size, as `tf.image.crop_and_resize`.

    Args:
        image: (batch, h, w, c).
        boxes: (n, 4), each [y1, x1, y2, x2] with 0 and 1 at the centres of the outermost pixels;
            y1 > y2 turns the piece upside down.
        box_indices: (n,), the image of each box.
        crop_size: (height, width) of the pieces, whose corners are those of the box.
        method: "bilinear" or "nearest".
        extrapolation_value: what is outside the image.

    Returns:
        (n, height, width, c), floats. Differentiable by image and boxes.

    Raises:
        ShapeError: shapes that do not fit. ArgumentError: an unknown method.

    A box of an image that does not exist gives zeros.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.reshape(tg.arange(9, dtype="float32"), (1, 3, 3, 1))
        >>> tg.image.crop_and_resize(x, [[0.0, 0.0, 0.5, 0.5]], [0], (2, 2))[0, :, :, 0].tolist()
        [[0.0, 1.0], [3.0, 4.0]]
    """
    name = "crop_and_resize"
    choice(name, "method", method, ("bilinear", "nearest"))
    x, corners = (common(name, v, floating=True)[0] for v in (image, boxes))
    which = b.cast(node_of(box_indices), int32)
    if (
        len(x.shape) != 4
        or corners.shape != (*which.shape, 4)
        or len(which.shape) != 1
        or len(tuple(crop_size)) != 2
    ):
        raise ShapeError(
            f"{name} expected images (batch, h, w, c), boxes (n, 4), box_indices (n,) and a "
            f"crop_size of two; received {list(x.shape)}, {list(corners.shape)}, "
            f"{list(which.shape)} and {crop_size}. "
            "A single image is a batch of one, images[None] with box_indices all 0"
        )
    if not x.shape[0]:
        return Tensor(b.full((which.shape[0], *crop_size, x.shape[3]), 0, x.dtype))
    if 0 in x.shape[1:3]:
        raise ShapeError(
            f"{name} expected images with pixels; received {list(x.shape)}. Leave out what is empty"
        )
    count = which.shape[0]
    grid = (count, *crop_size)
    places, fits = [], b.full(grid, True, dtypes.bool_)
    for d in range(2):
        last = x.shape[1 + d] - 1
        start, stop = (b.reshape(cut(corners, 1, at, at + 1), (count,)) for at in (d, d + 2))
        if crop_size[d] > 1:
            step = b.scale(b.sub(stop, start), last / (crop_size[d] - 1))
            at = b.mul(b.iota(grid, 1 + d, corners.dtype), b.broadcast(step, grid, (0,)))
            at = b.add(b.broadcast(b.scale(start, last), grid, (0,)), at)
        else:
            at = b.broadcast(b.scale(b.add(start, stop), 0.5 * last), grid, (0,))
        fits = make("and", fits, make("le", b.like(at, 0), at))
        fits = make("and", fits, make("le", at, b.like(at, last)))
        places.append(at)
    out = sampled(x, places, 1 if method == "bilinear" else 0, "nearest", 0.0, which)
    shape = out.shape
    out = b.select(
        b.broadcast(fits, shape, (0, 1, 2)), out, b.full(shape, extrapolation_value, out.dtype)
    )
    exists = make("and", make("le", b.like(which, 0), which),
                  b.lt(which, b.like(which, x.shape[0])))  # fmt: skip
    return Tensor(b.select(b.broadcast(exists, shape, (0,)), out, b.full(shape, 0, out.dtype)))
