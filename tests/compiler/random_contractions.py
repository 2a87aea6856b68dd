"""Random matrix products and convolutions of real sizes, with prologue, epilogue and gradients.

Operands are small whole numbers, so every order of summation gives the same bits.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from tabgrad.dtypes import DType, float32
from tabgrad.errors import ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.entry import Argument, EntryGraph, Result
from tabgrad.ir.graph import Node, make
from tabgrad.ir.reverse import cotangents

SIZES = (1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 64, 65, 96, 97, 128, 200, 257, 512, 513, 600)
MAX_PRODUCTS = 20_000_000


def contraction(seed: int, dtype: DType = float32) -> tuple[EntryGraph, dict[Node, np.ndarray]]:
    """An entry around one dot or conv, and arrays for its inputs."""
    rng = random.Random(seed)
    make_one = _dot if rng.random() < 0.6 or not dtype.is_float else _conv
    x, w, result = make_one(rng, dtype)
    inputs = [x, w]
    if rng.random() < 0.4:
        bias = b.input((result.shape[-1],), dtype)
        inputs.append(bias)
        result = b.add(result, b.broadcast(bias, result.shape, (len(result.shape) - 1,)))
    outputs = [result]
    if rng.random() < 0.5 and dtype.is_float:
        cotangent = b.input(result.shape, dtype)
        inputs.append(cotangent)
        outputs += [g for g in cotangents([result], [cotangent], [x, w]) if g is not None]
    graph = EntryGraph(
        "contraction",
        [Argument(node, f"x{i}") for i, node in enumerate(inputs)],
        [],
        [Result(node, f"y{i}") for i, node in enumerate(outputs)],
    )
    numbers = np.random.default_rng(seed)
    data = {node: numbers.integers(-2, 3, node.shape).astype(dtype.name) for node in inputs}
    return graph, data


def _seen(rng: random.Random, x: Node) -> Node:
    """x as it is, or through movement or arithmetic that is to disappear in the packing."""
    kind = rng.random()
    if kind < 0.5:
        return x
    if kind < 0.65:
        return make("flip", x, axes=(rng.randrange(len(x.shape)),))
    if kind < 0.8:
        return b.add(x, b.like(x, 1))
    return b.select(b.lt(x, b.like(x, 0)), b.like(x, 0), x)


def _dot(rng: random.Random, dtype: DType) -> tuple[Node, Node, Node]:
    batch = rng.choice((0, 0, 0, 1, 2, 3))
    most = 65 if batch else 600
    m, k, n = 600, 600, 600
    while m * k * n > MAX_PRODUCTS:
        m, k, n = (min(rng.choice(SIZES), most) for _ in range(3))
    a, c = rng.choice((0, 1)), rng.choice((0, 1))  # the contracted axes
    lead = (batch,) if batch else ()
    x = b.input((*lead, *((m, k) if a else (k, m))), dtype)
    w = b.input((*lead, *((n, k) if c else (k, n))), dtype)
    shared = (0,) if batch else ()
    contract = ((a + len(lead),), (c + len(lead),))
    result = make("dot", _seen(rng, x), _seen(rng, w), contract=contract, batch=(shared, shared))
    return x, w, result


def _conv(rng: random.Random, dtype: DType) -> tuple[Node, Node, Node]:
    while True:
        rank = rng.choice((1, 2, 2, 2))
        groups = rng.choice((1, 1, 1, 2, 4))
        channels = rng.choice((1, 2, 3, 4, 8, 16, 32))
        filters = rng.choice((1, 2, 3, 4, 8, 16, 17, 32)) * groups
        if rng.random() < 0.2:  # depthwise
            groups, channels, filters = channels, 1, channels
        rows = rng.choice((1, 2, 5, 8))
        space = [rng.choice((1, 4, 5, 8, 9, 14)) for _ in range(rank)]
        window = [rng.choice((1, 2, 3, 5)) for _ in range(rank)]
        first, last = tuple(range(rank + 2)), (0, rank + 1, *range(1, rank + 1))
        keras = (rank + 1, rank, *range(rank))
        dims = rng.choice((first, last)), rng.choice((first, keras)), rng.choice((first, last))
        x = b.input(_arranged(dims[0], (rows, channels * groups, *space)), dtype)
        w = b.input(_arranged(dims[1], (filters, channels, *window)), dtype)
        try:
            result = make(
                "conv",
                _seen(rng, x),
                w,
                strides=tuple(rng.choice((1, 1, 2, 3)) for _ in range(rank)),
                padding=tuple((rng.randrange(3), rng.randrange(3)) for _ in range(rank)),
                lhs_dilation=tuple(rng.choice((1, 1, 1, 2)) for _ in range(rank)),
                rhs_dilation=tuple(rng.choice((1, 1, 2)) for _ in range(rank)),
                groups=groups,
                batch_groups=1,
                dims=dims,
            )
        except ShapeError:  # the kernel is larger than the padded input
            continue
        return x, w, result


def _arranged(spec: Sequence[int], sizes: Sequence[int]) -> tuple[int, ...]:
    shape = [0] * len(spec)
    for axis, size in zip(spec, sizes, strict=True):
        shape[axis] = size
    return tuple(shape)
