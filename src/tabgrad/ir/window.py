"""Window reductions: pooling. One entry per axis for window, strides, padding and dilation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabgrad.dtypes import int32
from tabgrad.errors import NotSupportedError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.batching import check_flat
from tabgrad.ir.graph import Aval, Node, Primitive, Rows, RowsMixedError, register


class Window(Primitive):
    """Common shape rule; elements in the padding count as the identity of the fold."""

    family = "window"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        shape = srcs[0].shape
        window, strides, padding = params["window"], params["strides"], params["padding"]
        dilation = params["dilation"]
        if not len(shape) == len(window) == len(strides) == len(padding) == len(dilation):
            raise ShapeError(
                f"{self.name} expected one window entry for each axis of {list(shape)}; received "
                f"window {window}, strides {strides}, padding {padding}, dilation {dilation}"
            )
        sizes = []
        for n, w, s, (lo, hi), d in zip(shape, window, strides, padding, dilation, strict=True):
            span = (w - 1) * d + 1
            if w < 1 or s < 1 or d < 1 or lo < 0 or hi < 0:
                raise ShapeError(f"{self.name} expected positive windows; received {dict(params)}")
            # An axis of no elements that is not pooled (an empty batch) stays one.
            if n + lo + hi < span and (n, w) != (0, 1):
                raise ShapeError(
                    f"{self.name} expected a window that fits; received a window of {span}, "
                    f"which does not fit into {n} + padding {lo}, {hi}"
                )
            sizes.append((n + lo + hi - span) // s + 1)
        return (Aval(tuple(sizes), self.result(srcs[0])),)

    def result(self, aval: Aval) -> Any:
        """The dtype of the result."""
        return aval.dtype

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        p = node.params
        return (
            b.make(
                self.name,
                srcs[0],
                **{
                    **p,
                    "window": (1, *p["window"]),
                    "strides": (1, *p["strides"]),
                    "padding": ((0, 0), *p["padding"]),
                    "dilation": (1, *p["dilation"]),
                },
            ),
        )

    def rows(self, node: Node, srcs: Sequence[Rows | None]) -> tuple[Rows | None, tuple[int, ...]]:
        rows, p = srcs[0], node.params
        if rows is None:
            return None, ()
        a = rows.axis
        if p["window"][a] != 1 or p["strides"][a] != 1 or p["padding"][a] != (0, 0):
            raise RowsMixedError(f"{self.name} slides over the rows of a batch")
        return rows, ()


@register
class WindowReduce(Window):
    """Sum, maximum or minimum (`op`) of each window."""

    name = "window_reduce"

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        g, x, p = grads[0], node.srcs[0], dict(node.params)
        if g is None:
            return (None,)
        op = p.pop("op")
        if op == "sum":
            return (_spread(g, x, p),)
        # The first extremum of each window takes the cotangent. The index is found anew from x.
        at = b.make("window_argmax", x if op == "max" else b.neg(x), **p)
        return (_deliver(g, at, x, p),)


@register
class WindowArgMax(Window):
    """Row-major flat index into the source of the first maximum of each window."""

    name = "window_argmax"

    def result(self, aval: Aval) -> Any:
        return int32

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        return (None,)

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        (places,) = super().batch(node, srcs, batched)
        check_flat(srcs[0].size, "window_argmax")
        # Counted from the beginning of the batch; each example counts from its own.
        example = b.iota(places.shape, 0, int32)
        return (b.sub(places, b.mul(example, b.like(example, node.srcs[0].size))),)


def _spread(g: Node, x: Node, p: Mapping[str, Any]) -> Node:
    """Transpose of a window sum: each source element collects the windows it was in."""
    low, high = [], []
    for n, o, w, s, (lo, _), d in zip(
        x.shape, g.shape, p["window"], p["strides"], p["padding"], p["dilation"], strict=True
    ):
        reach = (w - 1) * d
        low.append(reach - lo)
        high.append(n + lo - ((o - 1) * s + 1))
    spaced = b.make(
        "pad",
        g,
        b.const(0, g.dtype),
        low=tuple(low),
        high=tuple(high),
        interior=tuple(s - 1 for s in p["strides"]),
    )
    return b.make(
        "window_reduce",
        spaced,
        op="sum",
        window=p["window"],
        strides=(1,) * len(low),
        padding=((0, 0),) * len(low),
        dilation=p["dilation"],
    )


def _deliver(g: Node, at: Node, x: Node, p: Mapping[str, Any]) -> Node:
    """Cotangents put at the flat indices `at` of x (added where windows overlap)."""
    if x.size >= 2**31:
        raise NotSupportedError(
            "the gradient of pooling expected fewer than 2**31 elements; received "
            f"{list(x.shape)}. Pool parts of the batch"
        )
    tiles = all(
        w == s and (lo, hi) == (0, 0) and d == 1 and n == o * s
        for n, o, w, s, (lo, hi), d in zip(
            x.shape, g.shape, p["window"], p["strides"], p["padding"], p["dilation"], strict=True
        )
    )
    if not tiles:
        flat = b.make(
            "scatter",
            b.full((x.size,), 0, g.dtype),
            b.reshape(at, (at.size,)),
            b.reshape(g, (g.size,)),
            axis=0,
            op="add",
        )
        return b.reshape(flat, x.shape)
    # Windows that tile the source: each element asks whether it is the one chosen, which is one
    # vectorised map instead of a scatter.
    split = tuple(n for pair in zip(g.shape, p["window"], strict=True) for n in pair)
    dims = tuple(range(0, len(split), 2))
    spread = [b.reshape(b.broadcast(v, split, dims), x.shape) for v in (at, g)]
    here = b.flat_iota(x.shape, int32)
    return b.select(b.eq(spread[0], here), spread[1], b.full(x.shape, 0, g.dtype))
