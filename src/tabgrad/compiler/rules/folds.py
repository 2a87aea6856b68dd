"""Rules of reductions, windows and contractions, and of indices that are constants."""

from __future__ import annotations

import math

from tabgrad.compiler.rules.matching import constant, drop, holds, is_a, slice_of, without_ones
from tabgrad.dtypes import int32
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ir.movement import Broadcast


def known_size(node: Node) -> Node | None:
    """Sizes are known; those a run chooses have become `rows` nodes by now (rows.py)."""
    shape = node.srcs[0].shape
    return b.const(math.prod(shape[a] for a in node.params["axes"]), int32)


def reduce_nothing(node: Node) -> Node | None:
    """A fold over no axes."""
    return None if node.params["axes"] else node.srcs[0]


def reduce_single(node: Node) -> Node | None:
    """A fold over axes of size 1 folds nothing. Among others they cost nothing and may stay."""
    (x,) = node.srcs
    single = all(x.shape[a] == 1 for a in node.params["axes"])
    return b.reshape(x, node.shape) if single else None


def reduce_reshaped(node: Node) -> Node | None:
    """A fold over everything does not mind the shape, and no fold minds axes of size 1."""
    (x,), axes, name = node.srcs, node.params["axes"], node.prim.name
    if not is_a(x, "reshape"):
        return None
    source = x.srcs[0]
    if len(axes) == len(x.shape):
        return b.reduce(name, source, range(len(source.shape)))
    if without_ones(source.shape) != without_ones(x.shape):
        return None
    places = [d for d, n in enumerate(source.shape) if n != 1]
    which = [d for d, n in enumerate(x.shape) if n != 1]
    folded = b.reduce(name, source, [places[which.index(a)] for a in axes if x.shape[a] != 1])
    return b.reshape(folded, node.shape)


def reduce_repeated(node: Node) -> Node | None:
    """Copies need not be folded: their extremum is themselves, an integer sum is a product. A float
    sum only of whole constants, small enough that every partial sum is exact."""
    (x,), axes, name = node.srcs, node.params["axes"], node.prim.name
    if not isinstance(x.prim, Broadcast):
        return None
    copied = [a for a in axes if a in x.prim.repeated(x)]
    count = math.prod(x.shape[a] for a in copied)
    if not copied or count == 0:
        return None
    if name == "reduce_sum" and x.dtype.is_float:
        value = constant(x)
        digits = {2: 11, 4: 24, 8: 53}[x.dtype.itemsize]
        if value is None or value != value // 1 or abs(value) * count > 2.0**digits:
            return None
    elif name == "reduce_prod" and not holds(x, 1):
        return None
    gone = [d - sum(a < d for a in copied) for d in x.params["dims"] if d not in copied]
    kept = [i for i, d in enumerate(x.params["dims"]) if d not in copied]
    small = b.reshape(x.srcs[0], [x.srcs[0].shape[i] for i in kept])
    fewer = b.broadcast(small, drop(x.shape, copied), gone)
    rest = [a - sum(c < a for c in copied) for a in axes if a not in copied]
    folded = b.reduce(name, fewer, rest)
    return b.mul(folded, b.like(folded, count)) if name == "reduce_sum" else folded


def reduce_twice(node: Node) -> Node | None:
    """A sum of sums is one sum; so for the other folds."""
    (x,), axes = node.srcs, node.params["axes"]
    if not is_a(x, node.prim.name):
        return None
    inner = x.params["axes"]
    kept = [d for d in range(len(x.srcs[0].shape)) if d not in inner]
    return b.reduce(node.prim.name, x.srcs[0], [*inner, *(kept[a] for a in axes)])


def argument_of_single(node: Node) -> Node | None:
    """The only element is the first extremum."""
    return b.like(node, 0) if node.srcs[0].shape[node.params["axis"]] == 1 else None


def window_of_one(node: Node) -> Node | None:
    """Each window holds one element."""
    p = node.params
    plain = all(n == 1 for n in (*p["window"], *p["strides"]))
    return node.srcs[0] if plain and not any(lo or hi for lo, hi in p["padding"]) else None


def transposed_dot(node: Node) -> Node | None:
    """A dot with the free axes of its operands exchanged is the dot of the exchanged operands: the
    weight gradient of a dense layer."""
    (x,) = node.srcs
    if not is_a(x, "dot"):
        return None
    left, right = x.srcs
    (ca, cb), (ba, bb) = x.params["contract"], x.params["batch"]
    batch, free = len(ba), len(left.shape) - len(ca) - len(ba)
    rank = len(x.shape)
    exchanged = (*range(batch), *range(batch + free, rank), *range(batch, batch + free))
    if node.params["axes"] != exchanged:
        return None
    return make("dot", right, left, contract=(cb, ca), batch=(bb, ba))


def gather_constant(node: Node) -> Node | None:
    """A constant index is a slice."""
    x, idx = node.srcs
    value, axis = constant(idx), node.params["axis"]
    if value is None:
        return None
    at = min(max(value, 0), x.shape[axis] - 1)
    start = tuple(at if d == axis else 0 for d in range(len(x.shape)))
    sizes = tuple(1 if d == axis else n for d, n in enumerate(x.shape))
    one = b.reshape(slice_of(x, start, sizes, (1,) * len(start)), drop(x.shape, [axis]))
    new = range(axis, axis + len(idx.shape))
    return b.expand(one, node.shape, new)


def slice_at_constant(node: Node) -> Node | None:
    """Constant starts, and a window as large as the source, are a slice."""
    x, starts = node.srcs[0], [constant(s) for s in node.srcs[1:]]
    if node.shape == x.shape:
        return x
    if None in starts:
        return None
    room = [n - size for n, size in zip(x.shape, node.shape, strict=True)]
    start = tuple(min(max(s, 0), most) for s, most in zip(starts, room, strict=True))
    return slice_of(x, start, node.shape, (1,) * len(start))


def update_everything(node: Node) -> Node | None:
    """A window as large as the whole replaces it."""
    x, u = node.srcs[:2]
    return u if u.shape == x.shape else None
