"""The laptop's GPU engine: WGSL Programs on wgpu (`pip install 'tabgrad[gpu]'`).

A buffer is a whole storage buffer; elements of less than 32 bits take a word each (`words.py`).
A run is one submit, with the copies of rows that wait for it, unless a loop or branch has to look
at a value first.

Not here: writing shaders (`targets/wgsl/`), opening the GPU (`wgpu_adapter.py`), its buffers
(`wgpu_buffers.py`), and recording (`wgpu_runs.py`, `wgpu_commands.py`).
`player/tabgrad/webgpu.js` is the same for pages.
"""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from weakref import WeakValueDictionary

from tabgrad.engines import timestamps
from tabgrad.engines.engine import (
    Bytes,
    EntryLike,
    Handle,
    MemoryUse,
    ProgramLike,
    argument_counts,
    check_features,
    flat_bytes,
    wrong_count,
)
from tabgrad.engines.wgpu_adapter import find, opened, package
from tabgrad.engines.wgpu_buffers import Buffers, span
from tabgrad.engines.wgpu_commands import Commands
from tabgrad.engines.wgpu_runs import ALIGN, FRAME, TURNS, Entry, Groups, Loaded, Run
from tabgrad.engines.words import narrowed, widened
from tabgrad.errors import EngineError

HALF = "shader-f16"
SUBGROUPS = "subgroups"
# wgpu has that feature of WebGPU under a name of its own. Shaders are the same but for the line
# that asks for it, which naga (29.0, which wgpu 0.32 brings) refuses as "not yet implemented".
NATIVE_SUBGROUPS, REFUSED_LINE = "subgroup", "enable subgroups;\n"
LOST = "device is lost"  # what wgpu says from then on

P = ParamSpec("P")
R = TypeVar("R")


def _raises_engine_errors(method: Callable[P, R]) -> Callable[P, R]:
    """What wgpu says in its own words gets the protocol's codes; a lost device is remembered."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except Exception as error:
            engine: Any = args[0]
            # What cannot be mapped for reading is a RuntimeError.
            if isinstance(error, EngineError) or not isinstance(
                error, (engine._wgpu.GPUError, RuntimeError)
            ):
                raise
            raise engine._problem(error) from error

    return call


class WgpuEngine:
    """Runs WGSL Programs on this machine's GPU, or on a software adapter.

    Elements of 64 bits can be kept, but what computes with them raises NotSupportedError. The
    adapter may take subnormal numbers of 32 bits (below 2**-126) for zeros, on the way, too.

    Args:
        adapter: a part of the name of the adapter to take; by default wgpu chooses.
        schedule: "serial" (each thread works alone) or "cooperative" (workgroups share); by default
            what the sort of adapter gains from.
        half: whether float16 is stored and computed with in 16 bits, where the adapter can; else it
            is float32 that is rounded after every operation.

    Raises:
        MissingPackageError: wgpu is not installed.
        EngineError: there is no adapter ("adapter").
    """

    kind = "webgpu"

    def __init__(self, adapter: str = "", schedule: str = "", half: bool = True) -> None:
        wgpu = package()
        self._wgpu = wgpu
        self.adapter = find(wgpu, adapter)
        if not schedule:
            software = self.adapter.info["adapter_type"] == "CPU"
            schedule = "serial" if software else "cooperative"
        needed = [HALF] if half and HALF in self.adapter.features else []
        usable = [*needed]
        if schedule == "cooperative":
            usable.append(schedule)
            if NATIVE_SUBGROUPS in self.adapter.features:
                usable.append(SUBGROUPS)
                needed.append(NATIVE_SUBGROUPS)
        self.features = frozenset(usable)
        self._device = opened(wgpu, self.adapter, needed)
        self._queue = self._device.queue
        self._commands = Commands(self._device)
        self._buffers = Buffers(wgpu, self._device, self._commands)
        self._groups = Groups(self._device, self._buffers)
        self._temps: list[Handle] = []
        self._programs = itertools.count()
        self._layouts: dict[Any, Any] = {}
        # As long as a Program has them: compiled code takes a quarter of a megabyte and more.
        self._pipelines: WeakValueDictionary[Any, Any] = WeakValueDictionary()
        self.closed = False
        self._lost = ""  # what wgpu said when the device was gone

    # Memory

    @_raises_engine_errors
    def alloc(self, nbytes: int, dtype: str = "float32") -> Handle:
        self._check_open()
        if dtype == "float16" and HALF in self.features:
            dtype = "native"  # the GPU has elements of this size
        return self._buffers.alloc(nbytes, dtype)

    def free(self, handle: Handle) -> None:
        if self.closed:
            return
        self._groups.forget(self._buffers.free(handle))

    @_raises_engine_errors
    def write(self, handle: Handle, data: Bytes, offset: int = 0) -> None:
        buffer, raw = self._buffers[handle], flat_bytes(data)
        at, _ = span(handle, buffer, offset, len(raw))
        if len(raw):
            self._commands.submit()  # it would come before copies that wait
            words = widened(raw, buffer.dtype)
            self._put(buffer.gpu, at, words)

    def _put(self, gpu: Any, at: int, words: bytes | memoryview) -> None:
        size = len(words)
        if at % 4 or size % 4:  # the GPU copies whole words: those around are read first
            low, high = at // 4 * 4, -(-(at + size) // 4) * 4
            whole = bytearray(self._queue.read_buffer(gpu, low, high - low))
            whole[at - low : at - low + size] = words
            at, words = low, bytes(whole)
        self._queue.write_buffer(gpu, at, words)

    @_raises_engine_errors
    def read(self, handle: Handle, nbytes: int, offset: int = 0) -> bytes:
        buffer = self._buffers[handle]
        at, size = span(handle, buffer, offset, nbytes)
        if not size:
            return b""
        self._commands.submit()
        low, high = at // 4 * 4, -(-(at + size) // 4) * 4
        words = memoryview(self._queue.read_buffer(buffer.gpu, low, high - low))
        return narrowed(words[at - low : at - low + size], buffer.dtype)

    async def read_async(self, handle: Handle, nbytes: int, offset: int = 0) -> bytes:
        return self.read(handle, nbytes, offset)

    @_raises_engine_errors
    def copy_rows(self, dst: Handle, src: Handle, row_bytes: int, indices: Sequence[int]) -> None:
        target, source = self._buffers[dst], self._buffers[src]
        if not len(indices) or not row_bytes:
            return
        if dst == src:
            raise EngineError("copy_rows: dst and src must be two buffers", code="range")
        span(dst, target, 0, len(indices) * row_bytes)
        rows = source.nbytes // row_bytes
        low, high = min(indices), max(indices)
        if low < 0 or high >= rows:
            raise EngineError(
                f"copy_rows: indices from {low} to {high}, but src has {rows} rows",
                code="range",
            )
        _, size = span(src, source, 0, row_bytes)
        if size % 4:
            data = [self.read(src, row_bytes, row_bytes * int(i)) for i in indices]
            self.write(dst, b"".join(data))
            return
        self._commands.copy(source.gpu, target.gpu, _spans(indices, size))

    def memory_use(self) -> MemoryUse:
        kept = self._buffers
        return MemoryUse(kept.live, kept.peak, kept.live + kept.pooled)

    # Programs

    @_raises_engine_errors
    def load(self, program: ProgramLike) -> Loaded:
        self._check_open()
        check_features(program, self.features)
        try:
            document = json.loads(program.binary)
        except ValueError as error:
            raise EngineError(
                f"expected a Program for WebGPU, which is JSON; received other bytes: {error}",
                code="compile",
            ) from error
        if document.get("halves") and (HALF in self.features) > (HALF in program.features):
            raise EngineError(
                f"expected a Program that keeps float16 in 16 bits (feature {HALF}), as this "
                "engine does; received one that keeps it in 32. Open the engine with half=False",
                code="features",
            )
        kernels = document["kernels"]
        pipelines, layouts = [], []
        for kernel in kernels:
            layout, pipeline_layout = self._layout(tuple(kernel["writes"]), kernel["turns"])
            layouts.append(layout)
            pipelines.append(self._pipeline(kernel["code"], pipeline_layout))
        for plan in document["entries"]:
            for number, size in enumerate(plan["temps"]):
                self._reserve(number, size)
        turns = [kernel["turns"] for kernel in kernels]
        loaded = Loaded(pipelines, layouts, turns, [], next(self._programs))
        try:
            for entry, plan, count in zip(
                program.entries, document["entries"], argument_counts(program), strict=True
            ):
                loaded.entries.append(self._entry(entry, plan, count))
        except EngineError:
            self.unload(loaded)
            raise
        return loaded

    def _entry(self, entry: EntryLike, plan: dict[str, Any], count: int) -> Entry:
        turns, turn_of = self._turns(plan["launches"])
        frame = self._uniform(max(-(-plan["words"] // 4) * 16, 16))
        made = Entry(plan, frame, turns, turn_of, [], count)
        try:
            for data, dtype in zip(entry.constants, plan["constants"], strict=True):
                nbytes = memoryview(data).nbytes
                made.constants.append(self.alloc(nbytes, dtype))
                self.write(made.constants[-1], data)
        except EngineError:
            for handle in made.constants:
                self.free(handle)
            raise
        return made

    def _uniform(self, size: int) -> Any:
        usage = self._wgpu.BufferUsage
        return self._device.create_buffer(size=size, usage=usage.UNIFORM | usage.COPY_DST)

    def _turns(self, launches: Sequence[dict[str, Any]]) -> tuple[Any, dict[tuple[int, ...], int]]:
        """All turns there can be of loops inside each other, each where an offset may point."""
        found: dict[tuple[int, ...], int] = {(): 0}

        def visit(some: Sequence[dict[str, Any]], around: list[tuple[int, ...]]) -> None:
            for launch in some:
                if "loop" in launch:
                    inside = [(*turn, i) for turn in around for i in range(launch["loop"])]
                    for turn in inside:
                        found.setdefault(turn, len(found))
                    visit(launch["body"], inside)
                elif "while" in launch:
                    visit(launch["test"], around)
                    visit(launch["body"], around)
                elif "branch" in launch:
                    for branch in launch["branches"]:
                        visit(branch, around)

        visit(launches, [()])
        data = bytearray(ALIGN * len(found))
        for turn, number in found.items():
            struct.pack_into(f"<{len(turn)}i", data, ALIGN * number, *turn)
        gpu = self._uniform(len(data))
        self._queue.write_buffer(gpu, 0, bytes(data))
        return gpu, found

    def _layout(self, writes: tuple[bool, ...], turns: bool) -> tuple[Any, Any]:
        key = (writes, turns)
        found = self._layouts.get(key)
        if found is None:
            visible = self._wgpu.ShaderStage.COMPUTE
            entries = [{"binding": FRAME, "visibility": visible, "buffer": {"type": "uniform"}}]
            if turns:
                one = {"type": "uniform", "has_dynamic_offset": True, "min_binding_size": 16}
                entries.append({"binding": TURNS, "visibility": visible, "buffer": one})
            for i, write in enumerate(writes):
                kind = "storage" if write else "read-only-storage"
                entries.append({"binding": 2 + i, "visibility": visible, "buffer": {"type": kind}})
            layout = self._device.create_bind_group_layout(entries=entries)
            whole = self._device.create_pipeline_layout(bind_group_layouts=[layout])
            found = self._layouts[key] = (layout, whole)
        return found

    def _pipeline(self, code: str, layout: Any) -> Any:
        key = (code, id(layout))
        found = self._pipelines.get(key)
        if found is None:
            try:
                known = code.replace(REFUSED_LINE, "", 1)
                module = self._device.create_shader_module(code=known)
                found = self._device.create_compute_pipeline(
                    layout=layout, compute={"module": module, "entry_point": "main"}
                )
            except self._wgpu.GPUError as error:
                if LOST in str(error):
                    raise self._problem(error) from error
                raise EngineError(
                    f"wgpu refused a shader: {error}\n{code}", code="compile"
                ) from error
            self._pipelines[key] = found
        return found

    def unload(self, loaded: Loaded) -> None:
        if loaded.unloaded:
            return
        loaded.unloaded = True
        loaded.pipelines = []
        for entry in loaded.entries:
            for handle in entry.constants:
                self.free(handle)
            entry.constants = []

    def _reserve(self, number: int, size: int) -> None:
        """A temporary of at least a size, shared by all Programs; as it was where that fails."""
        if number == len(self._temps):
            self._temps.append(self.alloc(size))
        elif self._buffers[self._temps[number]].nbytes < size:
            larger = self.alloc(size)
            self.free(self._temps[number])
            self._temps[number] = larger

    @_raises_engine_errors
    def run(self, loaded: Loaded, entry: int, args: Sequence[int], rows: int = 0) -> None:
        self._check_open()
        if loaded.unloaded:
            raise EngineError("this Program was unloaded", code="unloaded")
        one = loaded.entries[entry]
        if len(args) != one.count:
            raise wrong_count(entry, one.count, len(args))
        scalars = [args[i] & 0xFFFFFFFF for i in one.plan["scalars"]]
        words = [0, rows, *scalars]
        words += [0] * (-len(words) % 4)
        self._queue.write_buffer(one.frame, 0, struct.pack(f"<{len(words)}I", *words))
        slots = [*args, *one.constants]
        Run(self._commands, self._groups, loaded, one, slots, self._temps).all()

    def timed(
        self, loaded: Loaded, entry: int, args: Sequence[int], rows: int = 0
    ) -> list[tuple[int, float]]:
        """`run`, waiting: which shader each dispatch was of, and its milliseconds by the GPU's
        clock. Nothing, where it has none."""
        if timestamps.FEATURE not in self._device.features:
            self.run(loaded, entry, args, rows)
            self.sync()
            return []
        numbers = {id(pipeline): number for number, pipeline in enumerate(loaded.pipelines)}
        found = timestamps.timed(
            self._wgpu, self._device, lambda: self.run(loaded, entry, args, rows)
        )
        return [(numbers[id(pipeline)], milliseconds) for pipeline, milliseconds in found]

    @_raises_engine_errors
    def sync(self) -> None:
        self._check_open()
        self._commands.submit()
        if self._temps:
            self._queue.read_buffer(self._buffers[self._temps[0]].gpu, 0, 4)

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._groups.clear()
        self._commands.close()
        self._buffers.close(bool(self._lost))
        self._device.destroy()

    # Inside

    def _problem(self, error: Exception) -> EngineError:
        """An error of wgpu's as an engine's."""
        text = " ".join(str(error).split())
        if LOST in text or self._lost:
            self._lost = (
                f"expected the GPU to stay; it was lost: {text}. What was on it is gone: choose "
                "the engine again, or use tg.set_engine('wasm')"
            )
            return EngineError(self._lost, code="lost")
        if isinstance(error, self._wgpu.GPUOutOfMemoryError):
            return EngineError(
                f"no memory on the GPU: {self._buffers.live:,} bytes are in use; free tensors or "
                f"use smaller batches ({text})",
                code="memory",
            )
        return EngineError(
            f"expected the GPU to do its work; it says: {text}. Use tg.set_engine('wasm')",
            code="trap",
        )

    def _check_open(self) -> None:
        if self._lost:
            raise EngineError(self._lost, code="lost")
        if self.closed:
            raise EngineError("this engine is closed", code="handle")


def _spans(indices: Sequence[int], size: int) -> Iterator[tuple[int, int, int]]:
    """Neighbouring rows together: where the first is, where it goes, how many bytes."""
    begin, first, count = 0, int(indices[0]), 0
    for at, index in enumerate(indices):
        if int(index) != first + count:
            yield first * size, begin * size, count * size
            begin, first, count = at, int(index), 0
        count += 1
    yield first * size, begin * size, count * size
