"""The buffers of a wgpu device by their handles, and a pool of what waits to be used again.

Not here: what is written to them and read (`wgpu.py`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from tabgrad.engines.engine import Handle
from tabgrad.engines.wgpu_commands import Commands
from tabgrad.engines.words import narrow_size
from tabgrad.errors import EngineError

MAX_POOLED = 256 << 20  # bytes of buffers that wait to be used again


@dataclass(eq=False, slots=True)
class Buffer:
    """Memory of a handle."""

    nbytes: int  # as the rest of tabgrad counts
    dtype: str
    gpu: Any
    room: int  # bytes of the GPU's buffer
    groups: set[Any] = field(default_factory=set)  # keys of bind groups that have it


class Buffers:
    """All that are alive; freed ones of a similar size are used again."""

    def __init__(self, wgpu: Any, device: Any, commands: Commands) -> None:
        self._wgpu, self._device, self._commands = wgpu, device, commands
        self._alive: dict[Handle, Buffer] = {}
        self._numbers = itertools.count(1)
        self._pool: dict[int, list[Any]] = {}
        self.pooled = self.live = self.peak = 0  # bytes

    def __getitem__(self, handle: Handle) -> Buffer:
        found = self._alive.get(handle)
        if found is None:
            raise EngineError(
                f"{handle} is not a live buffer of this engine; it was freed, or never allocated",
                code="handle",
            )
        return found

    def get(self, handle: Handle) -> Buffer | None:
        """The buffer of a handle, None where it was freed."""
        return self._alive.get(handle)

    def alloc(self, nbytes: int, dtype: str) -> Handle:
        """A new buffer of elements, those of less than 32 bits in a word each."""
        small = narrow_size(dtype)
        room = _room(nbytes * 4 // small if small else nbytes)
        waiting = self._pool.get(room)
        if waiting:
            gpu = waiting.pop()
            self.pooled -= room
        else:
            gpu = self._make(room, nbytes)
        handle = next(self._numbers)
        self._alive[handle] = Buffer(nbytes, dtype, gpu, room)
        self.live += nbytes
        self.peak = max(self.peak, self.live)
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
        self._commands.make_room()
        try:
            return self._device.create_buffer(
                size=room, usage=usage.STORAGE | usage.COPY_SRC | usage.COPY_DST
            )
        except self._wgpu.GPUOutOfMemoryError as error:
            raise EngineError(
                f"no memory for a buffer of {nbytes:,} bytes: {self.live:,} bytes are in use; "
                "free tensors or use smaller batches",
                code="memory",
            ) from error

    def free(self, handle: Handle) -> Buffer:
        """Take a buffer away from its handle."""
        buffer = self[handle]
        del self._alive[handle]
        self.live -= buffer.nbytes
        if self.pooled + buffer.room <= MAX_POOLED:
            self._pool.setdefault(buffer.room, []).append(buffer.gpu)
            self.pooled += buffer.room
        else:
            self._commands.destroy(buffer.gpu)
        return buffer

    def close(self, lost: bool) -> None:
        """Destroy all, unless they went with the device."""
        if not lost:
            for buffer in self._alive.values():
                buffer.gpu.destroy()
            for waiting in self._pool.values():
                for gpu in waiting:
                    gpu.destroy()
        self._alive.clear()
        self._pool.clear()
        self.live = self.pooled = 0


def _room(nbytes: int) -> int:
    """Sizes few enough that freed buffers are used again, 16 bytes more than asked for at most an
    eighth: whole vectors are read past the last element."""
    if nbytes <= 256:
        return 256
    step = 1 << max((nbytes - 1).bit_length() - 4, 8)
    return -(-nbytes // step) * step


def span(handle: Handle, buffer: Buffer, offset: int, nbytes: int) -> tuple[int, int]:
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
