"""WebGL2 of a page with Python in it (Pyodide): hands GLSL Programs to the player's `webgl.js`.

Unlike WebGPU, WebGL2 may be waited for: `float(t)`, `t.tolist()` and the like stop the page until
the GPU has finished, `await t.data()` does not stop it. Shaders are compiled while Python goes on,
so what is wrong with them is said when they first run.

Not here: WebGPU (`page_gpu.py`), and what the page's engines have in common (`page_shaders.py`,
`page.py`).
"""

from __future__ import annotations

from tabgrad.engines.engine import Handle
from tabgrad.engines.page import loaded_module, raises_engine_errors
from tabgrad.engines.page_shaders import PageShaderEngine

MODULE = "engines/page_gl.js"


class PageGlEngine(PageShaderEngine):
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

    @raises_engine_errors
    def read(self, handle: Handle, nbytes: int, offset: int = 0) -> bytes:
        self._check_open()
        content: bytes = self._player.read(handle, nbytes, offset).to_bytes()
        return content

    @raises_engine_errors
    def sync(self) -> None:
        self._check_open()
        self._player.sync()
