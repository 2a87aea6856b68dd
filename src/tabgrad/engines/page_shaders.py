"""What the GPU engines of a page with Python in it have in common: bytes go over by copies, since a
GPU's memory cannot be looked into, and are read later.

Not here: waiting for a GPU, where WebGPU (`page_gpu.py`) and WebGL2 (`page_gl.py`) differ.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tabgrad.engines.engine import Bytes, Handle, flat_bytes
from tabgrad.engines.page import PageEngine, engine_error, raises_engine_errors, typed_array


class PageShaderEngine(PageEngine):
    """Runs Programs of shaders on the GPU of the page that Python itself runs in."""

    info: dict[str, Any]

    def _take(self, player: Any) -> None:
        super()._take(player)
        self.info = json.loads(player.info)

    @raises_engine_errors
    def alloc(self, nbytes: int, dtype: str = "float32") -> Handle:
        self._check_open()
        return int(self._alloc(nbytes, dtype))

    @raises_engine_errors
    def write(self, handle: Handle, data: Bytes, offset: int = 0) -> None:
        self._check_open()
        self._player.write(handle, typed_array(flat_bytes(data)), offset)

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
