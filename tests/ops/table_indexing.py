"""The op table: subscripts, gathers, scatters, one-hot codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import tabgrad as tg
from tests.ops.building import moved
from tests.ops.comparing import Array, Case, integers, random

INDICES: tuple[Any, ...] = (
    0, -1, slice(1, 3), slice(None, None, 2), slice(None, None, -1), slice(4, 0, -2), slice(3, 1),
    slice(-3, None), (slice(None), 1), (Ellipsis, 0), (0, Ellipsis), None, (slice(None), None, 2),
    (slice(1, None), slice(None, None, -2)), (1, 2, 3), (None, Ellipsis, None), (),
    (slice(5, 100), slice(-100, 2)),
)  # fmt: skip


def indexing() -> Iterator[Case]:
    x = random((6, 7, 4))
    for index in INDICES:
        # Subscripts are the operator of `slice` and `take`, so they stand under their names.
        yield from moved(
            "slice", f"x[{index}]", lambda x, i=index: x[i], lambda x, i=index: x[i], x
        )
    for rows in ([0, 2, -1], [[1, 1], [5, 0]]):
        index = np.array(rows, np.int32)
        yield from moved("take", f"x[{rows}]", lambda x, i: x[i], lambda x, i: x[i], x, index)
        for axis in (0, 1, -1, None):
            yield from moved(
                "take",
                f"{rows} axis {axis}",
                lambda x, i, a=axis: tg.ops.take(x, i, a),
                lambda x, i, a=axis: np.take(
                    x, np.where(i < 0, i + (x.size if a is None else x.shape[a]), i), a
                ),
                random((6, 7, 6)),
                index,
            )
    yield from moved(
        "take",
        "x[:, i, j]",
        lambda x, i, j: x[:, i, j],
        lambda x, i, j: x[:, i, j],
        x,
        np.int32([0, 6, 3]),
        np.int32([1, -1, 0]),
    )
    yield from moved(
        "take", "x[i, 1:3]", lambda x, i: x[i, 1:3], lambda x, i: x[i, 1:3], x, np.int32([5, 0])
    )
    yield Case(
        "take",
        "clamps",
        lambda x, i: tg.ops.take(x, i, 0),
        lambda x, i: x[np.clip(i, 0, 5)],
        (x, np.int32([9, 100, 3])),
    )
    yield Case(
        "take",
        "scalar index",
        lambda x, i: tg.ops.take(x, i, 1),
        lambda x, i: x[:, i],
        (x, np.int32(2)),
    )
    for axis in (0, 1, -1):
        index = np.argsort(x, axis=axis).astype(np.int32)
        yield from moved(
            "take_along_axis",
            str(axis),
            lambda x, i, a=axis: tg.ops.take_along_axis(x, i, a),
            lambda x, i, a=axis: np.take_along_axis(x, i, a),
            x,
            index,
        )
    yield from moved(
        "take_along_axis",
        "one of each",
        lambda x, i: tg.ops.take_along_axis(x, i, 1),
        lambda x, i: np.take_along_axis(x, i, 1),
        random((5, 3)),
        integers((5, 1), low=0, high=3),
    )
    yield Case(
        "take_along_axis",
        "flat",
        lambda x, i: tg.ops.take_along_axis(x, i),
        lambda x, i: x.ravel()[i],
        (random((2, 3)), np.int32([5, 0, 5])),
    )
    for starts in ((0, 0, 0), (2, 3, 1), (5, -4, 99)):
        inside = [min(max(s, 0), n - 2) for s, n in zip(starts, x.shape, strict=True)]
        where = tuple(slice(s, s + 2) for s in inside)
        yield from moved(
            "slice",
            f"at {starts}",
            lambda x, s=starts: tg.ops.slice(x, s, (2, 2, 2)),
            lambda x, w=where: x[w],
            x,
        )

        def updated(x: Array, u: Array, w: Any = where) -> Array:
            x = x.copy()
            x[w] = u
            return x

        yield from moved(
            "slice_update",
            f"at {starts}",
            lambda x, u, s=starts: tg.ops.slice_update(x, s, u),
            updated,
            x,
            random((2, 2, 2), 5),
        )
    yield Case(
        "slice",
        "moving start",
        lambda x, s: tg.ops.slice(x, (s, 0, 0), (2, 7, 4)),
        lambda x, s: x[s : s + 2],
        (x, np.int32(3)),
    )
    for op, add in (("scatter_update", False), ("scatter_add", True)):
        for shape, index in (
            ((6, 3), [[0], [2], [2], [5]]),
            ((4, 5), [[0, 1], [3, 4], [0, 1]]),
            ((9,), [[8], [0]]),
        ):
            at = np.array(index, np.int32)
            target = np.float32(integers(shape, 3))
            u = np.float32(integers((len(index), *shape[at.shape[1] :]), 4))

            def scattered(x: Array, at: Array, u: Array, add: bool = add) -> Array:
                x = x.copy()
                for place, row in zip(at, u, strict=True):
                    x[tuple(place)] = x[tuple(place)] + row if add else row
                return x

            yield from moved(op, f"{shape} {index}", getattr(tg.ops, op), scattered, target, at, u)
    for axis in (-1, 0, 1):
        yield from moved(
            "one_hot",
            str(axis),
            lambda x, a=axis: tg.ops.one_hot(x, 4, a),
            lambda x, a=axis: np.moveaxis(np.eye(4, dtype=np.float32)[x], -1, a),
            integers((3, 5), low=0, high=4),
        )
    yield Case(
        "one_hot",
        "out of range",
        lambda x: tg.ops.one_hot(x, 3, dtype="int32"),
        lambda x: (x[:, None] == np.arange(3)).astype(np.int32),
        (np.int32([-1, 3, 1]),),
    )


CASES = list(indexing())
