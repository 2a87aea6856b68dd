"""The GPU of a page with Python in it (Pyodide): hands WGSL Programs to the player's `webgpu.js`.

A page cannot wait for its GPU, so values are read by `await t.data()`; where Python can wait for
JavaScript (JSPI), `float(t)` and the like work as well. Shaders are compiled while Python goes on,
so what is wrong with them is said when results are read. float16 is kept and computed with in 16
bits where the adapter has `shader-f16`.

Not here: what this engine has in common with the page's others (`page_shaders.py`, `page.py`).
"""

from __future__ import annotations

from typing import Any

from tabgrad.engines.engine import Handle
from tabgrad.engines.page import engine_error, load_module, raises_engine_errors
from tabgrad.engines.page_shaders import PageShaderEngine
from tabgrad.errors import EngineError

MODULE = "engines/page_gpu.js"
_opened: list[Any] = []  # players that wait for an engine


async def prepare() -> None:
    """Ask for the GPU, so that the next engine need not wait for it; see `page.prepare`."""
    module = await load_module(MODULE)
    try:
        _opened.append(await module.open())
    except Exception as error:
        raise engine_error(error) from None


class PageGpuEngine(PageShaderEngine):
    """Runs WGSL Programs on the GPU of the page that Python itself runs in.

    Raises:
        EngineError: the browser has no GPU for us ("adapter"), or Python can wait for none and
            `page.prepare("webgpu")` was not called before ("async").

    Example:
        >>> await page.prepare("webgpu")  # doctest: +SKIP
        >>> engine = PageGpuEngine()  # doctest: +SKIP
    """

    kind = "webgpu"

    @raises_engine_errors
    def __init__(self) -> None:
        if not _opened:
            _wait(
                lambda: prepare(),
                "expected a GPU that is open; received set_engine('webgpu') where Python cannot "
                "wait for one. Start with `await tabgrad.engines.page.prepare('webgpu')`",
            )
        self._take(_opened.pop())

    @raises_engine_errors
    def read(self, handle: Handle, nbytes: int, offset: int = 0) -> bytes:
        content: bytes = _wait(
            lambda: self.read_async(handle, nbytes, offset),
            "expected `await t.data()`; received a read that has to wait for the GPU, for which "
            "this page has no way (JSPI). Await the value, or use tg.set_engine('wasm')",
        )
        return content

    @raises_engine_errors
    def sync(self) -> None:
        self._check_open()
        _wait(
            lambda: self._player.sync(),
            "expected `await t.data()`; received sync() where Python cannot wait for the GPU. "
            "Await a value instead",
        )


def _wait(begin: Any, instead: str) -> Any:
    """What comes of something that takes time. Raises EngineError ("async") where none may pass."""
    from pyodide.ffi import can_run_sync, run_sync

    if not can_run_sync():
        raise EngineError(instead, code="async")
    return run_sync(begin())
