"""Gradients of neural-network functions: against jax.grad through Keras where it has the function,
by finite differences in float64 where it has not, finite where formulas have kinks and poles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import special

import tabgrad as tg
from tests.keras_oracle import check, keras
from tests.ops.comparing import Array, random
from tests.ops.engines import chosen
from tests.ops.jax_gradients import Function, both
from tests.ops.table_ctc import likelihoods

MASK = np.random.default_rng(3).random((2, 4, 5, 6)) < 0.7
LABELS = np.int32([[1, 2, 3], [1, 1, 0], [2, 0, 0]])
LENGTHS = np.int32([3, 2, 1]), np.int32([6, 5, 4])

# name: (function of the ops and its arguments, shapes)
WITH_KERAS: dict[str, tuple[Function, list[tuple[int, ...]]]] = {
    "celu": (lambda o, x: o.celu(x, 0.5), [(3, 17)]),
    "glu": (lambda o, x: o.glu(x, 0), [(4, 5)]),
    "hard_shrink": (lambda o, x: o.hard_shrink(x), [(3, 17)]),
    "mish": (lambda o, x: o.mish(x) if o is tg.ops else keras.activations.mish(x), [(3, 17)]),
    "soft_shrink": (lambda o, x: o.soft_shrink(x), [(3, 17)]),
    "sparse_plus": (lambda o, x: o.sparse_plus(x), [(3, 17)]),
    "sparse_sigmoid": (lambda o, x: o.sparse_sigmoid(x), [(3, 17)]),
    "squareplus": (lambda o, x: o.squareplus(x), [(3, 17)]),
    "tanh_shrink": (lambda o, x: o.tanh_shrink(x), [(3, 17)]),
    "threshold": (lambda o, x: o.threshold(x, 0.2, 3.0), [(3, 17)]),
    "attention": (
        lambda o, q, k, v: o.dot_product_attention(q, k, v),
        [(2, 5, 4, 3), (2, 6, 4, 3), (2, 6, 4, 3)],
    ),
    "attention, grouped": (
        lambda o, q, k, v, b: o.dot_product_attention(
            q, k, v, b, o.convert_to_tensor(MASK), is_causal=True
        ),
        [(2, 5, 4, 3), (2, 6, 2, 3), (2, 6, 2, 3), (2, 4, 5, 6)],
    ),
    "batch_normalization": (
        lambda o, x, m, v, b, g: o.batch_normalization(x, m, v * v, -1, b, g),
        [(3, 4, 5), (5,), (5,), (5,), (5,)],
    ),
    "layer_normalization": (
        lambda o, x, g, b: o.layer_normalization(x, g, b, epsilon=1e-3), [(4, 9), (9,), (9,)]
    ),
    "layer_normalization, axes": (
        lambda o, x, g: o.layer_normalization(x, g, axis=(1, 2), epsilon=1e-3),
        [(2, 3, 4), (3, 4)],
    ),
    "rms_normalization": (lambda o, x, s: o.rms_normalization(x, s), [(4, 9), (9,)]),
    "normalize": (lambda o, x: o.normalize(x), [(4, 9)]),
    "normalize, order 3": (lambda o, x: o.normalize(x, order=3), [(4, 9)]),
    "moments": (lambda o, x: o.stack(o.moments(x, (0, 2))), [(3, 4, 5)]),
    "binary_crossentropy": (
        lambda o, y, x: o.binary_crossentropy(o.sigmoid(y), o.sigmoid(x)), [(3, 5), (3, 5)]
    ),
    "binary_crossentropy, logits": (
        lambda o, y, x: o.binary_crossentropy(y, x, from_logits=True), [(3, 5), (3, 5)]
    ),
    "categorical_crossentropy": (
        lambda o, y, x: o.categorical_crossentropy(y, o.softmax(x)), [(3, 5), (3, 5)]
    ),
    "categorical_crossentropy, logits": (
        lambda o, y, x: o.categorical_crossentropy(y, x, from_logits=True), [(3, 5), (3, 5)]
    ),
    "sparse_categorical_crossentropy": (
        lambda o, x: o.sparse_categorical_crossentropy(np.int32([0, 4, 2]), x, from_logits=True),
        [(3, 5)],
    ),
    "psnr": (lambda o, x, y: o.psnr(x, y, 2.0), [(3, 5), (3, 5)]),
    "ctc_loss": (lambda o, x: o.ctc_loss(LABELS, x, *LENGTHS), [(3, 6, 5)]),
    "separable_conv": (
        lambda o, x, d, p: o.separable_conv(x, d, p, strides=2, padding="same"),
        [(2, 5, 6, 3), (3, 3, 3, 2), (1, 1, 6, 4)],
    ),
    "depthwise_conv, channels first": (
        lambda o, x, w: o.depthwise_conv(x, w, data_format="channels_first"),
        [(2, 3, 5, 6), (2, 3, 3, 2)],
    ),
    "conv_transpose 3d": (
        lambda o, x, w: o.conv_transpose(x, w, strides=2), [(1, 2, 3, 2, 2), (2, 3, 2, 3, 2)]
    ),
    "unfold": (lambda o, x: o.unfold(x, 2, 2, 1, 1), [(2, 3, 5, 4)]),
    "fold": (lambda o, x: o.fold(x, (4, 5), 2), [(2, 12, 12)]),
    "depth_to_space": (lambda o, x: o.depth_to_space(x, 2), [(2, 2, 3, 8)]),
    "space_to_depth": (lambda o, x: o.space_to_depth(x, 2), [(2, 4, 6, 2)]),
    "multi_hot of what is drawn": (
        lambda o, x: o.matmul(o.multi_hot(np.int32([[0, 2], [1, 1]]), 4), x), [(4, 3)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WITH_KERAS)
def test_as_jax_through_keras(engine: str, name: str) -> None:
    function, shapes = WITH_KERAS[name]
    arrays = tuple(random(shape, seed, -2, 2) for seed, shape in enumerate(shapes))
    for i, (got, expected) in enumerate(zip(*both(function, arrays), strict=True)):
        check(got, expected, 1e-5, f"{name}, argument {i}")


WEIGHTS = np.array([[1.0], [0.0], [2.0]])

# What Keras has not, or has differently: (function, shapes, smallest argument).
ALONE: dict[str, tuple[Function, list[tuple[int, ...]], float]] = {
    "prelu": (tg.nn.prelu, [(3, 5), (5,)], -2),
    "sparsemax": (lambda x: tg.nn.sparsemax(x), [(3, 5)], -2),
    "group_normalization": (
        lambda x, g, b: tg.nn.group_normalization(x, 2, g, b), [(2, 3, 4), (4,), (4,)], -2
    ),
    "local_response_normalization": (
        lambda x: tg.nn.local_response_normalization(x, 2, 1.0, 0.5, 0.75), [(2, 7)], -2
    ),
    "l2_normalize": (lambda x: tg.nn.l2_normalize(x, 1), [(2, 7)], -2),
    "embedding_lookup": (
        lambda t: tg.nn.embedding_lookup(t, [[0, 2], [2, 1]], max_norm=2.0), [(3, 4)], -2
    ),
    "max_pool, holes": (
        lambda x: tg.nn.max_pool(x, 2, 1, 1, dilation_rate=2), [(1, 5, 4, 2)], -2
    ),
    "max_pool_with_argmax": (lambda x: tg.nn.max_pool_with_argmax(x, 3, 2)[0], [(1, 5, 6, 2)], -2),
    "average_pool, holes": (
        lambda x: tg.nn.average_pool(x, 2, 1, 1, dilation_rate=2), [(1, 5, 4, 2)], -2
    ),
    "adaptive_max_pool": (lambda x: tg.nn.adaptive_max_pool(x, (2, 3)), [(1, 5, 4, 2)], -2),
    "adaptive_average_pool": (lambda x: tg.nn.adaptive_average_pool(x, 3), [(1, 5, 4, 2)], -2),
    "global_average_pool": (lambda x: tg.nn.global_average_pool(x), [(1, 5, 4, 2)], -2),
    "conv, padding": (
        lambda x, w: tg.nn.conv(x, w, padding=((1, 0), (0, 2))), [(1, 4, 3, 2), (2, 2, 2, 2)], -2
    ),
    "dilation2d": (
        lambda x, w: tg.nn.dilation2d(x, w, padding="same"), [(1, 4, 5, 2), (2, 3, 2)], -2
    ),
    "erosion2d": (lambda x, w: tg.nn.erosion2d(x, w, strides=2), [(1, 5, 5, 2), (2, 3, 2)], -2),
    "capped attention": (
        lambda q, k: tg.nn.dot_product_attention(q, k, k, attn_logits_soft_cap=2.0),
        [(1, 3, 2, 4), (1, 5, 2, 4)], -2,
    ),
    "absolute_difference": (
        lambda y, p: tg.nn.absolute_difference(y, p, WEIGHTS), [(3, 4), (3, 4)], -2
    ),
    "mean_squared_error": (
        lambda y, p: tg.nn.mean_squared_error(y, p, WEIGHTS, "mean"), [(3, 4), (3, 4)], -2
    ),
    "cosine_distance": (lambda y, p: tg.nn.cosine_distance(y, p, 1), [(3, 4), (3, 4)], -2),
    "hinge_loss": (lambda y, p: tg.nn.hinge_loss(y, p, WEIGHTS), [(3, 4), (3, 4)], -2),
    "huber_loss": (lambda y, p: tg.nn.huber_loss(y, p, WEIGHTS), [(3, 4), (3, 4)], -2),
    "log_loss": (lambda y, p: tg.nn.log_loss(y, p / 3), [(3, 4), (3, 4)], 0.1),
    "sigmoid_cross_entropy": (
        lambda y, p: tg.nn.sigmoid_cross_entropy(y, p, None, 0.1), [(3, 4), (3, 4)], -2
    ),
    "softmax_cross_entropy": (
        lambda y, p: tg.nn.softmax_cross_entropy(y, p, WEIGHTS[:, 0], 0.1), [(3, 4), (3, 4)], -2
    ),
    "compute_weighted_loss": (
        lambda x, w: tg.nn.compute_weighted_loss(x, w, "mean"), [(3, 4), (3, 4)], 0.5
    ),
}  # fmt: skip


def _total(function: Function, weights: Array) -> Function:
    return lambda *xs: tg.ops.sum(function(*xs) * tg.tensor(weights, dtype="float64"))


@pytest.mark.parametrize("name", ALONE)
def test_by_finite_differences(name: str) -> None:
    function, shapes, low = ALONE[name]
    with chosen("reference"):
        arrays = [np.float64(random(shape, seed, low, 2)) for seed, shape in enumerate(shapes)]

        def tensors(values: list[Array]) -> list[Any]:
            return [tg.tensor(x, dtype="float64") for x in values]

        shape = function(*tensors(arrays)).shape
        total = _total(function, np.float64(random(shape, 99)))
        positions = tuple(range(len(arrays)))
        slopes = tg.grad(total, argnums=positions)(*tensors(arrays))
        for i, slope in enumerate(slopes):
            way = np.random.default_rng(i).standard_normal(arrays[i].shape)
            step = 1e-6
            ends = []
            for sign in (1, -1):
                moved = list(arrays)
                moved[i] = arrays[i] + sign * step * way
                ends.append(float(total(*tensors(moved))))
            expected = (ends[0] - ends[1]) / (2 * step)
            got = float((np.asarray(slope) * way).sum())
            assert abs(got - expected) <= 1e-6 * max(1.0, abs(expected)), (i, got, expected)


# Twice differentiable: gradient of (gradient along a fixed way), by differences of the first.
TWICE: dict[str, tuple[Function, list[tuple[int, ...]]]] = {
    "squareplus": (lambda x: tg.nn.squareplus(x), [(7,)]),
    "gelu": (lambda x: tg.nn.gelu(x, approximate=False), [(7,)]),
    "mish": (lambda x: tg.nn.mish(x), [(7,)]),
    "celu": (lambda x: tg.nn.celu(x, 0.5), [(7,)]),
    "layer_normalization": (lambda x: tg.nn.layer_normalization(x, epsilon=0.1), [(2, 5)]),
    "attention": (
        lambda q, k: tg.nn.dot_product_attention(q, k, k, is_causal=True),
        [(1, 3, 2, 2), (1, 3, 1, 2)],
    ),
    "normalize": (lambda x: tg.nn.normalize(x, order=3), [(2, 5)]),
    "local_response_normalization": (lambda x: tg.nn.local_response_normalization(x, 1), [(2, 5)]),
    "softmax_cross_entropy": (
        lambda x: tg.nn.softmax_cross_entropy(np.eye(3), x, reduction="none"), [(3, 3)]
    ),
    "average_pool": (lambda x: tg.ops.square(tg.nn.average_pool(x, 2, 1, "same")), [(1, 4, 3, 1)]),
    "unfold": (lambda x: tg.ops.square(tg.nn.unfold(x, 2)), [(1, 1, 3, 4)]),
    "ctc_loss": (lambda x: tg.nn.ctc_loss([[1, 2]], x, [2], [4]), [(1, 4, 3)]),
}  # fmt: skip


@pytest.mark.parametrize("name", TWICE)
def test_twice_by_finite_differences(name: str) -> None:
    function, shapes = TWICE[name]
    with chosen("reference"):
        arrays = [np.float64(random(shape, seed, -2, 2)) for seed, shape in enumerate(shapes)]
        ways = [np.random.default_rng(i).standard_normal(x.shape) for i, x in enumerate(arrays)]
        positions = tuple(range(len(arrays)))

        def tensors(values: list[Array]) -> list[Any]:
            return [tg.tensor(x, dtype="float64") for x in values]

        shape = function(*tensors(arrays)).shape
        total = _total(function, np.float64(random(shape, 99)))

        def slope(*xs: Any) -> Any:
            first = tg.grad(total, argnums=positions)(*xs)
            parts = [tg.ops.sum(g * w) for g, w in zip(first, tensors(ways), strict=True)]
            return sum(parts[1:], parts[0])

        second = tg.grad(slope, argnums=positions)(*tensors(arrays))
        for i, found in enumerate(second):
            step = 1e-6
            ends = []
            for sign in (1, -1):
                moved = list(arrays)
                moved[i] = arrays[i] + sign * step * ways[i]
                ends.append(float(slope(*tensors(moved))))
            expected = (ends[0] - ends[1]) / (2 * step)
            got = float((np.asarray(found) * ways[i]).sum())
            assert abs(got - expected) <= 1e-6 * max(1.0, abs(expected)), (i, got, expected)


EVERYWHERE = (
    "celu", "elu", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu",
    "log_sigmoid", "log_softmax", "mish", "normalize", "relu", "relu6", "rms_normalization", "selu",
    "sigmoid", "silu", "soft_shrink", "softmax", "softplus", "softsign", "sparse_plus",
    "sparse_sigmoid", "sparsemax", "squareplus", "tanh", "tanh_shrink", "layer_normalization",
    "l2_normalize", "local_response_normalization",
)  # fmt: skip
"""Functions of one tensor whose slope is finite for every finite argument that squares can hold."""


@pytest.mark.parametrize("name", EVERYWHERE)
def test_finite_everywhere(engine: str, name: str) -> None:
    x = np.float32([0, -0.0, 1e-30, -1e-30, 1e-45, 1, -1, 0.5, -0.5, 6, -3, 100, -100, 1e9, -1e9])
    rows = np.stack([x, np.zeros_like(x), np.full_like(x, -7), np.full_like(x, 1e9)])
    weights = tg.tensor(random(rows.shape, 1))
    function = getattr(tg.nn, name)
    value = function(tg.tensor(rows))
    slope = tg.grad(lambda x: tg.ops.sum(function(x) * weights))(tg.tensor(rows))
    assert np.isfinite(np.asarray(value)).all()
    assert np.isfinite(np.asarray(slope)).all()


@pytest.mark.parametrize(
    ("name", "at", "slope"),
    [
        ("relu", 0.0, 0.0),
        ("softplus", 0.0, 0.5),
        ("log_sigmoid", 0.0, 0.5),
        ("squareplus", 0.0, 0.5),
        ("softsign", 0.0, 1.0),
        ("silu", 0.0, 0.5),
        ("gelu", 0.0, 0.5),
        ("elu", 0.0, 1.0),
        ("celu", 0.0, 1.0),
        ("leaky_relu", 0.0, 1.0),
        ("hard_tanh", 1.0, 1.0),
        ("hard_tanh", -1.0, 1.0),
        ("relu6", 6.0, 0.0),
        ("sparse_sigmoid", 1.0, 0.25),
    ],
)
def test_slopes_at_kinks(engine: str, name: str, at: float, slope: float) -> None:
    assert float(tg.grad(getattr(tg.nn, name))(tg.tensor(at))) == pytest.approx(slope, abs=1e-6)


def test_a_target_that_sees_nothing(engine: str) -> None:
    q, k, v = (tg.tensor(random((1, 2, 1, 3), i)) for i in range(3))
    mask = np.array([[[[False, False], [True, False]]]])

    def attend(q: Any, k: Any, v: Any) -> Any:
        return tg.nn.dot_product_attention(q, k, v, mask=mask)

    out = np.asarray(attend(q, k, v))
    np.testing.assert_allclose(out[0, 0], np.asarray(v)[0].mean(0), rtol=1e-5)
    slopes = tg.grad(lambda *xs: tg.ops.sum(tg.ops.square(attend(*xs))), argnums=(0, 1, 2))(q, k, v)
    assert all(np.isfinite(np.asarray(g)).all() for g in slopes)


def test_ctc_slope_is_that_of_all_alignments(engine: str) -> None:
    """d loss / d score is softmax minus how often, over all alignments, a class is at a step."""
    scores = random((1, 4, 3), 5)
    got = tg.grad(lambda x: tg.nn.ctc_loss([[1, 2]], x, [2], [4])[0])(tg.tensor(scores))
    expected = np.zeros((4, 3))
    step = 1e-5
    for t, k in np.ndindex(4, 3):
        ends = []
        for sign in (1, -1):
            moved = np.float64(scores[0])
            moved[t, k] += sign * step
            ends.append(-likelihoods(moved, 0)[1, 2])
        expected[t, k] = (ends[0] - ends[1]) / (2 * step)
    check(np.asarray(got)[0], expected, 1e-5, "slope")


def test_ctc_slope_of_what_cannot_be_is_0(engine: str) -> None:
    scores = tg.tensor(np.float32([[[0, 1, -np.inf], [1, 0, 2]], [[0, 1, 2], [3, 4, 5]]]))
    slope = np.asarray(
        tg.grad(lambda x: tg.nn.ctc_loss([[2, 2], [1, 0]], x, [2, 1], [2, 2])[1])(scores)
    )
    assert (slope[0] == 0).all()
    assert np.isfinite(slope).all()
    assert np.allclose(slope[1].sum(-1), 0, atol=1e-6)


def test_a_class_that_cannot_be_has_no_slope(engine: str) -> None:
    scores = tg.tensor(np.float32([[0, 1, -np.inf], [-np.inf, 2, 2]]))
    slope = np.asarray(
        tg.grad(
            lambda x: tg.ops.sum(
                tg.nn.sparse_categorical_crossentropy(np.int32([1, 2]), x, from_logits=True)
            )
        )(scores)
    )
    half = 1 / (1 + np.e)
    np.testing.assert_allclose(slope, [[half, -half, 0], [0, 0.5, -0.5]], atol=1e-6)


def test_sparsemax_slope(engine: str) -> None:
    x = np.float32([1.0, 0.8, -3.0, 0.7])
    rows = [
        np.asarray(tg.grad(lambda x, i=i: tg.nn.sparsemax(x)[i])(tg.tensor(x))) for i in range(4)
    ]
    kept = np.array([1, 1, 0, 1.0])
    np.testing.assert_allclose(rows, np.diag(kept) - np.outer(kept, kept) / 3, atol=1e-6)


def test_softmax_of_large_scores_has_the_slope_of_small_ones(engine: str) -> None:
    x = np.round(random((3, 5), 2) * 64) / 64  # so that a shift by 512 is exact
    weights = random((3, 5), 3)
    p = special.softmax(x.astype(np.float64), -1)
    expected = p * (weights - (p * weights).sum(-1, keepdims=True))
    for shift in (0, 512, -512):
        slope = tg.grad(lambda x: tg.ops.sum(tg.nn.softmax(x) * tg.tensor(weights)))(
            tg.tensor(x + np.float32(shift))
        )
        check(np.asarray(slope), expected, 1e-5, "slope")
