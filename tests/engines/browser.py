"""An engine whose methods are carried out in a page of headless Chromium, by the player's engines.

Any code of tabgrad on this machine computes on the browser's GPU while it is current:

    with realize.using(BrowserEngine("webgpu")):
        ...

What needs no answer is queued here and goes over at once with the next question, so a small
Program costs one round trip. An error of queued work is therefore raised by the next `read` or
`sync`. One browser with one page serves the whole process; it has a thread of its own, so it is in
no other event loop's way.

Not here: what the page does with the commands (`browser.js`).
"""

from __future__ import annotations

import atexit
import base64
import itertools
import json
import os
import resource
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

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
from tabgrad.errors import EngineError
from tools.browser import launch
from tools.static_server import serve

if TYPE_CHECKING:
    from playwright.sync_api import Page

HERE = Path(__file__).resolve().parent
PLAYER = HERE.parent.parent / "src" / "tabgrad" / "player"
MAX_QUEUED = 64 << 20  # bytes


class _Browser:
    """The browser, in a thread: Playwright's objects belong to the one that made them."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[Page], Any], Future[Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._live, name="browser", daemon=True)
        # Before whatever else is done at the interpreter's end, removing the folder included.
        self._folder = tempfile.TemporaryDirectory()
        atexit.register(self.close)
        self._thread.start()

    def do(self, job: Callable[[Page], Any]) -> Any:
        """What a function of the page returns."""
        future: Future[Any] = Future()
        self._jobs.put((job, future))
        return future.result()

    def close(self) -> None:
        """Ends the browser."""
        self._jobs.put(None)
        self._thread.join()

    def _live(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # no browser, say: whoever waits has to hear of it
            while (job := self._jobs.get()) is not None:
                job[1].set_exception(error)

    def _serve(self) -> None:
        from playwright.sync_api import sync_playwright

        with self._folder as name, sync_playwright() as playwright:
            folder = Path(name)
            (folder / "player").symlink_to(PLAYER)
            (folder / "browser.js").symlink_to(HERE / "browser.js")
            (folder / "empty.html").write_text("<!doctype html><title>empty</title>")
            browser = launch(playwright, gpu=True)
            with serve(folder, {"Cache-Control": "no-store"}) as address:
                page = browser.new_page()
                page.goto(f"{address}empty.html")
                while (job := self._jobs.get()) is not None:
                    function, future = job
                    try:
                        future.set_result(function(page))
                    except Exception as error:
                        future.set_exception(error)
            browser.close()


_browser: _Browser | None = None


def in_page(function: str, value: Any = None) -> Any:
    """What a JavaScript function answers in the page, which is started by the first call.

    browser.js is at "/browser.js" there, the player in "/player/".
    """
    global _browser
    if _browser is None:
        _browser = _Browser()
    return _browser.do(lambda page: page.evaluate(function, value))


def at(address: str, function: str, value: Any = None) -> Any:
    """What a JavaScript function answers in another page of that browser."""

    def visit(page: Page) -> Any:
        assert page.context.browser is not None
        other = page.context.browser.new_page()
        try:
            other.goto(address)
            return other.evaluate(function, value)
        finally:
            other.close()

    in_page("() => {}")
    assert _browser is not None
    return _browser.do(visit)


def heap_size() -> int:
    """Bytes that JavaScript holds on to in the page, nothing being garbage."""

    def size(page: Page) -> int:
        session = page.context.new_cdp_session(page)
        session.send("HeapProfiler.collectGarbage")
        used = session.send("Runtime.getHeapUsage")["usedSize"]
        session.detach()
        return int(used)

    in_page("() => {}")
    assert _browser is not None
    return int(_browser.do(size))


def _gpu_process() -> Path:
    """What Linux tells of the process in which the browser's GPU lives."""

    def process(page: Page) -> int:
        assert page.context.browser is not None
        session = page.context.browser.new_browser_cdp_session()
        found = session.send("SystemInfo.getProcessInfo")["processInfo"]
        session.detach()
        return int(next(one["id"] for one in found if one["type"] == "GPU"))

    in_page("() => {}")
    assert _browser is not None
    return Path(f"/proc/{_browser.do(process)}")


def gpu_process_memory() -> int:
    """Resident bytes of the process in which the browser's GPU lives."""
    pages = (_gpu_process() / "statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


def gpu_process_seconds() -> float:
    """What that process has computed so far, on all processors together."""
    ticks = (_gpu_process() / "stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


@dataclass(eq=False, slots=True)
class Loaded:
    """A Program that was handed over; opaque to everyone else."""

    number: int
    counts: list[int]  # of each entry: how many arguments `run` takes
    scalars: list[list[int]]  # of each entry: which of them are no handles


class BrowserEngine:
    """Runs Programs in Chromium.

    Args:
        module: the file in the player's folder, without ".js", whose `open()` resolves to an
            engine.
        options: given to `open`; `halves=True` is what keeps float16 in 16 bits on WebGPU.
    """

    def __init__(self, module: str = "webgpu", **options: Any) -> None:
        self._numbers = itertools.count(1)
        self._queue: list[list[Any]] = []
        self._queued = 0  # bytes
        self.closed = False
        self.trips = 0  # how often the page was asked
        opened = in_page(
            "async (given) => (await import('/browser.js')).start(...given)", [module, options]
        )
        self._number = self._checked(opened)["number"]
        self.kind: str = opened["kind"]
        self.features: frozenset[str] = frozenset(opened["features"])
        self.info: dict[str, Any] = opened["info"]

    # Memory

    def alloc(self, nbytes: int, dtype: str = "float32") -> Handle:
        self._check_open()
        handle = next(self._numbers)
        self._tell("alloc", handle, nbytes, dtype)
        return handle

    def free(self, handle: Handle) -> None:
        if not self.closed:
            self._tell("free", handle)

    def write(self, handle: Handle, data: Bytes, offset: int = 0) -> None:
        self._check_open()
        self._tell("write", handle, self._packed(flat_bytes(data)), offset)
        if self._queued > MAX_QUEUED:
            self._ask("sync")

    def read(self, handle: Handle, nbytes: int, offset: int = 0) -> bytes:
        return base64.b64decode(self._ask("read", handle, nbytes, offset))

    async def read_async(self, handle: Handle, nbytes: int, offset: int = 0) -> bytes:
        return self.read(handle, nbytes, offset)

    def copy_rows(self, dst: Handle, src: Handle, row_bytes: int, indices: Sequence[int]) -> None:
        self._check_open()
        if dst == src:
            raise EngineError("copy_rows: dst and src must be two buffers", code="range")
        self._tell("copyRows", dst, src, row_bytes, [int(index) for index in indices])

    def memory_use(self) -> MemoryUse:
        if self.closed:
            return MemoryUse(0, 0, 0)
        use = self._ask("memoryUse")
        return MemoryUse(use["live"], use["peak"], use["capacity"])

    # Programs

    def load(self, program: ProgramLike) -> Loaded:
        self._check_open()
        check_features(program, self.features)
        scalars = [_scalars(entry) for entry in program.entries]
        entries = [
            {
                "inputs": [{"scalar": i in marked} for i in range(len(entry.inputs))],
                "state": [{"variable": name, "update": update} for name, update in entry.state],
                "outputs": [{}] * len(entry.outputs),
                "constants": [self._packed(flat_bytes(data)) for data in entry.constants],
                "arena": entry.arena,
                "scratch": entry.scratch,
                "derived": entry.derived,
            }
            for entry, marked in zip(program.entries, scalars, strict=True)
        ]
        number = next(self._numbers)
        self._tell("load", number, entries, self._packed(memoryview(program.binary)))
        return Loaded(number, argument_counts(program), scalars)

    def unload(self, loaded: Loaded) -> None:
        if loaded.number and not self.closed:
            self._tell("unload", loaded.number)
        loaded.number = 0

    def run(self, loaded: Loaded, entry: int, args: Sequence[int], rows: int = 0) -> None:
        self._check_open()
        if not loaded.number:
            raise EngineError("this Program was unloaded", code="unloaded")
        if len(args) != loaded.counts[entry]:
            raise wrong_count(entry, loaded.counts[entry], len(args))
        self._tell("run", loaded.number, entry, list(args), loaded.scalars[entry], rows)

    def sync(self) -> None:
        self._ask("sync")

    def close(self) -> None:
        if not self.closed:
            self._ask("close")
            self.closed = True

    # What is not in the protocol

    def evaluate(self, function: str, value: Any = None) -> Any:
        """What a JavaScript function of the page's engine answers, after everything queued."""
        self._ask("nothing")
        return in_page(
            f"""async ([number, value]) => {{
                const {{ engineOf }} = await import("/browser.js");
                return ({function})(engineOf(number), value);
            }}""",
            [self._number, value],
        )

    # Inside

    def _packed(self, data: memoryview) -> str:
        self._queued += len(data)
        return base64.b64encode(data).decode()

    def _tell(self, *command: Any) -> None:
        self._queue.append(list(command))

    def _ask(self, *command: Any) -> Any:
        self._check_open()
        self._tell(*command)
        queue, self._queue, self._queued = self._queue, [], 0
        self.trips += 1
        answer = in_page(
            "async ([number, text]) => (await import('/browser.js')).work(number, text)",
            [self._number, json.dumps(queue, separators=(",", ":"))],
        )
        return self._checked(answer)["result"]

    def _checked(self, answer: dict[str, Any]) -> dict[str, Any]:
        if "code" in answer:
            raise EngineError(answer["message"], code=answer["code"])
        return answer

    def _check_open(self) -> None:
        if self.closed:
            raise EngineError("this engine is closed", code="handle")


def _scalars(entry: Any) -> list[int]:
    return [i for i, port in enumerate(entry.inputs) if getattr(port, "scalar", False)]
