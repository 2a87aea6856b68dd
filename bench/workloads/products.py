"""Matrix products: square, skinny, transposed, batched, with both operands fresh, with a vector.

Sizes are named rows x columns x inner. Operands are scaled so that a chain of products keeps its
magnitude: onnxruntime-web and jax-js are given a chain in one graph, because a call of theirs costs
more than a small product does.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

import tabgrad as tg
from bench import onnx_file
from bench.workload import Array, Arrays, Workload, normal

SQUARES = (64, 127, 128, 129, 192, 255, 256, 257, 384, 512, 768, 1024)
FRESH = (64, 128, 256, 512, 1024)
SKINNY = ((128, 1536, 384), (128, 128, 784), (12544, 16, 32), (8, 1024, 1024))
VECTORS = ((1, 1024, 1024), (1, 4096, 1024), (1, 784, 128))
# Sizes that are no multiples of anything, next to some of those.
UNEVEN = {
    SKINNY[0]: (127, 1535, 385),
    SKINNY[2]: (12543, 17, 33),
    SKINNY[3]: (9, 1021, 1027),
    VECTORS[0]: (1, 1021, 1027),
    VECTORS[1]: (1, 4093, 1027),
}
NEXT_TO = 0.6  # the part of its neighbours' rates that each size is to reach
# Attention of 12 heads over 128 places of 32 numbers: the scores, and what they weigh.
BATCHED = ((16, 128, 128, 64), (12, 128, 128, 32), (12, 128, 32, 128))


def _arrays(m: int, n: int, k: int, batch: tuple[int, ...], turned: str) -> Arrays:
    """a is [m, k] and b [k, n], unless turned; back, [n, k], leads a chain back to a's shape."""
    scale = k**-0.5
    shapes = {"a": (m, k), "b": (k, n), "back": (n, k)}
    scales = {"a": 1.0, "b": scale, "back": n**-0.5}
    arrays = {}
    for seed, (name, shape) in enumerate(shapes.items()):
        if name == "back" and n == k:
            continue
        ends = shape[::-1] if name in turned else shape
        arrays[name] = normal(seed + 1, *batch, *ends, scale=scales[name])
    return arrays


def _straight(arrays: Arrays, turned: str) -> list[Array]:
    """a, b and back as float64, turned the usual way round."""
    names = [name for name in ("a", "b", "back") if name in arrays]
    wide = [arrays[name].astype(np.float64) for name in names]
    found = [np.swapaxes(w, -1, -2) if name in turned else w for name, w in zip(names, wide)]
    return found if len(found) == 3 else [*found, found[1]]


def _expected(turned: str, arrays: Arrays, repeats: int) -> Array:
    value, b, back = _straight(arrays, turned)
    for i in range(repeats):
        value = value @ (back if i % 2 else b)
    return value


def _functions(turned: str, fresh: bool, arrays: Arrays) -> Mapping[str, Any]:
    def product(a: tg.Tensor, b: tg.Tensor) -> tg.Tensor:
        a = tg.swapaxes(a, -1, -2) if "a" in turned else a
        b = tg.swapaxes(b, -1, -2) if "b" in turned else b
        return a @ b

    weight = tg.tensor(arrays["b"])
    if fresh:
        main = tg.compile(product)
        main(tg.tensor(arrays["a"]), weight)
    else:
        main = tg.compile(lambda a: product(a, weight))
        main(tg.tensor(arrays["a"]))
    return {"main": main}


def _graph(turned: str, fresh: bool, arrays: Arrays, repeats: int) -> bytes:
    """A chain of MatMul; what is turned gets a Transpose in front, as exporters write it."""
    graph = onnx_file.Graph()
    value = graph.input("a", arrays["a"])
    batch = arrays["a"].ndim - 2
    turn: dict[str, Any] = {"perm": [*range(batch), batch + 1, batch]}
    if "a" in turned:
        value = graph.node("Transpose", [value], **turn)
    right = []
    for name in ("b", "back"):
        if name in arrays and (name == "b" or repeats > 1):
            other = (graph.input if fresh else graph.constant)(name, arrays[name])
            right.append(graph.node("Transpose", [other], **turn) if name in turned else other)
    for i in range(repeats):
        value = graph.node("MatMul", [value, right[i % len(right)]])
    *lead, m, n = _expected_shape(arrays, turned, repeats)
    graph.output(value, (*lead, m, n))
    return graph.encode()


def _expected_shape(arrays: Arrays, turned: str, repeats: int) -> tuple[int, ...]:
    a, b, back = _straight(arrays, turned)
    return (*a.shape[:-1], (b if repeats % 2 else back).shape[-1])


def _product(
    name: str,
    group: str,
    target: float,
    m: int,
    n: int,
    k: int,
    *,
    batch: tuple[int, ...] = (),
    turned: str = "",
    fresh: bool = False,
    **options: Any,
) -> Workload:
    flops = 2.0 * m * n * k * int(np.prod(batch, dtype=int))
    # Long enough that a call of a graph weighs little, short enough not to leave the caches; even,
    # so that a chain that goes there and back ends where it began.
    repeats = max(2, min(64, int(5e7 / flops) // 2 * 2))
    # The first operand of a chain is what the last product gave, so it is turned only once.
    repeats = 1 if "a" in turned else repeats
    return Workload(
        name=name,
        kind="product",
        group=group,
        wanted={"best": target},
        arrays=partial(_arrays, m, n, k, batch, turned),
        functions=partial(_functions, turned, fresh),
        constants=frozenset() if fresh else frozenset({"b", "back"}),
        parameters={"turned": turned, "fresh": fresh, "chained": ["back"]},
        flops=flops,
        repeats=repeats,
        expected=partial(_expected, turned),
        graph=partial(_graph, turned, fresh),
        **options,
    )


def _neighbours(n: int) -> list[int]:
    at = SQUARES.index(n)
    return [*SQUARES[max(0, at - 1) : at], *SQUARES[at + 1 : at + 2]]


def _name(sizes: tuple[int, int, int]) -> str:
    return f"{'gemv' if sizes[0] == 1 else 'matmul'}/{'x'.join(map(str, sizes))}"


WORKLOADS = [
    *(
        _product(
            *(f"matmul/{n}", "matmul square", 1.7, n, n, n),
            of_peak=0.85 if 128 <= n <= 512 else None,
            beside=tuple((f"matmul/{other}", NEXT_TO) for other in _neighbours(n)),
        )
        for n in SQUARES
    ),
    *(_product(_name(sizes), "matmul skinny", 1.5, *sizes) for sizes in SKINNY),
    *(
        _product(
            f"matmul/{turned}-transposed-{n}", "matmul transposed", 1.5, n, n, n, turned=turned
        )
        for turned in ("a", "b")
        for n in (128, 256, 512)
    ),
    *(
        _product(
            f"matmul/batch-{b}x{m}x{n}x{k}", "matmul batched", 1.5, m, n, k, batch=(b,), fresh=True
        )
        for b, m, n, k in BATCHED
    ),
    *(
        _product(f"matmul/fresh-{n}", "matmul fresh", 1.4 if n >= 256 else 1.0, n, n, n, fresh=True)
        for n in FRESH
    ),
    *(_product(_name(sizes), "gemv", 1.3, *sizes) for sizes in VECTORS),
    *(
        _product(
            *(_name(sizes), *(("gemv", 1.3) if sizes[0] == 1 else ("matmul skinny", 1.5)), *sizes),
            beside=((_name(listed), NEXT_TO),),
        )
        for listed, sizes in UNEVEN.items()
    ),
]
