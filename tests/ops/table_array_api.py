"""The op table: indexing in full, updates, and what came with the Array API, against NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import tabgrad as tg
from tests.ops.building import made, moved
from tests.ops.comparing import Array, Case, integers, random
from tests.ops.table_complex import complex_random


def creation() -> Iterator[Case]:
    f32 = np.float32
    yield made("empty_like", "", lambda: tg.ops.empty_like(tg.ones(3)), np.zeros(3, f32))
    yield made("zeros", "complex", lambda: tg.ops.zeros(2, "complex64"), np.zeros(2, np.complex64))
    yield made(
        "full", "complex", lambda: tg.ops.full((2,), 1 + 2j), np.full(2, 1 + 2j, np.complex64)
    )
    yield made(
        "linspace",
        "complex",
        lambda: tg.ops.linspace(0j, 2 + 4j, 3),
        np.array([0, 1 + 2j, 2 + 4j], np.complex64),
    )
    for arguments in ((5, 1, -2), (0, 1, 0.25), (3, 3), (7, 0), (-2.5, 2.5)):
        yield made(
            "arange",
            f"{arguments}",
            lambda a=arguments: tg.ops.arange(*a, dtype="float32"),
            np.arange(*arguments, dtype=f32),
        )
    for name in ("tril", "triu"):
        for k in (0, 2, -1):
            yield from moved(
                name,
                f"k={k}",
                lambda x, name=name, k=k: getattr(tg.ops, name)(x, k),
                lambda x, name=name, k=k: getattr(np, name)(x, k),
                integers((2, 4, 3), 7),
                slow_views=k != 0,
            )


def structure() -> Iterator[Case]:
    x = integers((3, 4, 5), 1)
    ends = integers((3, 2, 5), 2), integers((3, 1, 5), 3)
    for n in (0, 1, 2, 5):
        yield from moved(
            "diff",
            f"{n} times",
            lambda x, n=n: tg.ops.diff(x, n, axis=1),
            lambda x, n=n: np.diff(x, n, axis=1),
            x,
        )
    yield Case(
        "diff",
        "with ends",
        lambda x, a, z: tg.ops.diff(x, axis=1, prepend=a, append=z),
        lambda x, a, z: np.diff(x, axis=1, prepend=a, append=z),
        (x, *ends),
    )
    yield Case("diff", "bool", tg.ops.diff, lambda x: np.diff(x), (x > 0,))
    yield from moved(
        "unstack",
        "axis 1",
        lambda x: tg.ops.unstack(x, axis=1),
        lambda x: [x[:, i] for i in range(x.shape[1])],
        x,
    )
    yield from moved(
        "roll",
        "two axes",
        lambda x: tg.ops.roll(x, (1, -2), (0, 2)),
        lambda x: np.roll(x, (1, -2), (0, 2)),
        x,
    )
    yield from moved(
        "repeat",
        "a count for each",
        lambda x: tg.ops.repeat(x, [2, 0, 1, 3], axis=1),
        lambda x: np.repeat(x, [2, 0, 1, 3], axis=1),
        x,
    )
    floats = random((4, 5), 3)
    for name in ("var", "std"):
        yield Case(
            name,
            "corrected",
            lambda x, name=name: getattr(tg.ops, name)(x, 1, correction=1),
            lambda x, name=name: getattr(np, name)(x, 1, ddof=1),
            (floats,),
            ulp=8,
        )
    yield Case(
        "sum", "as another dtype", lambda x: tg.ops.sum(x, dtype="int8"),
        lambda x: x.sum(dtype=np.int8), (x,),
    )  # fmt: skip
    yield Case(
        "count_nonzero", "kept", lambda x: tg.ops.count_nonzero(x, 1, True),
        lambda x: np.count_nonzero(x, 1, keepdims=True).astype(np.int32), (x,),
    )  # fmt: skip


# Each kind of index beside each other kind; NumPy says what they mean.
INDICES: dict[str, Any] = {
    "integer": 1,
    "slices": (slice(None, None, -2), slice(3, 0, -1)),
    "new axes": (None, 0, ..., None),
    "array": ([1, 0, 0],),
    "arrays that broadcast": ([[0], [1]], [1, 3]),
    "arrays apart": ([0, 1], slice(None), [2, 2]),
    "integer and array apart": (0, slice(None), [2, 2]),
    "array behind": (..., [4, -1]),
    "mask of rows": (np.array([True, False, True]),),
    "mask of two axes": (slice(None), np.arange(20).reshape(4, 5) % 3 == 0),
    "mask and array": (np.array([True, False, True]), [0, 3]),
    "true": True,
    "false": (False, 0),
    "nothing": ([], slice(0, 0)),
}


def indexing() -> Iterator[Case]:
    """`slice` is the public op whose row these are; x[...] is no name in `tg.ops`."""
    x = integers((3, 4, 5), 5)
    for label, index in INDICES.items():
        yield from moved(
            "slice",
            f"x[{label}]",
            lambda x, i=index: x[i],
            lambda x, i=index: x[i],
            x,
        )
        yield Case(
            "slice_update",
            f"x.at[{label}].set",
            lambda x, i=index: x.at[i].set(7),
            lambda x, i=index: _written(x, i),
            (x,),
        )
        yield Case(
            "scatter_add",
            f"x.at[{label}].add",
            lambda x, i=index: x.at[i].add(3),
            lambda x, i=index: _added(x, i),
            (x,),
        )
    z = complex_random((3, 4))
    yield Case("take", "complex", lambda x: tg.ops.take(x, [2, 0], 1), lambda x: x[:, [2, 0]], (z,))
    every_other = (1, slice(None, None, 2))
    yield Case(
        "slice_update",
        "complex",
        lambda x: x.at[every_other].set(1j),
        lambda x: _written(x, every_other, 1j),
        (z,),
    )


def _written(x: Array, index: Any, value: Any = 7) -> Array:
    x = x.copy()
    x[index] = value
    return x


def _added(x: Array, index: Any) -> Array:
    x = x.copy()
    np.add.at(x, index, 3)
    return x


CASES = [*creation(), *structure(), *indexing()]
