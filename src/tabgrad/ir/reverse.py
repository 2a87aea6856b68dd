"""Reverse-mode differentiation on the graph: cotangents are more nodes, so any order works.

The gradient rule of each primitive is with the primitive; here is only the walk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tabgrad.errors import ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.custom import refuse_closed
from tabgrad.ir.graph import Node, toposort


def check_alike(what: str, node: Node, given: Node) -> None:
    """Raise ShapeError unless a tangent or cotangent is of the shape and dtype of its node."""
    if given.shape != node.shape or given.dtype is not node.dtype:
        raise ShapeError(
            f"expected a {what} {node.dtype.name} {list(node.shape)}; received "
            f"{given.dtype.name} {list(given.shape)}"
        )


def cotangents(
    outputs: Sequence[Node],
    grads: Sequence[Node],
    inputs: Sequence[Node],
    stop: Callable[[Node], bool] | None = None,
) -> list[Node | None]:
    """For each input, the cotangent when the outputs have cotangents `grads`; None where no
    differentiable path leads there. Nodes that no input reaches are never looked at; `stop` says
    below which nodes there is no input."""
    for node, g in zip(outputs, grads, strict=True):
        check_alike("cotangent", node, g)
    wanted = {id(node) for node in inputs}
    order = toposort(outputs, stop)
    active = set(wanted)
    for node in order:
        if node.prim.name != "stop" and any(id(src) in active for src in node.srcs):
            active.add(id(node))

    sums: dict[int, Node] = {}
    parts: dict[int, list[Node | None]] = {}  # cotangents of the outputs of multi-output nodes

    def accumulate(node: Node, g: Node) -> None:
        if node.prim.name == "proj":
            source, index = node.srcs[0], node.params["index"]
            slots = parts.setdefault(id(source), [None] * len(source.outs))
            before = slots[index]
            slots[index] = g if before is None else b.add(before, g)
        if node.prim.name != "proj" or id(node) in wanted:
            known = sums.get(id(node))
            sums[id(node)] = g if known is None else b.add(known, g)

    for node, g in zip(outputs, grads, strict=True):
        accumulate(node, g)
    for node in reversed(order):
        if id(node) not in active or not node.srcs or node.prim.name == "proj":
            continue
        if id(node) in wanted and not any(id(s) in active for s in node.srcs):
            continue
        if len(node.outs) > 1:
            arriving: Sequence[Node | None] = parts.get(id(node), [None])
        else:
            arriving = [sums.get(id(node))]
        if all(g is None for g in arriving):
            continue
        if node.prim.name == "custom":
            refuse_closed(node, active)
        for src, part in zip(node.srcs, node.prim.vjp(node, arriving), strict=True):
            if part is not None and id(src) in active:
                accumulate(src, part)
    return [sums.get(id(node)) for node in inputs]
