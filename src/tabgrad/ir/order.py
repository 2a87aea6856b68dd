"""Sorting: one key and what goes with it. Everything about order is composed of it in `ops`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabgrad.dtypes import int32
from tabgrad.errors import ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.cumulative import scatter_last
from tabgrad.ir.graph import Aval, Node, Primitive, Rows, RowsMixedError, register


@register
class Sort(Primitive):
    """The first source sorted along its last axis, the smallest first, and all others moved with
    it. Equal keys (0 and -0 are equal) keep their order, NaNs come last."""

    name = "sort"
    family = "order"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        shapes = {x.shape for x in srcs}
        if len(shapes) != 1 or not srcs[0].shape:
            raise ShapeError(
                "sort expected a key and payloads of one shape with an axis; received "
                f"{[list(x.shape) for x in srcs]}"
            )
        return tuple(srcs)

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        place = b.iota(node.srcs[0].shape, len(node.srcs[0].shape) - 1, int32)
        came_from = b.proj(b.make("sort", node.srcs[0], place), 1)
        return [
            scatter_last(came_from, g)
            if g is not None and src.dtype.is_float and src.size
            else None
            for src, g in zip(node.srcs, grads, strict=True)
        ]

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        (size,) = {src.shape[0] for src, on in zip(srcs, batched, strict=True) if on}
        whole = [
            src if on else b.broadcast(src, (size, *src.shape), range(1, len(src.shape) + 1))
            for src, on in zip(srcs, batched, strict=True)
        ]
        new = b.make("sort", *whole)
        return [new] if len(whole) == 1 else [b.proj(new, i) for i in range(len(whole))]

    def rows(self, node: Node, srcs: Sequence[Rows | None]) -> tuple[Rows | None, tuple[int, ...]]:
        found = [r for r in srcs if r is not None]
        last = len(node.srcs[0].shape) - 1
        if any(r.axis == last or r != found[0] for r in found):
            raise RowsMixedError("sort changes the order of the rows of a batch")
        return (found[0] if found else None), ()
