"""The laptop's engine: WASM Programs on wasmtime, all in one linear memory.

The engine owns the memory; every Program's module imports it, so buffers are shared by all
Programs without copies and a handle is simply an address. `compiler/frame.py` describes the
frame through which `run` passes addresses to a Program.

Not here: compiling graphs (`targets/wasm/`) and deciding what to keep loaded (`realize/`).
"""

from __future__ import annotations

import atexit
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from weakref import WeakSet

import wasmtime

from tabgrad import config as settings
from tabgrad.compiler.frame import FRAME, HEAP, MAX_SLOTS, SLOTS
from tabgrad.engines.allocator import Allocator
from tabgrad.engines.engine import (
    Bytes,
    Handle,
    MemoryUse,
    ProgramLike,
    argument_counts,
    check_features,
    flat_bytes,
    kept_and_written,
    wrong_count,
)
from tabgrad.errors import EngineError

PAGE = 65536
MAX_PAGES = 65536

# wasmtime refuses the 10,001st instance of a store and frees none before the store. An instance
# that is no longer wanted also keeps its machine code, so a store is given up long before that.
MAX_INSTANCES = 9_000
MAX_DEAD_INSTANCES = 1_000

# Measured: below about 24 rows a loop over slices (0.15 us a row) beats NumPy's `take` (4 us).
NUMPY_ROWS = 24

# entry, rows, status, arena, scratch, (barrier), scratch bytes, derived
_HEAD = struct.Struct("<5I8x2I")


@cache
def _wasmtime_engine(relaxed_simd: bool) -> wasmtime.Engine:
    # One for the process: it holds compiler settings and threads, but no memory of Programs.
    config = wasmtime.Config()
    config.wasm_simd = True
    # A config without relaxed SIMD refuses also the SIMD opcodes of that proposal, so a
    # deterministic engine cannot run code that might round differently elsewhere.
    config.wasm_relaxed_simd = relaxed_simd
    config.wasm_threads = True
    config.wasm_bulk_memory = True
    if settings.cache:
        # Measured on a module of 22 kB: 15 ms to compile, 16 ms when the result is also stored,
        # 0.3 ms from the store. wasmtime keeps it small by itself.
        try:
            config.cache = True
        except wasmtime.WasmtimeError:
            pass  # a home that cannot be written to
    return wasmtime.Engine(config)


@cache
def _slots(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}I")


class _Signature:
    """The type of a function without parameters and results, asked for by each call."""

    params: tuple[()] = ()
    results: tuple[()] = ()

    def __init__(self, of: Any) -> None:
        self._of = of

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)


@dataclass(slots=True)
class _Area:
    """Temporary memory that all Programs share."""

    address: Handle
    nbytes: int = 0


@dataclass(eq=False, slots=True)
class _Derived:
    """What an entry derives from state: room for it, and from which buffers it was made last."""

    nbytes: int
    places: list[int]  # of that state among the arguments
    address: Handle = 0
    source: tuple[int, ...] | None = None  # None when it must be made (again)


@dataclass(eq=False, slots=True, weakref_slot=True)
class Loaded:
    """A Program that `WasmtimeEngine.load` has compiled; opaque to everyone else."""

    module: wasmtime.Module
    constants: list[Handle]  # to free
    entries: list[tuple[Handle, ...]]  # of each entry: the words of its constants
    counts: list[int]  # of each entry: how many arguments `run` takes
    writes: list[list[int]]  # of each entry: the places of what it writes among them
    derived: list[_Derived | None]
    unloaded: bool = False
    store: int = 0  # number of the store that `call` belongs to; 0 is none
    call: Callable[[wasmtime.Store], Any] | None = field(default=None, repr=False)


# wasmtime's objects cannot be finalised once the interpreter has begun to take its modules apart:
# each would print a traceback. So whatever is left is given back at exit, before that.
_open_engines: WeakSet[WasmtimeEngine] = WeakSet()
_open_programs: WeakSet[Loaded] = WeakSet()


@atexit.register
def _close_all() -> None:
    for loaded in list(_open_programs):
        loaded.call = None
        loaded.module.close()
    for engine in list(_open_engines):
        engine.close()
        engine._engine.close()


class WasmtimeEngine:
    """Runs WASM Programs with wasmtime.

    Args:
        deterministic: refuse relaxed SIMD, so that results have the same bits everywhere.

    Example:
        >>> engine = WasmtimeEngine()
        >>> buffer = engine.alloc(4)
        >>> engine.write(buffer, b"abcd")
        >>> engine.read(buffer, 2, offset=1)
        b'bc'
    """

    kind = "wasm"

    def __init__(self, *, deterministic: bool = False) -> None:
        self.deterministic = deterministic
        self.features = frozenset[str]() if deterministic else frozenset({"relaxed-simd"})
        self._engine = _wasmtime_engine(not deterministic)
        self._heap = Allocator(HEAP, 2 * PAGE)
        self.closed = False
        _open_engines.add(self)
        self._watched: dict[Handle, set[_Derived]] = {}
        self._store_number = 0
        self._open_store(pages=2)
        # Temporary memory, shared by all Programs because they run one at a time.
        self._arena = _Area(self.alloc(0))
        self._scratch = _Area(self.alloc(0))

    # Memory

    def alloc(self, nbytes: int, dtype: str = "float32") -> Handle:
        address = self._heap.alloc(nbytes)
        if address is None:
            self._grow(nbytes)
            address = self._heap.alloc(nbytes)
            assert address is not None
        return address

    def free(self, handle: Handle) -> None:
        if self.closed:
            return
        if self._watched:
            self._forget(handle)
        try:
            self._heap.free(handle)
        except KeyError:
            raise _dead(handle) from None

    def write(self, handle: Handle, data: Bytes, offset: int = 0) -> None:
        if type(data) is not bytes:
            data = flat_bytes(data)
        self._check(handle, len(data), offset)
        if self._watched:
            self._forget(handle)
        start = handle + offset
        self._view[start : start + len(data)] = data

    def read(self, handle: Handle, nbytes: int, offset: int = 0) -> bytes:
        self._check(handle, nbytes, offset)
        start = handle + offset
        return self._view[start : start + nbytes].tobytes()

    async def read_async(self, handle: Handle, nbytes: int, offset: int = 0) -> bytes:
        return self.read(handle, nbytes, offset)

    def copy_rows(self, dst: Handle, src: Handle, row_bytes: int, indices: Sequence[int]) -> None:
        count = len(indices)
        if count == 0 or row_bytes == 0:
            return
        self._check(dst, count * row_bytes, 0)
        self._check(src, 0, 0)
        if self._watched:
            self._forget(dst)
        rows = (self._heap.size(src) or 0) // row_bytes
        if dst == src:
            raise EngineError("copy_rows: dst and src must be two buffers", code="range")
        if isinstance(indices, range) and indices.step == 1:
            _check_rows(indices[0], indices[-1], rows)
            start = src + indices[0] * row_bytes
            self._view[dst : dst + count * row_bytes] = self._view[
                start : start + count * row_bytes
            ]
        elif count >= NUMPY_ROWS and "numpy" in sys.modules:
            self._take(dst, src, row_bytes, rows, indices)
        else:
            if hasattr(indices, "tolist"):  # NumPy's narrow integers would overflow below
                indices = indices.tolist()
            _check_rows(min(indices), max(indices), rows)
            view = self._view
            to = dst
            for index in indices:
                start = src + index * row_bytes
                view[to : to + row_bytes] = view[start : start + row_bytes]
                to += row_bytes

    def _take(
        self, dst: Handle, src: Handle, row_bytes: int, rows: int, indices: Sequence[int]
    ) -> None:
        import numpy

        order = numpy.asarray(indices)
        _check_rows(int(order.min()), int(order.max()), rows)
        memory = numpy.frombuffer(self._view, numpy.uint8)
        row = numpy.dtype(("V", row_bytes))
        numpy.take(
            memory[src : src + rows * row_bytes].view(row),
            order,
            out=memory[dst : dst + len(order) * row_bytes].view(row),
            mode="clip",  # checked above; "raise" would make NumPy take a copy of `out` first
        )

    def memory_use(self) -> MemoryUse:
        return MemoryUse(self._heap.live, self._heap.peak, 0 if self.closed else len(self._view))

    # Programs

    def load(self, program: ProgramLike) -> Loaded:
        self._check_open()
        check_features(program, self.features)
        try:
            module = wasmtime.Module(self._engine, program.binary)
        except wasmtime.WasmtimeError as error:
            raise EngineError(f"wasmtime refused a Program: {error}", code="compile") from error
        names = {export.name for export in module.exports}
        if "run" not in names:
            raise EngineError(
                f"expected a Program's module to export 'run', it exports {sorted(names)}",
                code="compile",
            )
        roles = [kept_and_written(entry) for entry in program.entries]
        derived = [
            _Derived(entry.derived, kept) if entry.derived else None
            for entry, (kept, _) in zip(program.entries, roles, strict=True)
        ]
        writes = [written for _, written in roles]
        loaded = Loaded(module, [], [], argument_counts(program), writes, derived)
        _open_programs.add(loaded)
        try:
            self._place_constants(loaded, program)
            for entry in program.entries:
                self._reserve(self._arena, entry.arena)
                self._reserve(self._scratch, entry.scratch)
            self._instantiate(loaded)
        except EngineError:
            self.unload(loaded)
            raise
        return loaded

    def unload(self, loaded: Loaded) -> None:
        if self.closed or loaded.unloaded:
            return
        loaded.unloaded = True
        if loaded.store == self._store_number:
            self._dead_instances += 1
        loaded.call = None
        loaded.store = 0
        for handle in loaded.constants:
            self.free(handle)
        for derived in loaded.derived:
            if derived is not None and derived.address:
                self.free(derived.address)
                for handle in derived.source or ():
                    self._watched.get(handle, set()).discard(derived)

    def run(self, loaded: Loaded, entry: int, args: Sequence[int], rows: int = 0) -> None:
        # What a call costs, measured with wasmtime 50 on CPython 3.11 and an empty `run`: 4.1 us in
        # all with 15 slots, 6.4 us with 300. Of that 3.4 us are the call itself (6.1 us before the
        # function's type was kept, see `_instantiate`) and 0.3 us the frame. Four parameters
        # instead of a frame would cost 63 us, `Memory.write` for the frame 4.5 us.
        if loaded.store != self._store_number:
            self._instantiate(loaded)
        if len(args) != loaded.counts[entry]:
            raise wrong_count(entry, loaded.counts[entry], len(args))
        words = (*args, *loaded.entries[entry])
        if len(words) > MAX_SLOTS:
            raise EngineError(
                f"entry {entry} has {len(words)} slots, a frame has room for {MAX_SLOTS}",
                code="range",
            )
        derived = loaded.derived[entry]
        if derived is not None:
            source = tuple([args[i] for i in derived.places])
            if derived.source != source:
                if not derived.address:
                    derived.address = self.alloc(derived.nbytes)
                derived.source = None  # should making it fail, it is neither the old nor the new
                self._call(loaded, entry + len(loaded.entries), words, rows, derived.address)
                derived.source = source
                for handle in source:
                    self._watched.setdefault(handle, set()).add(derived)
        if self._watched:
            for i in loaded.writes[entry]:
                self._forget(args[i])
        self._call(loaded, entry, words, rows, derived.address if derived is not None else 0)

    def _call(
        self, loaded: Loaded, entry: int, words: tuple[int, ...], rows: int, derived: Handle
    ) -> None:
        view = self._view
        scratch = self._scratch
        _HEAD.pack_into(
            view, FRAME, entry, rows, 0, self._arena.address, scratch.address, scratch.nbytes,
            derived,
        )  # fmt: skip
        _slots(len(words)).pack_into(view, SLOTS, *words)
        try:
            loaded.call(self._store)  # type: ignore[misc]
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            raise EngineError(
                f"a Program failed while running entry {entry}: {error}", code="trap"
            ) from error

    def _forget(self, handle: Handle) -> None:
        """What was derived from a buffer is no longer right."""
        for derived in self._watched.pop(handle, ()):
            derived.source = None

    def sync(self) -> None:
        self._check_open()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        # The views lie on memory of the store: none may be left when the store goes.
        self._view.release()
        self._store_number += 1
        self._store.close()
        self._heap = Allocator(HEAP, HEAP)

    # Inside

    def _check(self, handle: Handle, nbytes: int, offset: int) -> None:
        size = self._heap.size(handle)
        if size is None:
            raise _dead(handle)
        if offset < 0 or nbytes < 0 or offset + nbytes > size:
            raise EngineError(
                f"buffer {handle} has {size} bytes, asked for {nbytes} at offset {offset}",
                code="range",
            )

    def _check_open(self) -> None:
        if self.closed:
            raise EngineError("this engine is closed", code="handle")

    def _grow(self, nbytes: int) -> None:
        self._check_open()
        pages = len(self._view) // PAGE
        missing = -(-self._heap.shortfall(nbytes) // PAGE)
        # Ahead of need, so that growing stays rare; pages that were never touched cost nothing.
        ahead = min(max(missing, pages // 8, 16), MAX_PAGES - pages)
        if not (missing <= ahead and self._add_pages(ahead)) and not self._add_pages(missing):
            raise EngineError(
                f"no memory for a buffer of {nbytes:,} bytes: {self._heap.live:,} bytes are in "
                "use and a WebAssembly memory ends at 4 GiB; free tensors or use smaller batches",
                code="memory",
            )
        self._map()
        self._heap.extend(len(self._view))

    def _add_pages(self, count: int) -> bool:
        try:
            self._memory.grow(self._store, count)
        except wasmtime.WasmtimeError:
            return False
        return True

    def _place_constants(self, loaded: Loaded, program: ProgramLike) -> None:
        placed: dict[bytes, Handle] = {}  # entries often share constants: each is kept once
        for entry in program.entries:
            words = []
            for constant in entry.constants:
                content = bytes(constant)
                if content not in placed:
                    placed[content] = self.alloc(len(content))
                    loaded.constants.append(placed[content])
                    self.write(placed[content], content)
                words.append(placed[content])
            loaded.entries.append(tuple(words))

    def _reserve(self, area: _Area, nbytes: int) -> None:
        if nbytes <= area.nbytes:
            return
        # Temporaries hold nothing between runs, so the old block goes before the new is made; if
        # that fails, Programs already loaded get a block of the old size again.
        self.free(area.address)
        try:
            area.address = self.alloc(nbytes)
            area.nbytes = nbytes
        except EngineError:
            area.address = self.alloc(area.nbytes)
            raise

    def _open_store(self, pages: int) -> None:
        store = wasmtime.Store(self._engine)
        limits = wasmtime.Limits(pages, MAX_PAGES)
        try:
            self._memory = wasmtime.Memory(store, wasmtime.MemoryType(limits))
        except wasmtime.WasmtimeError as error:
            raise EngineError(
                f"wasmtime could not make a memory of {pages * PAGE:,} bytes: {error}",
                code="memory",
            ) from error
        self._store = store
        self._store_number += 1
        self._instances = 0
        self._dead_instances = 0
        self._map()

    def _map(self) -> None:
        # The public way to the bytes without a copy; taken anew after each growth.
        self._view = memoryview(self._memory.get_buffer_ptr(self._store)).cast("B")

    def _instantiate(self, loaded: Loaded) -> None:
        self._check_open()
        if loaded.unloaded:
            raise EngineError("this Program was unloaded", code="unloaded")
        if self._instances >= MAX_INSTANCES or self._dead_instances >= MAX_DEAD_INSTANCES:
            self._renew_store()
        try:
            instance = wasmtime.Instance(self._store, loaded.module, [self._memory])
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            raise EngineError(
                f"wasmtime could not instantiate a Program: {error}", code="compile"
            ) from error
        self._instances += 1
        run = instance.exports(self._store)["run"]
        assert isinstance(run, wasmtime.Func)
        # `Func.__call__` asks for the function's type each time, which is half of what a call
        # costs. It does so through the public `type`, which may as well answer from memory.
        signature = _Signature(run.type(self._store))
        run.type = lambda store: signature  # type: ignore[method-assign, assignment, return-value]
        loaded.call = run
        loaded.store = self._store_number

    def _renew_store(self) -> None:
        """Move to a new store. Programs follow when they run next, without being recompiled."""
        old_store, old_view = self._store, self._view
        self._open_store(pages=len(old_view) // PAGE)
        end = self._heap.high_water()
        self._view[HEAP:end] = old_view[HEAP:end]
        old_view.release()
        old_store.close()


def _dead(handle: Handle) -> EngineError:
    return EngineError(
        f"{handle} is not a live buffer of this engine; it was freed, or never allocated",
        code="handle",
    )


def _check_rows(lowest: int, highest: int, rows: int) -> None:
    if lowest < 0 or highest >= rows:
        raise EngineError(
            f"copy_rows: indices from {lowest} to {highest}, but src has {rows} rows",
            code="range",
        )
