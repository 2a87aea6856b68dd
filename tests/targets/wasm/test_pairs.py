"""Maxima of windows and their places, found by one kernel, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import ops
from tabgrad.ir import build as b
from tabgrad.ir.graph import make
from tests.targets.wasm.arrays import normal
from tests.targets.wasm.computing import VARIANTS, Given, compute, machine

WINDOW = {"strides": (1, 2, 2, 1), "dilation": (1, 1, 1, 1)}


def few_values(*shape: int) -> Any:
    """Ties, NaN and infinities, which make a difference to places."""
    rng = np.random.default_rng(sum(shape))
    x = rng.integers(-2, 3, shape).astype(np.float32)
    for value, often in ((np.nan, 0.05), (np.inf, 0.05), (-np.inf, 0.2)):
        x[rng.random(shape) < often] = value
    return x


def windows(x: Any, size: int, pad: int) -> tuple[Any, Any]:
    """The largest of each window and the flat index of the first such, with NumPy."""
    flat = np.arange(x.size).reshape(x.shape)
    around = ((0, 0), (pad, pad), (pad, pad), (0, 0))
    wide = np.pad(x, around, constant_values=-np.inf)
    places = np.pad(flat, around, constant_values=x.size)
    views = [
        np.lib.stride_tricks.sliding_window_view(a, (size, size), (1, 2))[:, ::2, ::2]
        for a in (wide, places)
    ]
    values, at = (view.reshape(*view.shape[:4], -1) for view in views)
    order = np.lexsort((at, -values, ~np.isnan(values)), axis=-1)
    first = order[..., :1]
    best, where = (np.take_along_axis(a, first, -1)[..., 0] for a in (values, at))
    return best, where


def kinds(variant: Any) -> list[tuple[str, int]]:
    """The folds of the last Program, each with how much it stores."""
    kernels = machine(variant)[1].kernels()
    return [(k.fold, len(k.stores)) for k in kernels if k.kind == "reduce"]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("size", "pad"), [(2, 0), (3, 0), (3, 1)])
@pytest.mark.parametrize("channels", [4, 7, 16])
def test_one_kernel_finds_both(variant: Any, size: int, pad: int, channels: int) -> None:
    x = few_values(2, 60, 62, channels)
    given = Given()
    p = WINDOW | {"window": (1, size, size, 1), "padding": ((0, 0), (pad, pad), (pad, pad), (0, 0))}
    node = given(x)
    at = make("window_argmax", node, **p)
    best = make("window_reduce", node, op="max", **p)
    got, where = compute([best, b.add(at, b.like(at, 1))], given.arrays, variant)
    values, places = windows(x, size, pad)
    np.testing.assert_array_equal(got, values)
    np.testing.assert_array_equal(where, places + 1)
    assert kinds(variant) == [("argmax", 2)]


def test_pooling_and_its_gradient_share_a_kernel() -> None:
    """The largest of each window are different, so its gradient is that of picking them."""
    x = normal(4, 32, 32, 16, seed=3)

    def loss(x: tg.Tensor) -> tg.Tensor:
        return (ops.max_pool(x, 2, 2) ** 2).sum()

    step = tg.compile(lambda x: tg.value_and_grad(loss)(x))
    value, slope = step(x)
    best, at = windows(x, 2, 0)
    expected = np.zeros(x.size)
    expected[at.reshape(-1)] = 2 * best.astype(float).reshape(-1)
    np.testing.assert_allclose(np.asarray(value), (best.astype(float) ** 2).sum(), rtol=1e-5)
    np.testing.assert_allclose(np.asarray(slope).reshape(-1), expected, rtol=1e-6)
    names = step.program(x).entries[0].kernels
    assert sum(name.startswith("reduce") for name in names) == 2  # both, and the sum
