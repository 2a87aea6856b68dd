"""The op table: neural networks: activations, codes, normalisation, losses, and `tg.nn` itself.

Oracles are the formulas in float64, written here with NumPy.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

import tabgrad as tg
from tests.ops import table_attention
from tests.ops.building import keras_oracle, unary
from tests.ops.comparing import VIEWS, Array, Case, integers, random, special_floats

ROW = (4, 10)
"""A batch of rows, and an axis that is no multiple of a vector."""


def _celu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


def _shrunk(x: Array, by: float = 0.5) -> Array:
    return np.where(x > by, x - by, np.where(x < -by, x + by, 0 * np.where(np.isnan(x), x, 0)))


def _sparse_plus(x: Array) -> Array:
    return np.where(x <= -1, 0, np.where(x >= 1, x, (x + 1) ** 2 / 4))


def _squareplus(x: Array, b: float = 4.0) -> Array:
    root = np.hypot(x, np.sqrt(b))
    return np.where(x < 0, b / (2 * (root - np.minimum(x, 0))), (x + root) / 2)


def _keeps_nan(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: np.where(np.isnan(x), np.nan, function(x))


def _sparsemax(x: Array, axis: int = -1) -> Array:
    """The projection onto the simplex, by the largest cut that keeps a sum of 1."""
    rows = np.moveaxis(x, axis, -1)
    out = np.zeros_like(rows)
    for at in np.ndindex(*rows.shape[:-1]):
        falling = np.sort(rows[at])[::-1]
        cuts = (np.cumsum(falling) - 1) / np.arange(1, len(falling) + 1)
        out[at] = np.maximum(rows[at] - cuts[np.flatnonzero(falling > cuts)[-1]], 0)
    return np.moveaxis(out, -1, axis)


def activations() -> Iterator[Case]:
    yield from unary("celu", _celu, 4)
    yield from unary(
        "celu", lambda x: _celu(x, 0.3), 8, label="alpha", call=lambda x: tg.ops.celu(x, 0.3),
        values=random((40,)),
    )  # fmt: skip
    floats = special_floats()
    numbers = floats[~np.isnan(floats)]
    for op, oracle in (
        ("soft_shrink", _shrunk),
        ("hard_shrink", lambda x: np.where(np.abs(x) <= 0.5, 0, x)),
    ):
        yield from unary(op, oracle, 1, values=numbers)
        yield from unary(
            op, lambda x, o=op: _shrunk(x, 2) if o[0] == "s" else np.where(np.abs(x) <= 2, 0, x), 1,
            label="threshold", call=lambda x, o=op: getattr(tg.ops, o)(x, 2.0),
            values=random((40,), low=-5, high=5),
        )  # fmt: skip
    yield from unary("tanh_shrink", lambda x: x - np.tanh(x), 4, scale=np.abs, values=numbers)
    yield from unary(
        "threshold", lambda x: np.where(x > 1, x, -7), 0,
        call=lambda x: tg.ops.threshold(x, 1.0, -7.0), values=numbers,
    )  # fmt: skip
    yield Case(
        "threshold", "integers", lambda x: tg.ops.threshold(x, 2, 0),
        lambda x: np.where(x > 2, x, 0).astype(np.int32), (integers((9,)),),
    )  # fmt: skip
    yield from unary("sparse_plus", _sparse_plus, 4, values=numbers)
    yield from unary("sparse_sigmoid", lambda x: np.clip(x + 1, 0, 2) / 2, 1)
    yield from unary("squareplus", _squareplus, 4, values=numbers[np.isfinite(numbers)])
    yield from unary(
        "squareplus", lambda x: _squareplus(x, 0.01), 4, label="b",
        call=lambda x: tg.ops.squareplus(x, b=0.01), values=random((40,)),
    )  # fmt: skip
    for view in VIEWS:
        yield Case(
            "glu", view, tg.ops.glu, lambda x: x[..., :5] * special.expit(x[..., 5:]),
            (random(ROW),), 8, view=view,
        )  # fmt: skip
        yield Case(
            "nn.prelu", view, tg.nn.prelu, lambda x, a: np.where(x >= 0, x, x * a),
            (random(ROW), random((10,), 1)), 0.5, view=view,
        )  # fmt: skip
        yield Case(
            "sparsemax", view, tg.ops.sparsemax, _sparsemax, (random(ROW),), 8, lambda x: 3.0,
            view=view,
        )  # fmt: skip
    for axis in (0, 1):
        yield Case(
            "sparsemax", f"axis {axis}", lambda x, a=axis: tg.ops.sparsemax(x, a),
            lambda x, a=axis: _sparsemax(x, a), (random((3, 5, 2), 1, -1, 1),), 8, lambda x: 3.0,
        )  # fmt: skip
    yield Case(
        "sparsemax", "far from 0", tg.ops.sparsemax, _sparsemax,
        (np.float32([[10000, 10000.5, 0], [-5000, -5001, -5000.25]]),), 8, lambda x: 1.0,
    )  # fmt: skip
    yield Case(
        "glu", "axis", lambda x: tg.ops.glu(x, axis=0), lambda x: x[:2] * special.expit(x[2:]),
        (random((4, 3, 2)),), 8,
    )  # fmt: skip


def codes() -> Iterator[Case]:
    one = np.int32([0, 2, 2, 5])
    yield Case(
        "multi_hot", "of a row", lambda x: tg.ops.multi_hot(x, 5),
        lambda x: np.float32([1, 0, 1, 0, 0]), (one,),
    )  # fmt: skip

    def united(x: Array) -> Array:
        return np.float32([[np.any(row == k) for k in range(4)] for row in x])

    for view in VIEWS:
        yield Case(
            "multi_hot", f"of a batch {view}", lambda x: tg.ops.multi_hot(x, 4), united,
            (integers((5, 3), low=0, high=4),), view=view,
        )  # fmt: skip
    yield Case(
        "multi_hot", "dtype", lambda x: tg.ops.multi_hot(x, 4, dtype="int32"),
        lambda x: united(x).astype(np.int32), (integers((5, 3), low=0, high=4),),
    )  # fmt: skip
    table = random((6, 3))
    yield Case(
        "nn.embedding_lookup", "", tg.nn.embedding_lookup, lambda t, i: t[i],
        (table, np.int32([[0, 5], [-1, 2]])),
    )  # fmt: skip
    yield Case(
        "nn.embedding_lookup", "norms", lambda t, i: tg.nn.embedding_lookup(t, i, max_norm=2.0),
        lambda t, i: t[i] * np.minimum(1, 2 / np.linalg.norm(t[i], axis=-1, keepdims=True)),
        (table, np.uint8([[0, 5], [3, 3]])), 8,
    )  # fmt: skip


def _moments(x: Array, axis: Any) -> tuple[Array, Array]:
    return x.mean(axis, keepdims=True), x.var(axis, keepdims=True)


def _layer_norm(x: Array, gamma: Any, beta: Any, axis: Any, epsilon: float) -> Array:
    mean, var = _moments(x, axis)
    shape = [n if d in np.atleast_1d(axis) % x.ndim else 1 for d, n in enumerate(x.shape)]
    out = (x - mean) / np.sqrt(var + epsilon)
    return out * np.reshape(gamma, shape) + np.reshape(beta, shape)


def _group_norm(x: Array, groups: int, gamma: Array, beta: Array, epsilon: float) -> Array:
    parted = x.reshape(*x.shape[:-1], groups, -1)
    mean, var = _moments(parted, tuple(d for d in range(1, parted.ndim) if d != x.ndim - 1))
    return ((parted - mean) / np.sqrt(var + epsilon)).reshape(x.shape) * gamma + beta


def _neighbours(x: Array, radius: int) -> Array:
    n = x.shape[-1]
    return np.stack(
        [(x[..., max(0, c - radius) : c + radius + 1] ** 2).sum(-1) for c in range(n)], -1
    )


def normalisation() -> Iterator[Case]:
    row, gamma, beta = random(ROW), random((10,), 1), random((10,), 2)
    image = random((2, 3, 5, 6))
    channel, positive = random((6,), 3), random((6,), 4, 0.1, 2)
    common: dict[str, Any] = {"ulp": 16, "scale": lambda *xs: 10.0}
    for view in VIEWS:
        yield Case(
            "layer_normalization", f"row {view}", tg.ops.layer_normalization,
            lambda x, g, b: _layer_norm(x, g, b, -1, 1e-7), (row, gamma, beta), view=view, **common,
        )  # fmt: skip
        yield Case(
            "batch_normalization", f"image {view}",
            lambda x, m, v, o, s: tg.ops.batch_normalization(x, m, v, -1, o, s),
            lambda x, m, v, o, s: (x - m) / np.sqrt(v + 1e-3) * s + o,
            (image, channel, positive, random((6,), 5), random((6,), 6)), view=view, **common,
        )  # fmt: skip
        yield Case(
            "rms_normalization", f"row {view}", tg.ops.rms_normalization,
            lambda x, s: x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-7) * s, (row, gamma),
            view=view, **common,
        )  # fmt: skip
        yield Case(
            "nn.group_normalization", f"image {view}",
            lambda x, g, b: tg.nn.group_normalization(x, 3, g, b),
            lambda x, g, b: _group_norm(x, 3, g, b, 1e-3), (image, channel, positive), view=view,
            **common,
        )  # fmt: skip
    yield Case(
        "layer_normalization", "far from 0", tg.ops.layer_normalization,
        lambda x: (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True),
        (np.float32(integers((3, 16), low=10000, high=10010)),), **common,
    )  # fmt: skip
    yield Case(
        "layer_normalization", "axes", lambda x, g, b: tg.ops.layer_normalization(
            x, g, b, axis=(1, -1), epsilon=0.1
        ),
        lambda x, g, b: _layer_norm(x, g, b, (1, 3), 0.1),
        (image, random((3, 6), 7), random((3, 6), 8)), **common,
    )  # fmt: skip
    yield Case(
        "layer_normalization", "rms_scaling",
        lambda x, g: tg.ops.layer_normalization(x, g, rms_scaling=True),
        lambda x, g: x / np.sqrt(x.var(-1, keepdims=True) + 1e-7) * g, (row, gamma), **common,
    )  # fmt: skip
    yield Case(
        "batch_normalization", "axis 1, bare",
        lambda x, m, v: tg.ops.batch_normalization(x, m, v, 1, epsilon=0.01),
        lambda x, m, v: (x - m[:, None, None]) / np.sqrt(v[:, None, None] + 0.01),
        (image, channel[:3], positive[:3]), **common,
    )  # fmt: skip
    yield Case(
        "rms_normalization", "axes", lambda x: tg.ops.rms_normalization(x, axis=(0, 2)),
        lambda x: x / np.sqrt((x * x).mean((0, 2), keepdims=True) + 1e-7), (image,), **common,
    )  # fmt: skip
    yield Case(
        "nn.group_normalization", "instances, channels first",
        lambda x: tg.nn.group_normalization(x, -1, axis=1, epsilon=1e-5),
        lambda x: (x - x.mean((2, 3), keepdims=True)) / np.sqrt(
            x.var((2, 3), keepdims=True) + 1e-5
        ),
        (image,), **common,
    )  # fmt: skip
    for order in (1, 2, 3, 4):
        yield Case(
            "normalize", f"order {order}", lambda x, o=order: tg.ops.normalize(x, order=o),
            lambda x, o=order: x / np.linalg.norm(x, o, -1, keepdims=True), (row,), 16,
        )  # fmt: skip
    yield Case(
        "normalize", "axis, zeros", lambda x: tg.ops.normalize(x, axis=0, epsilon=1e-2),
        lambda x: x / np.maximum(np.linalg.norm(x, axis=0, keepdims=True), 1e-2),
        (np.float32([[0, 3, 1e-3], [0, 4, 1e-3]]),), 8,
    )  # fmt: skip
    yield Case(
        "nn.l2_normalize", "", tg.nn.l2_normalize, lambda x: x / np.linalg.norm(x), (row,), 16
    )
    yield Case(
        "nn.l2_normalize", "axes", lambda x: tg.nn.l2_normalize(x, (1, 2), 1.0),
        lambda x: x / np.sqrt(np.maximum((x * x).sum((1, 2), keepdims=True), 1)), (image,), 16,
    )  # fmt: skip
    for label, options in (
        ("default", {}),
        ("radius 1", {"depth_radius": 1, "bias": 2.0, "alpha": 0.3, "beta": 0.75}),
        ("beta 1", {"depth_radius": 2, "beta": 1.0}),
    ):
        full = {"depth_radius": 5, "bias": 1.0, "alpha": 1.0, "beta": 0.5} | options
        yield Case(
            "nn.local_response_normalization", label,
            lambda x, o=options: tg.nn.local_response_normalization(x, **o),
            lambda x, f=full: x / (
                f["bias"] + f["alpha"] * _neighbours(x, f["depth_radius"])
            ) ** f["beta"],
            (image,), 16,
        )  # fmt: skip
    for view in ("as given", "transposed"):
        yield Case(
            "moments", f"axes {view}", lambda x: tg.ops.moments(x, (0, 2)),
            lambda x: [x.mean((0, 2)), x.var((0, 2))], (image,), 16, lambda x: [3.0, 9.0],
            view=view,
        )  # fmt: skip


def _weighted(values: Array, weights: Any, reduction: str) -> Array:
    factors = np.ones_like(values) * (1.0 if weights is None else weights)
    if reduction == "none":
        return values * factors
    total = (values * factors).sum()
    by = {"sum": 1.0, "mean": factors.sum(), "sum_by_nonzero_weights": (factors != 0).sum()}
    return total / by[reduction]


def _bce(y: Array, x: Array) -> Array:
    return np.logaddexp(0, x) - x * y


def _log_softmax(x: Array) -> Array:
    return np.asarray(special.log_softmax(x, -1))


def losses() -> Iterator[Case]:
    shape = (5, 3)
    labels = np.float32(integers(shape, low=0, high=2))
    logits, p = random(shape, 1, -8, 8), random(shape, 2, 0.05, 0.95)
    classes = np.float32(np.eye(3)[[0, 2, 1, 1, 0]])
    digits = np.int32([0, 2, 1, 1, 0])
    loose: dict[str, Any] = {"ulp": 8, "scale": lambda *xs: 8.0}
    for view in ("as given", "flipped"):
        yield Case(
            "binary_crossentropy", f"probabilities {view}", tg.ops.binary_crossentropy,
            lambda y, p: -(y * np.log(p) + (1 - y) * np.log1p(-p)), (labels, p), view=view, **loose,
        )  # fmt: skip
        yield Case(
            "categorical_crossentropy", f"probabilities {view}", tg.ops.categorical_crossentropy,
            lambda y, p: -(y * np.log(p / p.sum(-1, keepdims=True))).sum(-1), (classes, p),
            view=view, **loose,
        )  # fmt: skip
    ends = np.float32([0, 1, 0, 1]), np.float32([0, 0, 1, 1])
    # Probabilities are kept between these two float32 numbers.
    low, high = np.float64(np.float32(1e-7)), np.float64(np.float32(1 - 1e-7))
    yield Case(
        "binary_crossentropy", "0 and 1", tg.ops.binary_crossentropy,
        lambda y, p: -np.log(np.where(y == 1, np.where(p, high, low), 1 - np.where(p, high, low))),
        ends, 2, lambda y, p: 16.0,
    )  # fmt: skip
    yield Case(
        "binary_crossentropy", "logits",
        lambda y, x: tg.ops.binary_crossentropy(y, x, from_logits=True), _bce,
        (labels, np.where(logits > 7, np.float32(1e4), logits)), 8, lambda y, x: 8 + np.abs(x),
    )  # fmt: skip
    yield Case(
        "categorical_crossentropy", "logits",
        lambda y, x: tg.ops.categorical_crossentropy(y, x, from_logits=True),
        lambda y, x: -(y * _log_softmax(x)).sum(-1), (classes, logits), **loose,
    )  # fmt: skip
    yield Case(
        "categorical_crossentropy", "axis 0",
        lambda y, x: tg.ops.categorical_crossentropy(y.T, x.T, from_logits=True, axis=0),
        lambda y, x: -(y * _log_softmax(x)).sum(-1), (classes, logits), **loose,
    )  # fmt: skip
    for label, given in (("column", digits[:, None]), ("flat", digits)):
        yield Case(
            "sparse_categorical_crossentropy", f"logits {label}",
            lambda y, x: tg.ops.sparse_categorical_crossentropy(y, x, from_logits=True),
            lambda y, x: -_log_softmax(x)[np.arange(5), np.ravel(y)], (given, logits), **loose,
        )  # fmt: skip
    yield Case(
        "sparse_categorical_crossentropy", "probabilities", tg.ops.sparse_categorical_crossentropy,
        lambda y, p: -np.log((p / p.sum(-1, keepdims=True))[np.arange(5), y]), (digits, p), **loose,
    )  # fmt: skip
    masked = np.where(np.eye(3, dtype=bool)[[1, 0, 2, 2, 1]], np.float32(-np.inf), logits)
    yield Case(
        "sparse_categorical_crossentropy", "classes that cannot be",
        lambda y, x: tg.ops.sparse_categorical_crossentropy(y, x, from_logits=True),
        lambda y, x: -_log_softmax(x)[np.arange(5), y], (digits, masked), **loose,
    )  # fmt: skip
    yield Case(
        "sparse_categorical_crossentropy", "axis 1",
        lambda y, x: tg.ops.sparse_categorical_crossentropy(y, x, from_logits=True, axis=1),
        lambda y, x: -np.take_along_axis(special.log_softmax(x, 1), y[:, None], 1)[:, 0],
        (np.int32([[0, 2], [1, 1]]), random((2, 3, 2))), **loose,
    )  # fmt: skip
    yield Case(
        "psnr", "", lambda x, y: tg.ops.psnr(x, y, 6.0),
        lambda x, y: 10 * np.log10(36 / ((x - y) ** 2).mean()), (random(ROW), random(ROW, 1)), 16,
        lambda x, y: 10.0,
    )  # fmt: skip

    pairs: dict[str, tuple[Callable[..., Any], Array, Array]] = {
        "absolute_difference": (lambda y, p: np.abs(y - p), labels, logits),
        "mean_squared_error": (lambda y, p: (y - p) ** 2, labels, logits),
        "hinge_loss": (lambda y, p: np.maximum(0, 1 - (2 * y - 1) * p), labels, logits),
        "huber_loss": (
            lambda y, p: np.where(np.abs(y - p) <= 1, (y - p) ** 2 / 2, np.abs(y - p) - 0.5),
            labels, logits,
        ),
        "log_loss": (
            lambda y, p: -(y * np.log(p + 1e-7) + (1 - y) * np.log(1 - p + 1e-7)), labels, p,
        ),
        "sigmoid_cross_entropy": (_bce, labels, logits),
    }  # fmt: skip
    weights = np.float32([[1], [0], [2], [0.5], [0]])
    for name, (oracle, y, x) in pairs.items():
        call = getattr(tg.nn, name)
        yield Case(f"nn.{name}", "", call, lambda y, p, f=oracle: f(y, p).mean(), (y, x), 16)
        for reduction in ("none", "sum", "mean", "sum_by_nonzero_weights"):
            yield Case(
                f"nn.{name}", f"weights, {reduction}",
                lambda y, p, w, f=call, r=reduction: f(y, p, w, reduction=r),
                lambda y, p, w, f=oracle, r=reduction: _weighted(f(y, p), w, r), (y, x, weights),
                16, lambda *xs: 64.0, slow=name != "huber_loss",
            )  # fmt: skip
    yield Case(
        "nn.huber_loss", "delta", lambda y, p: tg.nn.huber_loss(y, p, delta=2.5),
        lambda y, p: np.where(
            np.abs(y - p) <= 2.5, (y - p) ** 2 / 2, 2.5 * np.abs(y - p) - 3.125
        ).mean(),
        (labels, logits), 16,
    )  # fmt: skip
    yield Case(
        "nn.sigmoid_cross_entropy", "smoothed",
        lambda y, x: tg.nn.sigmoid_cross_entropy(y, x, label_smoothing=0.2),
        lambda y, x: _bce(y * 0.8 + 0.1, x).mean(), (labels, logits), 16,
    )  # fmt: skip
    for smoothing in (0.0, 0.3):
        yield Case(
            "nn.softmax_cross_entropy", f"smoothed by {smoothing}",
            lambda y, x, w, s=smoothing: tg.nn.softmax_cross_entropy(y, x, w, label_smoothing=s),
            lambda y, x, w, s=smoothing: _weighted(
                -((y * (1 - s) + s / 3) * _log_softmax(x)).sum(-1), w, "sum_by_nonzero_weights"
            ),
            (classes, logits, weights[:, 0]), 16,
        )  # fmt: skip
    yield Case(
        "nn.cosine_distance", "", lambda y, p: tg.nn.cosine_distance(y, p, axis=1),
        lambda y, p: (1 - (y * p).sum(1)).mean(), (random(ROW, 3), random(ROW, 4)), 16,
        lambda y, p: 9.0,
    )  # fmt: skip
    for reduction in ("none", "sum", "mean", "sum_by_nonzero_weights"):
        yield Case(
            "nn.compute_weighted_loss", reduction,
            lambda x, w, r=reduction: tg.nn.compute_weighted_loss(x, w, r),
            lambda x, w, r=reduction: _weighted(x, w, r), (logits, weights), 16, lambda *xs: 64.0,
        )  # fmt: skip
    yield Case(
        "nn.compute_weighted_loss", "no weight", tg.nn.compute_weighted_loss, lambda x, w: 0.0,
        (logits, np.zeros((5, 3), np.float32)), 0,
    )  # fmt: skip


def other_floats() -> Iterator[Case]:
    """Half and double precision: statistics and softmax of halves are computed in float32."""
    image, kernel = random((1, 5, 6, 2)), random((3, 3, 2, 4), 1)
    query = random((1, 4, 2, 3), 2)

    def standard(x: Array) -> Array:
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-7)

    rows: list[tuple[Any, ...]] = [
        ("softmax", "", tg.ops.softmax, lambda x: special.softmax(x, -1), (random(ROW),), 1),
        ("layer_normalization", "", tg.ops.layer_normalization,
         standard, (random(ROW),), 4),
        ("layer_normalization", "squares beyond half precision", tg.ops.layer_normalization,
         standard, (np.float32([[500, -600, 100, 900]]),), 4),
        ("rms_normalization", "", tg.ops.rms_normalization,
         lambda x: x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-7), (random(ROW),), 4),
        ("moments", "", lambda x: tg.ops.moments(x, 1),
         lambda x: [x.mean(1), x.var(1)], (random(ROW),), 4),
        ("conv", "", tg.ops.conv, keras_oracle("conv"), (image, kernel), 16),
        ("max_pool", "", lambda x: tg.ops.max_pool(x, 2), lambda x: x.reshape(1, 2, 2, 3, 2, 2).max(
            (2, 4)), (image[:, :4],), 0),
        ("average_pool", "", lambda x: tg.ops.average_pool(x, 2),
         lambda x: x.reshape(1, 2, 2, 3, 2, 2).mean((2, 4)), (image[:, :4],), 4),
        ("dot_product_attention", "", lambda q: tg.ops.dot_product_attention(q, q, q),
         lambda q: table_attention.attention(q, q, q), (query,), 8),
        ("categorical_crossentropy", "",
         lambda y, x: tg.ops.categorical_crossentropy(y, x, from_logits=True),
         lambda y, x: -(y * _log_softmax(x)).sum(-1), (np.eye(3, dtype=np.float32), random((3, 3))),
         8),
    ]  # fmt: skip
    for dtype in ("float16", "float64"):
        for op, label, call, oracle, inputs, ulp in rows:
            # Keras computes in float32.
            loose = op == "conv" and dtype == "float64"
            yield Case(
                op, f"in {dtype} {label}".strip(), call, oracle,
                tuple(x.astype(dtype) for x in inputs), 2.0**33 if loose else ulp,
                lambda *xs, n=1 + (op == "moments"): [8.0] * n, dtype=dtype,
            )  # fmt: skip


def recurrence() -> Iterator[Case]:
    def step(w: Array, b: Array, x: Array, c: Array, h: Array) -> list[Array]:
        enter, new, forget, leave = np.split(np.concatenate([x, h], 1) @ w + b, 4, axis=1)
        cell = c * special.expit(forget + 0.5) + special.expit(enter) * np.tanh(new)
        return [cell, np.tanh(cell) * special.expit(leave)]

    def stacked(w: Array, b: Array, x: Array, c: Array, h: Array) -> list[Array]:
        low = step(w, b, x, c[0], h[0])
        high = step(w, b, low[1], c[1], h[1])
        return [low[0], high[0], low[1], high[1]]

    def call(w: Any, b: Any, x: Any, c: Any, h: Any) -> list[Any]:
        cell = functools.partial(tg.nn.basic_lstm_cell, 0.5, w, b)
        cells, outputs = tg.nn.multi_rnn_cell([cell, cell], x, [c[0], c[1]], [h[0], h[1]])
        return [*cells, *outputs]

    weights = random((6, 12), 1, -1, 1), random((12,), 2), random((5, 3), 3)
    yield Case(
        "nn.basic_lstm_cell", "", functools.partial(tg.nn.basic_lstm_cell, 0.5), step,
        (*weights, random((5, 3), 4), random((5, 3), 5)), 16, lambda *xs: [4.0, 4.0],
    )  # fmt: skip
    yield Case(
        "nn.multi_rnn_cell", "", call, stacked,
        (*weights, random((2, 5, 3), 4), random((2, 5, 3), 5)), 32, lambda *xs: [4.0] * 4,
    )  # fmt: skip


def dropped() -> Iterator[Case]:
    x = np.ones((40, 5), np.float32)

    def outcome(x: Any) -> list[Any]:
        y = tg.nn.dropout(x, 0.25, seed=3)
        fair = tg.ops.abs(tg.ops.mean(y) - 1.0) < 0.2
        return [tg.ops.logical_or(y == 0, tg.ops.abs(y - 4 / 3) < 1e-6), fair]

    yield Case(
        "nn.dropout", "values", outcome, lambda x: [np.ones(x.shape, bool), np.array(True)], (x,)
    )
    yield Case("nn.dropout", "rate 0", lambda x: tg.nn.dropout(x, 0.0), lambda x: x, (x,))


def same_functions(own: list[Case]) -> Iterator[Case]:
    """The smallest row, in any table, of each function that `tg.nn` only gives another name."""
    others = [path.stem for path in Path(__file__).parent.glob("table_*.py")]
    cases = own + [
        case
        for name in sorted(others)
        if name not in (Path(__file__).stem, "table_derived")
        for case in importlib.import_module(f"tests.ops.{name}").CASES
    ]
    rows = {case.op for case in cases}
    for name in tg.nn.__all__:
        known = [case for case in cases if case.op == name and not case.slow]
        if f"nn.{name}" not in rows and known:
            assert getattr(tg.nn, name) is getattr(tg.ops, name)
            least = min(
                known,
                key=lambda case: (case.dtype != "float32", sum(x.size for x in case.inputs)),
            )
            yield dataclasses.replace(least, op=f"nn.{name}")


CASES = [
    case
    for part in (activations, codes, normalisation, losses, other_floats, recurrence, dropped)
    for case in part()
]  # fmt: skip
CASES += same_functions(CASES)
