"""The op table: sizes, dtypes and values that no change of another case gives; NumPy says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tabgrad as tg
from tests.ops.comparing import SIZES, Array, Case, integers, random
from tests.ops.table_arrays import _scattered
from tests.ops.table_linalg import _no_residuals, _residuals

L = tg.linalg


def _f32(function: Callable[..., Any]) -> Callable[..., Any]:
    """What NumPy makes of floats, for integers and bools."""
    return lambda *xs: function(*(x.astype(np.float64) for x in xs))


def counted() -> Iterator[Case]:
    def count(x: Array) -> Array:
        return np.int32(x.size)

    shapes = ((), (0,), (1,), *((n,) for n in SIZES[2:]), (3, 0, 4))
    for shape in shapes:
        yield Case("count", f"{list(shape)}", tg.ops.count, count, (random(shape),))
    for dtype in ("bool", "int8", "uint8", "float16", "float64"):
        x = integers((2, 5), 1, 0, 2).astype(dtype)
        yield Case("count", dtype, tg.ops.count, count, (x,))
    values = np.float32([np.nan, np.inf, -np.inf, -0.0, 1e-45, np.finfo("f4").max])
    for view in ("as given", "flipped"):
        yield Case("count", f"special values {view}", tg.ops.count, count, (values,), view=view)
        yield Case(
            "empty_like", f"special values {view}",
            lambda x: tg.ops.zeros_like(tg.ops.empty_like(x)), np.zeros_like, (values,), view=view,
        )  # fmt: skip


def losses() -> Iterator[Case]:
    """The mean over nothing is 0, so that an empty batch moves nothing."""
    nothing = np.zeros((0, 3), np.float32)
    for name in (
        "absolute_difference", "hinge_loss", "huber_loss", "log_loss", "mean_squared_error",
        "sigmoid_cross_entropy", "softmax_cross_entropy",
    ):  # fmt: skip
        yield Case(
            f"nn.{name}", "of nothing", getattr(tg.nn, name), lambda x, y: np.float32(0),
            (nothing, nothing),
        )  # fmt: skip
    labels = np.array([[True, False, True]])
    outputs = np.float32([[0.25, 0.5, 0.75]])
    for dtype in ("bool", "int32", "uint8"):
        yield Case(
            "binary_crossentropy", f"labels of {dtype}", tg.ops.binary_crossentropy,
            lambda t, y: -np.where(t, np.log(y), np.log(1 - y)), (labels.astype(dtype), outputs), 4,
        )  # fmt: skip
    yield Case(
        "sparse_categorical_crossentropy", "labels of bool",
        tg.ops.sparse_categorical_crossentropy, lambda t, y: -np.log(np.where(t, y[:, 1], y[:, 0])),
        (np.array([True, False]), np.float32([[0.25, 0.75], [0.5, 0.5]])), 4,
    )  # fmt: skip


def linear() -> Iterator[Case]:
    ones = np.tril(np.ones((3, 3), bool))
    yield Case("linalg.cond", "bool", L.cond, _f32(np.linalg.cond), (ones,), 60)
    yield Case(
        "cholesky_inverse", "bool", tg.ops.cholesky_inverse,
        _f32(lambda x: np.linalg.inv(x @ x.T)), (ones,), 60,
    )  # fmt: skip
    yield Case(
        "cholesky_inverse", "-0.0", tg.ops.cholesky_inverse,
        lambda x: np.linalg.inv(np.tril(x) @ np.tril(x).T),
        (np.float32([[2, 0, -0.0], [1, 4, 0], [-0.0, 1, 1]]),), 60, lambda x: 1.0,
    )  # fmt: skip
    yield Case(
        "linalg.matrix_power", "bool", lambda x: L.matrix_power(x, 5),
        _f32(lambda x: np.linalg.matrix_power(x, 5)), (ones,), 0,
    )  # fmt: skip
    yield Case(
        "linalg.matrix_rank", "float16", L.matrix_rank,
        lambda x: np.int32(np.linalg.matrix_rank(x.astype(np.float32))),
        (np.float16([[1, 2, 3], [2, 4, 6], [1, 0, 1]]),),
    )  # fmt: skip
    for n in (5, 15):
        rotation = np.linalg.qr(random((n, n), n))[0]
        yield Case("det", f"{n} of a rotation", tg.ops.det, np.linalg.det, (rotation,), 60)
    yield Case(
        "eig", "float16", lambda x: [tg.cast(y, "float32") for y in _residuals(x)], _no_residuals,
        (random((5, 5), 1).astype(np.float16),), 1, lambda x: [2.0**15] * 3,
    )  # fmt: skip
    whole = integers((2, 3, 4), 1) + 1j * integers((2, 3, 4), 2)
    yield Case(
        "linalg.trace", "complex", L.trace, lambda x: np.trace(x, 0, 1, 2),
        (whole.astype(np.complex64),),
    )  # fmt: skip
    for n in (7, 8, 9, 15, 16, 17):
        rotation = np.linalg.qr(random((n, n), n))[0]
        yield Case(
            "linalg.matrix_power", f"{n} of a rotation", lambda x: L.matrix_power(x, -3),
            lambda x: np.linalg.matrix_power(x, -3), (rotation,), 64, lambda x: 1.0,
        )  # fmt: skip


def numbers() -> Iterator[Case]:
    for dtype in ("bool", "int32", "uint8"):
        given = integers((9,), 1, 0, 2).astype(dtype), integers((9,), 2, 0, 2).astype(dtype)
        yield Case(
            "nextafter", dtype, tg.ops.nextafter,
            lambda x, y: np.nextafter(x.astype(np.float32), y.astype(np.float32)), given,
        )  # fmt: skip
    near = (random((3, 4), 1) + 1j * random((3, 4), 2)).astype(np.complex64)
    beside = (random((3, 4), 3) + 1j * random((3, 4), 4)).astype(np.complex64)
    for op, oracle in (
        ("power", np.power), ("logaddexp", lambda x, y: np.log(np.exp(x) + np.exp(y))),
    ):  # fmt: skip
        yield Case(
            op, "complex64", getattr(tg.ops, op), oracle, (near, beside), 32,
            lambda x, y, f=oracle: np.abs(f(x, y)) + 1, "complex64",
        )  # fmt: skip
    floats = np.float32([1.5, -2, 3])
    for dtype in ("uint8", "int8"):
        yield Case(
            "ldexp", f"powers of {dtype}", tg.ops.ldexp,
            lambda x, n: np.ldexp(x, n.astype(np.int32)), (floats, np.array([0, 3, 5], dtype)),
        )  # fmt: skip
    yield Case(
        "ldexp", "[3, 1] with [4]", tg.ops.ldexp, np.ldexp,
        (floats[:, None], np.int32([0, 1, -2, 7])),
    )  # fmt: skip
    whole, where = np.array([True, False, False, True]), np.int32([[1], [1], [3]])
    yield Case(
        "scatter_add", "bools that meet", tg.ops.scatter_add,
        lambda x, i, u: np.logical_or(x, np.isin(np.arange(4), i[u])),
        (whole, where, np.array([True, True, True])),
    )  # fmt: skip
    yield Case(
        "scatter", "bools that meet", lambda i, u: tg.ops.scatter(i, u, (4,)),
        lambda i, u: np.isin(np.arange(4), i[u]), (where, np.array([True, True, False])),
    )  # fmt: skip
    yield Case(
        "histogram", "weights of bool", lambda x, w: tg.ops.histogram(x, 3, weights=w)[0],
        lambda x, w: np.histogram(x, 3, weights=w.astype(int))[0].astype(np.int32),
        (np.float32([0, 1, 1, 3]), np.array([True, True, True, False])),
    )  # fmt: skip
    largest = np.finfo("f4").max
    small, tiny = np.finfo("f4").tiny, np.float32(1e-40)
    for label, first, last in (
        ("limits", 1, largest),
        ("subnormal", tiny, small),
        ("down", 1, tiny),
    ):
        yield Case(
            "geomspace", label, lambda x, y: tg.ops.geomspace(x, y, 7),
            lambda x, y: np.geomspace(x, y, 7), (np.float32([first]), np.float32([last])), 128,
        )  # fmt: skip
    for dtype in ("int32", "uint8"):
        yield Case(
            "geomspace", dtype, lambda x, y: tg.ops.geomspace(x, y, 5),
            lambda x, y: np.geomspace(x, y, 5),
            (np.array([1, 3], dtype), np.array([16, 48], dtype)), 16,
        )  # fmt: skip
    yield Case(
        "segment.ragged_range", "a start for all", lambda x, y: tg.segment.ragged_range(x, y)[1],
        lambda x, y: np.int32([2, 3, 2, 3, 4]), (np.int32(2), np.int32([4, 2, 5])),
    )  # fmt: skip
    x, y = np.float32([largest, -largest, largest, 7]), np.float32([3, 7, largest, -largest])
    for op, oracle in (("mod", np.mod), ("floor_divide", np.floor_divide)):
        yield Case(op, "limits", getattr(tg.ops, op), oracle, (x, y), 1)
    yield Case(
        "nanpercentile", "int32", lambda x: tg.ops.nanpercentile(x, [30, 50]),
        _f32(lambda x: np.nanpercentile(x, [30, 50])), (integers((4, 5), 1),), 16,
    )  # fmt: skip
    yield Case("nanvar", "int32", tg.ops.nanvar, _f32(np.nanvar), (integers((4, 5), 1),), 16)
    yield Case("nanstd", "int32", tg.ops.nanstd, _f32(np.nanstd), (integers((4, 5), 1),), 16)
    yield Case(
        "scatter", "whole numbers", lambda i, u: tg.ops.scatter(i, u, (4, 2)), _scattered,
        (np.array([[0], [3], [0]], np.int32), integers((3, 2), 1).astype(np.float32)),
    )  # fmt: skip
    for op in ("nanargmax", "nanargmin"):
        yield Case(op, "one", getattr(tg.ops, op), lambda x: np.int32(0), (np.float32([[3.5]]),))
    yield Case(
        "normalize", "0-d becomes [1]", tg.ops.normalize, lambda x: np.reshape(np.sign(x), (1,)),
        (np.float32(-2.5),), 1,
    )  # fmt: skip
    yield Case(
        "multi_hot", "one code", lambda x: tg.ops.multi_hot(x, 4), lambda x: np.float32(1),
        (np.int32(2),),
    )  # fmt: skip
    yield Case(
        "multi_hot", "no codes", lambda x: tg.ops.multi_hot(x, 4),
        lambda x: np.zeros((0, 4), np.float32), (np.zeros((0, 3), np.int32),),
    )  # fmt: skip


def images() -> Iterator[Case]:
    one = np.float32([[[[2.5]]]])
    yield Case(
        "nn.max_pool_with_argmax", "one", lambda x: tg.nn.max_pool_with_argmax(x, 1),
        lambda x: [x, np.zeros(x.shape, np.int32)], (one,),
    )  # fmt: skip
    for shape in ((0, 4, 4, 2), (1, 1, 1, 1)):
        yield Case(
            "image.scale_and_translate", f"{list(shape)}",
            lambda x: tg.image.scale_and_translate(
                x, x.shape, [1.0, 1.0], [0.0, 0.0], (1, 2), "linear"
            ),
            lambda x: x, (random(shape),),
        )  # fmt: skip
    whole = integers((3, 5), 1, 0, 2)
    yield Case(
        "scan", "bool", lambda x: list(tg.ops.scan(lambda c, r: (c | r, c & r), x[0], x)),
        lambda x: [
            np.logical_or.reduce(x),
            np.stack([np.logical_or.reduce(x[: max(i, 1)]) & r for i, r in enumerate(x)]),
        ],
        (whole.astype(bool),),
    )  # fmt: skip
    yield Case(
        "ctc_decode", "float64 and bool scores",
        lambda x, y: [tg.ops.ctc_decode(v, [2, 2])[0] for v in (x, y)],
        lambda x, y: [np.int32([[[1, 2], [2, -1]]])] * 2, _scores(),
    )  # fmt: skip


def _scores() -> tuple[Array, Array]:
    """Class 1, 2 in one row; 2, 2 in the other."""
    best = np.array([[1, 2], [2, 2]])
    one_hot = best[..., None] == np.arange(3)
    return one_hot.astype(np.float64), one_hot


CASES = [
    case
    for part in (counted, losses, linear, numbers, images)
    for case in part()
]  # fmt: skip
