"""Short names for making nodes, used by gradient rules and passes: no promotion, no broadcasting.

The functions users call, with promotion and broadcasting, are in `tabgrad.ops`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad import dtypes
from tabgrad.dtypes import DType
from tabgrad.ir.graph import Node, fresh_id
from tabgrad.ir.graph import make as make


def input(shape: Sequence[int], dtype: DType) -> Node:
    """A fresh abstract input."""
    return make("input", index=fresh_id(), shape=tuple(shape), dtype=dtype)


def const(value: Any, dtype: DType) -> Node:
    """A 0-d constant, wrapped or rounded to `dtype`."""
    return make("const", value=dtypes.wrap(value, dtype), dtype=dtype)


def full(shape: Sequence[int], value: Any, dtype: DType) -> Node:
    """A constant of any shape."""
    node = const(value, dtype)
    return make("broadcast", node, shape=tuple(shape), dims=()) if shape else node


def like(node: Node, value: Any) -> Node:
    """A constant with the shape and dtype of `node`."""
    return full(node.shape, value, node.dtype)


def iota(shape: Sequence[int], axis: int, dtype: DType) -> Node:
    """Indices along `axis`."""
    return make("iota", shape=tuple(shape), axis=axis, dtype=dtype)


def flat_iota(shape: Sequence[int], dtype: DType) -> Node:
    """Row-major flat indices."""
    size = 1
    for n in shape:
        size *= n
    return reshape(iota((size,), 0, dtype), shape)


def unary(name: str, x: Node) -> Node:
    return make(name, x)


def neg(x: Node) -> Node:
    return make("neg", x)


def add(x: Node, y: Node) -> Node:
    return make("add", x, y)


def sub(x: Node, y: Node) -> Node:
    return make("sub", x, y)


def mul(x: Node, y: Node) -> Node:
    return make("mul", x, y)


def div(x: Node, y: Node) -> Node:
    return make("div", x, y)


def scale(x: Node, factor: float) -> Node:
    """x times a constant."""
    return make("mul", x, like(x, factor))


def eq(x: Node, y: Node) -> Node:
    return make("eq", x, y)


def lt(x: Node, y: Node) -> Node:
    return make("lt", x, y)


def select(cond: Node, x: Node, y: Node) -> Node:
    return make("select", cond, x, y)


def cast(x: Node, dtype: DType) -> Node:
    return x if x.dtype is dtype else make("cast", x, dtype=dtype)


def reshape(x: Node, shape: Sequence[int]) -> Node:
    return x if x.shape == tuple(shape) else make("reshape", x, shape=tuple(shape))


def permute(x: Node, axes: Sequence[int]) -> Node:
    if tuple(axes) == tuple(range(len(axes))):
        return x
    return make("permute", x, axes=tuple(axes))


def broadcast(x: Node, shape: Sequence[int], dims: Sequence[int]) -> Node:
    if x.shape == tuple(shape) and tuple(dims) == tuple(range(len(x.shape))):
        return x
    return make("broadcast", x, shape=tuple(shape), dims=tuple(dims))


def reduce(name: str, x: Node, axes: Sequence[int]) -> Node:
    """reduce_sum, reduce_prod, reduce_max or reduce_min over `axes` (dropped)."""
    return make(name, x, axes=tuple(sorted(axes))) if axes else x


def expand(x: Node, shape: Sequence[int], axes: Sequence[int]) -> Node:
    """Undo the dropping of `axes` by a reduction: x repeated along them, to `shape`."""
    kept = [d for d in range(len(shape)) if d not in axes]
    return broadcast(x, shape, kept)


def proj(node: Node, index: int) -> Node:
    """Output `index` of a node with several."""
    return make("proj", node, index=index, aval=node.outs[index])
