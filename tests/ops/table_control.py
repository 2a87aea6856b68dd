"""The op table: loops and branches, against NumPy, Python and JAX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import tabgrad as tg
from tests.ops.building import moved
from tests.ops.comparing import SIZES, Array, Case, integers, random

SCALAR = np.float32(3)
ROW = np.float32([1, -2, 3, 5, 0])


def branches() -> Iterator[Case]:
    for value in (-2.0, 0.0, 4.0):
        yield Case(
            "cond", f"closures {value}",
            lambda p, x: tg.ops.cond(p > 0, lambda: x * 2, lambda: x - 1),
            lambda p, x: x * 2 if p > 0 else x - 1, (np.float32(value), ROW),
        )  # fmt: skip
    yield Case(
        "cond", "operands and structures",
        lambda p, x: tg.ops.cond(
            p, lambda a, s: (a + s, {"n": 1.0}), lambda a, s: (a, {"n": s}), x, tg.tensor(2.0)
        )[1]["n"],
        lambda p, x: np.float32(2), (np.int32(0), ROW),
    )  # fmt: skip
    yield Case(
        "cond", "in a cond",
        lambda p, x: tg.ops.cond(
            p < 3, lambda: tg.ops.cond(p < 1, lambda: x, lambda: -x), lambda: x * x
        ),
        lambda p, x: -x, (np.int32(2), ROW),
    )  # fmt: skip
    for index in (-7, 0, 1, 2, 99):
        yield Case(
            "switch", f"{index}",
            lambda i, x: tg.ops.switch(i, [lambda x: x, lambda x: x * 2, lambda x: x * x], x),
            lambda i, x: (x, x * 2, x * x)[min(max(int(i), 0), 2)], (np.int32(index), ROW),
        )  # fmt: skip
    yield Case(
        "switch", "an index of 8 bits", lambda i, x: tg.ops.switch(
            i, [lambda k=k: x * float(k) for k in range(200)]
        ),
        lambda i, x: x * 127, (np.int8(127), ROW),
    )  # fmt: skip


def whiles() -> Iterator[Case]:
    yield Case(
        "while_loop", "one variable",
        lambda n: tg.ops.while_loop(lambda n: n < 100, lambda n: n * 2, n),
        lambda n: np.int32(192), (np.int32(3),),
    )  # fmt: skip
    yield Case(
        "while_loop", "no turn",
        lambda n: tg.ops.while_loop(lambda n: n < 0, lambda n: n * 2, n),
        lambda n: n, (np.int32(3),),
    )  # fmt: skip
    for size in SIZES:
        yield Case(
            "while_loop", f"{size} elements",
            lambda x: tg.ops.while_loop(
                lambda i, x, y: i < 5, lambda i, x, y: (i + 1, y, x + y), (0, x, x * 2)
            )[1:],
            lambda x: [x * 13, x * 21], (np.float32(integers((size,), 1)),),
            slow=size not in (0, 1, 4, 17),
        )  # fmt: skip
    yield Case(
        "while_loop", "maximum_iterations",
        lambda n: tg.ops.while_loop(
            lambda n: n < 100, lambda n: n * 2, n, maximum_iterations=3
        ),
        lambda n: np.int32(24), (np.int32(3),),
    )  # fmt: skip
    yield Case(
        "while_loop", "a dict", lambda n: tg.ops.while_loop(
            lambda s: s["n"] > 1,
            lambda s: {
                "n": tg.where(s["n"] % 2 == 0, s["n"] // 2, 3 * s["n"] + 1), "turns": s["turns"] + 1
            },
            {"n": n, "turns": tg.tensor(0)},
        )["turns"],
        lambda n: np.int32(111), (np.int32(27),),
    )  # fmt: skip


def counted_by_numpy(x: Array, turns: range) -> Array:
    found = x
    for i in turns:
        found = found + x * x.dtype.type(i)
    return found


def counted() -> Iterator[Case]:
    for lower, upper in ((0, 5), (2, 5), (5, 2), (-3, 1)):
        for kind in ("known", "run time"):

            def call(x: Any, lower: Any = lower, upper: Any = upper, kind: str = kind) -> Any:
                first, last = (lower, upper) if kind == "known" else map(tg.tensor, (lower, upper))
                return tg.ops.fori_loop(first, last, lambda i, v: v + x * i, x)

            yield Case(
                "fori_loop", f"{lower} to {upper}, {kind}", call,
                lambda x, turns=range(lower, upper): counted_by_numpy(x, turns), (ROW,),
            )  # fmt: skip
    yield Case(
        "fori_loop", "in a fori_loop",
        lambda x: tg.ops.fori_loop(
            0, 3, lambda i, v: tg.ops.fori_loop(0, i, lambda j, w: w + x * j, v * 2), x
        ),
        lambda x: x * 8 + x, (ROW,),
    )  # fmt: skip
    yield Case(
        "fori_loop", "a contraction in its body",
        lambda m: tg.ops.fori_loop(0, 4, lambda i, p: p @ m, m),
        lambda m: np.linalg.matrix_power(m, 5), (np.float32(integers((5, 5), 1, -1, 2)),),
    )  # fmt: skip
    yield Case(
        "while_loop",
        "a large contraction in its body",
        lambda m: tg.ops.while_loop(lambda i, p: i < 3, lambda i, p: (i + 1, (p @ m) % 7), (0, m))[
            1
        ],
        lambda m: ((((m @ m) % 7) @ m % 7) @ m) % 7,
        (np.float32(integers((70, 70), 1, 0, 4)),),
    )


def maps() -> Iterator[Case]:
    for shape in ((1,), (4, 3), (2, 3, 4), (0, 3)):
        for op in ("map", "vectorized_map"):
            yield Case(
                op, f"{list(shape)}",
                lambda x, op=op: getattr(tg.ops, op)(lambda row: (row * 2, row.sum()), x),
                lambda x: [x * 2, x.reshape(len(x), -1).sum(1) if x.size else np.float32([])],
                (np.float32(integers(shape, 1)),),
            )  # fmt: skip
    yield Case(
        "vectorized_map", "a loop", lambda x: tg.ops.vectorized_map(
            lambda v: tg.ops.while_loop(lambda v: v < 50, lambda v: v * 3, v), x
        ),
        lambda x: np.int32([81, 54, 99, 60]), (np.int32([1, 2, 11, 60]),),
    )  # fmt: skip


def associative() -> Iterator[Case]:
    def affine(a: Any, b: Any) -> Any:
        return a[0] * b[0], b[0] * a[1] + b[1]

    def folded(a: Array, b: Array) -> list[Array]:
        rows = [(a[0], b[0])] if a.size else []
        for i in range(1, a.size):
            rows.append(affine(rows[-1], (a[i], b[i])))
        return [np.array([row[k] for row in rows], x.dtype) for k, x in enumerate((a, b))]

    for n in (*SIZES, 33):
        x = np.float32(integers((n, 2), 1, -2, 3))
        for reverse in (False, True):
            yield Case(
                "associative_scan", f"{n} reverse {reverse}",
                lambda x, reverse=reverse: tg.ops.associative_scan(tg.ops.add, x, reverse),
                lambda x, reverse=reverse: np.asarray(
                    np.flip(np.add.accumulate(np.flip(x, 0), 0), 0)
                    if reverse
                    else np.add.accumulate(x, 0)
                ),
                (x,), slow=n in (3, 5, 9, 15),
            )  # fmt: skip
    pair = (np.float32(integers((9,), 1, -1, 2)), np.float32(integers((9,), 2, -2, 3)))
    yield Case(
        "associative_scan", "pairs", lambda a, b: list(tg.ops.associative_scan(affine, (a, b))),
        folded, pair,
    )  # fmt: skip
    yield Case(
        "associative_scan", "products of matrices",
        lambda m: tg.ops.associative_scan(tg.ops.matmul, m),
        lambda m: np.asarray(jax.lax.associative_scan(jnp.matmul, m)),
        (np.float32(integers((7, 3, 3), 1, -1, 2)),),
    )  # fmt: skip
    yield Case(
        "associative_scan", "axis 1",
        lambda x: tg.ops.associative_scan(tg.ops.maximum, x, axis=1),
        lambda x: np.maximum.accumulate(x, 1), (random((3, 11)),),
    )  # fmt: skip


def carried() -> Iterator[Case]:
    def decay(c: Any, x: Any) -> tuple[Any, Any]:
        new = c * 0.5 + x
        return new, new * 2

    def numpy_decay(c: Array, xs: Array, reverse: bool = False) -> list[Array]:
        ys = np.zeros_like(xs)
        for i in reversed(range(len(xs))) if reverse else range(len(xs)):
            c = c * np.float32(0.5) + xs[i]
            ys[i] = c * 2
        return [c, ys]

    start, xs = np.float32(integers((3,))), np.float32(integers((5, 3), 1))
    yield from moved(
        "scan", "forward", lambda c, x: tg.ops.scan(decay, c, x), numpy_decay, start, xs
    )
    yield from moved(
        "scan",
        "reverse",
        lambda c, x: tg.ops.scan(decay, c, x, reverse=True),
        lambda c, x: numpy_decay(c, x, True),
        start,
        xs,
    )
    yield Case(
        "scan",
        "captures",
        lambda c, x, w: tg.ops.scan(lambda c, x: (c + x * w, c), c, x),
        lambda c, x, w: [
            c + (x * w).sum(0),
            np.stack([c + (x[:i] * w).sum(0) for i in range(len(x))]),
        ],
        (start, xs, np.float32([1, 2, 4])),
    )
    yield Case(
        "scan",
        "length only",
        lambda c: tg.ops.scan(lambda c, _: (c * 2, c), c, length=4),
        lambda c: [c * 16, np.stack([c, c * 2, c * 4, c * 8])],
        (start,),
    )


def numpy_scan(c: Array, xs: Array) -> list[Array]:
    total = np.add.accumulate(np.concatenate([c[None], xs]), 0)
    return [total[-1], total[1:]]


def scans() -> Iterator[Case]:
    xs = np.float32(integers((6, 3), 1))
    yield Case(
        "scan", "unrolled", lambda c, x: tg.ops.scan(
            lambda c, x: (c + x, c + x), c, x, unroll=2
        ),
        numpy_scan, (xs[0], xs[1:]),
    )  # fmt: skip
    yield Case(
        "scan", "with a while inside", lambda c, x: tg.ops.scan(
            lambda c, x: (c + tg.ops.while_loop(lambda v: v < 4, lambda v: v + 3, x), c), c, x
        )[0],
        lambda c, x: np.int32(3 + 4 + 4 + 5 + 9), (np.int32(3), np.int32([1, 4, -1, 9])),
    )  # fmt: skip


CASES = [
    case
    for part in (branches, whiles, counted, maps, associative, carried, scans)
    for case in part()
]
