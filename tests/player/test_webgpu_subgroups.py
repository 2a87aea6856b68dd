"""Subgroups on the player's WebGPU engine: which adapters are asked for them, and what folds give.

Chromium's SwiftShader has them, of 4 threads.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import realize
from tabgrad.targets.wgsl.target import COOPERATIVE, SUBGROUPS
from tests.engines.browser import BrowserEngine, in_page
from tests.targets.wgsl.folds import FOLDS, check_folds


@pytest.fixture(scope="module")
def engine() -> Iterator[BrowserEngine]:
    if SUBGROUPS not in in_page("async () => [...(await navigator.gpu.requestAdapter()).features]"):
        pytest.skip("the browser's adapter has no subgroups")
    engine = BrowserEngine("webgpu", schedule="cooperative")
    yield engine
    engine.close()


def test_the_feature_goes_with_workgroups_that_share(engine: BrowserEngine) -> None:
    assert engine.features == {COOPERATIVE, SUBGROUPS}
    alone = BrowserEngine("webgpu", schedule="serial")
    assert alone.features == frozenset()
    alone.close()


def test_devices_are_asked_for_what_adapters_have(engine: BrowserEngine) -> None:
    """Where an adapter has none, kernels without them are what there is."""
    in_page(
        """() => {
            const { prototype } = GPUAdapter;
            const { get } = Object.getOwnPropertyDescriptor(prototype, "features");
            const fewer = function () {
                return new Set([...get.call(this)].filter((each) => each !== "subgroups"));
            };
            Object.defineProperty(prototype, "features", { get: fewer, configurable: true });
            window.restore = () => Object.defineProperty(prototype, "features", { get });
        }"""
    )
    try:
        without = BrowserEngine("webgpu", schedule="cooperative")
        assert without.features == {COOPERATIVE}
        with realize.using(without):
            assert tg.ones((3, 100)).sum(axis=1).tolist() == [100, 100, 100]
        without.close()
    finally:
        in_page("() => window.restore()")
    names = engine.evaluate("(engine) => [...engine.device.features]")
    assert SUBGROUPS in names


@pytest.mark.parametrize("fold", FOLDS)
def test_the_bits_are_those_of_the_tree(engine: BrowserEngine, fold: str) -> None:
    check_folds(engine, fold)


def test_what_is_folded_in_a_chain(engine: BrowserEngine) -> None:
    """As anybody computes, with folds of all axes and of rows in one Program."""
    x = np.random.default_rng(0).normal(size=(40, 300)).astype(np.float32)
    with realize.using(engine):
        t = tg.tensor(x)
        found = [np.asarray(y) for y in (tg.softmax(t), t.mean(), tg.std(t, axis=0))]
    exact = x.astype(np.float64)
    powers = np.exp(exact - exact.max(1, keepdims=True))
    wanted = [powers / powers.sum(1, keepdims=True), exact.mean(), exact.std(0)]
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-7)
