"""Rules of movement: whatever moves elements twice can move them once."""

from __future__ import annotations

from tabgrad.compiler.rules.matching import constant, holds, is_a, slice_of, without_ones
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make


def move_constant(node: Node) -> Node | None:
    """A number repeated everywhere can be moved anyhow."""
    value = constant(node.srcs[0])
    return None if value is None else b.full(node.shape, value, node.dtype)


def unmoved(node: Node) -> Node | None:
    """Movement that leaves every element where it is."""
    (x,), p, name = node.srcs, node.params, node.prim.name
    if x.shape != node.shape:
        return None
    if name in ("permute", "broadcast"):
        in_order = p["axes" if name == "permute" else "dims"]
        return x if in_order == tuple(range(len(in_order))) else None
    if name == "flip":
        return x if all(x.shape[a] <= 1 for a in p["axes"]) else None
    return x


def reshape_twice(node: Node) -> Node | None:
    """Only the last shape counts."""
    (x,) = node.srcs
    return b.reshape(x.srcs[0], node.shape) if is_a(x, "reshape") else None


def reshape_broadcast(node: Node) -> Node | None:
    """Axes of size 1 put into or taken out of a broadcast: a broadcast to the other shape."""
    (x,) = node.srcs
    if not is_a(x, "broadcast") or without_ones(x.shape) != without_ones(node.shape):
        return None
    places = [d for d, n in enumerate(x.shape) if n != 1]
    targets = [d for d, n in enumerate(node.shape) if n != 1]
    move = dict(zip(places, targets, strict=True))
    dims = x.params["dims"]
    if any(d not in move for d in dims):
        return None
    return b.broadcast(x.srcs[0], node.shape, [move[d] for d in dims])


def permute_twice(node: Node) -> Node | None:
    """Two permutations are one."""
    (x,) = node.srcs
    if not is_a(x, "permute"):
        return None
    return b.permute(x.srcs[0], [x.params["axes"][a] for a in node.params["axes"]])


def permute_ones(node: Node) -> Node | None:
    """Moving axes of size 1 moves no element: a reshape."""
    (x,) = node.srcs
    moved = [a for a in node.params["axes"] if x.shape[a] != 1]
    return b.reshape(x, node.shape) if moved == sorted(moved) else None


def permute_broadcast(node: Node) -> Node | None:
    """Permute what is repeated, not the copies."""
    (x,) = node.srcs
    if not is_a(x, "broadcast"):
        return None
    place = {axis: i for i, axis in enumerate(node.params["axes"])}
    dims = [place[d] for d in x.params["dims"]]
    order = sorted(range(len(dims)), key=lambda k: dims[k])
    return b.broadcast(b.permute(x.srcs[0], order), node.shape, sorted(dims))


def broadcast_twice(node: Node) -> Node | None:
    """Two broadcasts are one."""
    (x,) = node.srcs
    if not is_a(x, "broadcast"):
        return None
    dims = [node.params["dims"][d] for d in x.params["dims"]]
    return b.broadcast(x.srcs[0], node.shape, dims)


def broadcast_squeezed(node: Node) -> Node | None:
    """Sources of broadcasts have no axes of size 1. A kept axis of a reduction, which is a reshape,
    vanishes by this."""
    (x,) = node.srcs
    if 1 not in x.shape:
        return None
    dims = [d for d, n in zip(node.params["dims"], x.shape, strict=True) if n != 1]
    return b.broadcast(b.reshape(x, without_ones(x.shape)), node.shape, dims)


def broadcast_like_other(node: Node) -> Node | None:
    """Whose rows a repeated number is repeated over is settled (rows.py)."""
    return b.broadcast(node.srcs[0], node.shape, node.params["dims"])


def slice_twice(node: Node) -> Node | None:
    """Two slices are one."""
    (x,) = node.srcs
    if not is_a(x, "slice"):
        return None
    p, q = x.params, node.params
    start = tuple(a + s * c for a, s, c in zip(p["start"], p["step"], q["start"], strict=True))
    step = tuple(s * t for s, t in zip(p["step"], q["step"], strict=True))
    return slice_of(x.srcs[0], start, node.shape, step)


def slice_broadcast(node: Node) -> Node | None:
    """Slice what is repeated; take fewer copies of it."""
    (x,) = node.srcs
    if not is_a(x, "broadcast"):
        return None
    (small,), dims, p = x.srcs, x.params["dims"], node.params
    # An axis of size 1 is repeated, so every index shows its one element.
    one = [small.shape[i] == 1 for i in range(len(dims))]
    start = tuple(0 if o else p["start"][d] for o, d in zip(one, dims, strict=True))
    sizes = tuple(1 if o else node.shape[d] for o, d in zip(one, dims, strict=True))
    step = tuple(1 if o else p["step"][d] for o, d in zip(one, dims, strict=True))
    return b.broadcast(slice_of(small, start, sizes, step), node.shape, dims)


def flip_twice(node: Node) -> Node | None:
    """Axes flipped twice are as they were."""
    (x,) = node.srcs
    if not is_a(x, "flip"):
        return None
    axes = set(node.params["axes"]) ^ set(x.params["axes"])
    return make("flip", x.srcs[0], axes=tuple(sorted(axes))) if axes else x.srcs[0]


def flip_broadcast(node: Node) -> Node | None:
    """Copies are alike in any order."""
    (x,) = node.srcs
    if not is_a(x, "broadcast"):
        return None
    (small,), dims = x.srcs, x.params["dims"]
    axes = tuple(i for i, d in enumerate(dims) if d in node.params["axes"])
    flipped = make("flip", small, axes=axes) if axes else small
    return b.broadcast(flipped, node.shape, dims)


def pad_nothing(node: Node) -> Node | None:
    """Nothing is added or cut away."""
    p, x = node.params, node.srcs[0]
    within = all(i == 0 or n <= 1 for i, n in zip(p["interior"], x.shape, strict=True))
    return x if within and not any(p["low"]) and not any(p["high"]) else None


def pad_constant(node: Node) -> Node | None:
    """A number surrounded by itself."""
    x, fill = node.srcs
    value = constant(fill)
    if value is None or constant(x) is None or not holds(x, value):
        return None
    return b.full(node.shape, value, node.dtype)


def pad_that_cuts(node: Node) -> Node | None:
    """Negative padding on all sides is a slice."""
    p, x = node.params, node.srcs[0]
    if any(p["interior"]) or max((*p["low"], *p["high"]), default=0) > 0:
        return None
    start = tuple(-lo for lo in p["low"])
    return slice_of(x, start, node.shape, (1,) * len(start))


def pad_twice(node: Node) -> Node | None:
    """Two frames of one filling are one frame."""
    x, fill = node.srcs
    if not is_a(x, "pad") or x.srcs[1] is not fill:
        return None
    p, q = x.params, node.params
    if any(p["interior"]) or any(q["interior"]):
        return None
    if min((*p["low"], *p["high"], *q["low"], *q["high"]), default=0) < 0:
        return None
    low = tuple(m + n for m, n in zip(p["low"], q["low"], strict=True))
    high = tuple(m + n for m, n in zip(p["high"], q["high"], strict=True))
    return make("pad", x.srcs[0], fill, low=low, high=high, interior=p["interior"])


def concatenate_less(node: Node) -> Node | None:
    """Empty parts add nothing, and one part is itself."""
    axis = node.params["axis"]
    parts = [src for src in node.srcs if src.shape[axis]] or [node.srcs[0]]
    if len(parts) == 1:
        return parts[0]
    return make("concatenate", *parts, axis=axis) if len(parts) < len(node.srcs) else None


def add_side_by_side(node: Node) -> Node | None:
    """Values that zeros surround so that no two meet in a sum, such as the gradients of the parts
    of a split: side by side, with zeros in between. Each is still added to one zero, as -0.0 + 0.0
    is 0.0."""
    found = [_between_zeros(src) for src in node.srcs]
    if found[0] is None or found[1] is None or found[0][0] != found[1][0]:
        return None
    axis = found[0][0]
    parts: list[Node] = []
    at, end = 0, node.shape[axis]

    def zeros_up_to(place: int) -> None:
        if place > at:
            shape = (*node.shape[:axis], place - at, *node.shape[axis + 1 :])
            parts.append(b.full(shape, 0, node.dtype))

    for start, part in sorted([*found[0][1], *found[1][1]], key=lambda pair: pair[0]):
        if start < at:
            return None
        zeros_up_to(start)
        parts.append(_plus_zero(part))
        at = start + part.shape[axis]
    zeros_up_to(end)
    return make("concatenate", *parts, axis=axis)


def _between_zeros(node: Node) -> tuple[int, list[tuple[int, Node]]] | None:
    """An axis, and what is where along it; elsewhere the value is 0 (not -0.0)."""
    if is_a(node, "concatenate"):
        axis, at, parts = node.params["axis"], 0, []
        for src in node.srcs:
            if not holds(src, 0):
                parts.append((at, src))
            at += src.shape[axis]
        return axis, parts
    if not is_a(node, "pad") or not holds(node.srcs[1], 0):
        return None
    p = node.params
    around = [axis for axis in range(len(node.shape)) if p["low"][axis] or p["high"][axis]]
    if len(around) != 1 or any(p["interior"]) or min(*p["low"], *p["high"]) < 0:
        return None
    return around[0], [(p["low"][around[0]], node.srcs[0])]


def _plus_zero(x: Node) -> Node:
    if not x.dtype.is_float or (is_a(x, "add") and holds(x.srcs[1], 0)):
        return x
    return b.add(x, b.like(x, 0))
