"""The wasmtime engine: the protocol's cases, and the renewal of its store."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
import wasmtime

from tabgrad.engines import wasmtime as engine_module
from tabgrad.engines.wasmtime import WasmtimeEngine
from tests.engines.protocol import (
    CASES,
    TEXTS,
    Assemble,
    Entry,
    assembler,
    buffer,
    raises,
    values,
)


@pytest.fixture(scope="module")
def assemble() -> Assemble:
    return assembler({name: bytes(wasmtime.wat2wasm(text)) for name, text in TEXTS.items()})


@pytest.fixture
def engine() -> Iterator[WasmtimeEngine]:
    engine = WasmtimeEngine()
    yield engine
    engine.close()


@pytest.mark.parametrize("deterministic", [False, True], ids=["fast", "deterministic"])
@pytest.mark.parametrize("case", CASES)
def test_protocol(case: str, deterministic: bool, assemble: Assemble) -> None:
    engine = WasmtimeEngine(deterministic=deterministic)
    assert engine.features == (set() if deterministic else {"relaxed-simd"})
    CASES[case](engine, assemble)
    engine.close()


def test_numpy_arrays(engine: WasmtimeEngine) -> None:
    handle = engine.alloc(8)
    for data in (
        numpy.array([[1.5], [2.0]], numpy.float32),
        numpy.array(3.25),
        numpy.array([True, False] * 4),
        numpy.arange(4, dtype=numpy.float16),
    ):
        engine.write(handle, data)
        assert engine.read(handle, 8) == data.tobytes()
    engine.write(handle, numpy.zeros((3, 0), numpy.float32))
    with raises("range", "row-major"):
        engine.write(handle, numpy.arange(4, dtype=numpy.int16)[::2])
    assert asyncio.run(engine.read_async(handle, 8)) == data.tobytes()


@pytest.mark.parametrize("limit", [1, 1 << 30], ids=["numpy", "loop"])
@pytest.mark.parametrize("dtype", [numpy.int64, numpy.uint32, numpy.uint8])
def test_rows_are_copied_with_and_without_numpy(
    engine: WasmtimeEngine, dtype: type, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "NUMPY_ROWS", limit)
    content = numpy.random.default_rng(0).standard_normal((50, 6)).astype(numpy.float32)
    src, dst = engine.alloc(content.nbytes), engine.alloc(100 * 24)
    engine.write(src, content)
    indices = numpy.random.default_rng(1).integers(0, 50, 100).astype(dtype)
    engine.copy_rows(dst, src, 24, indices)
    assert engine.read(dst, 100 * 24) == content[indices].tobytes()
    indices[50] = 50
    with raises("range", "src has 50 rows"):
        engine.copy_rows(dst, src, 24, indices)


def test_code_with_relaxed_simd_is_refused_whatever_it_says(assemble: Assemble) -> None:
    engine = WasmtimeEngine(deterministic=True)
    with raises("compile", "relaxed"):
        engine.load(assemble("relaxed"))
    engine.close()


def test_constants_of_several_entries_are_kept_once(
    engine: WasmtimeEngine, assemble: Assemble
) -> None:
    entries = [Entry(constants=[b"1234", b"56"]), Entry(constants=[b"56", b"56"])]
    engine.load(assemble("accumulate", *entries))
    assert engine.memory_use().live == 6


def test_state_survives_a_new_store(
    engine: WasmtimeEngine, assemble: Assemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the limit of instances the engine moves house; buffers and Programs come along."""
    monkeypatch.setattr(engine_module, "MAX_INSTANCES", 4)
    first = engine.load(assemble("accumulate", Entry(constants=[b"constant"])))
    (constant,) = first.constants
    total, step = buffer(engine, 0), buffer(engine, 1)
    large = engine.alloc(1_000_000)
    engine.write(large, b"\x07" * 1_000_000)
    others = []
    for _ in range(10):
        others.append(engine.load(assemble("accumulate")))
        engine.run(first, 0, [total, step])
        for other in others[-3:]:
            engine.run(other, 0, [total, step])
    assert values(engine, total) == [10 + 1 + 2 + 8 * 3]
    assert engine._store_number > 5
    assert engine.read(large, 1_000_000) == b"\x07" * 1_000_000
    assert engine.read(constant, 8) == b"constant"
    more = engine.alloc(3_000_000)
    engine.write(more, b"\x08" * 3_000_000)
    assert values(engine, total) == [37]


def test_unloaded_programs_do_not_pile_up(
    engine: WasmtimeEngine, assemble: Assemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "MAX_DEAD_INSTANCES", 3)
    kept = engine.load(assemble("accumulate"))
    total, step = buffer(engine, 0), buffer(engine, 1)
    stores = set()
    for _ in range(20):
        engine.unload(engine.load(assemble("accumulate")))
        engine.run(kept, 0, [total, step])
        stores.add(engine._store_number)
    assert values(engine, total) == [20]
    assert len(stores) > 4


@pytest.mark.slow
def test_more_programs_than_a_store_takes(engine: WasmtimeEngine, assemble: Assemble) -> None:
    """wasmtime's own limit is 10,000 instances."""
    total, step = buffer(engine, 0), buffer(engine, 1)
    live = [engine.load(assemble("accumulate")) for _ in range(10_100)]
    for loaded in live[::1000]:
        engine.run(loaded, 0, [total, step])
    assert values(engine, total) == [11]


@pytest.mark.parametrize(("cache", "kept"), [("1", True), ("0", False)])
def test_compiled_code_is_kept_unless_switched_off(tmp_path: Path, cache: str, kept: bool) -> None:
    home = tmp_path / "home"
    home.mkdir()
    assert run_at_home(home, cache) == "3"
    assert any(path.is_file() for path in home.rglob("*")) is kept


def test_a_home_that_cannot_be_written_to_is_no_obstacle(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert run_at_home(file, "1") == "3"


def run_at_home(home: Path, cache: str) -> str:
    """Runs a Program in a new process with `home` as the user's home; prints 3."""
    code = f"""
from tabgrad.engines.wasmtime import WasmtimeEngine
from tests.engines.protocol import Program, Entry, buffer, values
engine = WasmtimeEngine()
program = Program(bytes.fromhex("{bytes(wasmtime.wat2wasm(TEXTS["accumulate"])).hex()}"), [Entry()])
total, step = buffer(engine, 1), buffer(engine, 2)
engine.run(engine.load(program), 0, [total, step])
print(*values(engine, total))
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")}
    environment |= {"HOME": str(home), "TABGRAD_CACHE": cache}
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", code]
    return subprocess.check_output(command, env=environment, cwd=root, text=True).strip()
