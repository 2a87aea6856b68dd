"""Groups of kernels: how many launches typical functions need, and that nothing comes too early.

What grouped kernels compute is compared with other engines by the tests of whole functions; the
sizes here are beyond what one thread does at a time, so that groups by rows take several turns.
"""

from __future__ import annotations

import numpy as np
import pytest

import tabgrad as tg
from examples import digits
from tabgrad import ops
from tabgrad.compiler.group import FEWEST_ROWS, group
from tabgrad.ir.index import Index, Var
from tabgrad.ir.kernel import Buffer, Expr, Kernel, Store, count_launches, in_groups
from tests.compiler.programs import made_of, step_entry, traced, variable


def launches_of(fn, *shapes):
    made = made_of(traced(fn, *[(shape, "float32") for shape in shapes]))
    return made.program.entries[0].launches


def layer_norm(x, gamma, beta):
    centred = x - ops.mean(x, axis=-1, keepdims=True)
    variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
    return centred * ops.rsqrt(variance + 1e-5) * gamma + beta


def attention(q, k, v):
    weights = ops.softmax(ops.einsum("bhqd,bhkd->bhqk", q, k) * 0.125)
    return ops.einsum("bhqk,bhkd->bhqd", weights, v)


HEADS = (2, 8, 64, 64)


@pytest.mark.parametrize(
    ("fn", "shapes", "most"),
    [
        (lambda x: ops.softmax(x), [(64, 1000)], 2),
        (lambda x: ops.softmax(x, axis=1), [(32, 100, 20)], 2),
        (lambda x: ops.log_softmax(x), [(64, 1000)], 2),
        (lambda x: ops.logsumexp(x, axis=-1), [(64, 1000)], 2),
        (layer_norm, [(64, 1000), (1000,), (1000,)], 2),
        (attention, [HEADS, HEADS, HEADS], 4),
        (ops.dot_product_attention, [(2, 64, 8, 64)] * 3, 4),
    ],
    ids="softmax columns log_softmax logsumexp layer_norm einsums attention".split(),
)
def test_launches(fn, shapes, most):
    assert launches_of(fn, *shapes) <= most


def convolution(norm, training):
    conv, layer = tg.layers.Conv2D(16, 3, padding="same"), tg.layers.BatchNormalization()
    conv.build((None, 16, 16, 8))
    layer.build((None, 16, 16, 16))
    return lambda x: layer(conv(x), training=training) if norm else conv(x)


def test_batch_norm():
    """It costs nothing beside a convolution in inference, at most three launches in training."""
    shape = (32, 16, 16, 8)
    plain = launches_of(convolution(False, False), shape)
    assert launches_of(convolution(True, False), shape) == plain
    assert launches_of(convolution(True, True), shape) <= plain + 3


def test_one_launch_updates_all_weights():
    weights = [variable(f"w{i}", n) for i, n in enumerate((9, 1000, 40_000, 70_000))]
    optimizer = tg.optimizers.Adam()
    optimizer.build(weights)

    def step(x):
        optimizer.apply_gradients([(w.value * ops.sum(x), w) for w in weights])

    made = made_of(traced(step, ((300, 300), "float32")))
    updates = [
        i
        for i, members in enumerate(in_groups(made.plan.launches))
        for kernel in members
        if any(s.buffer.role == "state" and s.buffer.size > 1 for s in kernel.stores)
    ]
    assert len(updates) == len(weights)
    assert len(set(updates)) == 1


def test_digits():
    made = made_of(step_entry(digits.make_model(), "train_step", 32))
    assert made.program.entries[0].launches <= 40


def test_groups_by_rows_compute_the_same():
    """Rows of every length, more of them than are done at a time."""
    rng = np.random.default_rng(0)

    @tg.compile
    def both(x):
        return ops.softmax(x), layer_norm(x, 2.0, 1.0)

    for shape in ((17, 500), (1000, 7), (40, 3, 50), (300, 33), (16, 1), (100, 100), (4, 5, 6, 70)):
        x = rng.normal(size=shape).astype(np.float32) * 3
        wide = x.astype(np.float64)
        exp = np.exp(wide - wide.max(-1, keepdims=True))
        soft, norm = map(np.asarray, both(tg.tensor(x)))
        np.testing.assert_allclose(soft, exp / exp.sum(-1, keepdims=True), atol=1e-6)
        centred = wide - wide.mean(-1, keepdims=True)
        scale = np.sqrt(wide.var(-1, keepdims=True) + 1e-5)
        np.testing.assert_allclose(norm, 2 * centred / scale + 1, atol=2e-5)


# Kernels by hand

ROWS, WIDTH = 64, 512


def array(name, size=ROWS * WIDTH, role="temp"):
    return Buffer(name, role, size, tg.float32)


def copy(source, target, read, write, loops):
    load = Expr("load", tg.float32, buffer=source, index=read)
    return Kernel("map", loops, [Store(target, write, load)], name=target.name)


def by_element(source, target):
    i, j = Var("i", ROWS), Var("j", WIDTH)
    at = Index.of(i) * WIDTH + Index.of(j)
    return copy(source, target, at, at, (i, j))


def test_rows_that_are_read_elsewhere_keep_kernels_apart():
    """The second kernel reads the row above the one it writes, or the transposed matrix."""
    x, y, z = array("x", role="input"), array("y"), array("z", role="output")
    i, j = Var("i", ROWS), Var("j", WIDTH)
    at = Index.of(i) * WIDTH + Index.of(j)
    turned = Index.of(i) + Index.of(j) * ROWS
    assert count_launches(group([by_element(x, y), by_element(y, z)])) == 1
    for read in (turned, at + WIDTH, at * -1 + (ROWS * WIDTH - 1)):
        assert count_launches(group([by_element(x, y), copy(y, z, read, at, (i, j))])) == 2


def test_few_rows_are_left_to_all_threads():
    x, y, z = array("x", role="input"), array("y"), array("z", role="output")
    few = FEWEST_ROWS // 2
    i, j = Var("i", few), Var("j", ROWS * WIDTH // few)
    at = Index.of(i) * (ROWS * WIDTH // few) + Index.of(j)
    x_to_y = copy(x, y, at, at, (i, j))
    total = Expr("load", tg.float32, buffer=y, index=at)
    fold = Kernel("reduce", (i,), [], (j,), "sum", body=total)
    fold.stores = [Store(z, Index.of(i), Expr("acc", tg.float32))]
    assert count_launches(group([x_to_y, fold])) == 2


def test_nothing_comes_before_what_it_needs():
    """Kernels nobody waits for go last, but an overwritten value is read before."""
    x, state = array("x", role="input"), array("s", role="state")
    y, z = array("y", role="output"), array("z", role="output")
    first = by_element(state, y)  # reads the old state
    update = by_element(x, state)
    other = by_element(x, z)
    order = group([first, update, other])
    names = [kernel.name for kernel in order]
    assert names.index("y") < names.index("s")
