"""The engine of a page with Python in it (Pyodide): hands Programs to the player.

The player's `wasm.js` does the work in the same thread, so reading values needs no waiting.
Memory and Programs live in JavaScript; Python holds integers, and bytes cross once, straight
between Python's memory and the engine's. Works on the main thread, in a worker and in Node.

Not here: GPUs (`page_gpu.py`, `page_gl.py`); pages without Python, where the player runs alone.
"""

from __future__ import annotations

import asyncio
import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from tabgrad.engines.engine import (
    Bytes,
    Handle,
    MemoryUse,
    ProgramLike,
    argument_counts,
    check_features,
    flat_bytes,
    wrong_count,
)
from tabgrad.engines.javascript import script
from tabgrad.errors import EngineError

P = ParamSpec("P")
R = TypeVar("R")

MODULE = "engines/page.js"
GLOBAL = "$tabgrad_page"
_modules: dict[str, Any] = {}  # the exports of page.js and the like once they are loaded


async def prepare(engine: str = "wasm") -> None:
    """Load the JavaScript half where a page's Content-Security-Policy forbids evaluating strings.

    Everywhere else, and in workers, the first engine loads it by itself. The policy must allow
    scripts from `blob:`.

    Args:
        engine: "wasm", "webgl", or "webgpu": its device, too, has to be waited for, so where
            Python cannot wait (no JSPI) this comes before `tg.set_engine("webgpu")`.

    Raises:
        EngineError: when the browser refuses the script ("policy"), or has no GPU ("adapter").

    Example:
        from tabgrad.engines import page
        await page.prepare()
    """
    if engine == "webgpu":
        from tabgrad.engines import page_gpu

        await page_gpu.prepare()
    elif engine == "webgl":
        from tabgrad.engines import page_gl

        await load_module(page_gl.MODULE)
    else:
        await load_module(MODULE)


async def load_module(path: str) -> Any:
    """The exports of one of the package's JavaScript files, loaded in whatever way is allowed."""
    if path not in _modules and not _evaluate(path):
        from js import document
        from pyodide.ffi import create_once_callable

        loaded = asyncio.get_running_loop().create_future()
        element = document.createElement("script")
        element.onload = create_once_callable(lambda event: loaded.set_result(True))
        element.onerror = create_once_callable(lambda event: loaded.set_result(False))
        with _address_of_script(path) as element.src:
            document.head.append(element)
            done = await loaded
        element.remove()
        if not done:
            raise EngineError(
                "the page's Content-Security-Policy keeps tabgrad's JavaScript from loading; "
                "allow 'unsafe-eval' or blob: in script-src",
                code="policy",
            )
        _modules[path] = _take_global()
    return _modules[path]


def loaded_module(path: str) -> Any:
    """`load_module` without waiting, but where Python can wait for JavaScript.

    Raises:
        EngineError: where it cannot, and the page's policy demands it ("policy").
    """
    if path not in _modules and not _evaluate(path):
        from pyodide.ffi import can_run_sync, run_sync

        if not can_run_sync():
            raise EngineError(
                "the page's Content-Security-Policy forbids evaluating strings; start with "
                "`await tabgrad.engines.page.prepare()`",
                code="policy",
            )
        run_sync(load_module(path))
    return _modules[path]


def _evaluate(path: str) -> bool:
    """Load a file without waiting; False where the page's policy forbids it."""
    import js
    from pyodide.code import run_js
    from pyodide.ffi import JsException

    try:
        _modules[path] = run_js(f"{script(path)}\n//# sourceURL=tabgrad/{path}")
    except JsException as error:
        if error.name != "EvalError":
            raise
        if not hasattr(js, "importScripts"):
            return False
        with _address_of_script(path) as address:
            js.importScripts(address)
        _modules[path] = _take_global()
    return True


@contextmanager
def _address_of_script(path: str) -> Iterator[str]:
    """An address of a file as a classic script, which leaves its exports in a global name."""
    from js import URL, Blob
    from pyodide.ffi import to_js

    text = f"globalThis.{GLOBAL} = {script(path)};"
    address = URL.createObjectURL(Blob.new(to_js([text])))
    try:
        yield address
    finally:
        URL.revokeObjectURL(address)


def _take_global() -> Any:
    import js

    exports = getattr(js, GLOBAL)
    delattr(js, GLOBAL)
    return exports


def raises_engine_errors(method: Callable[P, R]) -> Callable[P, R]:
    """The player's errors have the protocol's codes; what is thrown besides is no engine's."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except Exception as error:
            raise engine_error(error) from None

    return call


def engine_error(error: Exception) -> Exception:
    """What was thrown, as an EngineError where the player threw it."""
    code = getattr(error, "code", None)
    if isinstance(error, EngineError) or not isinstance(code, str):
        return error
    return EngineError(getattr(error, "message", str(error)), code=code)


@dataclass(eq=False, slots=True)
class Loaded:
    """A Program that `PageEngine.load` has handed over; opaque to everyone else."""

    id: int  # 0 once unloaded
    counts: list[int]  # of each entry: how many arguments `run` takes


class PageEngine:
    """Runs WASM Programs in the page that Python itself runs in.

    Args:
        deterministic: refuse relaxed SIMD, so that results have the same bits everywhere.

    Raises:
        EngineError: where the page's policy keeps JavaScript from loading; see `prepare`.

    Example:
        >>> engine = PageEngine()  # doctest: +SKIP
        >>> buffer = engine.alloc(4)  # doctest: +SKIP
    """

    kind = "wasm"

    @raises_engine_errors
    def __init__(self, *, deterministic: bool = False) -> None:
        self.deterministic = deterministic
        self._take(loaded_module(MODULE).open())
        if deterministic:
            self.features -= {"relaxed-simd"}
        self._view = self._player.view
        self._target = self._player.target

    def _take(self, player: Any) -> None:
        self._player = player
        self.features = frozenset(player.features.split())
        # Looking a function up costs as much as calling it, so those called at each step are kept.
        self._alloc = self._player.alloc
        self._free = self._player.free
        self._run = self._player.run
        self._words: dict[int, Callable[[array[int]], None]] = {}
        self._capacity = self._player.capacity()
        self.closed = False

    @raises_engine_errors
    def alloc(self, nbytes: int, dtype: str = "float32") -> Handle:
        self._check_open()
        return int(self._alloc(nbytes))

    @raises_engine_errors
    def free(self, handle: Handle) -> None:
        if not self.closed:
            self._free(handle)

    @raises_engine_errors
    def write(self, handle: Handle, data: Bytes, offset: int = 0) -> None:
        if type(data) is not bytes:
            data = flat_bytes(data)
        self._target(handle, len(data), offset).assign(data)

    @raises_engine_errors
    def read(self, handle: Handle, nbytes: int, offset: int = 0) -> bytes:
        content: bytes = self._view(handle, nbytes, offset).to_bytes()
        return content

    async def read_async(self, handle: Handle, nbytes: int, offset: int = 0) -> bytes:
        return self.read(handle, nbytes, offset)

    @raises_engine_errors
    def copy_rows(self, dst: Handle, src: Handle, row_bytes: int, indices: Sequence[int]) -> None:
        count = len(indices)
        if dst == src:
            raise EngineError("copy_rows: dst and src must be two buffers", code="range")
        if isinstance(indices, range) and indices.step == 1:
            self._player.copyRange(dst, src, row_bytes, indices.start, count)
            return
        try:
            self._send(array("I", indices))
        except OverflowError:
            raise EngineError(
                f"copy_rows: indices must not be negative, the lowest is {min(indices)}",
                code="range",
            ) from None
        self._player.copyRows(dst, src, row_bytes, count)

    @raises_engine_errors
    def load(self, program: ProgramLike) -> Loaded:
        self._check_open()
        check_features(program, self.features)
        entries = [
            {
                "arena": e.arena,
                "scratch": e.scratch,
                "derived": e.derived,
                "constants": [len(c) for c in e.constants],
                "inputs": len(e.inputs),
                "state": [{"update": update} for _, update in e.state],
                "outputs": len(e.outputs),
            }
            for e in program.entries
        ]
        constants = b"".join(bytes(c) for e in program.entries for c in e.constants)
        number = self._player.load(
            typed_array(program.binary), json.dumps(entries), typed_array(constants)
        )
        return Loaded(int(number), argument_counts(program))

    @raises_engine_errors
    def unload(self, loaded: Loaded) -> None:
        if loaded.id and not self.closed:
            self._player.unload(loaded.id)
        loaded.id = 0

    @raises_engine_errors
    def run(self, loaded: Loaded, entry: int, args: Sequence[int], rows: int = 0) -> None:
        # Measured in Chromium with Pyodide 314: 3.2 us with 12 arguments, of which 0.7 us place the
        # words. `write` and `read` take 4.7 us for a few bytes, 35 and 24 us for a megabyte; with
        # a proxy of Python's buffer (`getBuffer`) each write would take 8 us more.
        if not loaded.id or self.closed:
            self._check_open()
            raise EngineError("this Program was unloaded", code="unloaded")
        count = len(args)
        if count != loaded.counts[entry]:
            raise wrong_count(entry, loaded.counts[entry], count)
        self._send(array("I", args))
        self._run(loaded.id, entry, count, rows)

    def sync(self) -> None:
        self._check_open()

    def memory_use(self) -> MemoryUse:
        live, peak, capacity = self._player.memoryUse().to_py().tolist()
        return MemoryUse(int(live), int(peak), int(capacity))

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._player.close()

    def _check_open(self) -> None:
        if self.closed:
            raise EngineError("this engine is closed", code="handle")

    def _send(self, words: array[int]) -> None:
        """Place words where the next `run` or `copyRows` takes them from."""
        count = len(words)
        assign = self._words.get(count)
        if assign is None:
            # One typed array for each length in use: `assign` demands exactly as many words.
            if count > self._capacity or len(self._words) > 200:
                self._words.clear()
            self._words[count] = assign = self._player.words(count).assign
            self._capacity = self._player.capacity()
        assign(words)


def typed_array(data: Bytes) -> Any:
    """A copy of bytes as JavaScript has them."""
    from js import Uint8Array

    copied = Uint8Array.new(len(data))
    copied.assign(data)
    return copied
