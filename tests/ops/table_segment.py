"""The op table: segments, sparse places and values, ragged rows.

The oracles follow TensorFlow's definitions (API documentation of `tf.raw_ops`), written as loops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tabgrad as tg
from tests.ops.comparing import Array, Case, integers, random


def _segments(fold: Callable[..., Any], empty: Any, count: int) -> Callable[..., Array]:
    def oracle(x: Array, ids: Array) -> Array:
        rows = x.reshape(ids.size, *x.shape[ids.ndim :])
        out = []
        for s in range(count):
            chosen = rows[ids.ravel() == s]
            blank = np.full(rows.shape[1:], empty(x.dtype) if callable(empty) else empty)
            out.append(fold(chosen, axis=0) if len(chosen) else blank)
        return np.stack(out).astype(x.dtype)

    return oracle


def _low(dtype: Any) -> Any:
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _high(dtype: Any) -> Any:
    return np.inf if dtype.kind == "f" else np.iinfo(dtype).max


FOLDS: dict[str, tuple[Callable[..., Any], Any]] = {
    "sum": (np.sum, 0), "prod": (np.prod, 1), "max": (np.max, _low), "min": (np.min, _high),
}  # fmt: skip


def _magnitude(name: str, count: int) -> Callable[..., Array]:
    fold, empty = FOLDS["sum" if name == "mean" else name]
    return lambda x, ids: _segments(fold, empty, count)(np.abs(x), ids)


def segments() -> Iterator[Case]:
    ids = np.int32([3, 0, 3, -1, 9, 0, 3, 1, 1])
    for name, (fold, empty) in FOLDS.items():
        for op in (f"segment.{name}", f"segment_{name}"):
            function = getattr(tg.segment if "." in op else tg.ops, op.rpartition(".")[2])
            yield Case(
                op, "int32", lambda x, i, f=function: f(x, i, 5), _segments(fold, empty, 5),
                (integers((9, 3)), ids),
            )  # fmt: skip
        exact = name in ("max", "min")
        function = getattr(tg.segment, name)
        for label, shape, numbers in (
            ("vector", (9,), ids),
            ("rows", (9, 17), ids),
            ("matrix of numbers", (3, 3, 4), ids.reshape(3, 3)),
            ("one row", (1, 5), ids[:1]),
            ("no rows", (0, 5), ids[:0]),
        ):
            yield Case(
                f"segment.{name}",
                label,
                lambda x, i, f=function: f(x, i, 5),
                _segments(fold, empty, 5),
                (random(shape), numbers),
                None if exact else 4,
                None if exact else _magnitude(name, 5),
                slow=label == "one row",
            )
    yield Case(
        "segment.sum", "as many as the largest", tg.segment.sum, _segments(np.sum, 0, 10),
        (integers((9, 2)), ids),
    )  # fmt: skip
    yield Case(
        "segment.sum", "sorted", lambda x, i: tg.segment.sum(x, i, 3, sorted=True),
        _segments(np.sum, 0, 3), (integers((5,)), np.int32([0, 0, 1, 2, 2])),
    )  # fmt: skip
    z = (random((9, 2)) + 1j * random((9, 2), 1)).astype(np.complex64)
    for name, fold in (("sum", np.sum), ("mean", np.mean)):
        yield Case(
            f"segment.{name}", "complex", lambda x, i, n=name: getattr(tg.segment, n)(x, i, 5),
            _segments(fold, 0, 5), (z, ids), 4,
            lambda x, i: _segments(np.sum, 0, 5)(np.abs(x), i) + 1, "complex64",
        )  # fmt: skip
    for n in (63, 64, 65, 130):
        yield Case(
            "segment.prod", f"{n} rows", lambda x, i: tg.segment.prod(x, i, 4),
            _segments(np.prod, 1, 4),
            (integers((n, 2), n, 1, 3), integers((n,), n + 1, -1, 5)), slow=n != 65,
        )  # fmt: skip
        yield Case(
            "segment.prod", f"{n} sorted rows",
            lambda x, i: tg.segment.prod(x, i, 4, sorted=True), _segments(np.prod, 1, 4),
            (integers((n, 2), n, 1, 3), np.sort(integers((n,), n + 1, -1, 5))), slow=n != 65,
        )  # fmt: skip
    for label, x in (("floats", random((9, 4))), ("integers", integers((9, 4)))):
        yield Case(
            "segment.mean", label, lambda x, i: tg.segment.mean(x, i, 5),
            lambda x, i: _segments(np.mean, 0, 5)(x.astype(np.float64), i), (x, ids), 4,
            lambda x, i: _segments(np.sum, 0, 5)(np.abs(x), i) + 1,
        )  # fmt: skip


def _dense(shape: tuple[int, ...], default: float) -> Callable[..., Array]:
    def oracle(where: Array, values: Array) -> Array:
        out = np.full(shape, default, values.dtype)
        places = where.reshape(-1, len(shape))
        for place, value in zip(places, np.broadcast_to(values, len(places)), strict=True):
            if all(0 <= i < n for i, n in zip(place, shape, strict=True)):
                out[tuple(place)] = value
        return out

    return oracle


def sparse() -> Iterator[Case]:
    for label, where, values, shape, default in (
        ("matrix", [[0, 1], [2, 0], [0, 3], [-1, 0]], [1.5, 2, 9, 9], (3, 3), -1.0),
        ("vector", [4, 0, 4], [1.5, 2.5, 3.5], (5,), 0.0),
        ("one value", [[1, 1], [0, 0]], 7.5, (2, 2), 0.0),
        ("scalar place", 3, 2.5, (4,), 1.0),
        ("no places", np.zeros((0, 2)), np.zeros(0), (2, 3), 4.0),
    ):
        yield Case(
            "segment.sparse_to_dense",
            label,
            lambda w, v, s=shape, d=default: tg.segment.sparse_to_dense(w, v, s, d),
            _dense(shape, default),
            (np.array(where, np.int32), np.array(values, np.float32)),
        )
    rows, ids = np.int32([0, 2, 2, 1, 4]), np.int32([0, 0, 1, 3, 3])
    for name, fold in (("sum", np.sum), ("mean", np.mean)):
        yield Case(
            f"segment.sparse_segment_{name}",
            "",
            lambda x, r, i, n=name: getattr(tg.segment, f"sparse_segment_{n}")(x, r, i, 5),
            lambda x, r, i, f=fold: _segments(f, 0, 5)(x[r], i),
            (random((5, 3)), rows, ids),
            4,
            lambda x, r, i: _segments(np.sum, 0, 5)(np.abs(x[r.astype(int)]), i),
        )
    places = np.int32([[0, 3], [0, 1], [2, 0], [4, 2]])
    order = [0, 1, 4, 2, 4, 3]
    values = np.float32([1, 2, 3, 4])
    yield Case(
        "segment.sparse_fill_empty_rows",
        "",
        lambda p, v: tg.segment.sparse_fill_empty_rows(p, v, [5, 4], -7.0),
        lambda p, v: [
            np.int32([[0, 3], [0, 1], [1, 0], [2, 0], [3, 0], [4, 2]]),
            np.append(v, np.float32(-7))[order],
            np.array([False, True, False, True, False]),
            np.int32([0, 1, 3, 5]),
        ],
        (places, values),
    )
    yield Case(
        "segment.sparse_fill_empty_rows", "by NumPy",
        lambda p, v: tg.segment.sparse_fill_empty_rows(p, v, [9, 4], 7), _filled_rows,
        (np.int32([[2, 3], [0, 1], [2, 0]]), np.float32([5, -6, 8])),
    )  # fmt: skip
    where = np.int32([[0, 0, 1], [1, 2, 3], [1, 0, 2]])
    for shape in ((6, 4), (-1,), (3, 2, -1)):
        whole = np.empty(24).reshape(shape).shape
        yield Case(
            "segment.sparse_reshape",
            str(shape),
            lambda w, s=shape: tg.segment.sparse_reshape(w, (2, 3, 4), s),
            lambda w, s=whole: [
                np.stack(
                    np.unravel_index(np.ravel_multi_index(tuple(w.T), (2, 3, 4)), s), -1
                ).astype(np.int32),
                np.int32(s),
            ],
            (where,),
        )


def _gathered(levels: list[list[int]], which: Array) -> list[Array]:
    """The result of ragged_gather, by way of nested lists of value numbers."""

    def row(level: int, i: int) -> Any:
        lo, hi = levels[level][i : i + 2]
        if level + 1 == len(levels):
            return list(range(lo, hi))
        return [row(level + 1, j) for j in range(lo, hi)]

    def picked(at: Any) -> Any:
        return [picked(v) for v in at] if isinstance(at, list) else row(0, at)

    current, splits = picked(which.tolist()), []
    for _ in range(len(levels) + which.ndim - 1):
        splits.append(np.int32(np.cumsum([0, *map(len, current)])))
        current = [v for item in current for v in item]
    return [*splits, np.int32(current)]


def ragged() -> Iterator[Case]:
    for label, args in {
        "vectors": ([0, 5, 2], [3, 4, 2], [1, -1, 5]), "steps": ([0, 1], [7, 8], 3),
    }.items():  # fmt: skip
        parts = [np.arange(*row) for row in zip(*np.broadcast_arrays(*args), strict=True)]
        expected = [np.int32(np.cumsum([0, *map(len, parts)])), np.int32(np.concatenate(parts))]
        yield Case(
            "segment.ragged_range", label, lambda a=args: tg.segment.ragged_range(*a),
            lambda e=expected: e, (),
        )  # fmt: skip
    yield Case(
        "segment.ragged_range",
        "floats",
        lambda: tg.segment.ragged_range(0.0, [1.0, 0.5], 0.25),
        lambda: [np.int32([0, 4, 6]), np.float32([0, 0.25, 0.5, 0.75, 0, 0.25])],
        (),
    )
    for label, levels, which in (
        ("one level", [[0, 2, 2, 5]], [2, 0, 2, 1]),
        ("two levels", [[0, 2, 3], [0, 1, 3, 4]], [1, 0, 1]),
        ("matrix of indices", [[0, 2, 3], [0, 1, 3, 4]], [[1, 0], [1, 1], [0, 0]]),
    ):
        count = levels[-1][-1]

        def call(x: Any, i: Any, levels: Any = levels) -> Any:
            splits, values = tg.segment.ragged_gather(levels, x, i)
            return [*splits, values]

        def oracle(x: Array, i: Array, levels: Any = levels) -> list[Array]:
            *splits, places = _gathered(levels, i)
            return [*splits, x[places]]

        yield Case(
            "segment.ragged_gather", label, call, oracle,
            (random((count, 2)), np.array(which, np.int32)),
        )  # fmt: skip
    for label, shape, parts, kinds, expected in (
        ("splits", (-1, -1), [[0, 2, 2, 3]], ["ROW_SPLITS"], [[1, 2], [9, 9], [3, 9]]),
        ("cut", (4, 1), [[0, 2, 2, 3]], ["ROW_SPLITS"], [[1], [9], [3], [9]]),
        (
            "rows of values", (-1, 3), [3, [0, 0, 2]], ["FIRST_DIM_SIZE", "VALUE_ROWIDS"],
            [[1, 2, 9], [9, 9, 9], [3, 9, 9]],
        ),
        (
            "two levels", (-1, -1, -1), [[0, 2, 3], [0, 2, 2, 3]], ["ROW_SPLITS", "ROW_SPLITS"],
            [[[1, 2], [9, 9]], [[3, 9], [9, 9]]],
        ),
        ("cut rows", (1, -1), [[0, 2, 2, 3]], ["ROW_SPLITS"], [[1, 2]]),
    ):  # fmt: skip
        yield Case(
            "segment.ragged_tensor_to_tensor",
            label,
            lambda x, s=shape, p=parts, k=kinds: tg.segment.ragged_tensor_to_tensor(s, x, 9, p, k),
            lambda x, e=expected: np.int32(e),
            (np.int32([1, 2, 3]),),
        )
    yield Case(
        "segment.ragged_tensor_to_tensor",
        "rows of vectors",
        lambda x: tg.segment.ragged_tensor_to_tensor(
            (-1, -1, 2), x, [0.5, 1.5], [[0, 1, 3]], ["ROW_SPLITS"]
        ),
        lambda x: np.float32([[x[0], [0.5, 1.5]], [x[1], x[2]]]),
        (random((3, 2)),),
    )


def _filled_rows(places: Array, values: Array) -> list[Array]:
    """For 9 rows: (0, row) and 7 where there is nothing, sorted by rows."""
    empty = np.setdiff1d(np.arange(9), places[:, 0])
    added = np.stack([empty, np.zeros_like(empty)], 1).astype(np.int32)
    every, order = (
        np.concatenate([places, added]),
        np.argsort(np.append(places[:, 0], empty), kind="stable"),
    )
    back = np.argsort(order)[: len(places)].astype(np.int32)
    filled = np.concatenate([values, np.full(len(empty), 7).astype(values.dtype)])
    return [every[order], filled[order], np.isin(np.arange(9), empty), back]


CASES = [*segments(), *sparse(), *ragged()]
