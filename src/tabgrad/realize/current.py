"""The current engine: choosing it, and going on with the next where it fails.

Not here: making engines (`machines.py`), which faults another engine helps with
(`engines/faults.py`), and finding a faster one (`candidates.py`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from tabgrad import machines
from tabgrad.compiler.program import Program
from tabgrad.engines import faults
from tabgrad.engines.engine import MemoryUse
from tabgrad.errors import EngineError, EngineWarning
from tabgrad.ir.entry import EntryGraph
from tabgrad.realize import programs


class _Session:
    def __init__(self) -> None:
        self.engine: Any = None
        self.automatic: Any = None  # the engine "auto" has begun with
        self.engines: WeakSet[Any] = WeakSet()


_session = _Session()


def set_engine(name: str = "auto", *, deterministic: bool = False) -> None:
    """Choose what computes: "auto" and "wasm" (WebAssembly: wasmtime on the laptop, the player in a
    page), "webgpu" (the GPU: wgpu on the laptop, in a page the browser's, whose values are awaited
    by `await t.data()`), "webgl" (the GPU of a browser without WebGPU) or "reference" (NumPy, slow,
    the definition all engines are compared with).

    "auto" begins with WebAssembly. Models whose steps take more than 100 million operations go on
    with another engine of this machine, between epochs or calls, where that was timed to be faster.

    Args:
        name: the engine.
        deterministic: use no instruction whose result may differ between machines, so that the same
            program gives the same bits everywhere.

    Raises:
        ArgumentError: an unknown name, with the list of known ones; `deterministic` on a GPU.
        NotSupportedError: "webgl" outside of a browser.

    Example:
        >>> import tabgrad as tg
        >>> tg.set_engine("wasm", deterministic=True)
        >>> tg.set_engine("auto")
    """
    _become(make_engine(name, deterministic))
    _session.automatic = _session.engine if name == "auto" and not deterministic else None


def automatic() -> bool:
    """Whether a faster engine than the current one may be taken: nobody has asked for this one."""
    return _session.engine is None or _session.engine is _session.automatic


def _become(chosen: Any) -> None:
    _session.engine = chosen
    programs.keep_only(chosen)  # nobody comes back to an engine that was current before


def take_over(error: EngineError) -> None:
    """Make the next engine current after a fault of this one, and warn.

    Values that are on the old one move when they are needed: by their copies on the host, from
    memory that can still be read, or computed again.

    Raises:
        EngineError: `error`, where it is none that another engine helps with, or none is left.
    """
    failed = engine()
    if not faults.is_fault(failed, error):
        raise error
    for name in faults.successors(failed.kind):
        try:
            made = make_engine(name, False)
        except EngineError:  # nor has that one what it needs
            continue
        if error.code == "lost":
            failed.close()
        _become(made)
        warnings.warn(EngineWarning(faults.explained(failed, made, error)), stacklevel=3)
        return
    raise error


def may_fail() -> bool:
    """Whether another engine would go on should the current one fail: then copies are kept."""
    return bool(faults.successors(engine().kind))


def memory() -> dict[str, MemoryUse]:
    """Bytes of each kind of engine: in live buffers now, at most so far, and of the memory itself.

    Buffers are given back when the last tensor, Variable or compiled function that needs them goes;
    tensors made before `set_engine` stay with the engine they were made on until they are used.

    Returns:
        a dict from the engine's kind ("wasm", "reference") to `live`, `peak` and `capacity`.

    Example:
        >>> import tabgrad as tg
        >>> before = tg.memory().get("wasm")
        >>> x = tg.ones((1000,)).realize()
        >>> tg.memory()["wasm"].live >= 4000
        True
    """
    found: dict[str, MemoryUse] = {}
    for one in list(_session.engines):
        use, more = found.get(one.kind, MemoryUse(0, 0, 0)), one.memory_use()
        found[one.kind] = MemoryUse(
            use.live + more.live, use.peak + more.peak, use.capacity + more.capacity
        )
    return found


def make_engine(name: str, deterministic: bool) -> Any:
    """A new engine of a kind, with what switches put around it; `set_engine` makes one current."""
    bare, made = machines.make(name, deterministic)
    _session.engines.add(bare)
    return made


def engine() -> Any:
    """The current engine, made on first use."""
    if _session.engine is None:
        _session.engine = _session.automatic = make_engine("auto", False)
    return _session.engine


@contextmanager
def using(chosen: Any) -> Iterator[None]:
    """Make `chosen` the current engine inside."""
    before, _session.engine = _session.engine, chosen
    try:
        yield
    finally:
        _session.engine = before


def load(graphs: Sequence[EntryGraph]) -> tuple[Program, Any]:
    """Compile entries for the current engine and load them; used by `tg.compile`."""
    return programs.load_on(engine(), graphs)
