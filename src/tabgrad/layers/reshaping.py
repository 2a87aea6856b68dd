"""Layers that only move elements: Flatten and Reshape. The batch axis always stays first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tabgrad import ops
from tabgrad.errors import ShapeError
from tabgrad.layers import windows
from tabgrad.layers.base import Layer
from tabgrad.tensor import Tensor


class Flatten(Layer):
    """Every row as one vector.

    Args:
        data_format: "channels_last" or None.
        kwargs: arguments of `Layer`.

    Call:
        inputs shaped (batch, ...) give (batch, n), n being the product of the other sizes.

    Example:
        >>> Flatten()(ops.ones((2, 3, 4))).shape
        (2, 12)
    """

    _rank = (1, 32, "(batch, ...)")

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = windows.data_format(data_format)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.reshape(inputs, (inputs.shape[0], math.prod(inputs.shape[1:])))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}


class Reshape(Layer):
    """Every row in another shape.

    Args:
        target_shape: shape of a row, without the batch axis; one size may be -1.
        kwargs: arguments of `Layer`.

    Call:
        inputs shaped (batch, ...) give (batch, *target_shape).

    Raises:
        ShapeError: when two sizes are -1, or the elements of a row do not fit.

    Example:
        >>> Reshape((-1, 2))(ops.ones((5, 12))).shape
        (5, 6, 2)
    """

    _rank = (1, 32, "(batch, ...)")

    def __init__(self, target_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target_shape = tuple(target_shape)
        if self.target_shape.count(-1) > 1 or any(n == 0 or n < -1 for n in self.target_shape):
            raise ShapeError(
                "Reshape expected positive sizes and at most one -1 in target_shape; received "
                f"{target_shape!r}"
            )

    def call(self, inputs: Tensor) -> Tensor:
        have = math.prod(inputs.shape[1:])
        known = math.prod(n for n in self.target_shape if n != -1)
        if have % known or (-1 not in self.target_shape and have != known):
            raise ShapeError(
                f"expected rows that fit into target_shape {self.target_shape}; received rows of "
                f"{have} elements, {inputs.shape[1:]}"
            )
        shape = [have // known if n == -1 else n for n in self.target_shape]
        return ops.reshape(inputs, (inputs.shape[0], *shape))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "target_shape": self.target_shape}
