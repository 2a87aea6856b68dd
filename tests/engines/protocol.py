"""What every engine must do, as cases for an engine that is given; most of them for WASM only.

Written with the standard library alone, so that the same cases run on wasmtime and, inside
Pyodide, on the page engine. Programs are WebAssembly text, so nothing depends on the compiler.
"""

from __future__ import annotations

import array
import struct
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tabgrad.engines.engine import Engine
from tabgrad.errors import EngineError


def _word(index: int) -> str:
    """The frame's i32 word `index`."""
    return f"(i32.load (i32.const {1024 + 4 * index}))"


def _run(code: str, rest: str = "") -> str:
    memory = '(import "tabgrad" "memory" (memory 1 65536))'
    return f'(module {memory} {rest} (func (export "run") {code}))'


def _derive(source: int, out: int, counter: int) -> str:
    """Entry 1 doubles the i32 in slot `source`'s buffer into the derived memory and counts there
    how often; entry 0 copies both to that of `out` and increments the i32 in that of `counter`."""
    derived = _word(8)
    return _run(
        f"""(if {_word(0)}
          (then
            (i32.store {derived} (i32.mul (i32.const 2) (i32.load {_word(source)})))
            (i32.store offset=4 {derived} (i32.add (i32.const 1) (i32.load offset=4 {derived}))))
          (else
            (memory.copy {_word(out)} {derived} (i32.const 8))
            (i32.store {_word(counter)} (i32.add (i32.const 1) (i32.load {_word(counter)})))))"""
    )


TEXTS = {
    # Adds the i32 in slot 1's buffer to the i32 in slot 0's.
    "accumulate": _run(
        f"(i32.store {_word(16)} (i32.add (i32.load {_word(16)}) (i32.load {_word(17)})))"
    ),
    "double": _run(f"(i32.store {_word(16)} (i32.mul (i32.const 2) (i32.load {_word(16)})))"),
    # Copies the start of the frame into slot 2's buffer, which shows every word of it.
    "frame": _run(f"(memory.copy {_word(18)} (i32.const 1024) (i32.const 96))"),
    "derive": _derive(16, 17, 18),
    "derive constant": _derive(18, 16, 17),
    "relaxed": _run(
        f"""(v128.store {_word(16)} (f32x4.relaxed_madd (v128.const f32x4 2 2 2 2)
        (v128.const f32x4 3 3 3 3) (v128.const f32x4 1 1 1 1)))"""
    ),
    "unreachable": _run("unreachable"),
    "divide": _run("(drop (i32.div_s (i32.const 1) (i32.const 0)))"),
    "bounds": _run("(i32.store (i32.const -4) (i32.const 1))"),
    "stack": _run("(call $deep)", "(func $deep (call $deep))"),
    "no run": '(module (import "tabgrad" "memory" (memory 1 65536)))',
    "foreign import": '(module (import "a" "f" (func)) (func (export "run")))',
}


@dataclass
class Entry:
    """An entry of a Program; by default with the two arguments of "accumulate"."""

    arena: int = 0
    scratch: int = 0
    constants: list[bytes] = field(default_factory=list)
    inputs: Sequence[str] = ()
    state: Sequence[tuple[str, bool]] = ()
    outputs: Sequence[str] = ("total", "step")
    derived: int = 0


@dataclass
class Program:
    """What an engine sees of a Program."""

    binary: bytes
    entries: list[Entry]
    features: tuple[str, ...] = ()


Assemble = Callable[..., Program]


def assembler(binaries: Mapping[str, bytes]) -> Assemble:
    """A function from a name of `TEXTS` and entries to a Program."""

    def assemble(name: str, *entries: Entry, features: tuple[str, ...] = ()) -> Program:
        return Program(binaries[name], list(entries) or [Entry()], features)

    return assemble


@contextmanager
def raises(code: str, *parts: str) -> Iterator[None]:
    """Expects an EngineError with a code and with each part in its message."""
    try:
        yield
    except EngineError as error:
        assert error.code == code, f"expected the code {code}, got {error.code}: {error}"
        for part in parts:
            assert part in str(error), f"expected {part!r} in {error}"
    else:
        raise AssertionError(f"expected an EngineError with the code {code}")


def buffer(engine: Engine, *values: int) -> int:
    """A buffer holding int32 values."""
    data = struct.pack(f"<{len(values)}i", *values)
    handle = engine.alloc(len(data))
    engine.write(handle, data)
    return handle


def values(engine: Engine, handle: int, count: int = 1) -> list[int]:
    """The first int32 values of a buffer."""
    return list(struct.unpack(f"<{count}i", engine.read(handle, 4 * count)))


def case_is_an_engine(engine: Engine, assemble: Assemble) -> None:
    assert isinstance(engine, Engine)
    assert engine.kind == "wasm"
    assert engine.features <= {"relaxed-simd"}


def case_write_and_read(engine: Engine, assemble: Assemble) -> None:
    handle = engine.alloc(16)
    assert handle % 64 == 0 or engine.kind != "wasm"
    engine.write(handle, bytes(range(16)))
    engine.write(handle, b"ab", offset=3)
    content = engine.read(handle, 5, offset=1)
    assert content == b"\x01\x02ab\x05"
    assert type(content) is bytes
    engine.write(handle, b"\xff" * 16)
    assert content == b"\x01\x02ab\x05"


def case_any_contiguous_buffer_is_written(engine: Engine, assemble: Assemble) -> None:
    handle = engine.alloc(4)
    forms: list[Any] = [
        bytearray(b"\x01\x02\x03\x04"),
        memoryview(b"\x01\x02\x03\x04"),
        array.array("H", [0x0201, 0x0403]),
        memoryview(array.array("I", [0x04030201])),
        memoryview(b"\x01\x02\x03\x04").cast("b", (2, 2)),
    ]
    for data in forms:
        engine.write(handle, bytes(4))
        engine.write(handle, data)
        assert engine.read(handle, 4) == b"\x01\x02\x03\x04"
    with raises("range", "row-major"):
        engine.write(handle, memoryview(bytes(8))[::2])


def case_empty_buffers(engine: Engine, assemble: Assemble) -> None:
    one, two = engine.alloc(0), engine.alloc(0)
    assert one != two
    engine.write(one, b"")
    engine.write(one, array.array("f"))
    assert engine.read(one, 0) == b""
    engine.copy_rows(one, two, 4, [])
    engine.copy_rows(one, two, 4, range(0))


def case_a_handle_is_freed_once(engine: Engine, assemble: Assemble) -> None:
    handle, other = engine.alloc(4), engine.alloc(4)
    engine.free(handle)
    uses: list[Callable[[], object]] = [
        lambda: engine.free(handle),
        lambda: engine.write(handle, b"a"),
        lambda: engine.read(handle, 1),
        lambda: engine.copy_rows(handle, other, 4, [0]),
        lambda: engine.copy_rows(other, handle, 4, [0]),
        lambda: engine.copy_rows(other, handle, 4, range(1)),
    ]
    for use in uses:
        with raises("handle", "not a live buffer"):
            use()


def case_bytes_outside_a_buffer_are_refused(engine: Engine, assemble: Assemble) -> None:
    handle = engine.alloc(8)
    for nbytes, offset in [(9, 0), (1, 8), (4, -1), (-1, 4), (1 << 32, 0)]:
        with raises("range", "has 8 bytes"):
            engine.read(handle, nbytes, offset)
    for nbytes, offset in [(9, 0), (1, 8), (4, -1)]:
        with raises("range", "has 8 bytes"):
            engine.write(handle, bytes(nbytes), offset)


def case_memory_grows_and_keeps_its_contents(engine: Engine, assemble: Assemble) -> None:
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


def case_freed_memory_is_used_again(engine: Engine, assemble: Assemble) -> None:
    engine.free(engine.alloc(300_000))
    capacity = engine.memory_use().capacity
    for _ in range(10_000):
        one, two = engine.alloc(100_000), engine.alloc(50_000)
        engine.free(one)
        engine.free(two)
    assert engine.memory_use().capacity == capacity


def case_out_of_memory_breaks_nothing(engine: Engine, assemble: Assemble) -> None:
    handle = buffer(engine, 7)
    with raises("memory", "no memory for a buffer of 5,000,000,000"):
        engine.alloc(5_000_000_000)
    assert values(engine, handle) == [7]
    assert engine.memory_use().live == 4


def case_rows_are_copied(engine: Engine, assemble: Assemble) -> None:
    rows = 30
    for row_bytes in (1, 4, 12, 256):
        content = bytes((7 * i + i // 251) % 256 for i in range(rows * row_bytes))
        src = engine.alloc(len(content))
        engine.write(src, content)
        for count in (1, 5, 40, 1000):
            chosen = [index * index * 11 % rows for index in range(count)]
            expected = b"".join(content[i * row_bytes : (i + 1) * row_bytes] for i in chosen)
            dst = engine.alloc(count * row_bytes)
            forms: list[Sequence[int]] = [chosen, array.array("i", chosen), tuple(chosen)]
            for indices in forms:
                engine.write(dst, bytes(count * row_bytes))
                engine.copy_rows(dst, src, row_bytes, indices)
                assert engine.read(dst, count * row_bytes) == expected
            if count <= rows:
                engine.copy_rows(dst, src, row_bytes, range(rows - count, rows))
                assert engine.read(dst, count * row_bytes) == content[(rows - count) * row_bytes :]
            engine.free(dst)


def case_rows_outside_a_buffer_are_refused(engine: Engine, assemble: Assemble) -> None:
    src, dst = buffer(engine, *range(10)), engine.alloc(400)
    for count in (1, 40):
        for wrong in (-1, 10):
            with raises("range"):
                engine.copy_rows(dst, src, 4, [0] * (count - 1) + [wrong])
    for wrong_range in (range(-1, 2), range(8, 11), range(10, 11)):
        with raises("range"):
            engine.copy_rows(dst, src, 4, wrong_range)
    with raises("range", "has 400 bytes"):
        engine.copy_rows(dst, src, 4, [0] * 101)
    with raises("range", "two buffers"):
        engine.copy_rows(src, src, 4, [0])


def case_run_passes_the_frame(engine: Engine, assemble: Assemble) -> None:
    loaded = engine.load(
        assemble(
            "frame",
            Entry(5000, 300, [b"zero"], ["x"], [("v", True)], ["y"]),
            Entry(70, 3000, [b"one", b"zero", b"two"], ["x"], [("v", True)], ["y"]),
        )
    )
    out = engine.alloc(96)
    engine.run(loaded, 1, [11, 0xFFFFFFFF, out], rows=7)
    frame = struct.unpack("<24I", engine.read(out, 96))
    entry, rows, status, arena, scratch, _, _, scratch_bytes = frame[:8]
    assert (entry, rows, status, scratch_bytes) == (1, 7, 0, 3000)
    assert arena % 64 == scratch % 64 == 0
    assert arena + 5000 <= scratch or scratch + 3000 <= arena
    assert frame[16:19] == (11, 0xFFFFFFFF, out)
    sizes = zip(frame[19:22], (3, 4, 3), strict=True)
    assert [engine.read(handle, n) for handle, n in sizes] == [b"one", b"zero", b"two"]

    engine.run(loaded, 0, [1, 2, out])
    frame = struct.unpack("<24I", engine.read(out, 96))
    assert frame[:2] == (0, 0)
    assert frame[3] == arena
    assert engine.read(frame[19], 4) == b"zero"


def case_the_number_of_arguments_is_checked(engine: Engine, assemble: Assemble) -> None:
    loaded = engine.load(assemble("accumulate"))
    for count in (0, 1, 3):
        with raises("range", f"takes 2 arguments (inputs, state, outputs), received {count}"):
            engine.run(loaded, 0, [engine.alloc(4)] * count)


def case_programs_share_memory(engine: Engine, assemble: Assemble) -> None:
    accumulate = engine.load(assemble("accumulate", Entry(arena=1000)))
    total, step = buffer(engine, 0), buffer(engine, 3)
    live = engine.memory_use().live
    double = engine.load(assemble("double", Entry(arena=900, outputs=["total"])))
    assert engine.memory_use().live == live
    for _ in range(3):
        engine.run(accumulate, 0, [total, step])
        engine.run(double, 0, [total])
    engine.sync()
    assert values(engine, total) == [42]


def case_what_is_derived_follows_state(engine: Engine, assemble: Assemble) -> None:
    """Made before the first run, and again only after a buffer it was made from was written."""
    entry = Entry(derived=8, state=[("w", False)], outputs=["y", "n"])
    loaded = engine.load(assemble("derive", entry))
    double = engine.load(assemble("double", Entry(outputs=["total"])))
    w, y, n, other = (buffer(engine, *v) for v in ((3,), (0, 0), (0,), (50,)))

    def runs(source: int) -> list[int]:
        """What came out, and how often it was derived since the call before."""
        engine.run(loaded, 0, [source, y, n])
        doubled, count = values(engine, y, 2)
        before = seen[-1]
        seen.append(count)
        return [doubled, count - before]

    engine.run(loaded, 0, [w, y, n])
    assert values(engine, y, 1) == [6]
    seen = [values(engine, y, 2)[1]]
    assert runs(w) == [6, 0]
    engine.write(w, struct.pack("<i", 4))
    assert runs(w) == [8, 1]
    assert runs(w) == [8, 0]
    engine.run(double, 0, [w])
    assert runs(w) == [16, 1]
    engine.copy_rows(w, other, 4, [0])
    assert runs(w) == [100, 1]
    assert runs(other) == [100, 1]  # another buffer, whatever is in it
    assert runs(w) == [100, 1]
    engine.free(w)
    again = engine.alloc(4)  # may well be in the same place
    engine.write(again, struct.pack("<i", 7))
    assert runs(again) == [14, 1]
    for _ in range(100):
        engine.write(again, struct.pack("<i", 8))
        assert runs(again) == [16, 1]
    live = engine.memory_use().live
    engine.unload(loaded)
    assert engine.memory_use().live < live


def case_what_is_derived_from_constants_is_made_once(engine: Engine, assemble: Assemble) -> None:
    """No state decides: it is there before the first run all the same."""
    entry = Entry(derived=8, constants=[struct.pack("<i", 21)], outputs=["y", "n"])
    loaded = engine.load(assemble("derive constant", entry))
    y, n = buffer(engine, 0, 0), buffer(engine, 0)
    engine.run(loaded, 0, [y, n])
    doubled, before = values(engine, y, 2)
    assert doubled == 42
    engine.run(loaded, 0, [y, n])
    assert values(engine, y, 2) == [42, before]


def case_a_larger_arena_replaces_the_smaller(engine: Engine, assemble: Assemble) -> None:
    small = engine.load(assemble("accumulate", Entry(arena=1000, scratch=10)))
    engine.load(assemble("accumulate", Entry(arena=500_000, scratch=2000)))
    assert engine.memory_use().live == 502_000
    total, step = buffer(engine, 1), buffer(engine, 2)
    engine.run(small, 0, [total, step])
    assert values(engine, total) == [3]


def case_an_arena_that_does_not_fit_breaks_nothing(engine: Engine, assemble: Assemble) -> None:
    good = engine.load(assemble("frame", Entry(1000, 0, [b"1234"], ["x"], [("v", True)], ["y"])))
    live = engine.memory_use().live
    for entry in (Entry(1 << 33, 0, [b"5678"]), Entry(0, 1 << 33, [b"5678"])):
        with raises("memory"):
            engine.load(assemble("accumulate", entry))
        assert engine.memory_use().live == live
    held = [engine.alloc(500) for _ in range(10)]
    out = engine.alloc(96)
    engine.run(good, 0, [1, 2, out])
    arena = struct.unpack("<24I", engine.read(out, 96))[3]
    assert all(arena + 1000 <= handle or handle + 500 <= arena for handle in held)


def case_a_trap_poisons_nothing_else(engine: Engine, assemble: Assemble) -> None:
    good = engine.load(assemble("accumulate"))
    total, step = buffer(engine, 1), buffer(engine, 2)
    engine.run(good, 0, [total, step])
    for name in ("unreachable", "divide", "bounds", "stack"):
        loaded = engine.load(assemble(name))
        for _ in range(2):
            with raises("trap", "failed while running entry 0"):
                engine.run(loaded, 0, [total, step])
        engine.run(good, 0, [total, step])
    assert values(engine, total) == [11]


def case_bad_code_is_refused(engine: Engine, assemble: Assemble) -> None:
    live = engine.memory_use().live
    with raises("compile"):
        engine.load(Program(b"not wasm", [Entry(constants=[b"1"])]))
    for name in ("no run", "foreign import"):
        with raises("compile"):
            engine.load(assemble(name, Entry(constants=[b"1"])))
    with raises("compile", "uses time-travel"):
        engine.load(assemble("accumulate", features=("time-travel",)))
    assert engine.memory_use().live == live


def case_relaxed_simd(engine: Engine, assemble: Assemble) -> None:
    if "relaxed-simd" in engine.features:
        out = engine.alloc(16)
        engine.run(engine.load(assemble("relaxed", features=("relaxed-simd",))), 0, [out, out])
        assert struct.unpack("<4f", engine.read(out, 16)) == (7, 7, 7, 7)
    else:
        with raises("compile", "uses relaxed-simd"):
            engine.load(assemble("relaxed", features=("relaxed-simd",)))


def case_unload(engine: Engine, assemble: Assemble) -> None:
    loaded = engine.load(assemble("accumulate", Entry(constants=[b"1234", b"56"])))
    assert engine.memory_use().live == 6
    engine.unload(loaded)
    assert engine.memory_use().live == 0
    engine.unload(loaded)
    with raises("unloaded"):
        engine.run(loaded, 0, [0, 0])


def case_many_calls_leave_memory_as_it_is(engine: Engine, assemble: Assemble) -> None:
    loaded = engine.load(assemble("accumulate", Entry(arena=100)))
    total, step = buffer(engine, 0), buffer(engine, 1)
    before = engine.memory_use()
    for _ in range(10_000):
        engine.run(loaded, 0, [total, step])
    assert values(engine, total) == [10_000]
    assert engine.memory_use() == before


def case_close(engine: Engine, assemble: Assemble) -> None:
    loaded = engine.load(assemble("accumulate"))
    handle = buffer(engine, 1)
    engine.close()
    engine.close()
    engine.free(handle)
    engine.unload(loaded)
    uses: list[Callable[[], object]] = [
        lambda: engine.alloc(1),
        lambda: engine.read(handle, 1),
        lambda: engine.write(handle, b"1"),
        lambda: engine.run(loaded, 0, [0, 0]),
        lambda: engine.load(assemble("accumulate")),
        engine.sync,
    ]
    for use in uses:
        try:
            use()
        except EngineError:
            continue
        raise AssertionError("a closed engine still works")
    assert engine.memory_use().capacity == 0


ON_EVERY_ENGINE = (
    "write_and_read", "any_contiguous_buffer_is_written", "empty_buffers", "a_handle_is_freed_once",
    "bytes_outside_a_buffer_are_refused", "memory_grows_and_keeps_its_contents",
    "out_of_memory_breaks_nothing", "rows_are_copied",
    "rows_outside_a_buffer_are_refused", "the_number_of_arguments_is_checked",
    "programs_share_memory", "bad_code_is_refused", "unload",
    "many_calls_leave_memory_as_it_is", "close",
)  # fmt: skip
"""Cases that know nothing of WebAssembly's memory, of traps and of what is derived."""

CASES = {name: case for name, case in list(globals().items()) if name.startswith("case_")}


def failures(open_engine: Callable[[], Engine], binaries: Mapping[str, bytes]) -> dict[str, str]:
    """Runs all cases, each on an engine of its own; the tracebacks of those that fail."""
    assemble = assembler(binaries)
    failed = {}
    for name, case in CASES.items():
        engine = open_engine()
        try:
            case(engine, assemble)
        except Exception:
            failed[name] = traceback.format_exc()
        engine.close()
    return failed
