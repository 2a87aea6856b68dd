"""Buffers of the player's GPU engines in Chromium: what both do alike.

What only one does is in test_webgpu_buffers.py and test_webgl.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.engines.browser import BrowserEngine
from tests.player.shading import buffer, fails


@pytest.fixture(params=["webgpu", "webgl"])
def engine(request: pytest.FixtureRequest) -> Iterator[BrowserEngine]:
    engine = BrowserEngine(request.param)
    yield engine
    engine.close()


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
    halves = engine.alloc(8, "float16")
    with fails("range", "of float16"):
        engine.read(halves, 3)


def test_rows_are_copied(engine: BrowserEngine) -> None:
    """And nothing is written after them."""
    rows, behind = 30, b"\x07" * 44
    # Words are the elements of a buffer without a dtype, and WebGPU copies whole ones.
    for row_bytes in (4, 12, 256) if engine.kind == "webgpu" else (1, 4, 12, 256):
        content = bytes((7 * i + i // 251) % 256 for i in range(rows * row_bytes))
        src = engine.alloc(len(content))
        engine.write(src, content)
        for count in (1, 5, 40, 1000):
            size = count * row_bytes
            dst = engine.alloc(size + len(behind))
            engine.write(dst, b"\x07" * size + behind)
            scattered = [index * index * 11 % rows for index in range(count)]
            for chosen in (scattered, [i % rows for i in range(count)]):
                engine.copy_rows(dst, src, row_bytes, chosen)
                expected = b"".join(content[i * row_bytes : (i + 1) * row_bytes] for i in chosen)
                assert engine.read(dst, size + len(behind)) == expected + behind
            engine.free(dst)


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
    most = {"webgpu": 200_000, "webgl": 300_000}  # textures have whole rows of texels
    assert after.capacity == before.capacity < most[engine.kind]
    assert after.peak == 150_000
