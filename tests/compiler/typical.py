"""Typical functions whose graphs and Programs are kept as golden texts, with their arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tabgrad as tg
from tabgrad import ops

Case = tuple[Callable[..., Any], list[tuple[tuple[int, ...], str, bool]]]


def floats(*shapes: tuple[int, ...]) -> list[tuple[tuple[int, ...], str, bool]]:
    """float32 arguments of these shapes, without rows."""
    return [(shape, "float32", False) for shape in shapes]


def masked_attention() -> Case:
    """Causal attention of several heads, in float32."""

    def masked_attention(q: Any, k: Any, v: Any) -> Any:
        return tg.nn.dot_product_attention(q, k, v, is_causal=True)

    return masked_attention, floats(*[(2, 16, 4, 8)] * 3)


def layer_norm() -> Case:
    """Layer normalisation and its gradients: statistics of rows, sums over the batch."""

    def layer_norm(x: Any, gamma: Any, beta: Any) -> Any:
        def loss(x: Any, gamma: Any, beta: Any) -> Any:
            return ops.sum(ops.square(ops.layer_normalization(x, gamma, beta)))

        return tg.grad(loss, (0, 1, 2))(x, gamma, beta)

    return layer_norm, floats((8, 32), (32,), (32,))


def lstm() -> Case:
    """The steps of an LSTM as a loop that carries two states."""

    def lstm(xs: Any, kernel: Any, bias: Any) -> Any:
        def step(carry: Any, x: Any) -> Any:
            c, h = tg.nn.basic_lstm_cell(1.0, kernel, bias, x, *carry)
            return (c, h), h

        start = (ops.zeros((3, 4)), ops.zeros((3, 4)))
        return ops.scan(step, start, xs)[1]

    return lstm, floats((6, 3, 5), (9, 16), (16,))


def newton() -> Case:
    """A loop that ends when the values say so."""

    def newton(x: Any) -> Any:
        def going(root: Any, turns: Any) -> Any:
            return ops.logical_and(ops.any(ops.abs(root * root - x) > 1e-4), turns < 30)

        def step(root: Any, turns: Any) -> Any:
            return (root + x / root) * 0.5, turns + 1

        return ops.while_loop(going, step, (x, tg.tensor(0, dtype="int32")))

    return newton, floats((7,))


def embedding() -> Case:
    """Rows of a table looked up, and the gradient added to them."""

    def embedding(table: Any, ids: Any) -> Any:
        return tg.grad(lambda t: ops.sum(ops.square(ops.take(t, ids, axis=0))))(table)

    return embedding, [((20, 8), "float32", False), ((4, 5), "int32", False)]


def sorting() -> Case:
    """Values in order, and a gradient that goes back to where they were."""

    def sorting(x: Any, weights: Any) -> Any:
        return tg.grad(lambda x: ops.sum(ops.sort(x) * weights))(x)

    return sorting, floats((3, 10), (3, 10))


def conv_transpose() -> Case:
    """A transposed convolution and the gradient of its kernel."""

    def conv_transpose(x: Any, kernel: Any) -> Any:
        def loss(kernel: Any) -> Any:
            return ops.sum(ops.square(ops.conv_transpose(x, kernel, strides=2, padding="same")))

        return tg.value_and_grad(loss)(kernel)

    return conv_transpose, floats((2, 5, 5, 3), (3, 3, 4, 3))


def pooling() -> Case:
    """Overlapping windows: the gradient goes to the first largest element of each."""

    def pooling(x: Any) -> Any:
        def loss(x: Any) -> Any:
            largest = ops.max_pool(x, 3, strides=2, padding="same")
            return ops.sum(ops.square(largest)) + ops.sum(ops.average_pool(x, 2))

        return tg.grad(loss)(x)

    return pooling, floats((1, 7, 7, 2))


def contraction() -> Case:
    """An einsum of three operands, in its cheapest order."""

    def contraction(a: Any, b: Any, c: Any) -> Any:
        return ops.einsum("bij,jk,bk->bi", a, b, c)

    return contraction, floats((2, 6, 8), (8, 10), (2, 10))


def draws() -> Case:
    """Normal numbers by a key, and dropout by another."""

    def draws(key: Any, x: Any) -> Any:
        one, other = tg.random.split(key)
        noisy = x + tg.random.normal((4, 6), seed=one)
        return tg.random.dropout(noisy, 0.5, seed=other)

    return draws, [((2,), "uint32", False), ((4, 6), "float32", False)]


TYPICAL = [
    masked_attention, layer_norm, lstm, newton, embedding, sorting, conv_transpose, pooling,
    contraction, draws,
]  # fmt: skip
