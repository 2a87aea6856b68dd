"""Buffers of the player's WebGPU engine in Chromium: bytes, rows, handles, memory."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tabgrad.engines.engine import Engine
from tests.engines.browser import BrowserEngine
from tests.player.shading import buffer, fails


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
    assert together.features == {"cooperative"}
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


@pytest.mark.parametrize(
    ("dtype", "form", "given"),
    [
        ("bool", "?", [True, False, True]),
        ("int8", "b", [-128, 127, -1]),
        ("uint8", "B", [0, 255, 7]),
        ("int16", "h", [-32768, 32767, -1]),
        ("uint16", "H", [0, 65535, 7]),
        ("float16", "e", [1.5, -65504.0, 6e-8]),
        ("int64", "q", [-(1 << 62), 3, 1 << 40]),
        ("float64", "d", [1e300, -0.1, 5e-324]),
    ],
)
def test_bytes_are_the_elements_own(
    engine: BrowserEngine, dtype: str, form: str, given: list[Any]
) -> None:
    data = struct.pack(f"<3{form}", *given)
    one, size = engine.alloc(len(data), dtype), len(data) // 3
    engine.write(one, data)
    assert engine.read(one, len(data)) == data
    engine.write(one, data[:size], offset=2 * size)
    assert engine.read(one, len(data)) == data[: 2 * size] + data[:size]
    assert engine.read(one, size, offset=size) == data[size : 2 * size]
    twin = engine.alloc(len(data), dtype)
    engine.copy_rows(twin, one, size, [1, 2, 0])
    assert engine.read(twin, len(data)) == data[size : 2 * size] + data[:size] + data[:size]


def test_empty_buffers(engine: BrowserEngine) -> None:
    one, two = engine.alloc(0), engine.alloc(0)
    assert one != two
    engine.write(one, b"")
    assert engine.read(one, 0) == b""
    engine.copy_rows(one, two, 4, [])
    engine.sync()


def test_a_handle_is_freed_once(engine: BrowserEngine) -> None:
    handle, other = engine.alloc(4), engine.alloc(4)
    engine.free(handle)
    engine.sync()
    uses: list[Callable[[], object]] = [
        lambda: engine.free(handle),
        lambda: engine.write(handle, b"abcd"),
        lambda: engine.read(handle, 1),
        lambda: engine.copy_rows(handle, other, 4, [0]),
        lambda: engine.copy_rows(other, handle, 4, [0]),
    ]
    for use in uses:
        with fails("handle", "not a live buffer"):
            use()
            engine.sync()


def test_bytes_outside_a_buffer_are_refused(engine: BrowserEngine) -> None:
    handle = engine.alloc(8)
    for nbytes, offset in [(9, 0), (1, 8), (4, -1), (-1, 4), (1 << 32, 0)]:
        with fails("range", "has 8 bytes"):
            engine.read(handle, nbytes, offset)
    for nbytes, offset in [(12, 0), (4, 8), (4, -4)]:
        with fails("range", "has 8 bytes"):
            engine.write(handle, bytes(nbytes), offset)
            engine.sync()
    with fails("range", "whole words"):
        engine.write(handle, b"ab", 2)
        engine.sync()
    halves = engine.alloc(8, "float16")
    with fails("range", "of float16"):
        engine.read(halves, 3)


def test_rows_are_copied(engine: BrowserEngine) -> None:
    rows = 30
    for row_bytes in (4, 12, 256):
        content = bytes((7 * i + i // 251) % 256 for i in range(rows * row_bytes))
        src = engine.alloc(len(content))
        engine.write(src, content)
        for count in (1, 5, 40, 1000):
            chosen = [index * index * 11 % rows for index in range(count)]
            dst = engine.alloc(count * row_bytes)
            for indices in (chosen, [i % rows for i in range(count)]):
                engine.copy_rows(dst, src, row_bytes, indices)
                expected = b"".join(content[i * row_bytes : (i + 1) * row_bytes] for i in indices)
                assert engine.read(dst, count * row_bytes) == expected
            engine.free(dst)


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


def test_rows_outside_a_buffer_are_refused(engine: BrowserEngine) -> None:
    src, dst = buffer(engine, *range(10)), engine.alloc(400)
    for wrong in (-1, 10):
        with fails("range", f"row {wrong} of 10 rows"):
            engine.copy_rows(dst, src, 4, [0, wrong])
            engine.sync()
    with fails("range", "has 400 bytes"):
        engine.copy_rows(dst, src, 4, [0] * 101)
        engine.sync()


def test_freed_memory_is_used_again(engine: BrowserEngine) -> None:
    engine.free(engine.alloc(100_000))
    engine.free(engine.alloc(50_000))
    before = engine.memory_use()
    for _ in range(3000):
        one = engine.alloc(100_000)
        two = engine.alloc(50_000)
        engine.free(one)
        engine.free(two)
    after = engine.memory_use()
    assert after.live == before.live == 0
    assert after.capacity == before.capacity < 200_000
    assert after.peak == 150_000
