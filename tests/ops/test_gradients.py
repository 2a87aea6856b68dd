"""Gradients of the public ops on every engine, against jax.grad through Keras's ops on JAX.

Each function is written once, with the namespace of the ops as its first argument. The rules of the
primitives are checked in tests/ir; here it is how ops put them together, and the kernels that the
backward graphs become.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import realize
from tests.keras_oracle import check, jax, keras
from tests.ops.comparing import random
from tests.ops.jax_gradients import Function, both, weighted

ELEMENTWISE: dict[str, tuple[Function, float, float]] = {
    "abs": (lambda o, x: o.abs(x), -3, 3),
    "clip": (lambda o, x: o.clip(x, -1.0, 2.0), -3, 3),
    "cos": (lambda o, x: o.cos(x), -3, 3),
    "elu": (lambda o, x: o.elu(x, 0.7), -3, 3),
    "erf": (lambda o, x: o.erf(x), -3, 3),
    "exp": (lambda o, x: o.exp(x), -3, 3),
    "expm1": (lambda o, x: o.expm1(x), -3, 3),
    "gelu": (lambda o, x: o.gelu(x), -3, 3),
    "gelu exact": (lambda o, x: o.gelu(x, approximate=False), -3, 3),
    "hard_sigmoid": (lambda o, x: o.hard_sigmoid(x), -5, 5),
    "hard_silu": (lambda o, x: o.hard_silu(x), -5, 5),
    "hard_tanh": (lambda o, x: o.hard_tanh(x), -3, 3),
    "leaky_relu": (lambda o, x: o.leaky_relu(x), -3, 3),
    "log": (lambda o, x: o.log(x), 0.1, 3),
    "log10": (lambda o, x: o.log10(x), 0.1, 3),
    "log1p": (lambda o, x: o.log1p(x), -0.9, 3),
    "log2": (lambda o, x: o.log2(x), 0.1, 3),
    "log_sigmoid": (lambda o, x: o.log_sigmoid(x), -3, 3),
    "reciprocal": (lambda o, x: o.reciprocal(x), 0.2, 3),
    "relu": (lambda o, x: o.relu(x), -3, 3),
    "relu6": (lambda o, x: o.relu6(x), -9, 9),
    "rsqrt": (lambda o, x: o.rsqrt(x), 0.2, 3),
    "selu": (lambda o, x: o.selu(x), -3, 3),
    "sigmoid": (lambda o, x: o.sigmoid(x), -5, 5),
    "silu": (lambda o, x: o.silu(x), -5, 5),
    "sin": (lambda o, x: o.sin(x), -3, 3),
    "softplus": (lambda o, x: o.softplus(x), -5, 5),
    "softsign": (lambda o, x: o.softsign(x), -3, 3),
    "sqrt": (lambda o, x: o.sqrt(x), 0.1, 3),
    "square": (lambda o, x: o.square(x), -3, 3),
    "tan": (lambda o, x: o.tan(x), -1, 1),
    "tanh": (lambda o, x: o.tanh(x), -3, 3),
    "stop_gradient": (lambda o, x: x * o.stop_gradient(x), -3, 3),
    "power of a number": (lambda o, x: o.power(x, 2.5), 0.1, 3),
    "where": (lambda o, x: o.where(x > 0, o.exp(x), x * 2), -3, 3),
}

# name: (function, shapes)
STRUCTURED: dict[str, tuple[Function, list[tuple[int, ...]]]] = {
    "add broadcast": (lambda o, x, y: x + y, [(3, 1, 5), (4, 1)]),
    "multiply broadcast": (lambda o, x, y: x * y, [(7,), (3, 7)]),
    "divide broadcast": (lambda o, x, y: x / (y * y + 1), [(2, 3), ()]),
    "maximum": (lambda o, x, y: o.maximum(x, y), [(3, 5), (3, 5)]),
    "arctan2": (lambda o, x, y: o.arctan2(x, y + 4), [(9,), (9,)]),
    "power": (lambda o, x, y: o.power(x * x + 0.5, y), [(9,), (9,)]),
    "used twice": (lambda o, x: x * x * x + o.transpose(x), [(5, 5)]),
    "sum of axis": (lambda o, x: o.sum(x, axis=1), [(3, 17, 2)]),
    "mean": (lambda o, x: o.mean(x * x, axis=(0, 2), keepdims=True), [(3, 5, 4)]),
    "var": (lambda o, x: o.var(x, axis=0), [(9, 3)]),
    "std": (lambda o, x: o.std(x, axis=-1), [(3, 9)]),
    "norm": (lambda o, x: o.norm(x), [(3, 5)]),
    "prod": (lambda o, x: o.prod(x, axis=1), [(3, 5)]),
    "max": (lambda o, x: o.max(x, axis=1), [(4, 9)]),
    "min": (lambda o, x: o.min(x), [(4, 9)]),
    "logsumexp": (lambda o, x: o.logsumexp(x, axis=-1), [(3, 9)]),
    "softmax": (lambda o, x: o.softmax(x), [(3, 10)]),
    "softmax of axis 0": (lambda o, x: o.softmax(x, axis=0), [(5, 3)]),
    "log_softmax": (lambda o, x: o.log_softmax(x), [(3, 10)]),
    "matmul": (lambda o, x, y: o.matmul(x, y), [(7, 9), (9, 5)]),
    "matmul large": (lambda o, x, y: o.matmul(x, y), [(33, 40), (40, 17)]),
    "matmul vector": (lambda o, x, y: o.matmul(x, y), [(4, 5), (5,)]),
    "matmul batch": (lambda o, x, y: o.matmul(x, y), [(3, 2, 4), (3, 4, 5)]),
    "matmul broadcast": (lambda o, x, y: o.matmul(x, y), [(3, 1, 2, 4), (2, 4, 5)]),
    "dense": (lambda o, x, w, c: o.relu(o.matmul(x, w) + c), [(8, 5), (5, 6), (6,)]),
    "tensordot": (lambda o, x, y: o.tensordot(x, y, 2), [(2, 3, 4), (3, 4, 5)]),
    "einsum": (lambda o, x, y: o.einsum("bqhd,bkhd->bhqk", x, y), [(2, 3, 2, 4), (2, 5, 2, 4)]),
    "einsum diagonal": (lambda o, x: o.einsum("ii->i", x), [(4, 4)]),
    "outer": (lambda o, x, y: o.outer(x, y), [(3,), (4,)]),
    "reshape and transpose": (lambda o, x: o.transpose(o.reshape(x, (4, 6)), (1, 0)), [(2, 3, 4)]),
    "concatenate": (lambda o, x, y: o.concatenate([x, y * 2, x], axis=1), [(3, 2), (3, 5)]),
    "stack": (lambda o, x, y: o.stack([x, y, x], axis=1), [(3, 2), (3, 2)]),
    "split": (lambda o, x: o.split(x, [1, 3], axis=1)[1] * 2, [(3, 5)]),
    "pad": (lambda o, x: o.pad(x, ((1, 2), (0, 3))), [(3, 4)]),
    "pad by reflection": (lambda o, x: o.pad(x, ((1, 2), (1, 1)), mode="reflect"), [(4, 4)]),
    "flip": (lambda o, x: o.flip(x, 1), [(3, 4)]),
    "roll": (lambda o, x: o.roll(x, 2, 1), [(3, 5)]),
    "tile": (lambda o, x: o.tile(x, (2, 3)), [(2, 3)]),
    "repeat": (lambda o, x: o.repeat(x, 3, 1), [(2, 3)]),
    "broadcast_to": (lambda o, x: o.broadcast_to(x, (4, 2, 3)), [(2, 1)]),
    "moveaxis": (lambda o, x: o.moveaxis(x, 0, -1), [(2, 3, 4)]),
    "slice with steps": (lambda o, x: x[1:6:2, 1:], [(7, 4)]),
    "index": (lambda o, x: x[-1], [(3, 4)]),
    "take": (lambda o, x: o.take(x, np.int32([0, 2, 2, 1]), 1), [(3, 4, 2)]),
    "take_along_axis": (
        lambda o, x: o.take_along_axis(x, np.int32([[0, 1], [2, 2], [1, 0]]), 1), [(3, 4)]
    ),
    "slice": (lambda o, x: o.slice(x, (1, 2), (2, 2)), [(4, 5)]),
    "slice_update": (lambda o, x, y: o.slice_update(x, (1, 2), y), [(4, 5), (2, 2)]),
    "scatter_update": (
        lambda o, x, y: o.scatter_update(x, np.int32([[1], [3]]), y), [(4, 5), (2, 5)]
    ),
    "conv": (lambda o, x, w: o.conv(x, w), [(2, 6, 7, 3), (3, 3, 3, 4)]),
    "conv same": (lambda o, x, w: o.conv(x, w, padding="same"), [(2, 8, 8, 1), (3, 3, 1, 16)]),
    "conv strides": (
        lambda o, x, w: o.conv(x, w, strides=2, padding="same"), [(2, 7, 8, 3), (3, 2, 3, 5)]
    ),
    "conv dilated": (
        lambda o, x, w: o.conv(x, w, dilation_rate=2), [(1, 8, 7, 2), (3, 2, 2, 3)]
    ),
    "conv groups": (lambda o, x, w: o.conv(x, w, padding="same"), [(2, 5, 5, 4), (3, 3, 2, 6)]),
    "conv 1d": (lambda o, x, w: o.conv(x, w, strides=2), [(2, 9, 3), (3, 3, 4)]),
    "depthwise_conv": (
        lambda o, x, w: o.depthwise_conv(x, w, padding="same"), [(2, 5, 6, 3), (3, 3, 3, 1)]
    ),
    "conv_transpose": (
        lambda o, x, w: o.conv_transpose(x, w, strides=2, padding="same"),
        [(2, 4, 3, 2), (3, 3, 4, 2)],
    ),
    "max_pool": (lambda o, x: o.max_pool(x, 2, 2), [(2, 6, 8, 3)]),
    "max_pool overlapping": (
        lambda o, x: o.max_pool(x, 3, 2, padding="same"), [(2, 7, 6, 3)]
    ),
    "average_pool": (lambda o, x: o.average_pool(x, 2, 2), [(2, 6, 8, 3)]),
    "average_pool same": (
        lambda o, x: o.average_pool(x, 3, 2, padding="same"), [(2, 7, 6, 3)]
    ),
    "scan": (
        lambda o, x, w: o.scan(lambda c, r: (o.tanh(c * w + r), c * r), x[0], x)[1],
        [(5, 3), (3,)],
    ),
    "attention": (
        lambda o, q, k, v: o.matmul(o.softmax(o.matmul(q, o.transpose(k)) / 2.0), v),
        [(5, 4), (6, 4), (6, 3)],
    ),
    "batch normalisation": (
        lambda o, x: (x - o.mean(x, axis=0)) * o.rsqrt(o.var(x, axis=0) + 1e-3), [(8, 3)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(engine: str, name: str) -> None:
    function, low, high = ELEMENTWISE[name]
    for got, expected in zip(*both(function, (random((3, 17), 1, low, high),)), strict=True):
        check(got, expected, 2e-6, name)


@pytest.mark.parametrize("name", STRUCTURED)
def test_structured(engine: str, name: str) -> None:
    function, shapes = STRUCTURED[name]
    arrays = tuple(random(shape, seed, -2, 2) for seed, shape in enumerate(shapes))
    for i, (got, expected) in enumerate(zip(*both(function, arrays), strict=True)):
        check(got, expected, 5e-6, f"{name}, argument {i}")


@pytest.mark.parametrize("name", ["relu", "clip", "relu6"])
def test_kinks_as_in_jax(engine: str, name: str) -> None:
    function = ELEMENTWISE[name][0]
    ((got,), (expected,)) = both(function, (np.float32([-1, 0, 1, 2, 6, -0.0]),))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", ["sqrt", "softplus", "gelu", "silu", "log_sigmoid", "elu"])
def test_no_nan_at_large_arguments(engine: str, name: str) -> None:
    function = ELEMENTWISE[name][0]
    x = np.float32([1e4, 100, 90, 60]) if name == "sqrt" else np.float32([-1e4, -90, 90, 1e4])
    ((got,), (expected,)) = both(function, (x,))
    check(got, expected, 2e-6, name)


SECOND: dict[str, tuple[Function, list[tuple[int, ...]]]] = {
    "cube": (lambda o, x: x * x * x, [(3, 5)]),
    "tanh": (lambda o, x: o.tanh(x), [(3, 5)]),
    "softmax": (lambda o, x: o.softmax(x), [(3, 5)]),
    "logsumexp": (lambda o, x: o.logsumexp(x, axis=-1), [(3, 5)]),
    "var": (lambda o, x: o.var(x, axis=0), [(4, 3)]),
    "dense": (lambda o, x, w: o.tanh(o.matmul(x, w)), [(3, 4), (4, 2)]),
    "conv": (lambda o, x, w: o.square(o.conv(x, w, padding="same")), [(1, 4, 5, 2), (3, 3, 2, 2)]),
    "max_pool": (lambda o, x: o.square(o.max_pool(x, 2, 2)), [(1, 4, 4, 2)]),
    "scan": (
        lambda o, x, w: o.scan(lambda c, r: (o.tanh(c * w + r), c * r), x[0], x)[1],
        [(4, 3), (3,)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SECOND)
def test_second_order(engine: str, name: str) -> None:
    function, shapes = SECOND[name]
    arrays = tuple(random(shape, seed, -1, 1) for seed, shape in enumerate(shapes))
    scalar, aim = weighted(function, arrays), random(shapes[0], 98)

    def slope(o: Any, grad: Any) -> Function:
        first = grad(lambda *xs: scalar(o, *xs))
        return lambda *xs: o.sum(first(*xs) * o.convert_to_tensor(aim))

    positions = tuple(range(len(arrays)))
    mine = tg.grad(slope(tg.ops, tg.grad), argnums=positions)(*map(tg.tensor, arrays))
    realize.realize([g.node for g in mine])
    theirs = jax.jit(jax.grad(slope(keras.ops, jax.grad), argnums=positions))(*arrays)
    for i, (got, expected) in enumerate(zip(mine, theirs, strict=True)):
        check(np.asarray(got), np.asarray(expected), 1e-5, f"{name}, argument {i}")
