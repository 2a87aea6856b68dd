"""Mapping a graph over a batch: many sources at once for every node that depends on the batch.

The rule of each primitive is with the primitive (`batch`); here are the walk and what rules share.
A batched node has the batch as its first axis; nodes that do not depend on it stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tabgrad.errors import NotSupportedError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Graph, Node, layer_scope, toposort


def batched(outputs: Sequence[Node], inputs: Mapping[Node, Node]) -> list[tuple[Node, bool]]:
    """The outputs with each of `inputs` replaced by its batched twin, and which are batched."""
    order = toposort(outputs, inputs.__contains__)
    new: dict[int, Sequence[Node]] = {id(node): (twin,) for node, twin in inputs.items()}
    for node in order:
        if id(node) in new or not any(id(src) in new for src in node.srcs):
            continue
        if node.prim.name == "proj":
            new[id(node)] = (new[id(node.srcs[0])][node.params["index"]],)
            continue
        flags = [id(src) in new for src in node.srcs]
        srcs = [new[id(src)][0] if on else src for src, on in zip(node.srcs, flags, strict=True)]
        with layer_scope(node.origin.layer):
            new[id(node)] = node.prim.batch(node, srcs, flags)
    return [(new[id(out)][0], True) if id(out) in new else (out, False) for out in outputs]


def batched_graph(graph: Graph, flags: Sequence[bool], size: int, whole: bool = True) -> Graph:
    """A closed graph that maps over the inputs with flags. With `whole` every output is batched,
    those that depend on no such input repeated."""
    inputs = [
        b.input((size, *node.shape), node.dtype) if flag else node
        for node, flag in zip(graph.inputs, flags, strict=True)
    ]
    twins = {old: new for old, new, flag in zip(graph.inputs, inputs, flags, strict=True) if flag}
    found = batched(graph.outputs, twins)
    return Graph(inputs, [repeated(out, size, flag) if whole else out for out, flag in found])


def size_of(srcs: Sequence[Node], flags: Sequence[bool]) -> int:
    """The size of the batch."""
    return next(src.shape[0] for src, flag in zip(srcs, flags, strict=True) if flag)


def repeated(x: Node, size: int, flag: bool = False) -> Node:
    """x with the batch as its first axis, repeated unless it has it (`flag`)."""
    if flag:
        return x
    return b.broadcast(x, (size, *x.shape), range(1, len(x.shape) + 1))


def all_batched(srcs: Sequence[Node], flags: Sequence[bool]) -> list[Node]:
    """Every source with the batch as its first axis."""
    size = size_of(srcs, flags)
    return [repeated(src, size, flag) for src, flag in zip(srcs, flags, strict=True)]


def shifted(axes: Sequence[int]) -> tuple[int, ...]:
    """Axes of an example as axes of a batch of them."""
    return tuple(a + 1 for a in axes)


def moved(x: Node, source: int, target: int) -> Node:
    """x with one axis at another place, as numpy.moveaxis."""
    rest = [d for d in range(len(x.shape)) if d != source]
    return b.permute(x, [*rest[:target], source, *rest[target:]])


def split(x: Node, axis: int, parts: int) -> Node:
    """One axis as two: `parts`, and what is left."""
    size = x.shape[axis] // parts if parts else 0
    return b.reshape(x, (*x.shape[:axis], parts, size, *x.shape[axis + 1 :]))


def joined(x: Node, axis: int) -> Node:
    """Two neighbouring axes as one."""
    size = x.shape[axis] * x.shape[axis + 1]
    return b.reshape(x, (*x.shape[:axis], size, *x.shape[axis + 2 :]))


def check_flat(size: int, what: str) -> None:
    """Raise where flat indices over a whole batch do not fit int32."""
    if size >= 2**31:
        raise NotSupportedError(
            f"vmap over {what} with {size} elements in the batch: expected fewer than 2**31, which "
            "int32 indices can tell apart. Map over parts of the batch"
        )
