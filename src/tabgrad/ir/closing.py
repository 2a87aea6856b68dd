"""Cutting a closed graph out of an open one: chosen nodes become its inputs, and what else it needs
from outside becomes explicit captures. Used wherever Python has run once to build a function."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, remake, toposort


def close(
    outputs: Sequence[Node], cuts: Mapping[Node, Node], own: Container[int] = ()
) -> tuple[list[Node], list[Node], list[Node]]:
    """The outputs with each node of `cuts` replaced by its stand-in, an input.

    Returns the new outputs, the captured nodes and the inputs that stand for those. Captured is
    whatever depends on no cut and is used by something that does (or is an output); what is made
    of constants alone is copied instead, and so are nodes with ids in `own` that have no value yet.
    """
    order = toposort(outputs, cuts.__contains__)
    inside: set[int] = set()
    constant: set[int] = set()
    for node in order:
        if node in cuts or any(id(src) in inside for src in node.srcs):
            inside.add(id(node))
        elif id(node) in own and _can_be_copied(node):
            inside.add(id(node))
        elif node.prim.name not in ("input", "value") and all(
            id(src) in constant for src in node.srcs
        ):
            constant.add(id(node))

    new: dict[int, Node] = {}
    captured: list[Node] = []

    def seen(node: Node) -> Node:
        if id(node) in inside or id(node) in constant:
            return new.get(id(node), node)
        if len(node.outs) > 1:
            raise AssertionError("a capture is read through proj, which is captured in its place")
        if id(node) not in new:
            new[id(node)] = b.input(node.shape, node.dtype)
            captured.append(node)
        return new[id(node)]

    for node in order:
        if id(node) in inside:
            new[id(node)] = (
                cuts[node] if node in cuts else remake(node, [seen(src) for src in node.srcs])
            )
    return [seen(node) for node in outputs], captured, [new[id(node)] for node in captured]


def _can_be_copied(node: Node) -> bool:
    """Whether a node that depends on no cut may be computed inside. A tag is where a gradient
    outside ends, and an output is copied with its node or not at all."""
    leaf = node.prim.name in ("input", "value", "tag", "proj")
    return not leaf and bool(node.srcs) and node.buffer is None


def depending(outputs: Sequence[Node], on: Sequence[Node]) -> set[int]:
    """Ids of the nodes under `outputs` that need one of `on`, those themselves among them."""
    inside = {id(node) for node in on}
    for node in toposort(outputs):
        if any(id(src) in inside for src in node.srcs):
            inside.add(id(node))
    return inside
