"""The wasmtime engine: memory, Programs, failures and the renewal of its store.

Programs are written by hand in WebAssembly text, so nothing here depends on the compiler.
"""

from __future__ import annotations

import array
import asyncio
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy
import pytest
import wasmtime

from tabgrad.engines import wasmtime as engine_module
from tabgrad.engines.engine import Engine
from tabgrad.engines.wasmtime import WasmtimeEngine
from tabgrad.errors import EngineError

MEMORY = '(import "tabgrad" "memory" (memory 1 65536))'


@dataclass
class Entry:
    arena: int = 0
    scratch: int = 0
    constants: list[bytes] = field(default_factory=list)
    inputs: Sequence[str] = ()
    state: Sequence[str] = ()
    outputs: Sequence[str] = ("total", "step")


@dataclass
class Program:
    binary: bytes
    entries: list[Entry]
    features: tuple[str, ...] = ()


def program(run: str, *entries: Entry, rest: str = "") -> Program:
    text = f'(module {MEMORY} {rest} (func (export "run") {run}))'
    return Program(bytes(wasmtime.wat2wasm(text)), list(entries) or [Entry()])


def word(index: int) -> str:
    """The frame's i32 word `index`."""
    return f"(i32.load (i32.const {1024 + 4 * index}))"


# Adds the i32 in slot 1's buffer to the i32 in slot 0's.
ACCUMULATE = f"(i32.store {word(16)} (i32.add (i32.load {word(16)}) (i32.load {word(17)})))"


@pytest.fixture
def engine():
    engine = WasmtimeEngine()
    yield engine
    engine.close()


def buffer(engine: WasmtimeEngine, *values: int) -> int:
    data = struct.pack(f"<{len(values)}i", *values)
    handle = engine.alloc(len(data))
    engine.write(handle, data)
    return handle


def values(engine: WasmtimeEngine, handle: int, count: int = 1) -> list[int]:
    return list(struct.unpack(f"<{count}i", engine.read(handle, 4 * count)))


def test_is_an_engine(engine):
    assert isinstance(engine, Engine)
    assert engine.kind == "wasm"
    assert engine.features == {"relaxed-simd"}


def test_write_and_read(engine):
    handle = engine.alloc(16)
    assert handle % 64 == 0
    engine.write(handle, bytes(range(16)))
    engine.write(handle, b"ab", offset=3)
    assert engine.read(handle, 5, offset=1) == b"\x01\x02ab\x05"
    assert asyncio.run(engine.read_async(handle, 16)) == engine.read(handle, 16)


@pytest.mark.parametrize(
    "data",
    [
        bytearray(b"\x01\x02\x03\x04"),
        memoryview(b"\x01\x02\x03\x04"),
        array.array("H", [0x0201, 0x0403]),
        numpy.array([[0x0201], [0x0403]], numpy.uint16),
        numpy.array(0x04030201, numpy.uint32),
    ],
    ids=lambda data: type(data).__name__,
)
def test_writes_any_contiguous_buffer(engine, data):
    handle = engine.alloc(4)
    engine.write(handle, data)
    assert engine.read(handle, 4) == b"\x01\x02\x03\x04"


def test_strided_data_is_refused(engine):
    handle = engine.alloc(8)
    with pytest.raises(EngineError, match="row-major"):
        engine.write(handle, numpy.arange(4, dtype=numpy.int16)[::2])


def test_empty_buffers(engine):
    one, two = engine.alloc(0), engine.alloc(0)
    assert one != two
    engine.write(one, numpy.zeros((3, 0), numpy.float32))
    assert engine.read(one, 0) == b""


def test_reads_are_copies(engine):
    handle = buffer(engine, 1)
    before = engine.read(handle, 4)
    engine.write(handle, b"\xff" * 4)
    assert before == b"\x01\x00\x00\x00"


def test_a_handle_is_freed_once(engine):
    handle, other = engine.alloc(4), engine.alloc(4)
    engine.free(handle)
    for use in (
        lambda: engine.free(handle),
        lambda: engine.write(handle, b"a"),
        lambda: engine.read(handle, 1),
        lambda: engine.copy_rows(handle, other, 4, [0]),
        lambda: engine.copy_rows(other, handle, 4, [0]),
    ):
        with pytest.raises(EngineError, match="not a live buffer") as caught:
            use()
        assert caught.value.code == "handle"


@pytest.mark.parametrize(("nbytes", "offset"), [(9, 0), (1, 8), (4, -1), (-1, 4)])
def test_bytes_outside_a_buffer_are_refused(engine, nbytes, offset):
    handle = engine.alloc(8)
    with pytest.raises(EngineError, match="has 8 bytes") as caught:
        engine.read(handle, nbytes, offset)
    assert caught.value.code == "range"
    if nbytes >= 0:
        with pytest.raises(EngineError):
            engine.write(handle, bytes(nbytes), offset)


def test_memory_grows_and_keeps_its_contents(engine):
    handles = []
    for index in range(40):
        handle = engine.alloc(100_000)
        engine.write(handle, bytes([index]) * 100_000)
        handles.append(handle)
    for index, handle in enumerate(handles):
        assert engine.read(handle, 100_000) == bytes([index]) * 100_000
    use = engine.memory_use()
    assert use.live == use.peak == 4_000_000 <= use.capacity
    for handle in handles:
        engine.free(handle)
    use = engine.memory_use()
    assert (use.live, use.peak) == (0, 4_000_000)


def test_freed_memory_is_used_again(engine):
    """10,000 rounds of allocating and freeing do not grow the memory."""
    engine.free(engine.alloc(300_000))
    capacity = engine.memory_use().capacity
    for _ in range(10_000):
        one, two = engine.alloc(100_000), engine.alloc(50_000)
        engine.free(one)
        engine.free(two)
    assert engine.memory_use().capacity == capacity


def test_out_of_memory_says_so_and_breaks_nothing(engine):
    handle = buffer(engine, 7)
    with pytest.raises(EngineError, match="no memory for a buffer of 5,000,000,000") as caught:
        engine.alloc(5_000_000_000)
    assert caught.value.code == "memory"
    assert values(engine, handle) == [7]
    assert engine.memory_use().live == 4


@pytest.mark.parametrize("count", [1, 5, 40])
@pytest.mark.parametrize("row_bytes", [1, 4, 12, 256])
def test_copy_rows(engine, count, row_bytes):
    rows = 30
    content = numpy.random.default_rng(0).integers(0, 256, (rows, row_bytes), numpy.uint8)
    src, dst = engine.alloc(content.nbytes), engine.alloc(count * row_bytes)
    engine.write(src, content)
    chosen = [random.Random(count).randrange(rows) for _ in range(count)]
    forms = [chosen, array.array("i", chosen), numpy.array(chosen), numpy.array(chosen, "u4")]
    for indices in forms:
        engine.write(dst, bytes(count * row_bytes))
        engine.copy_rows(dst, src, row_bytes, indices)
        assert engine.read(dst, count * row_bytes) == content[chosen].tobytes()
    if count <= rows:
        engine.copy_rows(dst, src, row_bytes, range(rows - count, rows))
        assert engine.read(dst, count * row_bytes) == content[rows - count :].tobytes()


def test_copy_rows_without_numpy(engine, monkeypatch):
    monkeypatch.setattr(engine_module, "NUMPY_ROWS", 1 << 30)
    src, dst = buffer(engine, *range(10)), engine.alloc(200)
    indices = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3] * 5
    engine.copy_rows(dst, src, 4, indices)
    assert values(engine, dst, 50) == indices


@pytest.mark.parametrize("count", [1, 40])
@pytest.mark.parametrize("wrong", [-1, 10])
def test_copy_rows_checks_its_indices(engine, count, wrong):
    src, dst = buffer(engine, *range(10)), engine.alloc(400)
    forms = ([0] * (count - 1) + [wrong], range(wrong - count + 1, wrong + 1))
    for indices in forms:
        with pytest.raises(EngineError, match="src has 10 rows"):
            engine.copy_rows(dst, src, 4, indices)
    with pytest.raises(EngineError, match="has 400 bytes"):
        engine.copy_rows(dst, src, 4, [0] * 101)
    with pytest.raises(EngineError, match="two buffers"):
        engine.copy_rows(src, src, 4, [0])


def test_run_passes_the_frame(engine):
    """A Program that copies the whole frame into its output shows every word of it."""
    copy = f"(memory.copy {word(18)} (i32.const 1024) (i32.const 96))"
    loaded = engine.load(
        program(
            copy,
            Entry(5000, 300, [b"zero"], ["x"], ["v"], ["y"]),
            Entry(70, 3000, [b"one", b"zero", b"two"], ["x"], ["v"], ["y"]),
        )
    )
    out = engine.alloc(96)
    engine.run(loaded, 1, [11, 0xFFFFFFFF, out], rows=7)
    frame = struct.unpack("<24I", engine.read(out, 96))
    entry, rows, status, arena, scratch, _, _, scratch_bytes = frame[:8]
    assert (entry, rows, status, scratch_bytes) == (1, 7, 0, 3000)
    assert arena % 64 == scratch % 64 == 0
    assert abs(arena - scratch) >= 3000
    assert frame[16:19] == (11, 0xFFFFFFFF, out)
    contents = [engine.read(handle, n) for handle, n in zip(frame[19:22], (3, 4, 3), strict=True)]
    assert contents == [b"one", b"zero", b"two"]

    engine.run(loaded, 0, [1, 2, out])
    frame0 = struct.unpack("<24I", engine.read(out, 96))
    assert frame0[0:2] == (0, 0)
    assert frame0[3] == arena
    assert frame0[19] == frame[20]  # the constant both entries have is stored once


def test_programs_share_buffers_and_temporary_memory(engine):
    accumulate = engine.load(program(ACCUMULATE, Entry(arena=1000)))
    total, step = buffer(engine, 0), buffer(engine, 3)
    live = engine.memory_use().live
    double = engine.load(
        program(
            f"(i32.store {word(16)} (i32.mul (i32.const 2) (i32.load {word(16)})))",
            Entry(arena=900, outputs=["total"]),
        )
    )
    assert engine.memory_use().live == live
    for _ in range(3):
        engine.run(accumulate, 0, [total, step])
        engine.run(double, 0, [total])
    engine.sync()
    assert values(engine, total) == [42]


def test_a_larger_arena_replaces_the_smaller(engine):
    small = engine.load(program(ACCUMULATE, Entry(arena=1000, scratch=10)))
    engine.load(program(ACCUMULATE, Entry(arena=500_000, scratch=2000)))
    assert engine.memory_use().live == 502_000
    total, step = buffer(engine, 1), buffer(engine, 2)
    engine.run(small, 0, [total, step])
    assert values(engine, total) == [3]


def test_an_arena_that_does_not_fit_breaks_nothing(engine):
    good = engine.load(program(ACCUMULATE, Entry(arena=1000, constants=[b"1234"])))
    live = engine.memory_use().live
    with pytest.raises(EngineError) as caught:
        engine.load(program(ACCUMULATE, Entry(arena=1 << 33, constants=[b"5678"])))
    assert caught.value.code == "memory"
    assert engine.memory_use().live == live
    total, step = buffer(engine, 1), buffer(engine, 2)
    engine.run(good, 0, [total, step])
    assert values(engine, total) == [3]


def test_a_trap_poisons_nothing_else(engine):
    good = engine.load(program(ACCUMULATE))
    total, step = buffer(engine, 1), buffer(engine, 2)
    engine.run(good, 0, [total, step])
    bad = {
        "unreachable": "unreachable",
        "divide": "(drop (i32.div_s (i32.const 1) (i32.const 0)))",
        "bounds": "(i32.store (i32.const -4) (i32.const 1))",
        "stack": "(call $deep)",
    }
    for name, code in bad.items():
        loaded = engine.load(program(code, rest="(func $deep (call $deep))"))
        unused = engine.alloc(4)
        for _ in range(2):
            with pytest.raises(EngineError, match="failed while running entry 0") as caught:
                engine.run(loaded, 0, [unused, unused])
            assert caught.value.code == "trap", name
        engine.run(good, 0, [total, step])
    assert values(engine, total) == [11]


def test_refused_code(engine):
    for binary, message in [
        (b"not wasm", "refused"),
        (bytes(wasmtime.wat2wasm(f"(module {MEMORY})")), "export 'run'"),
        (
            bytes(wasmtime.wat2wasm('(module (import "a" "f" (func)) (func (export "run")))')),
            "could not instantiate",
        ),
    ]:
        with pytest.raises(EngineError, match=message) as caught:
            engine.load(Program(binary, [Entry(constants=[b"1"])]))
        assert caught.value.code == "compile"
    assert engine.memory_use().live == 0


RELAXED = """
(v128.store (i32.load (i32.const 1088)) (f32x4.relaxed_madd
  (v128.const f32x4 2 2 2 2) (v128.const f32x4 3 3 3 3) (v128.const f32x4 1 1 1 1)))
"""


def test_deterministic_engines_refuse_relaxed_simd(engine):
    out = engine.alloc(16)
    engine.run(engine.load(program(RELAXED)), 0, [out, out])
    assert struct.unpack("<4f", engine.read(out, 16)) == (7, 7, 7, 7)
    deterministic = WasmtimeEngine(deterministic=True)
    assert deterministic.features == frozenset()
    with pytest.raises(EngineError, match="relaxed"):
        deterministic.load(program(RELAXED))
    honest = program(RELAXED)
    honest.features = ("relaxed-simd",)
    with pytest.raises(EngineError, match="uses relaxed-simd") as caught:
        deterministic.load(honest)
    assert caught.value.code == "compile"
    deterministic.close()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_number_of_arguments_is_checked(engine, count):
    loaded = engine.load(program(ACCUMULATE))
    with pytest.raises(EngineError, match=f"takes 2 arguments .* received {count}"):
        engine.run(loaded, 0, [engine.alloc(4)] * count)


def test_unload(engine):
    loaded = engine.load(program(ACCUMULATE, Entry(constants=[b"1234", b"56"])))
    assert engine.memory_use().live == 6
    engine.unload(loaded)
    assert engine.memory_use().live == 0
    engine.unload(loaded)
    with pytest.raises(EngineError) as caught:
        engine.run(loaded, 0, [])
    assert caught.value.code == "unloaded"


def test_state_survives_a_new_store(engine, monkeypatch):
    """Past the limit of instances the engine moves house; buffers and Programs come along."""
    monkeypatch.setattr(engine_module, "MAX_INSTANCES", 4)
    first = engine.load(program(ACCUMULATE, Entry(constants=[b"constant"])))
    (constant,) = first.constants
    total, step = buffer(engine, 0), buffer(engine, 1)
    large = engine.alloc(1_000_000)
    engine.write(large, b"\x07" * 1_000_000)
    others = []
    for _ in range(10):
        others.append(engine.load(program(ACCUMULATE)))
        engine.run(first, 0, [total, step])
        for other in others[-3:]:
            engine.run(other, 0, [total, step])
    assert values(engine, total) == [10 + 1 + 2 + 8 * 3]
    assert engine.read(large, 1_000_000) == b"\x07" * 1_000_000
    assert engine.read(constant, 8) == b"constant"
    more = engine.alloc(3_000_000)
    engine.write(more, b"\x08" * 3_000_000)
    assert values(engine, total) == [37]


def test_unloaded_programs_do_not_pile_up(engine, monkeypatch):
    monkeypatch.setattr(engine_module, "MAX_DEAD_INSTANCES", 3)
    kept = engine.load(program(ACCUMULATE))
    total, step = buffer(engine, 0), buffer(engine, 1)
    stores = set()
    for _ in range(20):
        engine.unload(engine.load(program(ACCUMULATE)))
        engine.run(kept, 0, [total, step])
        stores.add(engine._store_number)
    assert values(engine, total) == [20]
    assert len(stores) > 4


@pytest.mark.slow
def test_more_programs_than_a_store_takes(engine):
    """wasmtime's own limit is 10,000 instances."""
    binary = program(ACCUMULATE).binary
    total, step = buffer(engine, 0), buffer(engine, 1)
    live = []
    for _ in range(10_100):
        live.append(engine.load(Program(binary, [Entry()])))
    for loaded in live[::1000]:
        engine.run(loaded, 0, [total, step])
    assert values(engine, total) == [11]


def test_close(engine):
    loaded = engine.load(program(ACCUMULATE))
    handle = buffer(engine, 1)
    engine.close()
    engine.close()
    engine.free(handle)
    engine.unload(loaded)
    for use in (
        lambda: engine.alloc(1),
        lambda: engine.read(handle, 1),
        lambda: engine.write(handle, b"1"),
        lambda: engine.run(loaded, 0, []),
        lambda: engine.load(program(ACCUMULATE)),
        engine.sync,
    ):
        with pytest.raises(EngineError):
            use()
    assert engine.memory_use().capacity == 0
