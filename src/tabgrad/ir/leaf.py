"""Leaf primitives: values that come from outside or need no source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabgrad.dtypes import int32
from tabgrad.ir.graph import Aval, Node, Primitive, Rows, checked_shape, register


class _Leaf(Primitive):
    family = "leaf"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        return (Aval(checked_shape(self.name, params["shape"]), params["dtype"]),)

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        return ()

    def rows(self, node: Node, srcs: Sequence[Rows | None]) -> tuple[Rows | None, tuple[int, ...]]:
        return None, ()


@register
class Input(_Leaf):
    """An argument of a graph: `index` tells it from others."""

    name = "input"


@register
class Value(_Leaf):
    """A concrete array in an engine's memory, compared by identity."""

    name = "value"


@register
class Const(_Leaf):
    """A 0-d constant given by a Python scalar."""

    name = "const"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        return (Aval((), params["dtype"]),)


@register
class Array(_Leaf):
    """A small constant array by content: `data` is row-major, little endian."""

    name = "array"


@register
class Iota(_Leaf):
    """The index along `axis`."""

    name = "iota"


@register
class RowCount(_Leaf):
    """The run-time number of rows of the batch, int32; appears only in graphs made for export."""

    name = "rows"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        return (Aval((), int32),)
