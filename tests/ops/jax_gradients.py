"""Gradients of the same function by tabgrad and by JAX, through Keras's ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tabgrad as tg
from tabgrad import realize
from tests.keras_oracle import jax, keras
from tests.ops.comparing import Array, random

Function = Callable[..., Any]
"""Takes the namespace of the ops and its arguments."""


def weighted(function: Function, arrays: tuple[Array, ...]) -> Function:
    """The sum of the function's output on these arguments, weighted at random."""
    shape = jax.eval_shape(lambda *xs: function(keras.ops, *xs), *arrays).shape
    weights = random(shape, 99)
    return lambda o, *xs: o.sum(function(o, *xs) * o.convert_to_tensor(weights))


def both(function: Function, arrays: tuple[Array, ...]) -> tuple[list[Array], list[Array]]:
    """The gradients by tabgrad and by JAX of the function's output, weighted at random."""
    scalar = weighted(function, arrays)
    positions = tuple(range(len(arrays)))
    mine = tg.grad(lambda *xs: scalar(tg.ops, *xs), argnums=positions)(*map(tg.tensor, arrays))
    realize.realize([g.node for g in mine])
    theirs = jax.jit(jax.grad(lambda *xs: scalar(keras.ops, *xs), argnums=positions))(*arrays)
    return [np.asarray(g) for g in mine], [np.asarray(g) for g in theirs]
