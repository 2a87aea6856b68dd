"""Layers that act only while training, to make models generalise: Dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad import ops, random
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.layers.base import Layer, Shape
from tabgrad.tensor import Tensor


class Dropout(Layer):
    """While training, sets a random part of the inputs to 0 and scales the rest by 1 / (1 - rate).

    Args:
        rate: the part that is set to 0, from 0 to 1.
        noise_shape: shape of the random mask, broadcast to the inputs; None in it means the
            input's size there.
        seed: an integer for a fixed sequence of masks; None takes one from the global state.
        kwargs: arguments of `Layer`.

    Call:
        `training=True` drops; otherwise the inputs come back unchanged.

    Raises:
        ArgumentError: when rate is not within 0 to 1, or noise_shape is not a tuple of sizes.

    Example:
        >>> Dropout(0.5)([[1.0, 2.0]]).tolist()
        [[1.0, 2.0]]
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
            raise ArgumentError(f"Dropout expected a rate from 0 to 1; received {rate!r}")
        self.rate = rate
        self.seed = seed
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)
        for size in self.noise_shape or ():
            if size is not None and (not isinstance(size, int) or size <= 0):
                raise ArgumentError(
                    "Dropout expected positive sizes or None in noise_shape; received "
                    f"{noise_shape!r}"
                )
        if rate > 0:
            drawn = int(random.bits((), None).item()) if seed is None else seed
            self.seed_generator = random.SeedGenerator(drawn)

    def build(self, input_shape: Shape) -> None:
        if self.rate > 0:
            # Known under the layer's name in files and exports.
            self.seed_generator.state.path = f"{self.path}/seed_generator/state"

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        if not training or self.rate == 0:
            return inputs
        if self.rate == 1:
            return ops.zeros_like(inputs)
        shape = self.noise_shape
        if shape is not None:
            if len(shape) != len(inputs.shape):
                raise ShapeError(
                    f"expected an input with the {len(shape)} axes of noise_shape {shape}; "
                    f"received {inputs.shape}"
                )
            shape = tuple(n or have for n, have in zip(shape, inputs.shape, strict=True))
        return random.dropout(inputs, self.rate, shape, self.seed_generator)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "rate": self.rate,
            "seed": self.seed,
            "noise_shape": self.noise_shape,
        }
