"""Activation functions by Keras's names, for layers that take `activation="relu"`.

The functions themselves are operations (`tabgrad.ops`); here are only the ones whose Keras
activation has more arguments than the operation, and the look-up by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tabgrad import ops
from tabgrad.errors import ArgumentError
from tabgrad.ops import (
    celu,
    elu,
    glu,
    hard_shrink,
    hard_sigmoid,
    hard_silu,
    hard_swish,
    hard_tanh,
    log_sigmoid,
    log_softmax,
    mish,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_shrink,
    softmax,
    softplus,
    softsign,
    sparse_plus,
    sparse_sigmoid,
    sparsemax,
    squareplus,
    swish,
    tanh,
    tanh_shrink,
    threshold,
)
from tabgrad.tensor import Tensor

Activation = Callable[[Any], Tensor]


def linear(x: Any) -> Any:
    """x itself.

    Example:
        >>> linear(3.0)
        3.0
    """
    return x


def exponential(x: Any) -> Tensor:
    """exp(x), elementwise."""
    return ops.exp(x)


def gelu(x: Any, approximate: bool = False) -> Tensor:
    """Gaussian error linear unit, exact by default (Keras's `ops.gelu` is approximate)."""
    return ops.gelu(x, approximate)


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Tensor:
    """x where x > 0, else negative_slope * x."""
    return ops.leaky_relu(x, negative_slope)


def relu(
    x: Any,
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
) -> Tensor:
    """Rectified linear unit, with Keras's options.

    Args:
        x: a Tensor of any shape and float dtype.
        negative_slope: slope below `threshold`.
        max_value: the largest value returned, or None.
        threshold: values below it count as negative.

    Returns:
        A Tensor shaped like x: `max_value` where x >= max_value, x where
        threshold <= x < max_value, else negative_slope * (x - threshold).
    """
    above = ops.where(x > threshold, x, 0.0) if threshold else ops.relu(x)
    if max_value is not None:
        above = ops.minimum(above, max_value)
    if not negative_slope:
        return above
    # A subtracted relu, not a second select, so that a NaN stays a NaN.
    return above - negative_slope * ops.relu(threshold - x)


_FUNCTIONS: dict[str, Activation] = {
    "celu": celu,
    "elu": elu,
    "exponential": exponential,
    "gelu": gelu,
    "glu": glu,
    "hard_shrink": hard_shrink,
    "hard_sigmoid": hard_sigmoid,
    "hard_silu": hard_silu,
    "hard_tanh": hard_tanh,
    "leaky_relu": leaky_relu,
    "linear": linear,
    "log_sigmoid": log_sigmoid,
    "log_softmax": log_softmax,
    "mish": mish,
    "relu": relu,
    "relu6": relu6,
    "selu": selu,
    "sigmoid": sigmoid,
    "silu": silu,
    "soft_shrink": soft_shrink,
    "softmax": softmax,
    "softplus": softplus,
    "softsign": softsign,
    "sparse_plus": sparse_plus,
    "sparse_sigmoid": sparse_sigmoid,
    "sparsemax": sparsemax,
    "squareplus": squareplus,
    "tanh": tanh,
    "tanh_shrink": tanh_shrink,
}
_ALIASES = {"swish": "silu", "hard_swish": "hard_silu"}


def get(identifier: Any) -> Activation:
    """The function for a name, None (linear) or a function of one Tensor.

    Raises:
        ArgumentError: for an unknown name; the message lists the known ones.

    Example:
        >>> get(None) is linear
        True
    """
    if identifier is None:
        return linear
    if isinstance(identifier, str):
        name = _ALIASES.get(identifier, identifier)
        if name not in _FUNCTIONS:
            raise ArgumentError(
                f"expected an activation of {', '.join(sorted(_FUNCTIONS))}; received "
                f"{identifier!r}"
            )
        return _FUNCTIONS[name]
    if callable(identifier):
        return identifier  # type: ignore[no-any-return]  # any callable is trusted to be one
    raise ArgumentError(
        "expected a name, a function of one Tensor, or None as an activation; received "
        f"{identifier!r}"
    )


def serialize(activation: Any) -> str:
    """The name of an activation function; `get` turns it back for the built-in ones."""
    for name, function in _FUNCTIONS.items():
        if function is activation:
            return name
    return str(getattr(activation, "__name__", type(activation).__name__))


__all__ = [
    "celu",
    "elu",
    "exponential",
    "gelu",
    "get",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "serialize",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
    "threshold",
]
