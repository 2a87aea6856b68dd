"""float16 as f16 on the player's WebGPU engine: what is asked of adapters, and bytes in memory.

SwiftShader has no shader-f16, so adapters that say they have it are pretended: what copies parts of
words is a kernel of integers, which any adapter can run. Values that shaders compute with f16 are
held where the browser's adapter has the feature.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import realize
from tabgrad.targets.wgsl.target import SHADER_F16, SUBGROUPS
from tests.engines.browser import BrowserEngine, in_page
from tests.ops.halves import check_operations, check_sums
from tests.player.shading import PRETEND_HALVES, fails, play
from tests.targets.wgsl.test_half import compiled


def numbers(engine: BrowserEngine, handle: int, count: int) -> Any:
    return np.frombuffer(engine.read(handle, 2 * count), np.float16)


def halves(engine: BrowserEngine, values: Any) -> int:
    handle = engine.alloc(values.nbytes, "float16")
    engine.write(handle, values)
    return handle


@pytest.fixture
def asked() -> Iterator[list[list[str]]]:
    """Adapters and devices of the page say that they have shader-f16; what was asked of them."""
    found: list[list[str]] = []
    in_page(f"() => {{ {PRETEND_HALVES} }}")
    yield found
    found += in_page("() => window.unpretend()")
    assert found and all(SHADER_F16 in features for features in found)


@pytest.fixture
def engine(asked: list[list[str]]) -> Iterator[BrowserEngine]:
    engine = BrowserEngine("webgpu", halves=True, schedule="serial")
    yield engine
    engine.close()


def test_the_feature_is_one_of_the_engine_that_keeps_halves(engine: BrowserEngine) -> None:
    assert engine.features == {SHADER_F16}
    both = BrowserEngine("webgpu", halves=True, schedule="cooperative")
    assert both.features - {SUBGROUPS} == {SHADER_F16, "cooperative"}
    both.close()
    without = BrowserEngine("webgpu", schedule="serial")
    assert without.features == frozenset()
    without.close()


def test_halves_take_two_bytes(engine: BrowserEngine) -> None:
    """The GPU's own bytes are those of float16, without any room between them."""
    values = np.arange(1, 8, dtype=np.float16)
    handle = halves(engine, values)
    words = engine.alloc(16)
    engine.copy_rows(words, handle, 4, [0, 1, 2])
    assert engine.read(words, 12) == values[:6].tobytes()
    assert engine.memory_use().live == 14 + 16
    assert numbers(engine, handle, 7).tolist() == values.tolist()
    assert engine.read(handle, 6, 4) == values[2:5].tobytes()
    engine.free(handle)
    engine.free(words)


def test_parts_of_words_are_written(engine: BrowserEngine) -> None:
    values = np.arange(15, dtype=np.float16) / 8
    handle = halves(engine, values)
    use = engine.memory_use().live
    for first, count in [(3, 3), (14, 1), (13, 1), (0, 1), (5, 4), (1, 13), (0, 3)]:
        new = np.float16(np.random.default_rng(first).uniform(-4, 4, count))
        engine.write(handle, new, 2 * first)
        values[first : first + count] = new
        np.testing.assert_array_equal(numbers(engine, handle, 15), values)
    assert engine.memory_use().live == use
    with fails("range", "whole words"):
        engine.write(handle, b"abc", 1)
        engine.sync()


@pytest.mark.parametrize("width", [1, 2, 3, 5, 700])
def test_rows_of_any_number_of_elements_are_copied(engine: BrowserEngine, width: int) -> None:
    """Behind the last of them nothing changes."""
    rows = np.random.default_rng(width).uniform(-1, 1, (97, width)).astype(np.float16)
    chosen = [96, 0, 5, 5, 6, 7, 30, 2, 1] * 9
    source = halves(engine, rows)
    target = halves(engine, np.full((83, width), 7, np.float16))
    engine.copy_rows(target, source, 2 * width, chosen)
    want = np.concatenate([rows[chosen], np.full((2, width), 7, np.float16)])
    np.testing.assert_array_equal(numbers(engine, target, 83 * width), want.ravel())
    with fails("range", "row 97 of 97"):
        engine.copy_rows(target, source, 2 * width, [97])
        engine.sync()


def test_programs_with_halves_in_words_are_refused(engine: BrowserEngine) -> None:
    code = """async ({ engine, program, code }) => code(() => engine.load(program))"""
    assert play(engine, compiled("float16", []), code) == "features"
    assert play(engine, compiled("float32", []), code) == "fine"


def test_adapters_without_the_feature_keep_halves_in_words() -> None:
    adapter = in_page("async () => [...(await navigator.gpu.requestAdapter()).features]")
    if SHADER_F16 in adapter:
        pytest.skip("the browser's adapter has shader-f16")
    engine = BrowserEngine("webgpu", halves=True)
    assert SHADER_F16 not in engine.features
    values = np.float16([1, 2, 3])
    handle = halves(engine, values)
    assert engine.read(handle, 6) == values.tobytes()
    with realize.using(engine):
        assert (tg.tensor(values, dtype="float16") + 1).tolist() == [2, 3, 4]
    engine.close()


@pytest.fixture(scope="module", params=["serial", "cooperative"])
def real(request: pytest.FixtureRequest) -> Iterator[BrowserEngine]:
    engine = BrowserEngine("webgpu", halves=True, schedule=request.param)
    if SHADER_F16 not in engine.features:
        engine.close()
        pytest.skip("the browser's adapter has no shader-f16")
    with realize.using(engine):
        yield engine
    engine.close()


def test_all_operations_of_half_floats(real: BrowserEngine) -> None:
    check_operations()


def test_sums_are_of_32_bits(real: BrowserEngine) -> None:
    check_sums()
