"""Images read along a map of the plane: affine, projective, rotated, elastic.

A transform [a0, a1, a2, b0, b1, b2, c0, c1] says where the output pixel (x, y) is read:
((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k) with k = c0 x + c1 y + 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tabgrad import dtypes, random
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.image.filters import gaussian_blur
from tabgrad.image.layout import Images, choice
from tabgrad.image.sampling import FILL_MODES, ORDERS, sampled
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import common, node_of
from tabgrad.tensor import Tensor

TRANSFORM_MODES = ("constant", "reflect", "wrap", "nearest")


def affine_transform(
    images: Any,
    transform: Any,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0,
    data_format: str | None = None,
) -> Tensor:
    """Images read along an affine or projective map, as `keras.ops.image.affine_transform`.

    Args:
        images: (h, w, c) or (batch, h, w, c), channels first with `data_format`.
        transform: (8,) or (batch, 8), see the head of this module; c0 = c1 = 0 is affine.
        interpolation: "bilinear" or "nearest".
        fill_mode: "constant", "nearest", "wrap", "mirror" or "reflect", as for `map_coordinates`.
        fill_value: the constant.
        data_format: "channels_last" (default) or "channels_first".

    Returns:
        The shape and dtype of the images. Differentiable by images and, with "bilinear", transform.

    Raises:
        ArgumentError: an unknown interpolation or mode.
        ShapeError: images or transforms of another shape.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.tensor([[[1.0], [2.0], [3.0]]])
        >>> tg.image.affine_transform(x, [1.0, 0, 1, 0, 1, 0, 0, 0])[0, :, 0].tolist()
        [2.0, 3.0, 0.0]
    """
    given = Images("affine_transform", images, data_format)
    choice("affine_transform", "interpolation", interpolation, tuple(ORDERS))
    choice("affine_transform", "fill_mode", fill_mode, FILL_MODES)
    x = given.node
    y, column, _ = _mapped(_transforms("affine_transform", transform, x.shape[0]), x.shape[1:3])
    out = sampled(x, [y, column], ORDERS[interpolation], fill_mode, fill_value)
    return given.restored(out)


def _transforms(name: str, transform: Any, batch: int) -> Node:
    """(batch, 8) numbers, or (1, 8) for all images."""
    (node,) = common(name, transform, floating=True)
    if len(node.shape) == 1:
        node = b.reshape(node, (1, *node.shape))
    if node.shape not in ((1, 8), (batch, 8)):
        raise ShapeError(
            f"{name} expected transforms (8,), (1, 8) or ({batch}, 8); received {list(node.shape)}."
            " A matrix of 2 rows is the first six numbers; the last two are 0"
        )
    return node


def _mapped(numbers: Node, size: Sequence[int]) -> tuple[Node, Node, Node]:
    """Row, column and divisor k of the place read by each output pixel, all (n, h, w) for n
    transforms."""
    count = numbers.shape[0]
    grid = (count, *size)
    x, y = b.iota(grid, 2, numbers.dtype), b.iota(grid, 1, numbers.dtype)

    def number(i: int) -> Node:
        column = make("slice", numbers, start=(0, i), stop=(count, i + 1), step=(1, 1))
        return b.broadcast(b.reshape(column, (count,)), grid, (0,))

    def line(i: int) -> Node:
        return b.add(b.mul(number(i), x), b.mul(number(i + 1), y))

    divisor = b.add(line(6), b.full(grid, 1, numbers.dtype))
    zero = b.full(grid, 0, numbers.dtype)
    safe = b.select(b.eq(divisor, zero), b.full(grid, 1, numbers.dtype), divisor)
    column, row = (b.div(b.add(line(i), number(i + 2)), safe) for i in (0, 3))
    return row, column, divisor


def transform(
    image: Any,
    transforms: Any,
    interpolation: str = "nearest",
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    output_shape: Sequence[int] | None = None,
) -> Tensor:
    """Images read along a projective map, as `tf.image.transform` of TensorFlow.js.

    Unlike in `affine_transform` the modes move the place that is read, not its neighbours, and
    "reflect" mirrors about the edge of the last pixel (TensorFlow's ImageProjectiveTransformV3).

    Args:
        image: (batch, h, w, c) or (h, w, c).
        transforms: (8,), (1, 8) or (batch, 8), see the head of this module.
        interpolation: "nearest" or "bilinear".
        fill_mode: "constant", "reflect", "wrap" or "nearest".
        fill_value: the constant, and what stands at infinity.
        output_shape: (height, width), by default that of the image.

    Raises:
        ArgumentError: an unknown interpolation or mode. ShapeError: shapes that do not fit.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.tensor([[[1.0], [2.0], [3.0]]])
        >>> tg.image.transform(x, [1.0, 0, 1, 0, 1, 0, 0, 0], fill_mode="wrap")[0, :, 0].tolist()
        [2.0, 3.0, 1.0]
    """
    given = Images("transform", image, None)
    choice("transform", "interpolation", interpolation, tuple(ORDERS))
    choice("transform", "fill_mode", fill_mode, TRANSFORM_MODES)
    x = given.node
    size = x.shape[1:3] if output_shape is None else tuple(output_shape)
    if len(size) != 2:
        raise ShapeError(
            f"transform expected output_shape (height, width); received {size}. "
            "Give it as a tuple of two ints"
        )
    row, column, divisor = _mapped(_transforms("transform", transforms, x.shape[0]), size)
    if fill_mode != "constant":
        row = _inside(row, x.shape[1], fill_mode)
        column = _inside(column, x.shape[2], fill_mode)
    if interpolation == "nearest":
        half = b.full(row.shape, 0.5, row.dtype)
        row, column = (b.unary("floor", b.add(v, half)) for v in (row, column))
    out = sampled(x, [row, column], ORDERS[interpolation], "constant", fill_value)
    finite = make("ne", divisor, b.like(divisor, 0))
    shape = out.shape
    fill = b.full(shape, fill_value, out.dtype)
    return given.restored(b.select(b.broadcast(finite, shape, (0, 1, 2)), out, fill))


def _inside(at: Node, n: int, mode: str) -> Node:
    """A coordinate moved onto the image."""

    def number(v: float) -> Node:
        return b.like(at, v)

    def periods(size: float) -> Node:
        return b.unary("floor", b.div(b.unary("abs", at), number(size)))

    before, behind = b.lt(at, number(0)), b.lt(number(n - 1), at)
    result = at
    if mode == "reflect" and n > 1:
        turn = b.mul(periods(2 * n), number(2 * n))
        low = b.add(at, turn)
        low = b.select(b.lt(low, number(-n)), b.add(low, number(2 * n)), b.sub(number(-1), low))
        high = b.sub(at, turn)
        high = b.select(b.lt(high, number(n)), high, b.sub(number(2 * n - 1), high))
        result = b.select(before, low, b.select(behind, high, at))
    elif mode == "wrap" and n > 1:
        # TensorFlow counts the turns by n - 1, though it moves by n.
        turns = periods(n - 1)
        low = b.add(at, b.mul(b.add(turns, number(1)), number(n)))
        high = b.sub(at, b.mul(turns, number(n)))
        result = b.select(before, low, b.select(behind, high, at))
    return make("min", make("max", result, number(0)), number(n - 1))


def rotate_with_offset(
    image: Any,
    radians: Any,
    fill_value: float | Sequence[float] = 0,
    center: float | Sequence[float] = 0.5,
) -> Tensor:
    """Images turned counter-clockwise about a point, each pixel the nearest one of the image, as
    `tf.image.rotateWithOffset` of TensorFlow.js.

    Args:
        image: (batch, h, w, c) or (h, w, c).
        radians: the angle, a number or a 0-d tensor.
        fill_value: what is outside, one number or one for each colour (a fourth channel is then
            filled by 255).
        center: the point as a share of width and height: a number, or (x, y).

    Raises:
        ShapeError: images of another rank, or too few fill values.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
        >>> tg.image.rotate_with_offset(x, 3.14159265, center=0.25)[0, :, 0].tolist()
        [4.0, 3.0]
    """
    given = Images("rotate_with_offset", image, None)
    x = given.node
    _, height, width, channels = x.shape
    (angle,) = common("rotate_with_offset", radians, floating=True)
    if angle.shape:
        raise ShapeError(
            f"rotate_with_offset expected one angle; received {list(angle.shape)}. Use "
            "affine_transform for an angle of each image"
        )
    shares = (center, center) if isinstance(center, (int, float)) else tuple(center)
    grid = (1, height, width)

    def number(v: float) -> Node:
        return b.full(grid, v, angle.dtype)

    middle_x, middle_y = number(shares[0] * width), number(shares[1] * height)
    sine, cosine = (b.broadcast(b.unary(f, angle), grid, ()) for f in ("sin", "cos"))
    right = b.sub(b.iota(grid, 2, angle.dtype), middle_x)
    down = b.sub(b.iota(grid, 1, angle.dtype), middle_y)
    column = b.add(b.sub(b.mul(right, cosine), b.mul(down, sine)), middle_x)
    row = b.add(b.add(b.mul(right, sine), b.mul(down, cosine)), middle_y)
    row, column = (b.unary("floor", b.add(v, number(0.5))) for v in (row, column))
    if isinstance(fill_value, (int, float)):
        return given.restored(sampled(x, [row, column], 0, "constant", fill_value))
    values = [*fill_value, 255.0][:channels] if channels == 4 else [*fill_value][:channels]
    if len(values) < channels:
        raise ShapeError(
            f"rotate_with_offset expected a fill_value for each of {channels} channels; received "
            f"{fill_value}. "
            "Give one number for all, or as many as there are channels"
        )
    found = sampled(x, [row, column], 0, "constant", 0)
    here = b.full((*grid, 1), 1, dtypes.int32)
    inside = sampled(here, [row, column], 0, "constant", 0)
    where = b.cast(b.broadcast(inside, found.shape, (0, 1, 2, 3)), dtypes.bool_)
    fill = b.cast(node_of(values), x.dtype)
    return given.restored(b.select(where, found, b.broadcast(fill, found.shape, (3,))))


def perspective_transform(
    images: Any,
    start_points: Any,
    end_points: Any,
    interpolation: str = "bilinear",
    fill_value: float = 0,
    data_format: str | None = None,
) -> Tensor:
    """Images warped so that four points come to lie on four others.

    The map is composed of two from the unit square (Heckbert, "Fundamentals of texture mapping and
    image warping", 1989).

    Args:
        images: (h, w, c) or (batch, h, w, c), channels first with `data_format`.
        start_points: (4, 2) or (batch, 4, 2), points (x, y) of the images.
        end_points: where they go, of the same shape; no three on a line.
        interpolation: "bilinear" or "nearest".
        fill_value: what is outside.
        data_format: "channels_last" (default) or "channels_first".

    Returns:
        The shape and dtype of the images. Differentiable by images and, with "bilinear", points.

    Raises:
        ArgumentError: an unknown interpolation. ShapeError: shapes that do not fit.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
        >>> corners = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
        >>> flipped = [[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
        >>> tg.image.perspective_transform(x, corners, flipped)[:, :, 0].tolist()
        [[2.0, 1.0], [4.0, 3.0]]
    """
    name = "perspective_transform"
    given = Images(name, images, data_format)
    choice(name, "interpolation", interpolation, tuple(ORDERS))
    start, end = common(name, start_points, end_points, floating=True)
    batch = given.node.shape[0]
    if start.shape != end.shape or start.shape not in ((4, 2), (1, 4, 2), (batch, 4, 2)):
        raise ShapeError(
            f"{name} expected start_points and end_points both (4, 2) or ({batch}, 4, 2); received "
            f"{list(start.shape)} and {list(end.shape)}. "
            "Give the four corners (x, y) of each image"
        )
    forth, back = _from_square(start), _adjugate(_from_square(end))
    matrix = [
        [
            b.add(b.add(b.mul(row[0], back[0][j]), b.mul(row[1], back[1][j])),
                  b.mul(row[2], back[2][j]))
            for j in range(3)
        ]
        for row in forth
    ]  # fmt: skip
    flat = [b.div(matrix[i // 3][i % 3], matrix[2][2]) for i in range(8)]
    numbers = make("concatenate", *[b.reshape(v, (*v.shape, 1)) for v in flat], axis=1)
    row, column, _ = _mapped(numbers, given.node.shape[1:3])
    out = sampled(given.node, [row, column], ORDERS[interpolation], "constant", fill_value)
    return given.restored(out)


Matrix = list[list[Node]]


def _from_square(points: Node) -> Matrix:
    """The projective map of the unit square onto four points (batch, 4, 2), as numbers (batch,)."""
    n = 1 if len(points.shape) == 2 else points.shape[0]
    points = b.reshape(points, (n, 4, 2))

    def coordinate(i: int, d: int) -> Node:
        one = make("slice", points, start=(0, i, d), stop=(n, i + 1, d + 1), step=(1, 1, 1))
        return b.reshape(one, (n,))

    # Corners around the square; the last two are usually given from left to right.
    xs, ys = ([coordinate(i, d) for i in (0, 1, 3, 2)] for d in (0, 1))

    def cross(p: list[Node], q: list[Node]) -> Node:
        return b.sub(b.mul(p[0], q[1]), b.mul(q[0], p[1]))

    one = [b.sub(v[1], v[2]) for v in (xs, ys)]
    two = [b.sub(v[3], v[2]) for v in (xs, ys)]
    three = [b.add(b.sub(v[0], v[1]), b.sub(v[2], v[3])) for v in (xs, ys)]
    area = cross(one, two)
    g, h = b.div(cross(three, two), area), b.div(cross(one, three), area)

    def line(v: list[Node]) -> list[Node]:
        return [
            b.add(b.sub(v[1], v[0]), b.mul(g, v[1])),
            b.add(b.sub(v[3], v[0]), b.mul(h, v[3])),
            v[0],
        ]

    return [line(xs), line(ys), [g, h, b.like(g, 1)]]


def _adjugate(m: Matrix) -> Matrix:
    """The inverse but for a factor, which a projective map does not have."""

    def minor(i: int, j: int) -> Node:
        rows, columns = [(i + 1) % 3, (i + 2) % 3], [(j + 1) % 3, (j + 2) % 3]
        return b.sub(
            b.mul(m[rows[0]][columns[0]], m[rows[1]][columns[1]]),
            b.mul(m[rows[0]][columns[1]], m[rows[1]][columns[0]]),
        )

    return [[minor(j, i) for j in range(3)] for i in range(3)]


def elastic_transform(
    images: Any,
    alpha: float = 20.0,
    sigma: float = 5.0,
    interpolation: str = "bilinear",
    fill_mode: str = "reflect",
    fill_value: float = 0.0,
    seed: Any = None,
    data_format: str | None = None,
) -> Tensor:
    """Images bent at random: each pixel is moved by smoothed noise (Simard, Steinkraus and Platt,
    "Best practices for convolutional neural networks", 2003).

    Args:
        images: (h, w, c) or (batch, h, w, c), channels first with `data_format`.
        alpha: how far pixels move.
        sigma: how smooth the movement is, in pixels.
        interpolation, fill_mode, fill_value, data_format: as for `affine_transform`.
        seed: an int, a SeedGenerator, a key, or None for the global generator.

    Returns:
        The shape and dtype of the images. The noise is the blur, by a Gaussian of `sigma`, of
        normal numbers of that deviation; rows and columns have noise of their own.

    Raises:
        ArgumentError: an unknown interpolation or mode, or a sigma that is not positive.

    Example:
        >>> import tabgrad as tg
        >>> tg.image.elastic_transform(tg.ones((4, 4, 1)), sigma=1.0, seed=1).shape
        (4, 4, 1)
    """
    name = "elastic_transform"
    given = Images(name, images, data_format).with_pixels(name)
    choice(name, "interpolation", interpolation, tuple(ORDERS))
    choice(name, "fill_mode", fill_mode, FILL_MODES)
    if sigma <= 0 or not math.isfinite(sigma):
        raise ArgumentError(
            f"{name} expected sigma above 0; received {sigma}. Give alpha=0 for no deformation"
        )
    x = given.node
    batch, height, width, _ = x.shape
    span = int(6 * sigma) | 1
    noise = random.normal((batch, height, width, 2), stddev=sigma, seed=seed)
    moved = gaussian_blur(noise, (span, span), (sigma, sigma)).node
    grid = (batch, height, width)
    places = []
    for d in (0, 1):
        part = make("slice", moved, start=(0, 0, 0, d), stop=(*grid, d + 1), step=(1, 1, 1, 1))
        away = b.scale(b.reshape(part, grid), alpha)
        places.append(b.add(b.iota(grid, 1 + d, moved.dtype), away))
    return given.restored(sampled(x, places, ORDERS[interpolation], fill_mode, fill_value))
