"""Long folds in parts: numbers of terms without divisors, and values that change nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad.compiler import driver
from tabgrad.targets.glsl.target import GlslTarget
from tabgrad.targets.wgsl.target import WgslTarget
from tests.compiler.programs import traced
from tests.ops.engines import chosen

PRIME = 10_007


@pytest.fixture
def _webgpu() -> Iterator[None]:
    with chosen("webgpu"):
        yield


@pytest.mark.parametrize("target", [WgslTarget, GlslTarget])
def test_a_number_without_divisors_is_cut_up_too(target: Callable[[], Any]) -> None:
    """Two launches at least: parts, and what puts those together."""
    for fn in (tg.sum, tg.max):
        graph = traced(lambda x, fn=fn: fn(x), ((PRIME,), "float32"))
        (entry,) = json.loads(driver.compile([graph], target()).binary)["entries"]
        assert len(entry["launches"]) >= 2


@pytest.mark.usefixtures("_webgpu")
@pytest.mark.parametrize("fill", [-0.0, np.inf, -np.inf, np.nan, 1.0])
def test_the_last_part_adds_nothing_of_its_own(fill: float) -> None:
    x = np.full(PRIME, fill, np.float32)
    for mine, theirs in ((tg.sum, np.sum), (tg.prod, np.prod), (tg.max, np.max), (tg.min, np.min)):
        np.testing.assert_array_equal(mine(tg.tensor(x)).numpy(), theirs(x))


@pytest.mark.usefixtures("_webgpu")
def test_values_of_all_sorts_of_folds() -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(PRIME, n)).astype(np.float32) for n in (6, 3))
    i = rng.integers(-99, 99, PRIME).astype(np.int32)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(tg.sum(tg.tensor(x), axis=0).numpy(), wide.sum(0), atol=1e-3)
    np.testing.assert_array_equal(tg.max(tg.tensor(x), axis=0).numpy(), x.max(0))
    np.testing.assert_allclose((tg.tensor(x).T @ tg.tensor(y)).numpy(), wide.T @ y, atol=1e-3)
    assert int(tg.sum(tg.tensor(i))) == i.sum()
    assert bool(tg.any(tg.tensor(i) == i[-1])) and not bool(tg.any(tg.tensor(i) > 99))
    assert bool(tg.all(tg.tensor(i) < 99)) and not bool(tg.all(tg.tensor(i) != i[-1]))
    x[-1] = np.inf  # times what would lie behind the last row, were it read
    assert np.isinf((tg.tensor(x).T @ tg.tensor(np.abs(y))).numpy()).all()
