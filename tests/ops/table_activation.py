"""The op table: activations of one element, against the formulas in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import special

import tabgrad as tg
from tests.ops.building import unary
from tests.ops.comparing import Array, Case, random, special_floats


def _softplus(x: Array) -> Array:
    return np.logaddexp(0, x)


def _gelu_tanh(x: Array) -> Array:
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    return x * special.expit(2 * inner)


def _gelu(x: Array) -> Array:
    return x * special.ndtr(x)


def _vanishing(function: Callable[..., Any]) -> Callable[..., Any]:
    """The scale of x times a factor that becomes subnormal: its last place counts x times."""
    return lambda x: np.abs(function(x)) + np.abs(x) * np.finfo(np.float32).tiny


def _silu(x: Array) -> Array:
    return x * special.expit(x)


def _mish(x: Array) -> Array:
    return x * np.tanh(_softplus(x))


def _elu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def activations() -> Iterator[Case]:
    # jax.nn's definitions; the magnitude of x where the formula subtracts from 1.
    by_x = {"scale": lambda x: np.abs(x)}
    finite = special_floats()[np.isfinite(special_floats())]
    yield from unary("relu", lambda x: np.maximum(x, 0), 0)
    yield from unary("relu6", lambda x: np.clip(x, 0, 6), 0, low=-10, high=10)
    yield from unary("leaky_relu", lambda x: np.where(x >= 0, x, x * np.float32(0.2)), 0.5)
    yield Case(
        "leaky_relu",
        "slope",
        lambda x: tg.ops.leaky_relu(x, 0.5),
        lambda x: np.where(x >= 0, x, x * 0.5),
        (random((9,)),),
        0,
    )
    yield from unary("elu", _elu, 3)
    yield Case(
        "elu", "alpha", lambda x: tg.ops.elu(x, 0.5), lambda x: _elu(x, 0.5), (random((9,)),), 3
    )
    yield from unary("selu", lambda x: _SELU_SCALE * _elu(x, _SELU_ALPHA), 4)
    yield from unary("gelu", _gelu_tanh, 4, values=finite, **by_x)
    yield Case("gelu", "infinities", tg.ops.gelu, _gelu_tanh, (np.float32([np.inf, np.nan]),), 1)
    yield from unary(
        "gelu",
        _gelu,
        4,
        values=finite,
        label="exact",
        call=lambda x: tg.ops.gelu(x, approximate=False),
        **by_x,
    )
    yield from unary("silu", _silu, 5, scale=_vanishing(_silu))
    yield from unary("swish", _silu, 5, scale=_vanishing(_silu))
    yield from unary("softplus", _softplus, 4)
    yield from unary("softsign", lambda x: x / (1 + np.abs(x)), 2)
    yield from unary("log_sigmoid", lambda x: -_softplus(-x), 4)
    yield from unary(
        "hard_sigmoid",
        lambda x: np.clip(x + 3, 0, 6) / 6,
        2,
        scale=lambda x: np.minimum(np.abs(x), 3) / 6 + 0.5,
    )
    for op in ("hard_silu", "hard_swish"):
        yield from unary(
            op,
            lambda x: x * np.clip(x + 3, 0, 6) / 6,
            2,
            values=finite,
            scale=lambda x: np.abs(x) * (np.minimum(np.abs(x), 3) / 6 + 0.5),
        )
    yield from unary("hard_tanh", lambda x: np.clip(x, -1, 1), None)
    yield from unary("mish", _mish, 8, scale=_vanishing(_mish))


CASES = list(activations())
