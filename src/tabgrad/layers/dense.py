"""Dense: the fully connected layer. Other contractions are in convolution.py."""

from __future__ import annotations

from typing import Any

from tabgrad import activations, initializers, ops
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.layers.base import Layer, Shape
from tabgrad.tensor import Tensor


class Dense(Layer):
    """activation(inputs @ kernel + bias), over the last axis.

    Args:
        units: number of outputs.
        activation: a name or a function; None is linear.
        use_bias: whether a bias is added.
        kernel_initializer: initial values of the kernel, shaped (inputs, units).
        bias_initializer: initial values of the bias, shaped (units,).
        kwargs: arguments of `Layer`.

    Call:
        inputs shaped (batch, ..., n) give a Tensor shaped (batch, ..., units).

    Raises:
        ArgumentError: when units is not a positive integer.
        ShapeError: when the last axis is not the one the layer was built for.

    Example:
        >>> Dense(3, activation="relu")(ops.ones((4, 2))).shape
        (4, 3)
    """

    _rank = (2, 32, "(batch, ..., features)")

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(units, int) or isinstance(units, bool) or units <= 0:
            raise ArgumentError(
                f"Dense expected units to be a positive integer; received {units!r}"
            )
        self.units = units
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)

    def build(self, input_shape: Shape) -> None:
        features = input_shape[-1]
        if features is None:
            raise ShapeError(
                f"{self.name!r} expected an input with a known size on the last axis; received "
                f"{input_shape}"
            )
        self.kernel = self.add_weight(
            (features, self.units), self.kernel_initializer, name="kernel"
        )
        self.bias = (
            self.add_weight((self.units,), self.bias_initializer, name="bias")
            if self.use_bias
            else None
        )
        self._input_axes = {-1: features}

    def call(self, inputs: Tensor) -> Tensor:
        outputs = ops.matmul(inputs, self.kernel)
        if self.bias is not None:
            outputs = outputs + self.bias
        return self.activation(outputs)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
        }
