"""What is in the picture: crops, borders, mirror images and patches. Nothing is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tabgrad.dtypes import int32
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.image.layout import Images, choice
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import node_of
from tabgrad.ops.convolution import channels_last, same_padding, tuple_of
from tabgrad.ops.manipulation import cut
from tabgrad.tensor import Tensor


def flip_left_right(image: Any) -> Tensor:
    """Images mirrored from left to right.

    Args:
        image: (h, w, c) or (batch, h, w, c).

    Returns:
        Of the dtype of the image.

    Example:
        >>> import tabgrad as tg
        >>> tg.image.flip_left_right(tg.tensor([[[1], [2]]])).tolist()
        [[[2], [1]]]
    """
    given = Images("flip_left_right", image, None)
    return given.restored(make("flip", given.node, axes=(2,)))


def flip_up_down(image: Any) -> Tensor:
    """Images mirrored from top to bottom.

    Args:
        image: (h, w, c) or (batch, h, w, c).

    Returns:
        Of the dtype of the image.

    Example:
        >>> import tabgrad as tg
        >>> tg.image.flip_up_down(tg.tensor([[[1]], [[2]]])).tolist()
        [[[2]], [[1]]]
    """
    given = Images("flip_up_down", image, None)
    return given.restored(make("flip", given.node, axes=(1,)))


def _widths(
    name: str, have: int, target: int | None, before: int | None, after: int | None,
    names: Sequence[str], sign: int,
) -> tuple[int, int]:  # fmt: skip
    """What is added (sign 1) or taken (-1) before and after, two of three numbers being given."""
    if [before, after, target].count(None) != 1:
        raise ArgumentError(
            f"{name} expected two of {', '.join(names)}; received {before}, {after} and {target}. "
            "Leave out the one that follows from the other two"
        )
    if target is not None:
        rest = sign * (target - have)
        if before is None:
            assert after is not None
            before = rest - after
        else:
            after = rest - before
    assert before is not None and after is not None
    if before < 0 or after < 0 or (sign < 0 and before + after > have):
        raise ArgumentError(
            f"{name} expected {names[0]} and {names[1]} of at least 0 that fit {have} pixels; "
            f"received or computed {before} and {after}. "
            "Leave the target out, or choose widths that fit it"
        )
    return before, after


def pad_images(
    images: Any,
    top_padding: int | None = None,
    left_padding: int | None = None,
    bottom_padding: int | None = None,
    right_padding: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Tensor:
    """Images surrounded by zeros.

    Args:
        images: (h, w, c) or (batch, h, w, c), channels first with `data_format`.
        top_padding, bottom_padding, target_height: two of the three.
        left_padding, right_padding, target_width: two of the three.
        data_format: "channels_last" or "channels_first"; None for that of the configuration.

    Raises:
        ArgumentError: other than two numbers, or negative ones. ShapeError: images of another rank.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.ones((2, 2, 1))
        >>> tg.image.pad_images(x, 1, 0, target_height=4, target_width=3).shape
        (4, 3, 1)
    """
    given = Images("pad_images", images, data_format)
    x = given.node
    top, bottom = _widths("pad_images", x.shape[1], target_height, top_padding, bottom_padding,
                          ("top_padding", "bottom_padding", "target_height"), 1)  # fmt: skip
    left, right = _widths("pad_images", x.shape[2], target_width, left_padding, right_padding,
                          ("left_padding", "right_padding", "target_width"), 1)  # fmt: skip
    zero = b.const(0, x.dtype)
    low, high = (0, top, left, 0), (0, bottom, right, 0)
    return given.restored(make("pad", x, zero, low=low, high=high, interior=(0,) * 4))


def crop_images(
    images: Any,
    top_cropping: int | None = None,
    left_cropping: int | None = None,
    bottom_cropping: int | None = None,
    right_cropping: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Tensor:
    """A part of each image.

    Args:
        images: (h, w, c) or (batch, h, w, c), channels first with `data_format`.
        top_cropping, bottom_cropping, target_height: two of the three.
        left_cropping, right_cropping, target_width: two of the three.
        data_format: "channels_last" or "channels_first"; None for that of the configuration.

    Raises:
        ArgumentError: other than two numbers, or a part outside. ShapeError: images of another
            rank.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.ones((4, 5, 1))
        >>> tg.image.crop_images(x, 1, 0, target_height=2, target_width=3).shape
        (2, 3, 1)
    """
    given = Images("crop_images", images, data_format)
    x = given.node
    top, bottom = _widths("crop_images", x.shape[1], target_height, top_cropping, bottom_cropping,
                          ("top_cropping", "bottom_cropping", "target_height"), -1)  # fmt: skip
    left, right = _widths("crop_images", x.shape[2], target_width, left_cropping, right_cropping,
                          ("left_cropping", "right_cropping", "target_width"), -1)  # fmt: skip
    x = cut(x, 1, top, x.shape[1] - bottom)
    return given.restored(cut(x, 2, left, x.shape[2] - right))


def extract_patches(
    images: Any,
    size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    dilation_rate: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Tensor:
    """Windows of images, each flattened into the channels of one pixel.

    Args:
        images: (h, w, c) or (batch, h, w, c), channels first with `data_format`.
        size: of a window, an int or (height, width); three sizes are those of
            `extract_patches_3d`.
        strides: from one window to the next, by default the size.
        dilation_rate: from one pixel of a window to the next.
        padding: "valid" or "same" (with zeros).
        data_format: "channels_last" or "channels_first"; None for that of the configuration.

    Returns:
        (batch, rows, columns, height * width * c), the channels of a pixel next to each other.

    Raises:
        ArgumentError: sizes that are not positive, an unknown padding.
        ShapeError: images of another rank, or smaller than a window.

    Example:
        >>> import tabgrad as tg
        >>> tg.image.extract_patches(tg.ones((1, 8, 8, 3)), 4).shape
        (1, 2, 2, 48)
    """
    if not isinstance(size, int) and len(tuple(size)) == 3:
        return extract_patches_3d(images, size, strides, dilation_rate, padding, data_format)
    return _patches("extract_patches", images, size, strides, dilation_rate, padding,
                    data_format, 2)  # fmt: skip


def extract_patches_3d(
    volumes: Any,
    size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    dilation_rate: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Tensor:
    """Windows of volumes (d, h, w, c) or (batch, d, h, w, c); arguments as for `extract_patches`.

    Args:
        volumes: (d, h, w, c) or (batch, d, h, w, c), channels first with `data_format`.
        size: an integer, or (depth, height, width) of a window.
        strides: from window to window; by default the size, so that they do not overlap.
        dilation_rate: from element to element of a window.
        padding: "valid", or "same" for windows that begin every stride and see zeros outside.
        data_format: "channels_last" or "channels_first".

    Returns:
        (batch, ..., elements of a window) of the dtype of the volumes.

    Example:
        >>> import tabgrad as tg
        >>> tg.image.extract_patches_3d(tg.ones((1, 4, 4, 4, 2)), 2).shape
        (1, 2, 2, 2, 16)
    """
    return _patches("extract_patches_3d", volumes, size, strides, dilation_rate, padding,
                    data_format, 3)  # fmt: skip


def _patches(
    name: str, images: Any, size: Any, strides: Any, dilation_rate: Any, padding: str,
    data_format: str | None, n: int,
) -> Tensor:  # fmt: skip
    x = node_of(images)
    last = channels_last(data_format)
    single = len(x.shape) == n + 1
    if len(x.shape) not in (n + 1, n + 2):
        raise ShapeError(
            f"{name} expected {n} axes of space, channels and perhaps a batch; received "
            f"{list(x.shape)}. "
            "Give a batch of one as images[None]"
        )
    choice(name, "padding", padding, ("valid", "same"))
    window = tuple_of("size", size, n)
    steps = window if not strides else tuple_of("strides", strides, n)
    holes = tuple_of("dilation_rate", dilation_rate, n)
    if single:
        x = b.reshape(x, (1, *x.shape))
    if not last:
        x = b.permute(x, (0, *range(2, n + 2), 1))
    spans = [(k - 1) * h + 1 for k, h in zip(window, holes, strict=True)]
    if padding == "same":
        pairs = [same_padding(m, s, t) for m, s, t in zip(x.shape[1:], spans, steps, strict=False)]
        low, high = ((0, *(p[i] for p in pairs), 0) for i in (0, 1))
        x = make("pad", x, b.const(0, x.dtype), low=low, high=high, interior=(0,) * (n + 2))
    if any(m < s for m, s in zip(x.shape[1:], spans, strict=False)):
        raise ShapeError(
            f"{name} expected windows that fit; received windows over {spans} pixels for "
            f"{list(x.shape[1:-1])}. Choose a smaller size, or padding='same'"
        )
    for d in range(n):
        x = _windows(x, 1 + 2 * d, window[d], steps[d], holes[d], spans[d])
    # Now (batch, rows, height, columns, width, ..., c).
    x = b.permute(x, (0, *range(1, 2 * n, 2), *range(2, 2 * n + 1, 2), 2 * n + 1))
    x = b.reshape(x, (*x.shape[: n + 1], math.prod(x.shape[n + 1 :])))
    if not last:
        x = b.permute(x, (0, n + 1, *range(1, n + 1)))
    return Tensor(b.reshape(x, x.shape[1:]) if single else x)


def _windows(x: Node, axis: int, size: int, step: int, hole: int, span: int) -> Node:
    """One axis as two: which window, and where in it."""
    count = (x.shape[axis] - span) // step + 1
    shape = (*x.shape[:axis], count, size, *x.shape[axis + 1 :])
    if step == size and hole == 1:
        return b.reshape(cut(x, axis, 0, count * size), shape)
    grid = (count, size)
    start = b.scale(b.iota(grid, 0, int32), step)
    return make("gather", x, b.add(start, b.scale(b.iota(grid, 1, int32), hole)), axis=axis)
