"""The op table: what `keras.ops` has of transformations and determinants of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

import tabgrad as tg
from tests.ops.comparing import Array, Case, integers, random


def _halves(x: Any, y: Any) -> Any:
    return tg.where(x > y, x - y, (x + y) / 2)


def _halves_of_numbers(x: Any, y: Any) -> Any:
    return np.where(x > y, x - y, (x + y) / 2)


def _moved(x: Any, along: Any) -> Any:
    return tg.ops.jvp(lambda x: tg.sin(x) * x, (x,), (along,))


@tg.ops.custom_gradient
def _clipped(x: Any) -> Any:
    return tg.exp(x), lambda upstream: tg.clip(upstream * tg.exp(x), -1.0, 1.0)


def _positive(n: int, seed: int) -> Array:
    x = random((3, n, n), seed).astype(np.float64)
    return (x @ x.swapaxes(-1, -2) + n * np.eye(n)).astype(np.float32)


CASES = [
    Case(
        "vectorize", "numbers", tg.ops.vectorize(_halves), _halves_of_numbers,
        (random((4, 1), 1), random((3,), 2)), 2, lambda x, y: np.abs(x) + np.abs(y),
    ),
    Case(
        "vectorize", "nothing to map", tg.ops.vectorize(_halves), _halves_of_numbers,
        (random((), 1), random((), 2)), 2, lambda x, y: np.abs(x) + np.abs(y),
    ),
    Case(
        "vectorize", "matrices with vectors",
        tg.ops.vectorize(lambda m, v: m @ v, signature="(m,n),(n)->(m)"),
        lambda m, v: (m @ v[..., None])[..., 0],
        (random((2, 1, 3, 4), 1), random((5, 4), 2)), 4,
        lambda m, v: (np.abs(m) @ np.abs(v)[..., None])[..., 0],
    ),
    Case(
        "vectorize", "two results, one argument for all",
        lambda x, y: tg.ops.vectorize(
            lambda v, w: (tg.max(v), v[:2] + tg.sum(w)), excluded={1}, signature="(n)->(),(k)"
        )(x, y),
        lambda x, y: [x.max(-1), x[:, :2] + y.sum(dtype=np.int32)],
        (integers((5, 3)), integers((4,), 1)),
    ),
    Case(
        "jvp", "", _moved, lambda x, t: [np.sin(x) * x, t * (np.sin(x) + x * np.cos(x))],
        (random((9,), 1), random((9,), 2)), 8,
        lambda x, t: [np.abs(x), np.abs(t) * (1 + np.abs(x))],
    ),
    Case("custom_gradient", "", lambda x: _clipped(x), np.exp, (random((9,)),), 2),
    *(
        Case(
            "logdet", f"{n}x{n}", tg.ops.logdet, lambda x: np.linalg.slogdet(x)[1],
            (_positive(n, n),), 8 * n, lambda x: np.maximum(1, np.abs(np.linalg.slogdet(x)[1])),
        )
        for n in (1, 2, 5)
    ),
    Case(
        "slogdet", "3x3", lambda x: list(tg.ops.slogdet(x)), lambda x: list(np.linalg.slogdet(x)),
        (random((4, 3, 3)),), 100, lambda x: [np.ones(4), 1 + np.abs(np.linalg.slogdet(x)[1])],
    ),
    Case(
        "where", "places", lambda x: tg.where(x > 0),
        lambda x: [places.astype(np.int32) for places in np.where(x > 0)],
        (random((4, 3)),),
    ),
]  # fmt: skip
