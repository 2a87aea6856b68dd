"""Nodes that steer transformations and compute nothing: a gradient given by the user, a barrier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabgrad.errors import NotSupportedError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.batching import all_batched, batched_graph, repeated, size_of
from tabgrad.ir.graph import Aval, Graph, Node, Primitive, Rows, RowsMixedError, register
from tabgrad.ir.movement import Movement


@register
class Custom(Primitive):
    """The first `n_out` sources as they are, with the gradient that `back` gives.

    Sources: results, then `n_x` arguments, then captures of `back`, then whatever the results
    depend on beside the arguments (`closed`), of which no gradient is known.
    `back(*cotangents of float results, *arguments, *captures)` gives the cotangents of the float
    arguments. It computes again what it needs of the forward pass: equal nodes are one.
    """

    name = "custom"
    family = "control"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        back: Graph = params["back"]
        n_out, n_x = params["n_out"], params["n_x"]
        outs, xs = list(srcs[:n_out]), list(srcs[n_out : n_out + n_x])
        want = [node.outs[0] for node in back.inputs]
        cotangents = [aval for aval in outs if aval.dtype.is_float]
        captures = len(want) - len(cotangents) - n_x
        have = [*cotangents, *srcs[n_out : n_out + n_x + max(captures, 0)]]
        if captures < 0 or have != want or not outs:
            raise ShapeError(
                f"custom expected a gradient of {[_show(a) for a in have]}; received one of "
                f"{[_show(a) for a in want]}"
            )
        found = [node.outs[0] for node in back.outputs]
        if found != [aval for aval in xs if aval.dtype.is_float]:
            raise ShapeError(
                f"custom expected cotangents like its arguments {[_show(a) for a in xs]}; "
                f"received {[_show(a) for a in found]}"
            )
        return outs

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        parts = Parts(node)
        given = [
            b.like(out, 0) if g is None else g
            for out, g in zip(parts.outs, grads, strict=True)
            if out.dtype.is_float
        ]
        found = iter(node.params["back"](*given, *parts.xs, *parts.captures))
        to_xs = [next(found) if x.dtype.is_float else None for x in parts.xs]
        rest = len(node.srcs) - len(parts.outs) - len(to_xs)
        return (*[None] * len(parts.outs), *to_xs, *[None] * rest)

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        n_out, n_x, back = node.params["n_out"], node.params["n_x"], node.params["back"]
        size = size_of(srcs, batched)
        floats = [x.dtype.is_float for x in srcs[:n_out]]
        n_cap = len(back.inputs) - sum(floats) - n_x
        flags = [*[True] * sum(floats), *batched[n_out : n_out + n_x + n_cap]]
        mapped = batched_graph(back, flags, size)
        slopes = iter(mapped.outputs)
        summed = []
        for src, flag in zip(srcs[n_out : n_out + n_x], batched[n_out:], strict=False):
            if src.dtype.is_float:
                slope = next(slopes)
                summed.append(slope if flag else b.reduce("reduce_sum", slope, (0,)))
        outs = [repeated(y, size, flag) for y, flag in zip(srcs[:n_out], batched, strict=False)]
        params = {**node.params, "back": Graph(mapped.inputs, summed)}
        return outputs_of(b.make("custom", *outs, *srcs[n_out:], **params))

    def rows(self, node: Node, srcs: Sequence[Rows | None]) -> tuple[Rows | None, tuple[int, ...]]:
        outs = srcs[: node.params["n_out"]]
        if any(r != outs[0] for r in outs):
            raise RowsMixedError("custom has results with and without rows")
        return outs[0], ()


class Parts:
    """The sources of a `custom` node by their role."""

    def __init__(self, node: Node) -> None:
        n_out, n_x = node.params["n_out"], node.params["n_x"]
        self.outs = node.srcs[:n_out]
        self.xs = node.srcs[n_out : n_out + n_x]
        floats = sum(out.dtype.is_float for out in self.outs)
        end = n_out + len(node.params["back"].inputs) - floats
        self.captures = node.srcs[n_out + n_x : end]
        self.closed = node.srcs[end:]


def refuse_closed(node: Node, active: set[int]) -> None:
    """Raise when a derivative is wanted by something a custom gradient does not speak of."""
    for src in Parts(node).closed:
        if id(src) in active:
            raise NotSupportedError(
                f"a function with a custom gradient uses a {_show(src.outs[0])} tensor (or "
                "Variable) that is being differentiated but is none of its arguments, so its "
                "gradient there is not known. Pass it as an argument, or wrap it in "
                "tg.stop_gradient"
            )


@register
class Barrier(Movement):
    """The first source, computed after the second, and by no rewrite the same as without it.

    Recomputation (`tg.checkpoint`) begins with these: without them the values computed again would
    be equal to those of the forward pass and be kept from there. The second source is not read.
    """

    name = "barrier"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        return (srcs[0],)

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        return grads[0], None

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        return (b.make("barrier", *all_batched(srcs, batched)),)

    def rows(self, node: Node, srcs: Sequence[Rows | None]) -> tuple[Rows | None, tuple[int, ...]]:
        return srcs[0], ()


def outputs_of(node: Node) -> list[Node]:
    """All outputs of a node, as single-output nodes."""
    if len(node.outs) == 1:
        return [node]
    return [b.proj(node, i) for i in range(len(node.outs))]


def _show(aval: Aval) -> str:
    return f"{aval.dtype.name} {list(aval.shape)}"
