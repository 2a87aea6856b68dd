"""What rules ask about nodes and shapes, and the slice several of them make."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tabgrad.dtypes import DType
from tabgrad.ir.graph import Node, Shape, make


def constant(node: Node) -> Any:
    """The Python scalar a node repeats everywhere, or None."""
    if node.prim.name == "broadcast":
        node = node.srcs[0]
    return node.params["value"] if node.prim.name == "const" else None


def holds(node: Node, value: float) -> bool:
    """Whether a node is this number everywhere; -0.0 and 0.0 differ."""
    found = constant(node)
    if found is None or found != value:
        return False
    return not node.dtype.is_float or math.copysign(1.0, found) == math.copysign(1.0, value)


def is_a(node: Node, *names: str) -> bool:
    """Whether a node is of one of these primitives."""
    return node.prim.name in names


def result_of(node: Node, name: str) -> tuple[Node, int] | None:
    """The node of this primitive of which `node` is a result, and which one; None if of no such."""
    source, place = (node.srcs[0], node.params["index"]) if is_a(node, "proj") else (node, 0)
    if not is_a(source, name) or (source is node and len(node.outs) > 1):
        return None
    return source, place


def lossless(source: DType, target: DType) -> bool:
    """Whether every value of `source` is one of `target`."""
    if source is target or source.kind == "b":
        return True
    if source.is_float:
        return target.is_float and target.itemsize >= source.itemsize
    if target.is_float:
        digits = {2: 11, 4: 24, 8: 53}[target.itemsize]
        return source.bits - (source.kind == "i") <= digits
    if source.kind == target.kind:
        return target.itemsize >= source.itemsize
    return source.kind == "u" and target.kind == "i" and target.itemsize > source.itemsize


def without_ones(shape: Shape) -> Shape:
    """A shape without its axes of size 1."""
    return tuple(n for n in shape if n != 1)


def drop(shape: Shape, axes: Sequence[int]) -> Shape:
    """A shape without some axes."""
    return tuple(n for d, n in enumerate(shape) if d not in axes)


def slice_of(x: Node, start: Shape, sizes: Shape, step: Shape) -> Node:
    """`sizes` elements from `start` on each axis."""
    if sizes == x.shape:
        return x
    stop = tuple(
        lo + (n - 1) * s + 1 if n else lo for lo, n, s in zip(start, sizes, step, strict=True)
    )
    start = tuple(min(lo, n) for lo, n in zip(start, x.shape, strict=True))
    stop = tuple(min(hi, n) for hi, n in zip(stop, x.shape, strict=True))
    return make("slice", x, start=start, stop=stop, step=step)
