"""From nodes to loop expressions: what one element of a node is, in terms of loads and arithmetic.

Movement primitives only change the index at which their source is looked up; nothing is emitted for
them. Which nodes are in memory is decided before, in fuse.py.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

from tabgrad import dtypes
from tabgrad.compiler.signs import never_positive
from tabgrad.dtypes import bool_, int32
from tabgrad.errors import NotSupportedError
from tabgrad.ir.graph import Node
from tabgrad.ir.index import Dyn, Index, Var, flatten, unflatten
from tabgrad.ir.kernel import Buffer, Condition, Expr, Kernel, Store, identity, in_range

Indices = tuple[Index, ...]


class Lowering:
    """Expressions for elements of nodes, given the buffers of the nodes that are in memory."""

    def __init__(self, buffers: Mapping[int, Buffer], constants: list[Buffer]) -> None:
        self.buffers = buffers
        self.constants = constants
        self._memo: dict[tuple[int, Indices], Expr] = {}
        self._arrays: dict[int, Buffer] = {}
        self.rows: Buffer | None = None
        self._names = itertools.count()
        # A node whose value is at hand in the kernel being built: the folded value of a reduction,
        # or an expression another store of the same kernel already computes.
        self.at_hand: dict[int, Callable[[Indices], Expr]] = {}

    def loops(self, sizes: Sequence[int], letter: str) -> tuple[Var, ...]:
        """Fresh loop variables."""
        return tuple([Var(f"{letter}{next(self._names)}", n) for n in sizes])

    def restart_names(self) -> None:
        """Count loop variables anew, so that equal kernels get equal texts."""
        self._names = itertools.count()
        self._memo.clear()

    def element(self, node: Node, at: Indices) -> Expr:
        """The value of `node` at the index `at`."""
        key = (id(node), at)
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = self._element(node, at)
        return found

    def load(self, buffer: Buffer, index: Index) -> Expr:
        """An element of a buffer."""
        return Expr("load", buffer.dtype, buffer=buffer, index=index)

    def _element(self, node: Node, at: Indices) -> Expr:
        ready = self.at_hand.get(id(node))
        if ready is not None:
            return ready(at)
        buffer = self.buffers.get(id(node))
        if buffer is not None:
            return self.load(buffer, flatten(at, node.shape))
        name = node.prim.name
        if node.prim.family == "elementwise":
            args = tuple([self.element(src, at) for src in node.srcs])
            falling = name == "exp" and never_positive(node.srcs[0])
            return Expr(name, node.outs[0].dtype, args, value=falling or None)
        rule = _RULES.get(name)
        if rule is None:
            raise NotSupportedError(f"internal: no lowering for an element of {name}")
        return rule(self, node, at)


def place_in(whole: Node, start: int, at: Indices) -> Index:
    """Where an element of a part is that begins at `start` of a concatenation."""
    axis = whole.params["axis"]
    return flatten((*at[:axis], at[axis] + start, *at[axis + 1 :]), whole.shape)


def _const(low: Lowering, node: Node, at: Indices) -> Expr:
    return Expr("const", node.dtype, value=node.params["value"])


def _array(low: Lowering, node: Node, at: Indices) -> Expr:
    buffer = low._arrays.get(id(node))
    if buffer is None:
        slot = len(low.constants)
        buffer = Buffer(
            f"const{slot}", "constant", node.size, node.dtype, slot, data=node.params["data"]
        )
        low._arrays[id(node)] = buffer
        low.constants.append(buffer)
    return low.load(buffer, flatten(at, node.shape))


def _rows(low: Lowering, node: Node, at: Indices) -> Expr:
    if low.rows is None:
        low.rows = Buffer("rows", "rows", 1, int32)
    return low.load(low.rows, Index())


def _iota(low: Lowering, node: Node, at: Indices) -> Expr:
    return Expr("index", node.dtype, index=at[node.params["axis"]])


def _proj(low: Lowering, node: Node, at: Indices) -> Expr:
    source = node.srcs[0]
    args = tuple([low.element(src, at) for src in source.srcs])
    key = (id(source), at)
    if key not in low._memo:
        low._memo[key] = Expr(source.prim.name, node.dtype, args)
    return Expr("output", node.dtype, (low._memo[key],), value=node.params["index"])


def _reshape(low: Lowering, node: Node, at: Indices) -> Expr:
    source = node.srcs[0]
    return low.element(source, unflatten(flatten(at, node.shape), source.shape))


def _permute(low: Lowering, node: Node, at: Indices) -> Expr:
    axes = node.params["axes"]
    return low.element(node.srcs[0], tuple([at[axes.index(d)] for d in range(len(axes))]))


def _broadcast(low: Lowering, node: Node, at: Indices) -> Expr:
    source, dims = node.srcs[0], node.params["dims"]
    inner = [Index() if n == 1 else at[d] for n, d in zip(source.shape, dims, strict=True)]
    return low.element(source, tuple(inner))


def _pad(low: Lowering, node: Node, at: Indices) -> Expr:
    source, fill = node.srcs
    p = node.params
    outside = low.element(fill, ())
    inner: list[Index] = []
    conditions: list[Condition] = []
    for i, before, hole, n in zip(at, p["low"], p["interior"], source.shape, strict=True):
        place, step = i - before, hole + 1
        if step > 1:
            conditions.append(Condition(place, modulo=step))
            place = place.split(step)[0]
        found = in_range(place, n)
        if found is None:
            return outside
        conditions += found
        inner.append(place)
    return guard(low.element(source, tuple(inner)), outside, conditions)


def guard(inside: Expr, outside: Expr, conditions: Sequence[Condition]) -> Expr:
    """`inside` where all conditions hold, else `outside`."""
    if not conditions:
        return inside
    return Expr("guard", inside.dtype, (inside, outside), conditions=tuple(conditions))


def _slice(low: Lowering, node: Node, at: Indices) -> Expr:
    p = node.params
    inner = [i * step + start for i, start, step in zip(at, p["start"], p["step"], strict=True)]
    return low.element(node.srcs[0], tuple(inner))


def _flip(low: Lowering, node: Node, at: Indices) -> Expr:
    axes = node.params["axes"]
    inner = [i * -1 + (node.shape[d] - 1) if d in axes else i for d, i in enumerate(at)]
    return low.element(node.srcs[0], tuple(inner))


def _concatenate(low: Lowering, node: Node, at: Indices) -> Expr:
    axis = node.params["axis"]
    edges = [0, *itertools.accumulate(src.shape[axis] for src in node.srcs)]
    # Every part guards its own range, because the other branch of a guard may be evaluated too.
    result = Expr("const", node.dtype, value=dtypes.wrap(0, node.dtype))
    for src, start, stop in reversed(list(zip(node.srcs, edges, edges[1:], strict=False))):
        found = in_range(at[axis] - start, stop - start) if stop > start else None
        if found is None:
            continue
        # What parts of one element have in common is then at the same place in all, and once there.
        place = at[axis] - start if stop - start > 1 else Index()
        inner = low.element(src, (*at[:axis], place, *at[axis + 1 :]))
        result = guard(inner, result, found)
    return result


def _barrier(low: Lowering, node: Node, at: Indices) -> Expr:
    return low.element(node.srcs[0], at)


def clamped(expr: Expr, high: int) -> Index:
    """An int32 expression limited to 0..high, as an index."""
    if expr.op == "const":
        return Index(min(max(expr.value, 0), high))
    zero, top = (Expr("const", int32, value=v) for v in (0, high))
    limited = Expr("min", int32, (Expr("max", int32, (expr, zero)), top))
    return Index.of(Dyn(limited, high))


def _gather(low: Lowering, node: Node, at: Indices) -> Expr:
    source, idx = node.srcs
    axis = node.params["axis"]
    after = axis + len(idx.shape)
    where = clamped(low.element(idx, at[axis:after]), source.shape[axis] - 1)
    return low.element(source, (*at[:axis], where, *at[after:]))


def starts(
    low: Lowering, nodes: Sequence[Node], shape: Sequence[int], sizes: Sequence[int]
) -> list[Index]:
    """Clamped run-time starts of a window."""
    return [
        clamped(low.element(s, ()), n - size)
        for s, n, size in zip(nodes, shape, sizes, strict=True)
    ]


def _dynamic_slice(low: Lowering, node: Node, at: Indices) -> Expr:
    source, *nodes = node.srcs
    begin = starts(low, nodes, source.shape, node.params["sizes"])
    return low.element(source, tuple([i + s for i, s in zip(at, begin, strict=True)]))


_RULES: dict[str, Callable[[Lowering, Node, Indices], Expr]] = {
    "const": _const,
    "array": _array,
    "iota": _iota,
    "rows": _rows,
    "proj": _proj,
    "reshape": _reshape,
    "permute": _permute,
    "broadcast": _broadcast,
    "pad": _pad,
    "slice": _slice,
    "flip": _flip,
    "concatenate": _concatenate,
    "barrier": _barrier,
    "gather": _gather,
    "dynamic_slice": _dynamic_slice,
}


# Heavy primitives: each becomes a kernel whose folded value the epilogue builds on


def heavy_kernel(low: Lowering, node: Node) -> tuple[Kernel, Indices]:
    """The kernel computing a folding primitive, without stores, and the index of its result."""
    return _HEAVY[node.prim.name](low, node)


def _indices(loops: Sequence[Var]) -> Indices:
    return tuple([Index.of(v) for v in loops])


def _reduce(low: Lowering, node: Node) -> tuple[Kernel, Indices]:
    source = node.srcs[0]
    arg = node.prim.name.startswith("arg")
    axes = (node.params["axis"],) if arg else node.params["axes"]
    space = low.loops(node.shape, "i")
    inner = low.loops([source.shape[a] for a in axes], "r")
    outer, folded = iter(_indices(space)), iter(_indices(inner))
    at = tuple([next(folded) if d in axes else next(outer) for d in range(len(source.shape))])
    fold = node.prim.name.removeprefix("reduce_")
    if source.dtype is bool_ and not arg:
        fold = {"max": "or", "min": "and"}[fold]
    kernel = Kernel("reduce", space, [], inner, fold, body=low.element(source, at))
    if arg:
        kernel.body_index = Expr("index", int32, index=at[axes[0]])
    kernel.flops = math.prod(source.shape)
    return kernel, _indices(space)


def _window(low: Lowering, node: Node) -> tuple[Kernel, Indices]:
    source, p = node.srcs[0], node.params
    space = low.loops(node.shape, "i")
    inner = low.loops(p["window"], "r")
    at: list[Index] = []
    conditions: list[Condition] = []
    for o, k, s, d, (before, _), n in zip(
        _indices(space), _indices(inner), p["strides"], p["dilation"], p["padding"], source.shape,
        strict=True,
    ):  # fmt: skip
        place = o * s + k * d - before
        conditions += in_range(place, n) or []
        at.append(place)
    fold = p.get("op", "argmax")
    outside = identity("max" if fold == "argmax" else fold, source.dtype)
    body = guard(low.element(source, tuple(at)), outside, conditions)
    kernel = Kernel("reduce", space, [], tuple(v for v in inner if v.size > 1), fold, body=body)
    if fold == "argmax":
        # An element of the padding must lose even against -inf, so its index is the largest.
        last = Expr("const", int32, value=2**31 - 1)
        position = Expr("index", int32, index=flatten(tuple(at), source.shape))
        kernel.body_index = guard(position, last, conditions)
    kernel.flops = node.size * math.prod(p["window"])
    return kernel, _indices(space)


def _dot(low: Lowering, node: Node) -> tuple[Kernel, Indices]:
    a, b = node.srcs
    (ca, cb), (ba, bb) = node.params["contract"], node.params["batch"]
    free_a = [d for d in range(len(a.shape)) if d not in ca and d not in ba]
    free_b = [d for d in range(len(b.shape)) if d not in cb and d not in bb]
    batch = low.loops([a.shape[d] for d in ba], "g")
    m = low.loops([a.shape[d] for d in free_a], "m")
    n = low.loops([b.shape[d] for d in free_b], "n")
    k = low.loops([a.shape[d] for d in ca], "k")

    def place(rank: int, parts: Sequence[tuple[Sequence[int], Sequence[Var]]]) -> Indices:
        at = [Index()] * rank
        for dims, loops in parts:
            for d, loop in zip(dims, loops, strict=True):
                at[d] = Index.of(loop)
        return tuple(at)

    roles = {v: role for role, vs in zip("gmnk", (batch, m, n, k), strict=True) for v in vs}
    space = (*batch, *m, *n)
    left = low.element(a, place(len(a.shape), [(ba, batch), (free_a, m), (ca, k)]))
    right = low.element(b, place(len(b.shape), [(bb, batch), (free_b, n), (cb, k)]))
    return _contraction(space, k, left, right, roles), _indices(space)


def _contraction(
    space: tuple[Var, ...], inner: tuple[Var, ...], a: Expr, b: Expr, roles: Mapping[Var, str]
) -> Kernel:
    kernel = Kernel("contract", space, [], inner, "sum", a=a, b=b, roles=roles)
    kernel.flops = 2 * kernel.points
    return kernel


def _conv(low: Lowering, node: Node) -> tuple[Kernel, Indices]:
    x, w = node.srcs
    p = node.params
    lhs, rhs, out = p["dims"]
    groups, batch_groups = p["groups"], p["batch_groups"]
    split = max(groups, batch_groups)
    features = node.shape[out[1]]
    channels = w.shape[rhs[1]]
    (g,) = low.loops([split], "g")
    (f,) = low.loops([features // split], "n")
    (batch,) = low.loops([node.shape[out[0]]], "m")
    spatial = low.loops([node.shape[d] for d in out[2:]], "m")
    kernel_loops = low.loops([w.shape[d] for d in rhs[2:]], "k")
    (c,) = low.loops([channels], "k")
    group, row = Index.of(g), Index.of(batch)
    feature = group * (features // split) + Index.of(f)

    x_at, w_at, out_at = ([Index()] * len(spec) for spec in (lhs, rhs, out))
    out_at[out[0]], out_at[out[1]] = row, feature
    w_at[rhs[0]], w_at[rhs[1]] = feature, Index.of(c)
    x_at[lhs[0]] = row + group * node.shape[out[0]] if batch_groups > 1 else row
    x_at[lhs[1]] = Index.of(c) + group * channels if groups > 1 else Index.of(c)
    conditions: list[Condition] = []
    never = False
    for i, (o, k) in enumerate(zip(spatial, kernel_loops, strict=True)):
        place = Index.of(o) * p["strides"][i] + Index.of(k) * p["rhs_dilation"][i]
        place = place - p["padding"][i][0]
        if p["lhs_dilation"][i] > 1:
            conditions.append(Condition(place, modulo=p["lhs_dilation"][i]))
            place = place.split(p["lhs_dilation"][i])[0]
        found = in_range(place, x.shape[lhs[2 + i]])
        never = never or found is None
        conditions += found or []
        x_at[lhs[2 + i]] = place
        w_at[rhs[2 + i]] = Index.of(k)
        out_at[out[2 + i]] = Index.of(o)
    zero = Expr("const", x.dtype, value=0.0)
    a = zero if never else guard(low.element(x, tuple(x_at)), zero, conditions)
    by_axis = {out[0]: (batch,), out[1]: (g, f)}
    by_axis |= {d: (o,) for d, o in zip(out[2:], spatial, strict=True)}
    space = tuple(v for d in range(len(out)) for v in by_axis[d])
    inner = (*kernel_loops, c)
    roles = dict.fromkeys((batch, *spatial), "m") | {g: "g", f: "n"} | dict.fromkeys(inner, "k")
    return _contraction(space, inner, a, low.element(w, tuple(w_at)), roles), tuple(out_at)


def _cumulative(low: Lowering, node: Node) -> tuple[Kernel, Indices]:
    source, axis = node.srcs[0], node.params["axis"]
    space = low.loops([n for d, n in enumerate(node.shape) if d != axis], "i")
    inner = low.loops([node.shape[axis]], "r")
    along = Index.of(inner[0])
    if node.params["reverse"]:
        along = along * -1 + (node.shape[axis] - 1)
    outer = _indices(space)
    at = (*outer[:axis], along, *outer[axis:])
    fold = node.params["op"]
    if source.dtype is bool_:
        fold = {"max": "or", "min": "and"}[fold]
    kernel = Kernel("cumulative", space, [], inner, fold, body=low.element(source, at))
    kernel.flops = node.size
    return kernel, at


_HEAVY: dict[str, Callable[[Lowering, Node], tuple[Kernel, Indices]]] = {
    **dict.fromkeys(
        ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "argmax", "argmin"), _reduce
    ),
    "window_reduce": _window,
    "window_argmax": _window,
    "dot": _dot,
    "conv": _conv,
    "cumulative": _cumulative,
}


# Updates: a copy, then stores at places known at run time


def update_kernels(low: Lowering, node: Node, target: Buffer) -> list[Kernel]:
    """The kernels of scatter and dynamic_update_slice, writing `target`."""
    source = node.srcs[0]
    space = low.loops(node.shape, "i")
    at = _indices(space)
    copy = Kernel("map", space, [Store(target, flatten(at, node.shape), low.element(source, at))])
    if node.prim.name == "scatter":
        _, idx, u = node.srcs
        axis, after = node.params["axis"], node.params["axis"] + len(idx.shape)
        loops = low.loops(u.shape, "i")
        from_u = _indices(loops)
        position = Index.of(Dyn(low.element(idx, from_u[axis:after]), 2**31 - 1))
        place = (*from_u[:axis], position, *from_u[after:])
        conditions: tuple[Condition, ...] = (Condition(position, 0, node.shape[axis]),)
        combine = node.params["op"]
    else:
        u = node.srcs[1]
        loops = low.loops(u.shape, "i")
        from_u = _indices(loops)
        begin = starts(low, node.srcs[2:], node.shape, u.shape)
        place = tuple([i + s for i, s in zip(from_u, begin, strict=True)])
        conditions, combine = (), "set"
    update = Kernel(
        "scatter",
        loops,
        [Store(target, flatten(place, node.shape), low.element(u, from_u), combine, conditions)],
        nodes=(node,),
    )
    return [copy, update]
