"""The laptop's GPU engine: WGSL Programs on wgpu (`pip install 'tabgrad[gpu]'`).

A buffer is a whole storage buffer; elements of less than 32 bits take a word each (`words.py`).
A run is one command encoder and one submit, unless a loop or branch has to look at a value first.

Not here: writing shaders (`targets/wgsl/`). `player/tabgrad/webgpu.js` is the same for pages.
"""

from __future__ import annotations

import itertools
import json
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from weakref import WeakValueDictionary

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
from tabgrad.engines.words import narrow_size, narrowed, widened
from tabgrad.errors import EngineError, MissingPackageError

ALIGN = 256  # of the turns that a dynamic offset points to
FRAME, TURNS = 0, 1  # bindings in front of the buffers
MAX_GROUPS_KEPT = 4096  # bind groups
MAX_DISPATCHES = 10_000  # of a submit: long loops take several
MAX_POOLED = 256 << 20  # bytes of buffers that wait to be used again
HALF = "shader-f16"
LOST = "device is lost"  # what wgpu says from then on

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(eq=False, slots=True)
class _Buffer:
    nbytes: int  # as the rest of tabgrad counts
    dtype: str
    gpu: Any
    room: int  # bytes of the GPU's buffer
    groups: set[Any] = field(default_factory=set)  # keys of bind groups that have it


@dataclass(eq=False, slots=True)
class _Entry:
    plan: dict[str, Any]
    frame: Any
    turns: Any
    turn_of: dict[tuple[int, ...], int]
    constants: list[Handle]
    count: int


@dataclass(eq=False, slots=True)
class Loaded:
    """A Program that `WgpuEngine.load` has compiled; opaque to everyone else."""

    pipelines: list[Any]
    layouts: list[Any]
    turns: list[bool]  # of each kernel: whether it binds them
    entries: list[_Entry]
    number: int
    unloaded: bool = False


def _wgpu() -> Any:
    try:
        import wgpu
    except ImportError as error:
        raise MissingPackageError(
            "expected the package wgpu for the engine 'webgpu'; it is not installed. "
            "Run: pip install 'tabgrad[gpu]'"
        ) from error
    return wgpu


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
        wgpu = _wgpu()
        self._wgpu = wgpu
        self.adapter = _adapter(wgpu, adapter)
        if not schedule:
            software = self.adapter.info["adapter_type"] == "CPU"
            schedule = "serial" if software else "cooperative"
        needed = [HALF] if half and HALF in self.adapter.features else []
        self.features = frozenset([*needed, *(["cooperative"] * (schedule == "cooperative"))])
        limits = {
            name: self.adapter.limits[name]
            for name in ("max-buffer-size", "max-storage-buffer-binding-size")
        }
        try:
            self._device = self.adapter.request_device_sync(
                required_features=needed, required_limits=limits
            )
        except (wgpu.GPUError, RuntimeError) as error:
            raise EngineError(
                f"expected a GPU that can be used; {self.adapter.info['device']} cannot be opened: "
                f"{error}. Use tg.set_engine('wasm')",
                code="adapter",
            ) from error
        self._queue = self._device.queue
        self._buffers: dict[Handle, _Buffer] = {}
        self._numbers = itertools.count(1)
        self._programs = itertools.count()
        self._pool: dict[int, list[Any]] = {}
        self._pooled = self._live = self._peak = 0
        self._layouts: dict[Any, Any] = {}
        # As long as a Program has them: compiled code takes a quarter of a megabyte and more.
        self._pipelines: WeakValueDictionary[Any, Any] = WeakValueDictionary()
        self._groups: OrderedDict[Any, Any] = OrderedDict()
        self._temps: list[Handle] = []
        self.closed = False
        self._lost = ""  # what wgpu said when the device was gone

    # Memory

    @_raises_engine_errors
    def alloc(self, nbytes: int, dtype: str = "float32") -> Handle:
        self._check_open()
        if dtype == "float16" and HALF in self.features:
            dtype = "native"  # the GPU has elements of this size
        small = narrow_size(dtype)
        wanted = nbytes * 4 // small if small else nbytes
        room = _room(wanted)
        waiting = self._pool.get(room)
        if waiting:
            gpu = waiting.pop()
            self._pooled -= room
        else:
            gpu = self._make(room, nbytes)
        handle = next(self._numbers)
        self._buffers[handle] = _Buffer(nbytes, dtype, gpu, room)
        self._live += nbytes
        self._peak = max(self._peak, self._live)
        return handle

    def _make(self, room: int, nbytes: int) -> Any:
        usage = self._wgpu.BufferUsage
        limit = self._device.limits["max-storage-buffer-binding-size"]
        if room > limit:
            raise EngineError(
                f"no memory for a buffer of {nbytes:,} bytes: this adapter has buffers of at most "
                f"{limit:,} bytes. Use smaller batches, or tg.set_engine('wasm')",
                code="memory",
            )
        try:
            return self._device.create_buffer(
                size=room, usage=usage.STORAGE | usage.COPY_SRC | usage.COPY_DST
            )
        except self._wgpu.GPUOutOfMemoryError as error:
            raise EngineError(
                f"no memory for a buffer of {nbytes:,} bytes: {self._live:,} bytes are in use; "
                "free tensors or use smaller batches",
                code="memory",
            ) from error

    def free(self, handle: Handle) -> None:
        if self.closed:
            return
        buffer = self._buffer(handle)
        del self._buffers[handle]
        for key in buffer.groups:
            self._groups.pop(key, None)
        self._live -= buffer.nbytes
        if self._pooled + buffer.room <= MAX_POOLED:
            self._pool.setdefault(buffer.room, []).append(buffer.gpu)
            self._pooled += buffer.room
        else:
            buffer.gpu.destroy()

    @_raises_engine_errors
    def write(self, handle: Handle, data: Bytes, offset: int = 0) -> None:
        buffer, raw = self._buffer(handle), flat_bytes(data)
        at, _ = _span(handle, buffer, offset, len(raw))
        if len(raw):
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
        buffer = self._buffer(handle)
        at, size = _span(handle, buffer, offset, nbytes)
        if not size:
            return b""
        low, high = at // 4 * 4, -(-(at + size) // 4) * 4
        words = memoryview(self._queue.read_buffer(buffer.gpu, low, high - low))
        return narrowed(words[at - low : at - low + size], buffer.dtype)

    async def read_async(self, handle: Handle, nbytes: int, offset: int = 0) -> bytes:
        return self.read(handle, nbytes, offset)

    @_raises_engine_errors
    def copy_rows(self, dst: Handle, src: Handle, row_bytes: int, indices: Sequence[int]) -> None:
        target, source = self._buffer(dst), self._buffer(src)
        if not len(indices) or not row_bytes:
            return
        if dst == src:
            raise EngineError("copy_rows: dst and src must be two buffers", code="range")
        _span(dst, target, 0, len(indices) * row_bytes)
        rows = source.nbytes // row_bytes
        low, high = min(indices), max(indices)
        if low < 0 or high >= rows:
            raise EngineError(
                f"copy_rows: indices from {low} to {high}, but src has {rows} rows",
                code="range",
            )
        _, size = _span(src, source, 0, row_bytes)
        if size % 4:
            data = [self.read(src, row_bytes, row_bytes * int(i)) for i in indices]
            self.write(dst, b"".join(data))
            return
        encoder = self._device.create_command_encoder()
        for begin, first, count in _runs(indices):
            encoder.copy_buffer_to_buffer(
                source.gpu, first * size, target.gpu, begin * size, count * size
            )
        self._queue.submit([encoder.finish()])

    def memory_use(self) -> MemoryUse:
        return MemoryUse(self._live, self._peak, self._live + self._pooled)

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

    def _entry(self, entry: EntryLike, plan: dict[str, Any], count: int) -> _Entry:
        turns, turn_of = self._turns(plan["launches"])
        frame = self._uniform(max(-(-plan["words"] // 4) * 16, 16))
        made = _Entry(plan, frame, turns, turn_of, [], count)
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
                module = self._device.create_shader_module(code=code)
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
        _Run(self, loaded, one, [*args, *one.constants]).all()

    @_raises_engine_errors
    def sync(self) -> None:
        self._check_open()
        if self._temps:
            self._queue.read_buffer(self._buffers[self._temps[0]].gpu, 0, 4)

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._groups.clear()
        if not self._lost:
            for buffer in self._buffers.values():
                buffer.gpu.destroy()
            for waiting in self._pool.values():
                for gpu in waiting:
                    gpu.destroy()
        self._buffers.clear()
        self._pool.clear()
        self._live = self._pooled = 0
        self._device.destroy()

    # Inside

    def _buffer(self, handle: Handle) -> _Buffer:
        found = self._buffers.get(handle)
        if found is None:
            raise EngineError(
                f"{handle} is not a live buffer of this engine; it was freed, or never allocated",
                code="handle",
            )
        return found

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
                f"no memory on the GPU: {self._live:,} bytes are in use; free tensors or use "
                f"smaller batches ({text})",
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

    def _group(self, loaded: Loaded, entry: _Entry, kernel: int, handles: tuple[int, ...]) -> Any:
        key = (loaded.number, id(entry), kernel, handles)
        found = self._groups.get(key)
        if found is not None:
            self._groups.move_to_end(key)
            return found
        entries = [{"binding": FRAME, "resource": {"buffer": entry.frame}}]
        if loaded.turns[kernel]:
            entries.append({"binding": TURNS, "resource": {"buffer": entry.turns, "size": 16}})
        for i, handle in enumerate(handles):
            buffer = self._buffer(handle)
            buffer.groups.add(key)
            entries.append({"binding": 2 + i, "resource": {"buffer": buffer.gpu}})
        found = self._device.create_bind_group(layout=loaded.layouts[kernel], entries=entries)
        self._groups[key] = found
        if len(self._groups) > MAX_GROUPS_KEPT:
            (_, _, _, old), _ = self._groups.popitem(last=False)
            for handle in old:
                kept = self._buffers.get(handle)
                if kept is not None:
                    kept.groups.discard(key)
        return found


class _Run:
    """One run of an entry: its dispatches in one pass, ended only to look at a value."""

    def __init__(
        self, engine: WgpuEngine, loaded: Loaded, entry: _Entry, slots: list[Handle]
    ) -> None:
        self.engine, self.loaded, self.entry, self.slots = engine, loaded, entry, slots
        self.encoder: Any = None
        self.step: Any = None
        self.recorded = 0

    def all(self) -> None:
        """Everything, submitted."""
        self._launch(self.entry.plan["launches"], ())
        self._submit()

    def _launch(self, launches: Sequence[dict[str, Any]], turn: tuple[int, ...]) -> None:
        for launch in launches:
            if "kernel" in launch:
                self._dispatch(launch, turn)
            elif "loop" in launch:
                turns = range(launch["loop"])
                for i in reversed(turns) if launch["reverse"] else turns:
                    self._launch(launch["body"], (*turn, i))
            elif "while" in launch:
                self._launch(launch["test"], turn)
                while self._word(launch["while"]):
                    self._launch(launch["body"], turn)
                    self._launch(launch["test"], turn)
            else:
                branches = launch["branches"]
                at = min(max(self._word(launch["branch"]), 0), len(branches) - 1)
                self._launch(branches[at], turn)

    def _handle(self, place: int) -> Handle:
        return self.slots[place] if place >= 0 else self.engine._temps[-1 - place]

    def _dispatch(self, launch: dict[str, Any], turn: tuple[int, ...]) -> None:
        kernel = launch["kernel"]
        handles = tuple([self._handle(place) for place in launch["buffers"]])
        group = self.engine._group(self.loaded, self.entry, kernel, handles)
        if self.step is None:
            self.encoder = self.engine._device.create_command_encoder()
            self.step = self.encoder.begin_compute_pass()
        self.step.set_pipeline(self.loaded.pipelines[kernel])
        offsets = [ALIGN * self.entry.turn_of[turn]] if self.loaded.turns[kernel] else []
        self.step.set_bind_group(0, group, offsets)
        self.step.dispatch_workgroups(*launch["groups"])
        self.recorded += 1
        if self.recorded == MAX_DISPATCHES:
            self._submit()

    def _submit(self) -> None:
        if self.step is not None:
            self.step.end()
            self.engine._queue.submit([self.encoder.finish()])
            self.step = self.encoder = None
            self.recorded = 0

    def _word(self, place: int) -> int:
        """The first word of a buffer, once everything before has run."""
        self._submit()
        gpu = self.engine._buffer(self._handle(place)).gpu
        (word,) = struct.unpack("<i", self.engine._queue.read_buffer(gpu, 0, 4))
        return int(word)


def _adapter(wgpu: Any, name: str) -> Any:
    if name:
        for one in wgpu.gpu.enumerate_adapters_sync():
            if name.lower() in one.info["device"].lower():
                return one
        found = None
    else:
        try:
            found = wgpu.gpu.request_adapter_sync(power_preference="high-performance")
        except RuntimeError:  # what wgpu raises where there is none
            found = None
    if found is None:
        known = [one.info["device"] for one in wgpu.gpu.enumerate_adapters_sync()]
        raise EngineError(
            f"expected a GPU adapter{f' like {name!r}' if name else ''}; this machine has {known}. "
            "Use tg.set_engine('wasm')",
            code="adapter",
        )
    return found


def _room(nbytes: int) -> int:
    """Sizes few enough that freed buffers are used again, 16 bytes more than asked for at most an
    eighth: whole vectors are read past the last element."""
    if nbytes <= 256:
        return 256
    step = 1 << max((nbytes - 1).bit_length() - 4, 8)
    return -(-nbytes // step) * step


def _span(handle: Handle, buffer: _Buffer, offset: int, nbytes: int) -> tuple[int, int]:
    """Where bytes lie among a buffer's words, and how many those are."""
    if offset < 0 or nbytes < 0 or offset + nbytes > buffer.nbytes:
        raise EngineError(
            f"buffer {handle} has {buffer.nbytes} bytes, asked for {nbytes} at offset {offset}",
            code="range",
        )
    small = narrow_size(buffer.dtype)
    if not small:
        return offset, nbytes
    if offset % small or nbytes % small:
        raise EngineError(
            f"expected whole {buffer.dtype} elements; received {nbytes} bytes at {offset}",
            code="range",
        )
    return offset * 4 // small, nbytes * 4 // small


def _runs(indices: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Neighbouring rows together: where they go, the first, how many."""
    begin, count = 0, 0
    for at, index in enumerate(indices):
        if count and int(index) == int(indices[begin]) + count:
            count += 1
            continue
        if count:
            yield begin, int(indices[begin]), count
        begin, count = at, 1
    if count:
        yield begin, int(indices[begin]), count
