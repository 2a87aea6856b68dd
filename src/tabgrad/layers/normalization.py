"""Normalisation layers: BatchNormalization."""

from __future__ import annotations

from typing import Any

from tabgrad import initializers, ops
from tabgrad.errors import ShapeError
from tabgrad.layers.base import Layer, Shape
from tabgrad.tensor import Tensor


class BatchNormalization(Layer):
    """Normalises each channel to mean 0 and variance 1, then scales and shifts it.

    While training the statistics are those of the batch, and moving averages of them are kept;
    otherwise, and when `trainable` is False, the moving averages are used.

    Args:
        axis: the axis of the channels.
        momentum: how much of a moving average stays at each step.
        epsilon: added to the variance.
        center: whether there is a shift `beta`.
        scale: whether there is a factor `gamma`.
        beta_initializer: initial shift.
        gamma_initializer: initial factor.
        moving_mean_initializer: initial moving mean.
        moving_variance_initializer: initial moving variance.
        kwargs: arguments of `Layer`.

    Call:
        inputs of any shape give the same shape; statistics are over all axes but `axis`.

    Raises:
        ShapeError: when the channels are not those the layer was built for.

    Example:
        >>> layer = BatchNormalization()
        >>> layer(ops.ones((4, 2))).shape, [v.name for v in layer.weights]
        ((4, 2), ['gamma', 'beta', 'moving_mean', 'moving_variance'])
    """

    _rank = (1, 32, "(batch, ..., channels)")

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.axis = int(axis)
        self.momentum = float(momentum)
        self.epsilon = float(epsilon)
        self.center = center
        self.scale = scale
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)

    def build(self, input_shape: Shape) -> None:
        if not -len(input_shape) <= self.axis < len(input_shape):
            raise ShapeError(
                f"{self.name!r} expected an input with axis {self.axis}; received shape "
                f"{input_shape}"
            )
        channels = input_shape[self.axis]
        if channels is None:
            raise ShapeError(
                f"{self.name!r} expected a known size on axis {self.axis}; received shape "
                f"{input_shape}"
            )
        shape = (channels,)
        self.gamma = (
            self.add_weight(shape, self.gamma_initializer, name="gamma") if self.scale else None
        )
        self.beta = (
            self.add_weight(shape, self.beta_initializer, name="beta") if self.center else None
        )
        self.moving_mean = self.add_weight(
            shape, self.moving_mean_initializer, trainable=False, name="moving_mean"
        )
        self.moving_variance = self.add_weight(
            shape, self.moving_variance_initializer, trainable=False, name="moving_variance"
        )
        self._input_axes = {self.axis: channels}

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        rank = len(inputs.shape)
        axis = self.axis % rank
        others = tuple(i for i in range(rank) if i != axis)
        if training and self.trainable:
            mean = ops.mean(inputs, axis=others)
            variance = ops.var(inputs, axis=others)
            keep = self.momentum
            self.moving_mean.assign(self.moving_mean.value * keep + mean * (1.0 - keep))
            self.moving_variance.assign(self.moving_variance.value * keep + variance * (1.0 - keep))
        else:
            mean = self.moving_mean.value
            variance = self.moving_variance.value
        factor = ops.rsqrt(variance + self.epsilon)
        if self.gamma is not None:
            factor = factor * self.gamma
        shift = -mean * factor
        if self.beta is not None:
            shift = shift + self.beta
        along = [1] * rank
        along[axis] = inputs.shape[axis]
        return inputs * ops.reshape(factor, along) + ops.reshape(shift, along)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "axis": self.axis,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "beta_initializer": initializers.serialize(self.beta_initializer),
            "gamma_initializer": initializers.serialize(self.gamma_initializer),
            "moving_mean_initializer": initializers.serialize(self.moving_mean_initializer),
            "moving_variance_initializer": initializers.serialize(self.moving_variance_initializer),
        }
