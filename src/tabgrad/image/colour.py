"""Colours: gray, hue and saturation, and how much of each there is.

Gray is the luma of ITU-R BT.601; hue, saturation and value are those of Smith, "Color gamut
transform pairs" (1978), all from 0 to 1.
"""

from __future__ import annotations

from typing import Any

from tabgrad import dtypes, ops
from tabgrad.errors import DtypeError, ShapeError
from tabgrad.image.layout import Images
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node
from tabgrad.ops.windows import constant
from tabgrad.tensor import Tensor

GRAY = (0.2989, 0.5870, 0.1140)
"""What red, green and blue add to gray (the digits that TensorFlow and Keras use)."""


def _channels(name: str, x: Node, allowed: tuple[int, ...]) -> None:
    if x.shape[3] not in allowed:
        raise ShapeError(
            f"{name} expected {' or '.join(map(str, allowed))} channels; received {x.shape[3]} in "
            f"{list(x.shape)} (batch, h, w, c). Check data_format"
        )


def _planes(name: str, images: Any, data_format: str | None) -> tuple[Images, list[Tensor]]:
    given = Images(name, images, data_format)
    if not given.dtype.is_float:
        raise DtypeError(
            f"{name} expected floating-point images; received {given.dtype.name}. Cast them and "
            "divide by 255"
        )
    _channels(name, given.node, (3,))
    x = Tensor(given.node)
    return given, [x[..., i] for i in range(3)]


def rgb_to_grayscale(images: Any, data_format: str | None = None) -> Tensor:
    """Images in gray: 0.2989 red + 0.5870 green + 0.1140 blue.

    Args:
        images: (h, w, 3) or (batch, h, w, 3), channels first with `data_format`; gray ones with one
            channel are returned as they are.
        data_format: "channels_last" or "channels_first"; None for that of the configuration.

    Returns:
        One channel, in the dtype of the images (integers are truncated).

    Raises:
        ShapeError: another number of channels.

    Example:
        >>> import tabgrad as tg
        >>> tg.image.rgb_to_grayscale(tg.tensor([[[0.0, 1.0, 0.0]]])).shape
        (1, 1, 1)
    """
    given = Images("rgb_to_grayscale", images, data_format)
    _channels("rgb_to_grayscale", given.node, (1, 3))
    if given.node.shape[3] == 1:
        return given.restored(given.node)
    x = given.floats()
    weights = constant(GRAY, (3,), x.dtype).node
    gray = b.reduce("reduce_sum", b.mul(x, b.broadcast(weights, x.shape, (3,))), (3,))
    gray = b.reshape(gray, (*gray.shape, 1))
    return given.restored(b.cast(gray, given.dtype))


def grayscale_to_rgb(images: Any, data_format: str | None = None) -> Tensor:
    """Gray images (one channel) as coloured ones: the channel three times.

    Args:
        images: (h, w, 1) or (batch, h, w, 1), channels first with `data_format`.
        data_format: "channels_last" or "channels_first"; None for that of the configuration.

    Returns:
        Three channels of the dtype of the images.

    Raises:
        ShapeError: another number of channels.

    Example:
        >>> import tabgrad as tg
        >>> tg.image.grayscale_to_rgb(tg.tensor([[[7]]])).tolist()
        [[[7, 7, 7]]]
    """
    given = Images("grayscale_to_rgb", images, data_format)
    _channels("grayscale_to_rgb", given.node, (1,))
    x = given.node
    return given.restored(b.broadcast(x, (*x.shape[:3], 3), range(4)))


def rgb_to_hsv(images: Any, data_format: str | None = None) -> Tensor:
    """Red, green and blue to hue, saturation and value.

    Args:
        images: (h, w, 3) or (batch, h, w, 3), floats from 0 to 1, channels first with
            `data_format`.
        data_format: "channels_last" or "channels_first"; None for that of the configuration.

    Raises:
        DtypeError: integers. ShapeError: another number of channels.

    Example:
        >>> import tabgrad as tg
        >>> tg.image.rgb_to_hsv(tg.tensor([[[0.5, 0.0, 0.0]]])).tolist()
        [[[0.0, 1.0, 0.5]]]
    """
    given, planes = _planes("rgb_to_hsv", images, data_format)
    eps = 2.0 ** -{8: 52, 4: 23, 2: 10}[given.dtype.itemsize]
    r, g, bl = (ops.where(ops.abs(p) < eps, 0.0, p) for p in planes)
    value = ops.maximum(ops.maximum(r, g), bl)
    spread = value - ops.minimum(ops.minimum(r, g), bl)
    colourful = spread > 0.0
    saturation = ops.where(value > 0.0, spread / ops.where(value > 0.0, value, 1.0), 0.0)
    sixth = 1.0 / (ops.where(colourful, spread, 1.0) * 6.0)
    hue = ops.where(
        ops.equal(value, r),
        sixth * (g - bl),
        ops.where(ops.equal(value, g), sixth * (bl - r) + 2 / 6, sixth * (r - g) + 4 / 6),
    )
    hue = ops.where(colourful, ops.where(hue < 0.0, hue + 1.0, hue), 0.0)
    return given.restored(ops.stack([hue, saturation, value], -1).node)


def hsv_to_rgb(images: Any, data_format: str | None = None) -> Tensor:
    """Hue, saturation and value to red, green and blue.

    Args:
        images: (h, w, 3) or (batch, h, w, 3), floats, channels first with `data_format`; hue is
            taken modulo 1.
        data_format: "channels_last" or "channels_first"; None for that of the configuration.

    Raises:
        DtypeError: integers. ShapeError: another number of channels.

    Example:
        >>> import tabgrad as tg
        >>> tg.image.hsv_to_rgb(tg.tensor([[[0.0, 1.0, 0.5]]])).tolist()
        [[[0.5, 0.0, 0.0]]]
    """
    given, (hue, saturation, value) = _planes("hsv_to_rgb", images, data_format)
    sixths = ops.mod(hue, 1.0) * 6.0
    parts = (
        ops.abs(sixths - 3.0) - 1.0,
        2.0 - ops.abs(sixths - 2.0),
        2.0 - ops.abs(sixths - 4.0),
    )
    planes = [
        value * ((1.0 - saturation) + saturation * ops.clip(part, 0.0, 1.0)) for part in parts
    ]
    return given.restored(ops.stack(planes, -1).node)


def adjust_brightness(images: Any, delta: Any) -> Tensor:
    """`delta` added to every pixel; floats.

    Args:
        images: of any shape and dtype, which the result has, too.
        delta: what is added.

    Example:
        >>> import tabgrad as tg
        >>> tg.image.adjust_brightness(tg.tensor([[[0.25]]]), 0.5).tolist()
        [[[0.75]]]
    """
    return ops.add(_floats(images), delta)


def adjust_contrast(images: Any, contrast_factor: Any, data_format: str | None = None) -> Tensor:
    """Distances from the mean of each channel of each image times a factor; floats.

    Args:
        images: (h, w, c) or (batch, h, w, c), channels first with `data_format`.
        contrast_factor: what the distances from the mean are multiplied by.
        data_format: "channels_last" or "channels_first"; None for that of the configuration.

    Returns:
        The shape and dtype of the images.

    Example:
        >>> import tabgrad as tg
        >>> tg.image.adjust_contrast(tg.tensor([[[0.0], [1.0]]]), 0.5).tolist()
        [[[0.25], [0.75]]]
    """
    given = Images("adjust_contrast", images, data_format)
    x = Tensor(given.floats())
    mean = ops.mean(x, (1, 2), keepdims=True)
    return given.restored(((x - mean) * contrast_factor + mean).node)


def adjust_saturation(images: Any, factor: Any, data_format: str | None = None) -> Tensor:
    """The saturation (see `rgb_to_hsv`) times a factor, at most 1.

    Args:
        images: floats (h, w, 3) or (batch, h, w, 3), channels first with `data_format`.
        factor: what the saturation is multiplied by.
        data_format: "channels_last" or "channels_first"; None for that of the configuration.

    Example:
        >>> import tabgrad as tg
        >>> tg.image.adjust_saturation(tg.tensor([[[0.5, 0.25, 0.25]]]), 2.0).tolist()
        [[[0.5, 0.0, 0.0]]]
    """
    given, _ = _planes("adjust_saturation", images, data_format)
    hsv = rgb_to_hsv(Tensor(given.node))
    saturation = ops.clip(hsv[..., 1] * factor, 0.0, 1.0)
    turned = ops.stack([hsv[..., 0], saturation, hsv[..., 2]], -1)
    return given.restored(hsv_to_rgb(turned).node)


def adjust_hue(images: Any, delta: Any, data_format: str | None = None) -> Tensor:
    """The hue (see `rgb_to_hsv`) moved by `delta`, a share of the circle of colours.

    Args:
        images: floats (h, w, 3) or (batch, h, w, 3), channels first with `data_format`.
        delta: what is added to the hue, which goes round from 0 to 1.
        data_format: "channels_last" or "channels_first"; None for that of the configuration.

    Example:
        >>> import tabgrad as tg
        >>> red = tg.tensor([[[1.0, 0.0, 0.0]]])
        >>> [round(v) for v in tg.image.adjust_hue(red, 1 / 3)[0, 0].tolist()]
        [0, 1, 0]
    """
    given, _ = _planes("adjust_hue", images, data_format)
    hsv = rgb_to_hsv(Tensor(given.node))
    turned = ops.stack([hsv[..., 0] + delta, hsv[..., 1], hsv[..., 2]], -1)
    return given.restored(hsv_to_rgb(turned).node)


def _floats(images: Any) -> Tensor:
    x = ops.convert_to_tensor(images)
    return x if x.dtype.is_float else ops.cast(x, dtypes.float32)
