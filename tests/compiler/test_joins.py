"""Concatenations in memory: parts are stored where they belong, in whole runs of a loop."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tabgrad as tg
from tabgrad import config, ops
from tests.compiler.programs import made
from tests.ops.engines import chosen

F = "float32"


def guards(result):
    return [k.name for k in result.kernels if " if 0<=" in k.text()]


def random(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def test_the_gradient_of_a_split_is_stored_by_one_kernel():
    """The gates of a cell: what they share is computed once, and no element asks whose it is."""

    def gates(x, w):
        def loss(z):
            a, b, c, d = ops.split(z, 4, axis=1)
            return ops.sum(ops.tanh(a) * ops.sigmoid(b) + ops.exp(c) * ops.tanh(a) * d)

        return tg.grad(loss)(x) @ w

    result = made(gates, ((8, 64), F), ((64, 5), F))
    assert guards(result) == []
    assert result.kinds == ["map", "contract"]
    (first, _) = result.kernels
    assert len(first.stores) == 4 and len({id(s.buffer) for s in first.stores}) == 1
    x, w = random(8, 64), random(64, 5)
    a, b, c, d = np.split(x.astype(np.float64), 4, axis=1)
    s, t = 1 / (1 + np.exp(-b)), np.tanh(a)
    slope = [(1 - t * t) * (s + np.exp(c) * d), t * s * (1 - s), np.exp(c) * t * d, np.exp(c) * t]
    with config.override(validate=True), chosen("wasm"):
        got = np.asarray(tg.compile(gates)(tg.tensor(x), tg.tensor(w)))
    np.testing.assert_allclose(got, np.concatenate(slope, axis=1) @ w, rtol=2e-5, atol=2e-5)


def test_parts_of_different_shapes_are_stored_by_a_kernel_each():
    def parts(x, y):
        return ops.concatenate([ops.exp(x), y, x * 2, ops.zeros((8, 4))], axis=1)

    result = made(parts, ((8, 16), F), ((8, 24), F))
    assert guards(result) == []
    assert [len(kernel.stores) for kernel in result.kernels] == [2, 1, 1]
    x, y = random(8, 16), random(8, 24)
    got = np.asarray(tg.compile(parts)(tg.tensor(x), tg.tensor(y)))
    want = np.concatenate([np.exp(x), y, x * 2, np.zeros((8, 4))], axis=1)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_short_runs_ask_which_part_they_are_of():
    def stacked(x, y):
        return ops.concatenate([ops.exp(x), y], axis=1)

    assert len(made(stacked, ((400, 1), F), ((400, 1), F)).kernels) == 1
    assert len(made(stacked, ((4, 8), F), ((4, 8), F)).kernels) == 1
    assert guards(made(stacked, ((4, 8), F), ((4, 8), F)))


def test_parts_of_one_element_compute_once_what_they_share():
    """Eight numbers of a costly one, side by side: it is not computed for each of them."""

    def numbers(x, y):
        costly = tg.exp(x) / (y + tg.sqrt(x))
        return tg.stack([costly * i + y for i in range(1, 9)], axis=-1)

    result = made(numbers, ((7,), F), ((7,), F))
    assert "\n".join(kernel.text() for kernel in result.kernels).count("exp(") == 1
    x, y = np.abs(random(7)), np.abs(random(7))
    got = np.asarray(tg.compile(numbers)(tg.tensor(x), tg.tensor(y)))
    want = (np.exp(x) / (y + np.sqrt(x)))[:, None] * np.arange(1, 9) + y[:, None]
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_what_is_joined_of_constant_state_stays_one_kernel():
    """It may be kept from call to call."""
    a, c = tg.Variable(random(16, 16), name="a"), tg.Variable(random(16, 16), name="c")

    def applied(x):
        return x @ ops.concatenate([a, c * 2], axis=1)

    result = made(applied, ((3, 16), F))
    assert len(result.kernels) == 2 and len(result.kernels[0].stores) == 1
    x = random(3, 16)
    want = x @ np.concatenate([np.asarray(a), np.asarray(c) * 2], axis=1)
    np.testing.assert_allclose(tg.compile(applied)(tg.tensor(x)), want, rtol=2e-5, atol=1e-5)


FUNCTIONS = {
    "a part twice": lambda o, scan, x, y: o.concatenate([o.exp(x), y, o.exp(x)], axis=1),
    "a part that is a result": lambda o, scan, x, y: (
        o.concatenate([o.exp(x), y * 2], axis=1), o.exp(x)
    ),
    "a part of a part": lambda o, scan, x, y: o.concatenate(
        [o.concatenate([x + 1, y], axis=1), o.exp(x), o.flip(o.exp(x), 1)], axis=1
    ),
    "parts of sums": lambda o, scan, x, y: o.concatenate(
        [x - o.mean(x, axis=1, keepdims=True), y / o.sum(y * y, axis=1, keepdims=True)], axis=1
    ),
    "a sum of what is joined": lambda o, scan, x, y: o.sum(
        o.concatenate([o.exp(x), y * 3], axis=1) ** 2, axis=0
    ),
    "means and deviations": lambda o, scan, x, y: o.concatenate(
        [o.sum(x, axis=1), o.exp(o.sum(x, axis=1)), x[:, 0], o.reshape(y * 2, (-1,))[:250]], axis=0
    ),
    "joined and used whole": lambda o, scan, x, y: (
        o.tanh(o.concatenate([o.exp(x), y * 3], axis=1)),
        o.concatenate([o.exp(x), y * 3], axis=1),
    ),
    "along the first axis": lambda o, scan, x, y: o.concatenate(
        [x * 2, y[:, :16], o.exp(x)], axis=0
    ),
    "in turns": lambda o, scan, x, y: scan(
        lambda c, r: (o.tanh(c) * 0.5, o.concatenate([o.exp(c), c + r, r * 2], axis=1)),
        x, o.reshape(y, (3, 8, 8))[:, :, :1] + o.zeros((1, 1, 16), "float32"),
    )[1],
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("engine", ["kernels", "wasm"])
def test_values_are_those_of_jax(engine, name):
    """Every kernel is checked on its own, too."""
    function = FUNCTIONS[name]
    x, y = random(8, 16), random(8, 24)
    want = jax.tree.leaves(function(jnp, jax.lax.scan, x, y))
    with config.override(validate=engine == "wasm"), chosen(engine):
        compiled = tg.compile(lambda x, y: function(ops, tg.scan, x, y))
        got = compiled(tg.tensor(x), tg.tensor(y))
        got = [np.asarray(one) for one in (got if isinstance(got, tuple) else (got,))]
    for mine, true in zip(got, want, strict=True):
        np.testing.assert_allclose(mine, true, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("engine", ["kernels", "wasm"])
def test_a_state_is_joined_from_itself(engine):
    """A queue: what is read of the old state is read before it is overwritten."""
    start = random(40, 16)
    with chosen(engine):
        queue = tg.Variable(start, name="queue")

        @tg.compile
        def push(x):
            queue.assign(ops.concatenate([queue[8:], ops.exp(x)], axis=0))
            return ops.sum(queue[:8])

        want = start
        for turn in range(3):
            x = random(8, 16) - turn
            want = np.concatenate([want[8:], np.exp(x)])
            np.testing.assert_allclose(push(tg.tensor(x)), want[:8].sum(), rtol=1e-4)
            np.testing.assert_allclose(queue, want, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32"])
def test_parts_of_a_split_are_added_to_a_zero(dtype):
    """As a sum of padded parts is: -0.0 + 0.0 is 0.0, and NaN stays."""
    x = np.arange(-256, 256).reshape(8, 64).astype(dtype)
    if dtype != "int32":
        x[0, :8] = [-0.0, 0.0, np.nan, np.inf, -np.inf, -0.0, 1.0, -1.0]

    def padded(x):
        parts = [(0, x[:, :16]), (16, x[:, 16:40]), (48, x[:, 48:])]
        first, second, third = (
            tg.pad(part, ((0, 0), (start, 64 - start - part.shape[1]))) for start, part in parts
        )
        return first + second + third

    assert guards(made(padded, ((8, 64), dtype))) == []
    got = np.asarray(tg.compile(padded)(tg.tensor(x)))
    want = x + np.zeros((), dtype)
    want[:, 40:48] = 0
    np.testing.assert_array_equal(got, want)
    if dtype != "int32":
        np.testing.assert_array_equal(np.signbit(got[got == 0]), False)
