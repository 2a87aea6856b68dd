"""Buffers of the player's WebGPU engine in Chromium: whole words, queued copies of rows.

What WebGL2 does alike is in test_gpu_buffers.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tabgrad.engines.engine import Engine
from tests.engines.browser import BrowserEngine, in_page
from tests.player.shading import fails


@pytest.fixture
def engine() -> Iterator[BrowserEngine]:
    engine = BrowserEngine("webgpu")
    yield engine
    engine.close()


def test_what_an_engine_says_of_itself(engine: BrowserEngine) -> None:
    assert isinstance(engine, Engine)
    assert engine.kind == "webgpu"
    assert engine.info["isFallbackAdapter"] is True
    assert engine.features == frozenset()  # threads of a processor gain nothing from each other
    together = BrowserEngine("webgpu", schedule="cooperative")
    adapter = in_page("async () => [...(await navigator.gpu.requestAdapter()).features]")
    assert together.features == {"cooperative", *({"subgroups"} & set(adapter))}
    together.close()


def test_write_and_read(engine: BrowserEngine) -> None:
    handle = engine.alloc(16)
    engine.write(handle, bytes(range(16)))
    engine.write(handle, b"abcd", offset=4)
    assert engine.read(handle, 5, offset=1) == b"\x01\x02\x03ab"
    assert engine.read(handle, 16) == b"\x00\x01\x02\x03abcd" + bytes(range(8, 16))
    odd = engine.alloc(7)
    engine.write(odd, b"1234567")
    engine.write(odd, b"abc", offset=4)
    assert engine.read(odd, 7) == b"1234abc"


def test_writing_a_part_of_a_word_is_refused(engine: BrowserEngine) -> None:
    handle = engine.alloc(8)
    with fails("range", "whole words"):
        engine.write(handle, b"ab", 2)
        engine.sync()


def test_copied_rows_are_those_of_the_time(engine: BrowserEngine) -> None:
    """Whatever happens to either buffer before the copy is on its way."""
    answer = engine.evaluate(
        """async (engine) => {
            const ints = (...numbers) => {
                const handle = engine.alloc(4 * numbers.length, "int32");
                engine.write(handle, Int32Array.from(numbers));
                return handle;
            };
            const read = async (handle) =>
                [...new Int32Array((await engine.readAsync(handle, 8)).buffer)];
            const [x, y, z] = [ints(1, 2), ints(0, 0), ints(0, 0)];
            for (const handle of [x, y, z]) await read(handle);  // nothing is in doubt
            const before = engine.counts.submits;
            engine.copyRows(y, x, 4, [1, 0]);
            engine.copyRows(z, y, 4, [0, 0]);
            const waiting = engine.counts.submits - before;
            engine.write(x, Int32Array.of(3, 4));
            engine.copyRows(z, x, 4, [1]);
            engine.write(z, Int32Array.of(9), 4);
            const found = [await read(x), await read(y), await read(z)];
            engine.copyRows(z, x, 4, [0]);
            engine.free(x);
            const other = ints(7, 8);  // may well be in the place of x
            engine.copyRows(y, other, 4, [1]);
            found.push(await read(z), await read(y));
            const large = engine.alloc(2 ** 28);
            engine.write(large, Int32Array.of(5, 6));
            const full = engine.alloc(2 ** 28);
            await read(large);
            engine.copyRows(y, large, 4, [1, 0]);
            engine.free(full);
            engine.free(large);  // the pool is full: destroyed
            found.push(await read(y));
            return [waiting, found];
        }"""
    )
    assert answer == [0, [[3, 4], [2, 1], [4, 9], [3, 9], [8, 1], [6, 5]]]
