"""Contractions: batched dot products and general convolution; their gradients are such again.

Shapes follow XLA's `DotGeneral` and `ConvGeneralDilated` (openxla.org, operation semantics).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabgrad.errors import DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.batching import joined, moved, shifted, size_of, split
from tabgrad.ir.graph import Aval, Node, Primitive, Rows, RowsMixedError, register


@register
class Dot(Primitive):
    """Sum over paired axes `contract=(of a, of b)`, elementwise over paired axes `batch`.

    The result has the batch axes, then the free axes of a, then those of b.
    """

    name = "dot"
    family = "contract"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        a, c = srcs
        (ca, cb), (ba, bb) = params["contract"], params["batch"]
        if a.dtype is not c.dtype or a.dtype.kind == "b":
            raise DtypeError(
                f"dot expected two arrays of one numeric dtype; received {a.dtype.name} and "
                f"{c.dtype.name}"
            )
        for mine, theirs, what in ((ca, cb, "contracted"), (ba, bb, "batch")):
            sizes = [[s.shape[d] for d in dims] for s, dims in ((a, mine), (c, theirs))]
            if sizes[0] != sizes[1]:
                raise ShapeError(
                    f"dot expected equal {what} sizes; received {sizes[0]} and {sizes[1]} in "
                    f"{list(a.shape)} and {list(c.shape)}"
                )
        batch = tuple(a.shape[d] for d in ba)
        free_a = tuple(a.shape[d] for d in _free(len(a.shape), ca, ba))
        free_b = tuple(c.shape[d] for d in _free(len(c.shape), cb, bb))
        return (Aval(batch + free_a + free_b, a.dtype),)

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        g = grads[0]
        if g is None:
            return (None, None)
        a, c = node.srcs
        (ca, cb), (ba, bb) = node.params["contract"], node.params["batch"]
        free_a, free_b = _free(len(a.shape), ca, ba), _free(len(c.shape), cb, bb)
        nb = len(ba)
        g_batch = tuple(range(nb))
        g_a = tuple(range(nb, nb + len(free_a)))
        g_b = tuple(range(nb + len(free_a), len(g.shape)))
        return (
            _side(g, c, g_b, free_b, g_batch, bb, (ba, free_a, ca), cb),
            _side(g, a, g_a, free_a, g_batch, ba, (bb, free_b, cb), ca),
        )

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        a, c = srcs
        (ca, cb), (ba, bb) = node.params["contract"], node.params["batch"]
        if all(batched):
            contract, pairs = (shifted(ca), shifted(cb)), ((0, *shifted(ba)), (0, *shifted(bb)))
            return (b.make("dot", a, c, contract=contract, batch=pairs),)
        # The batch is one more free axis of its side, the first.
        if batched[0]:
            ca, ba, at = shifted(ca), shifted(ba), len(ba)
        else:
            at = len(ba) + len(_free(len(a.shape), ca, ba))
            cb, bb = shifted(cb), shifted(bb)
        return (moved(b.make("dot", a, c, contract=(ca, cb), batch=(ba, bb)), at, 0),)

    def rows(self, node: Node, srcs: Sequence[Rows | None]) -> tuple[Rows | None, tuple[int, ...]]:
        (ca, cb), (ba, bb) = node.params["contract"], node.params["batch"]
        outs: list[Rows | None] = []
        folded: list[Rows | None] = []
        for which, (rows, contract, batch) in enumerate(zip(srcs, (ca, cb), (ba, bb), strict=True)):
            if rows is None:
                outs.append(None)
                folded.append(None)
            elif rows.axis in contract:
                outs.append(None)
                folded.append(Rows(contract.index(rows.axis), rows.inner))
            else:
                folded.append(None)
                rank = len(node.srcs[which].shape)
                if rows.axis in batch:
                    axis = batch.index(rows.axis)
                else:
                    axis = len(ba) + _free(rank, contract, batch).index(rows.axis)
                    if which == 1:
                        axis += len(_free(len(node.srcs[0].shape), ca, ba))
                outs.append(Rows(axis, rows.inner))
        return _merge_rows("dot", outs, folded)


def _merge_rows(
    name: str, outs: Sequence[Rows | None], folded: Sequence[Rows | None]
) -> tuple[Rows | None, tuple[int, ...]]:
    """The rule of both contractions: rows of both sources must land on one output axis, or be
    folded together, in which case masking one source masks the products."""
    kept = [r for r in outs if r is not None]
    away = [r for r in folded if r is not None]
    if (kept and away) or any(r != kept[0] for r in kept) or any(r != away[0] for r in away):
        raise RowsMixedError(f"{name} combines every row of a batch with every other")
    if away:
        # One masked factor is enough; rows.py chooses which, knowing what is zero already.
        return None, (1 if folded[1] is not None else 0,)
    return (kept[0] if kept else None), ()


def _free(rank: int, contract: Sequence[int], batch: Sequence[int]) -> tuple[int, ...]:
    return tuple(d for d in range(rank) if d not in contract and d not in batch)


def _side(
    g: Node,
    other: Node,
    g_free: tuple[int, ...],
    other_free: tuple[int, ...],
    g_batch: tuple[int, ...],
    other_batch: tuple[int, ...],
    layout: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]],
    other_contract: tuple[int, ...],
) -> Node:
    """The cotangent of one operand: g dotted with the other operand over its free axes, then put
    into the operand's own axis order (`layout`: its batch, free and contracted axes)."""
    result = b.make("dot", g, other, contract=(g_free, other_free), batch=(g_batch, other_batch))
    # The result's axes: batch, free axes of this operand, then the other's contracted axes in the
    # other's order.
    batch, free, contract = layout
    order = sorted(range(len(other_contract)), key=lambda i: other_contract[i])
    place = (*batch, *free, *(contract[i] for i in order))
    return b.permute(result, [place.index(d) for d in range(len(place))])


Spec = tuple[int, ...]
Padding = tuple[tuple[int, int], ...]


@register
class Conv(Primitive):
    """General convolution (cross-correlation) of x with kernel w.

    `dims=(lhs, rhs, out)` say which axes are (batch, feature, *space) of x and of the result, and
    (output feature, input feature, *space) of w. `lhs_dilation` spaces out x, `rhs_dilation` w;
    padding may be negative. `groups` split features, `batch_groups` split the batch.
    """

    name = "conv"
    family = "contract"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        x, w = srcs
        lhs, rhs, out = params["dims"]
        if x.dtype is not w.dtype or not x.dtype.is_float:
            raise DtypeError(
                f"conv expected two arrays of one float dtype; received {x.dtype.name} and "
                f"{w.dtype.name}"
            )
        if len(x.shape) != len(lhs) or len(w.shape) != len(rhs) or len(lhs) != len(rhs):
            raise ShapeError(
                f"conv expected ranks {len(lhs)}; received {list(x.shape)} and {list(w.shape)}"
            )
        groups, batch_groups = params["groups"], params["batch_groups"]
        batch, features = x.shape[lhs[0]], x.shape[lhs[1]]
        out_features, per_group = w.shape[rhs[0]], w.shape[rhs[1]]
        if features != per_group * groups or out_features % groups or batch % batch_groups:
            raise ShapeError(
                f"conv expected {per_group} x {groups} input features and output features in "
                f"{groups} equal groups; received {features} and {out_features} for "
                f"{list(x.shape)} and {list(w.shape)}"
            )
        if out_features % batch_groups or (groups > 1 and batch_groups > 1):
            raise ShapeError(
                f"conv expected output features in {batch_groups} equal batch groups, and no "
                f"groups; received {out_features} features and {groups} groups"
            )
        shape = [0] * len(out)
        shape[out[0]], shape[out[1]] = batch // batch_groups, out_features
        for i, n in enumerate(self.spatial(x, w, params)):
            shape[out[2 + i]] = n
        return (Aval(tuple(shape), x.dtype),)

    def spatial(self, x: Aval, w: Aval, params: Mapping[str, Any]) -> list[int]:
        """Output sizes in space."""
        lhs, rhs, _ = params["dims"]
        sizes = []
        for i, (lo, hi) in enumerate(params["padding"]):
            n = dilate(x.shape[lhs[2 + i]], params["lhs_dilation"][i]) + lo + hi
            span = dilate(w.shape[rhs[2 + i]], params["rhs_dilation"][i])
            if n < span:
                raise ShapeError(
                    f"conv expected a kernel that fits; received one that reaches over {span}, and "
                    f"{span} does not fit into {n} (padding included), for {list(x.shape)} and "
                    f"{list(w.shape)}"
                )
            sizes.append((n - span) // params["strides"][i] + 1)
        return sizes

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        g = grads[0]
        if g is None:
            return (None, None)
        return _grad_x(g, node), _grad_w(g, node)

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        x, w = srcs
        p = dict(node.params)
        (lhs, rhs, out), groups = p["dims"], max(p["groups"], p["batch_groups"])
        size = size_of(srcs, batched)
        if not batched[1]:
            # More images: the batch axis is (batch groups, batch, images).
            x = _put_in(x, lhs[0], p["batch_groups"])
            return (_take_out(b.make("conv", x, w, **p), out[0], 1, size),)
        if not batched[0]:
            # More output features, within each group.
            w = _put_in(w, rhs[0], groups)
            return (_take_out(b.make("conv", x, w, **p), out[1], groups, size),)
        # Each example is a group of its own.
        kind = "batch_groups" if p["batch_groups"] > 1 else "groups"
        x = _put_in(x, lhs[0 if kind == "batch_groups" else 1], 1)
        w = _put_in(w, rhs[0], 1)
        p[kind] *= size
        return (_take_out(b.make("conv", x, w, **p), out[1], 1, size),)

    def rows(self, node: Node, srcs: Sequence[Rows | None]) -> tuple[Rows | None, tuple[int, ...]]:
        lhs, rhs, out = node.params["dims"]
        outs: list[Rows | None] = []
        folded: list[Rows | None] = []
        plain = node.params["groups"] == 1 and node.params["batch_groups"] == 1
        for rows, spec, kept_at in zip(srcs, (lhs, rhs), (out[0], out[1]), strict=True):
            role = None if rows is None else spec.index(rows.axis)
            outs.append(Rows(kept_at, rows.inner) if rows is not None and role == 0 else None)
            folded.append(Rows(0, rows.inner) if rows is not None and role == 1 else None)
            if rows is not None and (role not in (0, 1) or not (plain or role == 0)):
                raise RowsMixedError("conv slides over the rows of a batch")
        if not plain and (outs[1] is not None or node.params["batch_groups"] > 1):
            raise RowsMixedError("conv groups the rows of a batch")
        return _merge_rows("conv", outs, folded)


def dilate(n: int, by: int) -> int:
    """Size of n elements with by - 1 holes between neighbours."""
    return (n - 1) * by + 1 if n else 0


def _swapped(spec: Spec) -> Spec:
    return (spec[1], spec[0], *spec[2:])


def _merge_into(x: Node, source: int, target: int) -> Node:
    """Move axis `source` in front of axis `target` (counted without `source`) and join the two."""
    rest = [d for d in range(len(x.shape)) if d != source]
    order = [*rest[:target], source, *rest[target:]]
    moved = b.permute(x, order)
    shape = list(moved.shape)
    shape[target : target + 2] = [shape[target] * shape[target + 1]]
    return b.reshape(moved, shape)


def _put_in(x: Node, axis: int, groups: int) -> Node:
    """The first axis folded into another (counted without it), inside each of its groups."""
    x = split(x, axis + 1, groups)
    return joined(joined(moved(x, 0, axis + 1), axis + 1), axis)


def _take_out(x: Node, axis: int, groups: int, size: int) -> Node:
    """The reverse: the batch that is inside each group of an axis, as the first axis."""
    x = moved(split(split(x, axis, groups), axis + 1, size), axis + 1, 0)
    return joined(x, axis + 1)


def _grad_x(g: Node, node: Node) -> Node:
    """The cotangent of x: g convolved with the kernel turned around, features swapped."""
    x, w = node.srcs
    p = node.params
    lhs, rhs, out = p["dims"]
    groups = max(p["groups"], p["batch_groups"])
    if groups > 1:
        w = _merge_into(split(w, rhs[0], groups), rhs[0], rhs[1])
    padding = []
    for i, (lo, _) in enumerate(p["padding"]):
        span = dilate(w.shape[rhs[2 + i]], p["rhs_dilation"][i])
        n = dilate(x.shape[lhs[2 + i]], p["lhs_dilation"][i])
        before = span - lo - 1
        after = n + span - 1 - dilate(g.shape[out[2 + i]], p["strides"][i]) - before
        padding.append((before, after))
    result = b.make(
        "conv",
        g,
        b.make("flip", w, axes=tuple(rhs[2:])),
        strides=p["lhs_dilation"],
        padding=tuple(padding),
        lhs_dilation=p["strides"],
        rhs_dilation=p["rhs_dilation"],
        groups=groups,
        batch_groups=1,
        dims=(out, _swapped(rhs), lhs),
    )
    if p["batch_groups"] > 1:
        result = _merge_into(split(result, lhs[1], groups), lhs[1], lhs[0])
    return result


def _grad_w(g: Node, node: Node) -> Node:
    """The cotangent of w: x convolved with g, batch and features swapped."""
    x, w = node.srcs
    p = node.params
    lhs, rhs, out = p["dims"]
    padding = []
    for i, (lo, _) in enumerate(p["padding"]):
        span = dilate(w.shape[rhs[2 + i]], p["rhs_dilation"][i])
        n = dilate(x.shape[lhs[2 + i]], p["lhs_dilation"][i])
        total = dilate(g.shape[out[2 + i]], p["strides"][i]) + span - n - 1
        padding.append((lo, total - lo))
    return b.make(
        "conv",
        x,
        g,
        strides=p["rhs_dilation"],
        padding=tuple(padding),
        lhs_dilation=p["lhs_dilation"],
        rhs_dilation=p["strides"],
        groups=p["batch_groups"],
        batch_groups=p["groups"],
        dims=(_swapped(lhs), _swapped(out), _swapped(rhs)),
    )
