"""Running folds along one axis: sums, products, maxima and minima of all up to an element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabgrad.dtypes import int32
from tabgrad.errors import DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Aval, Graph, Node, Primitive, Rows, RowsMixedError, register

KINDS: Mapping[str, str] = {"sum": "iuf", "prod": "iuf", "max": "biuf", "min": "biuf"}


@register
class Cumulative(Primitive):
    """Element i on `axis` is the fold `op` of the elements up to i, itself included; from i on with
    `reverse`. A NaN stays in all that follow, as in reductions."""

    name = "cumulative"
    family = "cumulative"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        (x,), axis, op = srcs, params["axis"], params["op"]
        if not 0 <= axis < len(x.shape):
            raise ShapeError(f"cumulative expected an axis of {list(x.shape)}; received {axis}")
        if x.dtype.kind not in KINDS[op]:
            raise DtypeError(f"a cumulative {op} does not take {x.dtype.name}; cast it first")
        return (x,)

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        g, p = grads[0], node.params
        if g is None or not node.dtype.is_float:
            return (None,)
        if p["op"] == "sum":
            return (cumulative(g, p["axis"], "sum", not p["reverse"]),)
        # The rules below are written for the last axis, walked forwards.
        x, y, g = (_last(n, p["axis"], p["reverse"]) for n in (node.srcs[0], node, g))
        found = _product_vjp(x, y, g) if p["op"] == "prod" else _extremum_vjp(y, g)
        return (_back(found, p["axis"], p["reverse"]),)

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        p = node.params
        return [cumulative(srcs[0], p["axis"] + 1, p["op"], p["reverse"])]

    def rows(self, node: Node, srcs: Sequence[Rows | None]) -> tuple[Rows | None, tuple[int, ...]]:
        if srcs[0] is not None and srcs[0].axis == node.params["axis"]:
            raise RowsMixedError("cumulative folds the rows of a batch one after the other")
        return srcs[0], ()


def cumulative(x: Node, axis: int, op: str, reverse: bool = False) -> Node:
    """The running fold `op` of x along `axis`."""
    return b.make("cumulative", x, axis=axis, op=op, reverse=reverse)


def _last(x: Node, axis: int, reverse: bool) -> Node:
    moved = b.permute(x, [d for d in range(len(x.shape)) if d != axis] + [axis])
    return b.make("flip", moved, axes=(len(x.shape) - 1,)) if reverse else moved


def _back(x: Node, axis: int, reverse: bool) -> Node:
    last = len(x.shape) - 1
    flipped = b.make("flip", x, axes=(last,)) if reverse else x
    order = list(range(last))
    order.insert(axis, last)
    return b.permute(flipped, order)


def _product_vjp(x: Node, y: Node, g: Node) -> Node:
    """With s[i] = g[i] + x[i+1] * s[i+1], the cotangent is s[i] times the product of what comes
    before i. No division, so it is right where factors are zero, and so are its own gradients."""
    *outer, n = x.shape
    if not n:
        return g
    front = (len(outer), *range(len(outer)))
    s, x_turn, g_turn = (b.input(outer, x.dtype) for _ in range(3))
    new = b.add(g_turn, b.mul(x_turn, s))
    walk = b.make(
        "scan",
        b.full(outer, 0, x.dtype),
        b.permute(shifted(x, 1, after=True), front),
        b.permute(g, front),
        body=Graph([s, x_turn, g_turn], [new, new]),
        n_const=0,
        n_carry=1,
        length=n,
        reverse=True,
    )
    sums = b.permute(b.proj(walk, 1), (*range(1, len(outer) + 1), 0))
    return b.mul(sums, shifted(y, 1, after=False))


def shifted(x: Node, fill: float, *, after: bool) -> Node:
    """x moved by one place along its last axis, with `fill` in the place that becomes free: each
    element becomes the one after it, or the one before."""
    rank = len(x.shape)
    ahead = (0,) * (rank - 1)
    low, high = (-1, 1) if after else (1, -1)
    return b.make(
        "pad",
        x,
        b.const(fill, x.dtype),
        low=(*ahead, low),
        high=(*ahead, high),
        interior=(0,) * rank,
    )


def _extremum_vjp(y: Node, g: Node) -> Node:
    """All that an element has set flows back to it; of equal elements the first has."""
    *_, n = y.shape
    if not n or not y.size:
        return g
    last = len(y.shape) - 1
    place = b.iota(y.shape, last, int32)
    before = shifted(y, 0, after=False)
    # From a NaN on everything is NaN, and the first has set it.
    known = b.make("or", b.eq(before, y), b.make("ne", before, before))
    same = b.make("and", known, b.lt(b.like(place, 0), place))
    owner = cumulative(b.select(same, b.like(place, 0), place), last, "max")
    return scatter_last(owner, g)


def scatter_last(index: Node, g: Node) -> Node:
    """Zeros with `g` added at `index` along the last axis, row by row."""
    flat = flat_index(index)
    zeros = b.full((g.size,), 0, g.dtype)
    put = b.make("scatter", zeros, flat, b.reshape(g, (g.size,)), axis=0, op="add")
    return b.reshape(put, g.shape)


def flat_index(index: Node) -> Node:
    """Positions along the last axis as positions in the flattened array of the same shape."""
    n = index.shape[-1]
    row = b.iota((index.size // n, n), 0, int32)
    start = b.mul(row, b.like(row, n))
    return b.reshape(b.add(start, b.reshape(index, row.shape)), (index.size,))
