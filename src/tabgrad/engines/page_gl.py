"""WebGL2 of a page with Python in it (Pyodide): hands GLSL Programs to the player's `webgl.js`.

Unlike WebGPU, WebGL2 may be waited for: `float(t)`, `t.tolist()` and the like stop the page until
the GPU has finished, `await t.data()` does not stop it. Shaders are compiled while Python goes on,
so what is wrong with them is said when they first run.

Not here: WebGPU (`page_gpu.py`), and what all of the page's engines have in common (`page.py`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tabgrad.engines.engine import Bytes, Handle, flat_bytes
from tabgrad.engines.page import (
    PageEngine,
    engine_error,
    loaded_module,
    raises_engine_errors,
    typed_array,
)

MODULE = "engines/page_gl.js"


class PageGlEngine(PageEngine):
    """Runs GLSL Programs on the GPU of the page that Python itself runs in, by WebGL2.

    Raises:
        EngineError: the browser has no WebGL2 for us ("adapter"), or the page's policy keeps
            JavaScript from loading ("policy"): see `page.prepare`.

    Example:
        >>> engine = PageGlEngine()  # doctest: +SKIP
    """

    kind = "webgl"

    @raises_engine_errors
    def __init__(self) -> None:
        self._take(loaded_module(MODULE).open())
        self.info: dict[str, Any] = json.loads(self._player.info)

    @raises_engine_errors
    def alloc(self, nbytes: int, dtype: str = "float32") -> Handle:
        self._check_open()
        return int(self._alloc(nbytes, dtype))

    @raises_engine_errors
    def write(self, handle: Handle, data: Bytes, offset: int = 0) -> None:
        self._check_open()
        self._player.write(handle, typed_array(flat_bytes(data)), offset)

    @raises_engine_errors
    def read(self, handle: Handle, nbytes: int, offset: int = 0) -> bytes:
        self._check_open()
        content: bytes = self._player.read(handle, nbytes, offset).to_bytes()
        return content

    async def read_async(self, handle: Handle, nbytes: int, offset: int = 0) -> bytes:
        self._check_open()
        try:
            words = await self._player.readAsync(handle, nbytes, offset)
        except Exception as error:
            raise engine_error(error) from None
        content: bytes = words.to_bytes()
        return content

    @raises_engine_errors
    def copy_rows(self, dst: Handle, src: Handle, row_bytes: int, indices: Sequence[int]) -> None:
        super().copy_rows(dst, src, row_bytes, list(indices))  # has no way of its own for ranges

    @raises_engine_errors
    def sync(self) -> None:
        self._check_open()
        self._player.sync()
