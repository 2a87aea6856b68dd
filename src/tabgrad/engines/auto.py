"""Which engine runs a Program fastest, measured: what `tg.set_engine("auto")` goes by.

A Program of much work is timed on the engine it runs on and on the others of this machine, on
scratch copies of everything it touches. What was found is remembered by device and Program: in a
file of the user's cache folder, in a page in its storage.

Not here: when that happens and who changes over (`training.py`); compiling (`realize/`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabgrad import config
from tabgrad.compiler.program import Program
from tabgrad.engines.faults import FAULTS
from tabgrad.errors import EngineError, MissingPackageError, NotSupportedError

WORTH = 100_000_000  # operations a call: below that another engine would gain nothing to speak of
SECONDS = 1.0  # for all measurements of a Program, but for compiling it
SHARE = 0.25  # of that, for the engine it runs on, which has its code already
GAIN = 0.8  # another engine has to take less than this share of the time
RUNS = 5
OUTDATED = 30 * 24 * 3600  # seconds after which a machine may have got another GPU
STORED = "tabgrad-engines"


@dataclass(frozen=True)
class Slot:
    """What one argument of a Program is copied from: its bytes, their number, or a host scalar."""

    dtype: str
    nbytes: int
    raw: bytes | None = None
    word: int | None = None


@dataclass(frozen=True)
class Choice:
    """Another engine to go on with."""

    engine: Any
    key: str
    reason: str


def candidates() -> tuple[str, ...]:
    """Names of the engines beside "wasm" that this kind of machine may have, the best first."""
    return ("webgpu", "webgl") if sys.platform == "emscripten" else ("webgpu",)


async def faster(
    name: str,
    current: Any,
    program: Program,
    loaded: Any,
    slots: Sequence[Slot],
    open_engine: Callable[[str], Any],
    load: Callable[[Any], tuple[Program, Any]],
) -> Choice | None:
    """The engine that runs a Program faster than the current one; None where there is none.

    Args:
        name: what to call the Program in the reason.
        current: the engine it runs on.
        program: the Program there.
        loaded: what `current.load` has returned for it.
        slots: its arguments.
        open_engine: makes an engine of a name.
        load: compiles the Program for an engine, and loads it there.
    """
    key = f"{_host()} | {_digest(program)}"
    known = _remembered().get(key)
    if known is not None and time.time() - known.get("at", 0) > OUTDATED:
        known = None
    if known is not None and known["engine"] == current.kind:
        return None
    ours = math.inf
    spent = 0.0
    looked = False
    found: Choice | None = None
    best = math.inf
    for kind in candidates():
        try:
            engine = await _opened(kind, open_engine)
        except (EngineError, MissingPackageError):
            continue  # there is no such thing here
        device = _device(engine)
        if is_software(engine):
            looked = True
            if config.debug:
                text = f"tabgrad: did not time {name} on {kind}: {device} is the processor again"
                print(text, file=sys.stderr, flush=True)
            continue
        if known is not None and (known["engine"], known["device"]) == (kind, device):
            return Choice(engine, key, f"it was faster there before ({device})")
        begin = time.perf_counter()
        if not math.isfinite(ours):
            ours = await seconds(current, loaded, slots, begin + SECONDS * SHARE)
            spent += time.perf_counter() - begin
        theirs = math.inf
        try:
            _, other = load(engine)
            begin = time.perf_counter()
            theirs = await seconds(engine, other, slots, begin + SECONDS - spent)
            spent += time.perf_counter() - begin
        except (EngineError, NotSupportedError) as error:
            if isinstance(error, EngineError) and error.code not in FAULTS:
                raise
        said = f"{1000 * theirs:.3g} ms there and {1000 * ours:.3g} ms on {current.kind}"
        if config.debug:
            text = f"tabgrad: timed {name} on {kind} ({device}): {said}"
            print(text, file=sys.stderr, flush=True)
        if theirs < min(GAIN * ours, best):
            best, found = theirs, Choice(engine, key, f"{name} takes {said} ({device})")
    if looked or math.isfinite(ours):
        _remember(key, found.engine if found else current)
    return found


async def seconds(engine: Any, loaded: Any, slots: Sequence[Slot], until: float) -> float:
    """How long the first entry of a Program takes on scratch copies of its arguments, the least of
    a few runs; infinity where `time.perf_counter()` passes `until` before the first has ended."""
    made: list[int] = []
    args: list[int] = []
    try:
        for slot in slots:
            if slot.word is not None:
                args.append(slot.word)
                continue
            made.append(engine.alloc(slot.nbytes, slot.dtype))
            args.append(made[-1])
            if slot.raw:
                engine.write(made[-1], slot.raw)
        best = math.inf
        for number in range(1 + RUNS):
            begin = time.perf_counter()
            engine.run(loaded, 0, args, 0)
            # The last arguments are what it writes. Reading waits where an engine has no `sync`
            # that anybody could await.
            await engine.read_async(made[-1], min(slots[-1].nbytes, 4))
            now = time.perf_counter()
            if number or now > until:  # the first compiles, and fills caches
                best = min(best, now - begin)
            if now > until:
                return best if number else math.inf
        return best
    finally:
        for handle in made:
            engine.free(handle)


def is_software(engine: Any) -> bool:
    """Whether the GPU of an engine is a program on the processor: that gains nothing, and one run
    on it, compiling included, may take longer than all that is to be spent here."""
    adapter = getattr(engine, "adapter", None)
    if adapter is not None:
        return bool(adapter.info["adapter_type"] == "CPU")
    renderer = _device(engine).lower()
    named = any(word in renderer for word in ("swiftshader", "llvmpipe", "software"))
    return named or bool(engine.info.get("isFallbackAdapter"))


async def _opened(kind: str, open_engine: Callable[[str], Any]) -> Any:
    if kind == "webgpu" and sys.platform == "emscripten":
        from tabgrad.engines import page

        await page.prepare(kind)
    return open_engine(kind)


def forget(key: str) -> None:
    """The engine that was found for a Program has failed with it."""
    found = _remembered()
    if found.pop(key, None) is not None:
        _store(found)


# Memory


def _digest(program: Program) -> str:
    return hashlib.sha256(program.binary).hexdigest()[:24]


def _host() -> str:
    """This machine, as far as its processor's speed goes."""
    if sys.platform == "emscripten":
        from js import navigator

        return f"{navigator.userAgent} {navigator.hardwareConcurrency}"
    return f"{platform.machine()} {platform.processor()} {os.cpu_count()}"


def _device(engine: Any) -> str:
    """What an engine's GPU is called."""
    adapter = getattr(engine, "adapter", None)
    info = adapter.info if adapter is not None else getattr(engine, "info", {})
    names = ("vendor", "architecture", "device", "description", "renderer")
    return " ".join(str(info[name]) for name in names if info.get(name)) or str(engine.kind)


def _remember(key: str, engine: Any) -> None:
    device = "" if engine.kind == "wasm" else _device(engine)
    _store(_remembered() | {key: {"engine": engine.kind, "device": device, "at": time.time()}})


def _file() -> Path:
    if sys.platform == "win32":
        folder = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        folder = "~/Library/Caches"
    else:
        folder = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(folder).expanduser() / "tabgrad" / "engines.json"


_here: dict[str, Any] = {}  # where nothing can be stored, as long as this process lives


def _remembered() -> dict[str, Any]:
    text: Any = None
    if not config.cache:
        return dict(_here)
    if sys.platform == "emscripten":
        storage = _storage()
        text = (storage.getItem(STORED) or "{}") if storage is not None else None
    else:
        with contextlib.suppress(OSError):
            text = _file().read_text(encoding="utf-8")
    try:
        found = json.loads(text) if text else _here
    except ValueError:  # half written, or another's
        found = _here
    return dict(found) if isinstance(found, dict) else {}


def _store(found: dict[str, Any]) -> None:
    _here.clear()
    _here.update(found)
    if not config.cache:
        return
    text = json.dumps(found, indent=1)
    if sys.platform == "emscripten":
        storage = _storage()
        if storage is not None:
            storage.setItem(STORED, text)
        return
    file = _file()
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        # Whoever reads it meanwhile finds a whole file.
        part = file.with_suffix(f".{os.getpid()}")
        part.write_text(text, encoding="utf-8")
        part.replace(file)


def _storage() -> Any:
    """The page's storage; None in workers, and where the browser keeps it from us."""
    import js
    from pyodide.ffi import JsException

    try:
        return getattr(js, "localStorage", None)
    except JsException:
        return None
