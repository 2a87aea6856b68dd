"""Convolution layers. The convolution itself, with all its gradients, is `ops.conv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad import activations, initializers, ops
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.layers import windows
from tabgrad.layers.base import Layer, Shape
from tabgrad.tensor import Tensor


class Conv2D(Layer):
    """activation(convolution of images with `filters` kernels + bias), channels last.

    Args:
        filters: number of output channels.
        kernel_size: height and width of the kernel, or one integer for both.
        strides: steps of the window down and across.
        padding: "valid" (none) or "same" (zeros, so that strides 1 keep the size).
        data_format: "channels_last" or None.
        dilation_rate: spacing of the kernel's elements; not together with strides.
        groups: number of groups of channels that are convolved separately.
        activation: a name or a function; None is linear.
        use_bias: whether a bias is added.
        kernel_initializer: initial kernel, shaped (height, width, channels / groups, filters).
        bias_initializer: initial bias, shaped (filters,).
        kwargs: arguments of `Layer`.

    Call:
        inputs shaped (batch, height, width, channels) give (batch, height', width', filters).

    Raises:
        ArgumentError: for sizes that are not positive or do not divide by groups, and for strides
            together with dilation.
        ShapeError: when the input has not four axes or other channels than the layer was built for.

    Example:
        >>> Conv2D(8, 3, padding="same")(ops.ones((2, 5, 5, 1))).shape
        (2, 5, 5, 8)
    """

    _rank = (4, 4, "(batch, height, width, channels)")

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (("filters", filters), ("groups", groups)):
            if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
                raise ArgumentError(
                    f"Conv2D expected {name} to be a positive integer; received {value!r}"
                )
        if filters % groups:
            raise ArgumentError(
                f"Conv2D expected filters that divide by groups; received filters={filters}, "
                f"groups={groups}"
            )
        self.filters = filters
        self.kernel_size = windows.sizes(kernel_size, "kernel_size")
        self.strides = windows.sizes(strides, "strides")
        self.padding = windows.padding(padding)
        self.data_format = windows.data_format(data_format)
        self.dilation_rate = windows.sizes(dilation_rate, "dilation_rate")
        self.groups = groups
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ArgumentError(
                "Conv2D expected strides or dilation_rate of 1; received "
                f"strides={self.strides}, dilation_rate={self.dilation_rate}"
            )

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        if channels is None or channels % self.groups:
            raise ShapeError(
                f"{self.name!r} expected channels that divide by groups={self.groups}; received an "
                f"input of shape {input_shape}"
            )
        for size, kernel, dilation in zip(input_shape[1:], self.kernel_size, self.dilation_rate):
            reach = (kernel - 1) * dilation + 1
            if self.padding == "valid" and size is not None and size < reach:
                raise ShapeError(
                    f"{self.name!r} expected an image that holds a window of {self.kernel_size} "
                    f"(dilation {self.dilation_rate}); received one of {input_shape[1:-1]}. Use "
                    'padding="same" or a smaller kernel_size'
                )
        self.kernel = self.add_weight(
            (*self.kernel_size, channels // self.groups, self.filters),
            self.kernel_initializer,
            name="kernel",
        )
        self.bias = (
            self.add_weight((self.filters,), self.bias_initializer, name="bias")
            if self.use_bias
            else None
        )
        self._input_axes = {-1: channels}

    def call(self, inputs: Tensor) -> Tensor:
        outputs = ops.conv(
            inputs,
            self.kernel,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
        )
        if self.bias is not None:
            outputs = outputs + self.bias
        return self.activation(outputs)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
            "groups": self.groups,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
        }
