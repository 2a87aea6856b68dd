"""What holds the value of a node: bytes in an engine's memory, or four bytes on the host.

Not here: moving values to the current engine (`pending.py`, `moving.py`).
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tabgrad.dtypes import DType
from tabgrad.engines import faults
from tabgrad.errors import EngineError
from tabgrad.ir.graph import Node, make_value, toposort

# A loop that never reads its result must not grow for ever (DESIGN section 4).
MAX_PENDING_DEPTH = 2_000


class Buffer:
    """Bytes in an engine's memory, given back when the last reference goes.

    `host` has the same bytes once they are known here, on engines that may be lost or that cannot
    be read without waiting. Whoever writes to the buffer sets it to None.
    """

    __slots__ = ("__weakref__", "dtype", "engine", "handle", "host", "nbytes")

    def __init__(self, engine: Any, nbytes: int, dtype: str) -> None:
        self.engine, self.nbytes, self.dtype = engine, nbytes, dtype
        self.host: bytes | None = None
        self.handle = engine.alloc(nbytes, dtype)

    # At the very end Python takes the names of modules away, but not what is bound here.
    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        handle = getattr(self, "handle", None)
        if handle is not None and not finalizing():
            self.engine.free(handle)

    def copy(self, engine: Any) -> Buffer:
        """The same bytes in a new buffer, possibly of another engine."""
        twin = Buffer(engine, self.nbytes, self.dtype)
        if engine is self.engine and self.nbytes:
            engine.copy_rows(twin.handle, self.handle, self.nbytes, (0,))
        else:
            twin.fill(self.read())
        return twin

    def fill(self, raw: bytes) -> None:
        """Copy bytes to it, for as long as they stay."""
        self.engine.write(self.handle, raw)
        self.host = raw if faults.successors(self.engine.kind) else None

    def read(self) -> bytes:
        """A copy of its bytes."""
        if self.host is not None:
            return self.host
        return bytes(self.engine.read(self.handle, self.nbytes))


class Scalar:
    """A 0-d value kept on the host: the 32 bits that go into a Program's frame."""

    __slots__ = ("bits",)
    nbytes = 4

    def __init__(self, raw: bytes) -> None:
        self.bits = struct.unpack("<I", raw)[0]

    @property
    def raw(self) -> bytes:
        """The value as four bytes."""
        return struct.pack("<I", self.bits)


def value_node(buffer: Any, shape: Sequence[int], dtype: DType) -> Node:
    """A leaf holding a buffer."""
    node = make_value(tuple(shape), dtype)
    node.buffer = buffer
    return node


def has_value(node: Node) -> bool:
    """Whether a node has been computed, or holds what was uploaded."""
    return node.buffer is not None


def is_abstract(node: Node) -> bool:
    """True when the node depends on an input of a function being captured."""
    if node.buffer is not None:
        return False
    return any(n.prim.name == "input" for n in toposort([node], has_value) if n.buffer is None)


def host_bytes(node: Node) -> bytes | None:
    """The bytes of a node where they are on the host already, on engines that may be lost."""
    return node.buffer.host if isinstance(node.buffer, Buffer) else None


def is_gone(buffer: Buffer) -> bool:
    """Whether its engine has taken the value along when it was closed or lost."""
    return buffer.host is None and bool(buffer.engine.closed)


def gone(buffer: Buffer, what: str) -> EngineError:
    """The error of a value that was nowhere but on an engine that was closed or lost."""
    return EngineError(
        f"expected a value that is still there; received {what} that was only on the engine "
        f"{buffer.engine.kind!r}, which was closed or lost. Compute it again from what is on the "
        "host, load saved weights, or keep it there by t.numpy()",
        code="gone",
    )


def shown(node: Node) -> str:
    """A node as errors call it."""
    return f"{node.dtype.name} {list(node.shape)}"


def forget_sources(node: Node) -> None:
    """Let go of what a node that has its value was computed from."""
    # A node made of constants alone keeps nothing alive, and the graphs of cached Programs may
    # share it (equal nodes are one object), so it stays what it is; unless it ends a long chain,
    # which would otherwise only grow.
    if node.held or node.depth >= MAX_PENDING_DEPTH:
        node.become_leaf()
