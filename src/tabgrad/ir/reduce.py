"""Reductions: axes folded to one element each and dropped from the shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabgrad.dtypes import int32
from tabgrad.errors import DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.batching import repeated, shifted, size_of
from tabgrad.ir.graph import Aval, Node, Primitive, Rows, register
from tabgrad.ir.product import product_of_others


def kept_rows(rows: Rows, axes: Sequence[int]) -> Rows | None:
    """Where rows are after `axes` are dropped; None when theirs is among them."""
    if rows.axis in axes:
        return None
    return Rows(rows.axis - sum(a < rows.axis for a in axes), rows.inner)


class Reduce(Primitive):
    """Fold `axes` (sorted, distinct). Folding the axis that holds rows needs a row mask."""

    family = "reduce"
    kinds = "biuf"

    def axes(self, params: Mapping[str, Any]) -> tuple[int, ...]:
        """The folded axes."""
        return tuple(params["axes"])

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        axes, shape = self.axes(params), srcs[0].shape
        if list(axes) != sorted(set(axes)) or any(not 0 <= a < len(shape) for a in axes):
            raise ShapeError(f"{self.name} expected axes of {list(shape)}; received {axes}")
        if srcs[0].dtype.kind not in self.kinds:
            raise DtypeError(f"{self.name} does not take {srcs[0].dtype.name}")
        kept = tuple(n for d, n in enumerate(shape) if d not in axes)
        return (Aval(kept, self.result(srcs[0])),)

    def result(self, aval: Aval) -> Any:
        """The dtype of the result."""
        return aval.dtype

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        axes = shifted(self.axes(node.params))
        return (b.make(self.name, srcs[0], **self.along(axes)),)

    def along(self, axes: tuple[int, ...]) -> dict[str, Any]:
        """The parameters that fold `axes`."""
        return {"axes": axes}

    def rows(self, node: Node, srcs: Sequence[Rows | None]) -> tuple[Rows | None, tuple[int, ...]]:
        if srcs[0] is None:
            return None, ()
        out = kept_rows(srcs[0], self.axes(node.params))
        return out, (() if out is not None else (0,))


@register
class Sum(Reduce):
    """Sum; 0 of nothing. Does not take bool: cast first."""

    name = "reduce_sum"
    kinds = "iuf"

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        g = grads[0]
        if g is None:
            return (None,)
        x = node.srcs[0]
        kept = tuple(d for d in range(len(x.shape)) if d not in node.params["axes"])
        return (b.make("broadcast_like", g, x, dims=kept),)


@register
class Prod(Reduce):
    """Product; 1 of nothing."""

    name = "reduce_prod"
    kinds = "iuf"

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        g, x, axes = grads[0], node.srcs[0], node.params["axes"]
        if g is None:
            return (None,)
        others = product_of_others(x, tuple(axes))
        return (b.mul(b.expand(g, x.shape, axes), others),)


class Extremum(Reduce):
    """Largest or smallest element; NaN if any is. For bool: any or all. Needs at least one."""

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        _require_elements(self.name, srcs[0].shape, params["axes"], srcs[0].dtype.kind)
        return super().infer(srcs, params)

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        g, x, axes = grads[0], node.srcs[0], node.params["axes"]
        if g is None:
            return (None,)
        # Equal extrema share the cotangent equally, as in JAX and TensorFlow.
        at = b.eq(x, b.expand(node, x.shape, axes))
        hits = b.select(at, b.like(x, 1), b.like(x, 0))
        share = b.div(g, b.reduce("reduce_sum", hits, axes))
        return (b.mul(b.expand(share, x.shape, axes), hits),)


@register
class Max(Extremum):
    __doc__ = Extremum.__doc__
    name = "reduce_max"


@register
class Min(Extremum):
    __doc__ = Extremum.__doc__
    name = "reduce_min"


class ArgExtremum(Reduce):
    """Index along `axis` of the first extremum; of the first NaN where there is one."""

    def axes(self, params: Mapping[str, Any]) -> tuple[int, ...]:
        return (params["axis"],)

    def along(self, axes: tuple[int, ...]) -> dict[str, Any]:
        return {"axis": axes[0]}

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        outs = super().infer(srcs, params)
        _require_elements(self.name, srcs[0].shape, self.axes(params), "f")
        return outs

    def result(self, aval: Aval) -> Any:
        return int32

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        return (None,)


@register
class ArgMax(ArgExtremum):
    __doc__ = ArgExtremum.__doc__
    name = "argmax"


@register
class ArgMin(ArgExtremum):
    __doc__ = ArgExtremum.__doc__
    name = "argmin"


@register
class Size(Reduce):
    """The number of elements along `axes`, a 0-d int32.

    A constant for a given shape, but not for the compiler that runs a batch of fewer rows: means
    and losses divide by this node, so that they divide by the true number of rows.
    """

    name = "size"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        super().infer(srcs, params)
        return (Aval((), int32),)

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        return (None,)

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        (number,) = super().batch(node, srcs, batched)
        return (repeated(number, size_of(srcs, batched)),)

    def rows(self, node: Node, srcs: Sequence[Rows | None]) -> tuple[Rows | None, tuple[int, ...]]:
        return None, ()


def _require_elements(name: str, shape: Sequence[int], axes: Sequence[int], kind: str) -> None:
    if kind != "b" and any(shape[a] == 0 for a in axes if a < len(shape)):
        raise ShapeError(
            f"{name} expected an element or more along {tuple(axes)}; received {list(shape)}, and "
            "nothing has no extremum"
        )
