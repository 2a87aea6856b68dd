"""Moving values between the host and the engines: `upload`, `read`, `fetch`.

Not here: moving them from an engine to the next (`handle_of` in `pending.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from tabgrad.dtypes import DType
from tabgrad.engines import faults
from tabgrad.errors import EngineError
from tabgrad.ir.graph import Node
from tabgrad.realize.absent import READ_OUTSIDE
from tabgrad.realize.current import engine, take_over
from tabgrad.realize.pending import again, handle_of, realize
from tabgrad.realize.values import Buffer, Scalar, is_gone, value_node


def upload(raw: bytes, shape: Sequence[int], dtype: DType) -> Node:
    """A leaf with these row-major bytes; single numbers stay on the host until they are used."""
    if not shape and dtype.itemsize == 4:
        return value_node(Scalar(raw), shape, dtype)
    while True:
        try:
            buffer = Buffer(engine(), len(raw), dtype.name)
            buffer.fill(raw)
            return value_node(buffer, shape, dtype)
        except EngineError as error:
            take_over(error)


def read(node: Node, instead: str = READ_OUTSIDE) -> bytes:
    """The bytes of a node, computing it first if needed."""
    if node.buffer is None:
        realize([node], instead)
    buffer = node.buffer
    if isinstance(buffer, Scalar):
        return buffer.raw
    if is_gone(buffer):
        buffer = again(node)
    try:
        return bytes(buffer.read())
    except EngineError as error:
        if buffer.engine is not engine():
            raise
        take_over(error)
        return handle_of(node).read()


async def read_async(node: Node) -> bytes:
    """`read` that waits without blocking where the engine can."""
    if node.buffer is None:
        realize([node])
    buffer = node.buffer
    if isinstance(buffer, Scalar):
        return buffer.raw
    if is_gone(buffer):
        buffer = again(node)
    if buffer.host is not None:
        return buffer.host  # type: ignore[no-any-return]
    return bytes(await buffer.engine.read_async(buffer.handle, node.nbytes))


async def fetch(nodes: Sequence[Node]) -> None:
    """Bring the values of nodes to the host, so that nobody waits for them and none gets lost."""
    realize([node for node in nodes if node.buffer is None])
    for node in nodes:
        buffer = node.buffer
        if isinstance(buffer, Buffer) and faults.successors(buffer.engine.kind):
            buffer.host = await read_async(node)


def fetch_now(nodes: Sequence[Node]) -> None:
    """`fetch` where nothing else can run meanwhile."""
    realize([node for node in nodes if node.buffer is None])
    for node in nodes:
        buffer = node.buffer
        if isinstance(buffer, Buffer) and faults.successors(buffer.engine.kind):
            if is_gone(buffer):
                buffer = again(node)
            buffer.host = buffer.read()
