"""Activation functions as layers: Activation, ReLU, Softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad import activations, ops
from tabgrad.errors import ArgumentError
from tabgrad.layers.base import Layer
from tabgrad.tensor import Tensor


class Activation(Layer):
    """An activation function as a layer.

    Args:
        activation: a name such as "tanh", or a function of one Tensor.
        kwargs: arguments of `Layer`.

    Raises:
        ArgumentError: for an unknown name; the message lists the known ones.

    Example:
        >>> Activation("relu")(ops.arange(-1, 2, dtype="float32")).tolist()
        [0.0, 0.0, 1.0]
    """

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activations.get(activation)

    def call(self, inputs: Tensor) -> Tensor:
        return self.activation(inputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "activation": activations.serialize(self.activation)}


class ReLU(Layer):
    """Rectified linear unit.

    Args:
        max_value: the largest value returned, or None.
        negative_slope: slope below `threshold`.
        threshold: values below it count as negative.
        kwargs: arguments of `Layer`.

    Raises:
        ArgumentError: when an argument is negative.

    Example:
        >>> ReLU(max_value=1.0)(ops.arange(-1, 3, dtype="float32")).tolist()
        [0.0, 0.0, 1.0, 1.0]
    """

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if max_value is not None and max_value < 0:
            raise ArgumentError(f"ReLU expected max_value of at least 0; received {max_value!r}")
        for name, value in (("negative_slope", negative_slope), ("threshold", threshold)):
            if value is None or value < 0:
                raise ArgumentError(f"ReLU expected {name} of at least 0; received {value!r}")
        self.max_value = max_value
        self.negative_slope = negative_slope
        self.threshold = threshold

    def call(self, inputs: Tensor) -> Tensor:
        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "max_value": self.max_value,
            "negative_slope": self.negative_slope,
            "threshold": self.threshold,
        }


class Softmax(Layer):
    """exp(x) / sum(exp(x)) along an axis.

    Args:
        axis: the axis (or axes) along which values sum to 1.
        kwargs: arguments of `Layer`.

    Call:
        inputs of any shape; with `mask` (broadcastable to the inputs), places where it is False
        get 0 and take no part.

    Example:
        >>> Softmax()(ops.zeros((1, 4))).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is not None:
            mask = ops.cast(mask, "bool")
            # The lowest value that float16 holds, so that a masked place adds exactly 0.
            inputs = ops.where(mask, inputs, -3e4 if inputs.dtype == "float16" else -1e9)
        if isinstance(self.axis, int):
            outputs = ops.softmax(inputs, axis=self.axis)
        else:
            axes = tuple(self.axis)
            outputs = ops.exp(inputs - ops.logsumexp(inputs, axis=axes, keepdims=True))
        return outputs if mask is None else ops.where(mask, outputs, 0.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}
