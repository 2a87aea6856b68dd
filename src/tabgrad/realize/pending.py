"""Pending graphs: computing nodes that have no value yet, on the current engine.

Not here: the Programs that do it (`programs.py`), and values that go to the host (`moving.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from tabgrad.errors import CaptureError, EngineError
from tabgrad.ir.graph import Node, structure, toposort
from tabgrad.realize import programs, scopes
from tabgrad.realize.absent import READ_OUTSIDE, missing_value
from tabgrad.realize.current import engine, take_over
from tabgrad.realize.values import (
    MAX_PENDING_DEPTH,
    Buffer,
    Scalar,
    gone,
    has_value,
    is_abstract,
    is_gone,
    shown,
)

MAX_PENDING_BYTES = 256 << 20


def watch(node: Node) -> None:
    """Called for every new tensor: computes a pending graph that has grown too long or heavy."""
    if node.depth < MAX_PENDING_DEPTH and node.held < MAX_PENDING_BYTES:
        return
    if scopes.capturing() or scopes.differentiating() or node.buffer is not None:
        return
    if is_abstract(node):
        return
    if node.depth < MAX_PENDING_DEPTH:
        # `held` counts shared sources once for each path to them; look at what is really held.
        below = toposort([node], has_value)
        total = sum(n.nbytes for n in below if n.buffer is not None)
        if total < MAX_PENDING_BYTES:
            # No node below holds more. Were only this one corrected, the next that adds two of
            # them would be looked at again, and a loop over two values would take for ever.
            for n in below:
                n.held = min(n.held, total)
            return
    realize([node])


def realize(nodes: Sequence[Node], instead: str = READ_OUTSIDE) -> None:
    """Compute these nodes in one Program; afterwards each holds its buffer.

    Raises:
        CaptureError: nodes that depend on inputs of a function being captured, or captured before;
            `instead` is what it tells the user to do.
    """
    alone = len(nodes) == 1 and nodes[0].buffer is None
    pending = nodes if alone else [n for n in nodes if n.buffer is None]
    if not pending:
        return
    if len(pending) > 1:
        pending = list({id(n): n for n in pending}.values())
    while True:
        try:
            _compute(pending, instead)
            return
        except EngineError as error:
            take_over(error)


def _compute(pending: Sequence[Node], instead: str) -> None:
    current = engine()
    key, leaves = structure(pending, has_value)
    scalars: list[bool] = []
    keep_alive: list[Buffer] = []
    args: list[int] = []
    for leaf in leaves:
        buffer = leaf.buffer
        if buffer is None:
            raise CaptureError(missing_value(pending, instead))
        scalar = type(buffer) is Scalar
        scalars.append(scalar)
        if scalar:
            args.append(buffer.bits)
            continue
        if buffer.engine is not current:
            buffer = handle_of(leaf)
        keep_alive.append(buffer)
        args.append(buffer.handle)
    loaded = programs.compiled(current, key, pending, leaves, scalars)
    results = [Buffer(current, node.nbytes, node.dtype.name) for node in pending]
    args += [buffer.handle for buffer in results]
    current.run(loaded, 0, args, 0)
    for node, buffer in zip(pending, results, strict=True):
        node.buffer = buffer
        scopes.computed(node)


def handle_of(node: Node) -> Buffer:
    """The buffer of a realised node on the current engine, moved there when it is elsewhere."""
    current = engine()
    buffer = node.buffer
    if isinstance(buffer, Scalar):
        moved = Buffer(current, 4, node.dtype.name)
        current.write(moved.handle, buffer.raw)
        return moved
    if buffer.engine is not current:
        if is_gone(buffer):
            return again(node)
        node.buffer = buffer = buffer.copy(current)
    return buffer  # type: ignore[no-any-return]


def again(node: Node) -> Buffer:
    """The value of a node that is gone, computed anew: what is made of constants alone keeps its
    sources, and equal nodes are one, however old."""
    if node.prim.name == "value":
        raise gone(node.buffer, f"a tensor ({shown(node)})")
    node.buffer = None
    realize([node])
    made: Buffer = node.buffer
    return made
