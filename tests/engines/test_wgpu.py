"""The GPU engine of the laptop: the protocol's cases, elements in words, flat memory, training."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import realize
from tabgrad.engines import wgpu_buffers, wgpu_commands
from tabgrad.engines.wgpu import WgpuEngine
from tabgrad.errors import ArgumentError
from tests.engines.protocol import (
    CASES,
    ON_EVERY_ENGINE,
    Entry,
    Program,
    buffer,
    raises,
    values,
)
from tests.ops.engines import chosen
from tools.gpu import provide_adapter

ROOT = Path(__file__).resolve().parents[2]
HEAD = """@group(0) @binding(0) var<uniform> frame: array<vec4<u32>, 1>;
@group(0) @binding(2) var<storage, read_write> a: array<i32, 1>;
@group(0) @binding(3) var<storage, read> b: array<i32, 1>;
"""
BODIES = {"accumulate": "a[0] = a[0] + b[0];", "double": "a[0] = 2 * a[0];"}


def assemble(name: str, *entries: Entry, features: tuple[str, ...] = ()) -> Program:
    """The protocol's Programs, of those two that any engine can have."""
    entries = entries or (Entry(),)
    if name not in BODIES:
        return Program(_document("no such function();", 2, entries), list(entries), features)
    count = 2 if name == "accumulate" else 1
    return Program(_document(BODIES[name], count, entries), list(entries), features)


def _document(body: str, count: int, entries: tuple[Entry, ...]) -> bytes:
    head = "\n".join(HEAD.splitlines()[: 1 + count])
    code = f"{head}\n@compute @workgroup_size(1) fn main() {{ {body} }}\n"
    launch = {"kernel": 0, "buffers": list(range(count)), "groups": [1, 1]}
    plans = [
        {
            "words": 2,
            "temps": [entry.arena] if entry.arena else [],
            "constants": ["uint8"] * len(entry.constants),
            "scalars": [],
            "launches": [launch],
        }
        for entry in entries
    ]
    kernel = {"code": code, "writes": [True, False][:count], "turns": False}
    return json.dumps({"kernels": [kernel], "entries": plans}).encode()


@pytest.fixture
def engine() -> Iterator[WgpuEngine]:
    provide_adapter()
    engine = WgpuEngine()
    yield engine
    engine.close()


@pytest.mark.parametrize("case", ON_EVERY_ENGINE)
def test_protocol(case: str, engine: WgpuEngine) -> None:
    CASES[f"case_{case}"](engine, assemble)


def test_what_does_not_fit_breaks_nothing(engine: WgpuEngine) -> None:
    small = engine.load(assemble("accumulate", Entry(arena=1000)))
    live = engine.memory_use().live
    for entry in (Entry(arena=1 << 34), Entry(constants=[b"12", bytes(1 << 29)])):
        with raises("memory", "no memory for a buffer of"):
            engine.load(assemble("accumulate", entry))
        assert engine.memory_use().live == live
    total, step = buffer(engine, 1), buffer(engine, 2)
    engine.run(small, 0, [total, step])
    assert values(engine, total) == [3]


def test_freed_buffers_are_used_again(engine: WgpuEngine) -> None:
    """Those of a similar size: the capacity stays what it is after the first turn."""

    def turn() -> int:
        one, two = engine.alloc(100_000), engine.alloc(50_000)
        engine.free(one)
        engine.free(two)
        return engine.memory_use().capacity

    capacity = turn()
    assert all(turn() == capacity for _ in range(10_000))


def counted(engine: WgpuEngine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many command buffers each submit has from now on, but those that reading takes."""
    found: list[int] = []
    queue = engine._queue

    def submit(commands: Any) -> None:
        found.append(len(commands))
        queue.submit(commands)

    watched = SimpleNamespace(submit=submit, read_buffer=queue.read_buffer)
    monkeypatch.setattr(engine._commands, "queue", watched)
    return found


@pytest.fixture
def submits(engine: WgpuEngine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return counted(engine, monkeypatch)


def test_copied_rows_are_those_of_the_time(engine: WgpuEngine, submits: list[int]) -> None:
    """Whatever happens to either buffer before the copy is on its way."""
    x, y, z = buffer(engine, 1, 2), buffer(engine, 0, 0), buffer(engine, 0, 0)
    engine.copy_rows(y, x, 4, [1, 0])
    engine.copy_rows(z, y, 4, [0, 0])
    assert not submits
    engine.write(x, np.array([3, 4], np.int32))
    engine.copy_rows(z, x, 4, [1])
    engine.write(z, np.array([9], np.int32), 4)
    assert [values(engine, one, 2) for one in (x, y, z)] == [[3, 4], [2, 1], [4, 9]]
    engine.copy_rows(z, x, 4, [0])
    engine.free(x)
    other = buffer(engine, 7, 8)  # may well be in the place of x
    engine.copy_rows(y, other, 4, [1])
    assert [values(engine, one, 2) for one in (y, z)] == [[8, 1], [3, 9]]
    for rows in ([0, 1, 1, 0, 1], [1, 0, 1], [0], [1, 1]):
        five = buffer(engine, *range(-5, 0))
        engine.copy_rows(five, other, 4, rows)
        expected = [7 + row for row in rows] + list(range(len(rows) - 5, 0))
        assert values(engine, five, 5) == expected


def test_memory_goes_once_no_copy_needs_it(
    engine: WgpuEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wgpu_buffers, "MAX_POOLED", 0)
    x, y = buffer(engine, 5, 6), buffer(engine, 0, 0)
    destroyed: list[Any] = []
    gpu = engine._buffers[x].gpu
    monkeypatch.setattr(engine._buffers[x], "gpu", _Watched(gpu, destroyed))
    engine._commands.copy(gpu, engine._buffers[y].gpu, [(0, 4, 4), (4, 0, 4)])
    engine.free(x)
    assert not destroyed
    engine.alloc(8)  # there may be no memory but that
    assert destroyed == [gpu]
    assert values(engine, y, 2) == [6, 5]


class _Watched:
    def __init__(self, gpu: Any, destroyed: list[Any]) -> None:
        self.gpu, self.destroyed = gpu, destroyed

    def destroy(self) -> None:
        self.destroyed.append(self.gpu)
        self.gpu.destroy()


def test_rows_go_out_with_the_run_that_reads_them(engine: WgpuEngine, submits: list[int]) -> None:
    loaded = engine.load(assemble("accumulate"))
    x, y = buffer(engine, 1, 10, 100, 1000), buffer(engine, 2, 20, 200, 2000)
    row, total = buffer(engine, 0), buffer(engine, 0)
    for column in (x, y, x):
        for i in (3, 1, 2):
            engine.copy_rows(row, column, 4, [i])
        engine.copy_rows(total, y, 4, [0])
        engine.run(loaded, 0, [total, row])
    assert submits == [2, 2, 2], "the copies and the run"
    assert values(engine, total) == [102]


def test_many_copies_do_not_wait(
    engine: WgpuEngine, submits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wgpu_commands, "MAX_COPIES", 100)
    x, y = buffer(engine, *range(7)), buffer(engine, 0)
    for i in range(250):
        engine.copy_rows(y, x, 4, [i % 7])
    assert submits == [1, 1]
    assert values(engine, y) == [249 % 7]


def test_a_run_that_is_refused_takes_no_copies_along(engine: WgpuEngine) -> None:
    loaded = engine.load(assemble("accumulate"))
    x, y, z = buffer(engine, 1), buffer(engine, 2), buffer(engine, 3)
    engine.copy_rows(y, x, 4, [0])
    with raises("trap"):
        engine.run(loaded, 0, [x, x])  # one buffer read and written by the same dispatch
    engine.copy_rows(z, y, 4, [0])
    assert [values(engine, one) for one in (x, y, z)] == [[1], [1], [1]]
    engine.run(loaded, 0, [z, y])
    assert values(engine, z) == [2]


def test_a_device_lost_with_copies(engine: WgpuEngine) -> None:
    loaded = engine.load(assemble("accumulate"))
    x, y = buffer(engine, 1), buffer(engine, 2)
    engine.copy_rows(y, x, 4, [0])
    engine._device.destroy()
    for _ in range(2):
        with raises("lost"):
            engine.run(loaded, 0, [y, x])
    engine.free(x)


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_training_step_is_one_submit(shuffle: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of both columns, the gradient, the update and the metrics."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 2)).astype(np.float32)
    y = x[:, :1] - x[:, 1:]

    def fitted(name: str) -> tuple[list[Any], list[int]]:
        tg.random.seed(3)
        with chosen(name):
            model = tg.Sequential([tg.Input((2,)), tg.layers.Dense(8, "tanh"), tg.layers.Dense(1)])
            model.compile("adam", "mse", metrics=["mae"])
            model.fit(x, y, epochs=1, batch_size=4, shuffle=shuffle, verbose=0)
            submits = counted(realize.engine(), monkeypatch) if name == "webgpu" else []
            model.fit(x, y, epochs=4, batch_size=4, shuffle=shuffle, verbose=0)
            return [weight.numpy() for weight in model.weights], submits

    (ours, submits), (theirs, _) = fitted("webgpu"), fitted("wasm")
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    # In the first step of an epoch metrics are set to zero between the copies and the run.
    assert submits.count(2) == 4 * 7
    assert submits.count(1) == 4 * (2 + shuffle), "and what draws the order of the rows"


def test_code_goes_with_its_programs(engine: WgpuEngine) -> None:
    one, other = engine.load(assemble("double")), engine.load(assemble("double"))
    assert len(engine._pipelines) == 1, "equal shaders are one"
    engine.unload(one)
    total = buffer(engine, 4)
    engine.run(other, 0, [total, total])
    assert values(engine, total) == [8]
    engine.unload(other)
    gc.collect()
    assert not engine._pipelines


def test_reading_asynchronously(engine: WgpuEngine) -> None:
    handle = buffer(engine, 3, 4)
    assert asyncio.run(engine.read_async(handle, 4, 4)) == b"\x04\0\0\0"


@pytest.mark.parametrize(
    "array",
    [
        np.array([True, False, True]),
        np.array([-128, 127, -1], np.int8),
        np.array([255, 0, 7], np.uint8),
        np.array([-32768, 32767, -1], np.int16),
        np.array([65535, 1, 0], np.uint16),
        np.array([0.1, -65504, np.inf, np.nan, 6e-8], np.float16),
        np.array([1 << 62, -5], np.int64),
        np.array([1e-300, 3.5]),
    ],
    ids=lambda array: array.dtype.name,
)
def test_elements_in_words(array: Any, engine: WgpuEngine) -> None:
    """Narrow elements take a word each there, and come back as they were, whole or in part."""
    name, size = array.dtype.name, array.itemsize
    handle = engine.alloc(array.nbytes, name)
    engine.write(handle, array)
    assert engine.read(handle, array.nbytes) == array.tobytes()
    assert engine.read(handle, size, size) == array[1:2].tobytes()
    engine.write(handle, array[:1], size)
    assert engine.read(handle, 2 * size) == array[:1].tobytes() * 2
    other = engine.alloc(2 * array.nbytes, name)
    rows = [len(array) - 1, 0] * len(array)
    engine.copy_rows(other, handle, size, rows[: 2 * len(array)])
    array[1] = array[0]
    assert engine.read(other, 2 * array.nbytes) == array[rows].tobytes()
    if size == 2:
        with raises("range", "whole"):
            engine.read(handle, size - 1)


def test_no_adapter_is_said_so() -> None:
    provide_adapter()
    with raises("adapter", "expected a GPU adapter like 'nothing of this name'", "set_engine"):
        WgpuEngine("nothing of this name")


def test_a_machine_without_any_adapter_is_told() -> None:
    code = "import tabgrad as tg; tg.set_engine('webgpu')"
    nothing = {
        "VK_ICD_FILENAMES": "/none",
        "VK_DRIVER_FILES": "/none",
        "WGPU_BACKEND_TYPE": "D3D12",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **nothing}, capture_output=True, text=True
    )
    assert "EngineError: expected a GPU adapter; this machine has" in done.stderr


def test_ten_thousand_steps_leave_memory_as_it_is() -> None:
    """A training loop: a gradient and an update a step, batches from the host."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 8)).astype(np.float32), rng.normal(size=(16, 1)).astype(np.float32)
    with chosen("webgpu"):
        w = tg.Variable(np.zeros((8, 1), np.float32))

        @tg.compile
        def step(x: Any, y: Any) -> Any:
            loss, slope = tg.value_and_grad(lambda w: tg.mean((x @ w - y) ** 2))(w.value)
            w.assign(w.value - 0.05 * slope)
            return loss

        for _ in range(3):
            loss = step(x, y)
        float(loss)
        engine = realize.engine()
        before, groups = engine.memory_use(), len(engine._groups)
        for turn in range(10_000):
            loss = step(x, y)
            if turn % 1000 == 0:
                float(loss)
        last = float(loss)
        after = engine.memory_use()
        assert (after.live, after.peak) == (before.live, before.peak)
        assert after.capacity <= before.capacity + 4096
        assert len(engine._groups) <= groups + 16
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    assert last == pytest.approx(float(np.mean((x @ best - y) ** 2)), rel=1e-4)


def test_bits_that_are_the_same_everywhere_are_refused() -> None:
    with pytest.raises(ArgumentError, match="expected deterministic=True with the engine 'wasm'"):
        tg.set_engine("webgpu", deterministic=True)
