"""Simplified graphs of typical functions, as texts in tests/golden for people to read."""

from __future__ import annotations

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import jit, ops, realize
from tabgrad.compiler.driver import simplified
from tabgrad.compiler.rows import mask_rows
from tabgrad.engines.reference import ReferenceEngine
from tabgrad.ir.text import format_graph, parse_entry
from tabgrad.ir.verify import verify_graph
from tests.compiler.typical import TYPICAL
from tests.golden.compare import FOLDER, check_golden


def variable(name, *shape):
    return tg.Variable(np.zeros(shape, np.float32), name=name)


def relu_sum():
    """Gradients of sum(relu(x @ w)): the backward pass asks the activation for its sign."""

    def fn(x, w):
        return tg.value_and_grad(lambda x, w: ops.sum(ops.relu(ops.matmul(x, w))), (0, 1))(x, w)

    return fn, [((4, 8), "float32", False), ((8, 2), "float32", False)]


def softmax_crossentropy():
    """A partial batch: the loss and its cotangent are masked, and nothing else."""

    def fn(logits, labels):
        def loss(logits):
            hot = ops.one_hot(labels, 3)
            return ops.mean(-ops.sum(hot * ops.log_softmax(logits), axis=-1))

        return tg.value_and_grad(loss)(logits)

    return fn, [((8, 3), "float32", True), ((8,), "int32", True)]


def convolution_step():
    """A step of plain gradient descent through convolution and pooling."""
    kernel, bias = variable("kernel", 3, 3, 1, 4), variable("bias", 4)

    def fn(x):
        def loss(x):
            y = ops.relu(ops.conv(x, kernel, padding="same") + bias)
            return ops.sum(ops.square(ops.max_pool(y, 2)))

        value, slopes = tg.value_and_grad(loss, variables=[kernel, bias])(x)
        for v, slope in zip((kernel, bias), slopes, strict=True):
            v.assign(v - 0.1 * slope)
        return value

    return fn, [((2, 4, 4, 1), "float32", False)]


def batch_norm():
    """Statistics of the true rows of a batch, with the gradient through them."""
    moving = variable("moving", 3)

    def fn(x):
        def loss(x):
            mean = ops.mean(x, axis=0)
            centred = x - mean
            variance = ops.mean(ops.square(centred), axis=0)
            y = centred / ops.sqrt(variance + 1e-3)
            return ops.sum(y * ops.square(y)), mean

        slope, mean = tg.grad(loss, has_aux=True)(x)
        moving.assign(moving * 0.75 + mean * 0.25)
        return slope

    return fn, [((8, 3), "float32", True)]


def adam():
    """One weight and its two slots; all of it elementwise."""
    w, m, v, step = variable("w", 5), variable("m", 5), variable("v", 5), variable("step")

    def fn(slope, learning_rate):
        now = step + 1.0
        mean = m + (slope - m) * (1 - 0.9)
        square = v + (ops.square(slope) - v) * (1 - 0.999)
        rate = learning_rate * ops.sqrt(1 - ops.power(0.999, now)) / (1 - ops.power(0.9, now))
        w.assign(w - mean * rate / (ops.sqrt(square) + 1e-7))
        for slot, value in ((m, mean), (v, square), (step, now)):
            slot.assign(value)

    return fn, [((5,), "float32", False), ((), "float32", False)]


def scan_with_gradient():
    """A recurrence h = tanh(w*h + x): the loop forward, and the loop back."""

    def fn(w, xs):
        def loss(w):
            last, _ = ops.scan(lambda h, x: (ops.tanh(w * h + x), None), ops.zeros(()), xs)
            return last

        return tg.value_and_grad(loss)(w)

    return fn, [((), "float32", False), ((5,), "float32", False)]


CASES = [
    relu_sum, softmax_crossentropy, convolution_step, batch_norm, adam, scan_with_gradient,
    *TYPICAL,
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_golden(case):
    with realize.using(ReferenceEngine()):
        fn, specs = case()
        names = fn.__code__.co_varnames[: len(specs)]
        entry = jit.trace(fn, specs, name=case.__name__, names=names).graph
    masked = mask_rows(entry)
    assert not masked.exact
    graph = simplified(masked.graph)
    verify_graph(graph, simplified=True)
    text = format_graph(graph)
    assert format_graph(parse_entry(text)) == text
    check_golden(case.__name__, text)


def test_golden_texts_all_belong_to_a_case():
    assert {path.stem for path in FOLDER.glob("*.txt")} >= {case.__name__ for case in CASES}
