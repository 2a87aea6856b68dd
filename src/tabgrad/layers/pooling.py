"""Pooling layers, channels last. The window reductions themselves are in `ops`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad import ops
from tabgrad.layers import windows
from tabgrad.layers.base import Layer
from tabgrad.tensor import Tensor


class _Pooling2D(Layer):
    """What max and average pooling share: their arguments."""

    _rank = (4, 4, "(batch, height, width, channels)")

    def __init__(
        self,
        pool_size: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = windows.sizes(pool_size, "pool_size")
        self.strides = windows.sizes(pool_size if strides is None else strides, "strides")
        self.padding = windows.padding(padding)
        self.data_format = windows.data_format(data_format)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
        }


class MaxPooling2D(_Pooling2D):
    """The largest value of each window of an image, channel by channel.

    Args:
        pool_size: height and width of the window, or one integer for both.
        strides: steps of the window; None means pool_size.
        padding: "valid" or "same".
        data_format: "channels_last" or None.
        kwargs: arguments of `Layer`.

    Call:
        inputs shaped (batch, height, width, channels) give (batch, height', width', channels).

    Raises:
        ArgumentError: for sizes or a padding that are not valid.
        ShapeError: when the input has not four axes.

    Example:
        >>> MaxPooling2D()(ops.ones((2, 6, 6, 3))).shape
        (2, 3, 3, 3)
    """

    def __init__(
        self,
        pool_size: int | Sequence[int] = (2, 2),
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, name=name, **kwargs)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.max_pool(inputs, self.pool_size, strides=self.strides, padding=self.padding)


class AveragePooling2D(_Pooling2D):
    """The mean of each window of an image, channel by channel; padding is not counted.

    Args:
        pool_size: height and width of the window, or one integer for both.
        strides: steps of the window; None means pool_size.
        padding: "valid" or "same".
        data_format: "channels_last" or None.
        kwargs: arguments of `Layer`.

    Call:
        inputs shaped (batch, height, width, channels) give (batch, height', width', channels).

    Raises:
        ArgumentError: for sizes or a padding that are not valid.
        ShapeError: when the input has not four axes.

    Example:
        >>> AveragePooling2D(3, strides=1, padding="same")(ops.ones((2, 6, 6, 3))).shape
        (2, 6, 6, 3)
    """

    def __init__(
        self,
        pool_size: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, name=name, **kwargs)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.average_pool(inputs, self.pool_size, strides=self.strides, padding=self.padding)


class GlobalAveragePooling2D(Layer):
    """The mean of each channel of an image.

    Args:
        data_format: "channels_last" or None.
        keepdims: keep height and width as axes of size 1.
        kwargs: arguments of `Layer`.

    Call:
        inputs shaped (batch, height, width, channels) give (batch, channels), or
        (batch, 1, 1, channels) with keepdims.

    Raises:
        ShapeError: when the input has not four axes.

    Example:
        >>> GlobalAveragePooling2D()(ops.ones((2, 6, 6, 3))).shape
        (2, 3)
    """

    _rank = (4, 4, "(batch, height, width, channels)")

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = windows.data_format(data_format)
        self.keepdims = keepdims

    def call(self, inputs: Tensor) -> Tensor:
        return ops.mean(inputs, axis=(1, 2), keepdims=self.keepdims)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "data_format": self.data_format,
            "keepdims": self.keepdims,
        }
