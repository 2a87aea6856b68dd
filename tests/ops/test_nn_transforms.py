"""Neural-network functions inside vmap, jvp and compile, which are what they are outside; and of
empty batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tests.keras_oracle import check
from tests.ops.comparing import random
from tests.ops.engines import chosen

Function = Callable[..., Any]
MASK = np.random.default_rng(3).random((1, 2, 3, 4)) < 0.7

FUNCTIONS: dict[str, tuple[Function, list[tuple[int, ...]]]] = {
    "squareplus": (tg.nn.squareplus, [(7,)]),
    "glu": (tg.nn.glu, [(3, 4)]),
    "prelu": (tg.nn.prelu, [(3, 4), (4,)]),
    "sparsemax": (tg.nn.sparsemax, [(3, 4)]),
    "softmax": (tg.nn.softmax, [(3, 4)]),
    "logsumexp": (lambda x: tg.nn.logsumexp(x, 0), [(3, 4)]),
    "one_hot": (lambda x: tg.nn.one_hot(tg.cast(x, "int32"), 3), [(4,)]),
    "multi_hot": (lambda x: tg.nn.multi_hot(tg.cast(x, "int32"), 3), [(2, 4)]),
    "embedding_lookup": (
        lambda t, i: tg.nn.embedding_lookup(t, tg.cast(i, "int32")), [(4, 3), (2,)]
    ),
    "attention": (
        lambda q, k: tg.nn.dot_product_attention(q, k, k, mask=MASK), [(1, 3, 2, 4), (1, 4, 1, 4)]
    ),
    "conv": (lambda x, w: tg.nn.conv(x, w, padding="same"), [(2, 4, 5, 2), (3, 3, 2, 3)]),
    "conv, groups": (lambda x, w: tg.nn.conv(x, w), [(2, 4, 5, 4), (2, 2, 2, 4)]),
    "separable_conv": (tg.nn.separable_conv, [(1, 4, 5, 2), (3, 3, 2, 1), (1, 1, 2, 3)]),
    "conv_transpose": (
        lambda x, w: tg.nn.conv_transpose(x, w, strides=2), [(1, 3, 2, 2), (3, 3, 3, 2)]
    ),
    "max_pool": (lambda x: tg.nn.max_pool(x, 2, 1, 1, dilation_rate=2), [(1, 4, 5, 2)]),
    "max_pool_with_argmax": (lambda x: tg.nn.max_pool_with_argmax(x, 2)[1], [(2, 4, 4, 2)]),
    "average_pool": (lambda x: tg.nn.average_pool(x, 3, 2, "same"), [(1, 4, 5, 2)]),
    "adaptive_max_pool": (lambda x: tg.nn.adaptive_max_pool(x, 3), [(1, 4, 5, 2)]),
    "unfold": (lambda x: tg.nn.unfold(x, 2, padding=1), [(1, 2, 3, 4)]),
    "fold": (lambda x: tg.nn.fold(x, (3, 3), 2), [(1, 8, 4)]),
    "dilation2d": (lambda x, w: tg.nn.dilation2d(x, w), [(1, 4, 4, 2), (2, 2, 2)]),
    "layer_normalization": (tg.nn.layer_normalization, [(3, 4), (4,), (4,)]),
    "group_normalization": (lambda x: tg.nn.group_normalization(x, 2), [(2, 3, 4)]),
    "batch_normalization": (
        lambda x, m: tg.nn.batch_normalization(x, m, m * m, -1), [(3, 4), (4,)]
    ),
    "local_response_normalization": (tg.nn.local_response_normalization, [(3, 4)]),
    "moments": (lambda x: tg.stack(tg.nn.moments(x, 0)), [(3, 4)]),
    "huber_loss": (tg.nn.huber_loss, [(3, 4), (3, 4), (4,)]),
    "softmax_cross_entropy": (tg.nn.softmax_cross_entropy, [(3, 4), (3, 4)]),
    "ctc_loss": (lambda x: tg.nn.ctc_loss([[1, 2]], x, [2], [4]), [(1, 4, 3)]),
    "greedy decoding": (lambda x: tg.nn.ctc_decode(x, [4])[0], [(1, 4, 3)]),
    "beam search": (
        lambda x: tg.nn.ctc_decode(x, [4], "beam_search", beam_width=4)[1], [(1, 4, 3)]
    ),
}  # fmt: skip


def _arguments(name: str, batch: tuple[int, ...] = ()) -> list[np.ndarray[Any, Any]]:
    return [random((*batch, *shape), i, 0, 2) for i, shape in enumerate(FUNCTIONS[name][1])]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_vmap(name: str) -> None:
    function = FUNCTIONS[name][0]
    arrays = _arguments(name, (3,))
    with chosen("reference"):
        got = np.asarray(tg.vmap(function)(*map(tg.tensor, arrays)))
        each = [np.asarray(function(*(tg.tensor(x[i]) for x in arrays))) for i in range(3)]
    np.testing.assert_allclose(got, np.stack(each), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if len(FUNCTIONS[name][1]) > 1])
def test_vmap_of_the_first_argument_alone(name: str) -> None:
    function = FUNCTIONS[name][0]
    first, rest = _arguments(name, (3,))[0], _arguments(name)[1:]
    axes = (0, *(None for _ in rest))
    with chosen("reference"):
        others = [tg.tensor(x) for x in rest]
        got = np.asarray(tg.vmap(function, axes)(tg.tensor(first), *others))
        each = [np.asarray(function(tg.tensor(x), *others)) for x in first]
    np.testing.assert_allclose(got, np.stack(each), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled(name: str) -> None:
    function, _ = FUNCTIONS[name]
    with chosen("wasm"):
        arrays = [tg.tensor(x) for x in _arguments(name)]
        compiled = np.asarray(tg.compile(function)(*arrays))
        eager = np.asarray(function(*arrays))
    np.testing.assert_allclose(compiled, eager, rtol=1e-6, atol=1e-6)


WHOLE = ("one_hot", "multi_hot", "max_pool_with_argmax", "greedy decoding")
"""What gives numbers without a slope."""


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in WHOLE])
def test_jvp_by_differences(name: str) -> None:
    function, shapes = FUNCTIONS[name]
    # Indices have no slope.
    moves = [0.0 if name == "embedding_lookup" and i == 1 else 1.0 for i in range(len(shapes))]
    with chosen("reference"):
        arrays = [np.float64(x) for x in _arguments(name)]
        ways = [
            m * np.random.default_rng(i).standard_normal(x.shape)
            for i, (x, m) in enumerate(zip(arrays, moves, strict=True))
        ]

        def at(step: float) -> list[Any]:
            return [
                tg.tensor(x + step * w, dtype="float64") for x, w in zip(arrays, ways, strict=True)
            ]

        _, slope = tg.jvp(function, at(0), [tg.tensor(w, dtype="float64") for w in ways])
        step = 1e-6
        ends = [np.asarray(function(*at(s))) for s in (step, -step)]
    check(np.asarray(slope), (ends[0] - ends[1]) / (2 * step), 1e-6, name)


BATCHED = (
    "glu", "sparsemax", "softmax", "one_hot", "multi_hot", "attention", "conv", "separable_conv",
    "conv_transpose", "max_pool", "max_pool_with_argmax", "average_pool", "adaptive_max_pool",
    "unfold", "fold", "dilation2d", "layer_normalization", "group_normalization",
    "batch_normalization", "local_response_normalization",
)  # fmt: skip
"""Functions whose first argument has samples on its first axis, and its shape given samples."""


@pytest.mark.parametrize("engine", ["reference", "wasm"])
@pytest.mark.parametrize("name", BATCHED)
def test_an_empty_batch_gives_an_empty_batch(engine: str, name: str) -> None:
    function, _ = FUNCTIONS[name]
    first, *rest = _arguments(name)
    if name == "attention":
        rest = [rest[0][:0]]
    with chosen(engine):
        others = [tg.tensor(x) for x in rest]
        full = np.asarray(function(tg.tensor(first), *map(tg.tensor, _arguments(name)[1:])))
        empty = np.asarray(function(tg.tensor(first[:0]), *others))
        assert empty.shape == (0, *full.shape[1:])
        if name not in WHOLE:
            slope = tg.grad(lambda x: tg.ops.sum(function(x, *others)))(tg.tensor(first[:0]))
            assert np.asarray(slope).shape == first[:0].shape
