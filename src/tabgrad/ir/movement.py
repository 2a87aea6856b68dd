"""Movement primitives: they change where elements are, never what they are (pad adds a fill).

The compiler folds all of them into index arithmetic; none is a copy by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabgrad.dtypes import bool_
from tabgrad.errors import DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.batching import all_batched, repeated, shifted, size_of
from tabgrad.ir.graph import Aval, Node, Primitive, Rows, RowsMixedError, checked_shape, register


class Movement(Primitive):
    """Common ground of the family."""

    family = "movement"

    def out_rows(self, node: Node, rows: Rows) -> Rows:
        """Where the rows of the (first) source are in the output; raises RowsMixedError."""
        raise RowsMixedError(f"{self.name} moves the rows of a batch")

    def rows(self, node: Node, srcs: Sequence[Rows | None]) -> tuple[Rows | None, tuple[int, ...]]:
        found = srcs[0]
        if any(other is not None for other in srcs[1:]):
            raise RowsMixedError(f"{self.name} has rows in a secondary source")
        return (None if found is None else self.out_rows(node, found)), ()


@register
class Reshape(Movement):
    """The same elements in row-major order under another shape."""

    name = "reshape"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        shape, old = checked_shape(self.name, params["shape"]), srcs[0].shape
        if _product(shape) != _product(old):
            raise ShapeError(
                f"reshape expected a shape of {_product(old)} elements for {list(old)}; received "
                f"{list(shape)}"
            )
        return (Aval(shape, srcs[0].dtype),)

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        g = grads[0]
        return (None if g is None else b.reshape(g, node.srcs[0].shape),)

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        return (b.reshape(srcs[0], (srcs[0].shape[0], *node.shape)),)

    def out_rows(self, node: Node, rows: Rows) -> Rows:
        old, new = node.srcs[0].shape, node.shape
        if _product(old) == 0:
            raise RowsMixedError("reshape of an empty batch")
        # The row of flat index f is (f % outer_block) // row_block; look for the output axis whose
        # elements lie in one row each: its stride times a whole `inner` must be the row block.
        outer_block = _product(old[rows.axis :])
        row_block = _product(old[rows.axis + 1 :]) * rows.inner
        stride, found = 1, None
        for axis in range(len(new) - 1, -1, -1):
            block = stride * new[axis]
            if block == outer_block and row_block % stride == 0:
                # A batch of one row fits several axes; the outermost is its own.
                found = Rows(axis, row_block // stride)
            stride = block
        if found is not None:
            return found
        raise RowsMixedError(
            f"reshape from {list(old)} to {list(new)} cuts through the rows on axis {rows.axis}"
        )


@register
class Permute(Movement):
    """Axes in another order: output axis i is source axis axes[i]."""

    name = "permute"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        axes, shape = params["axes"], srcs[0].shape
        if sorted(axes) != list(range(len(shape))):
            raise ShapeError(
                f"permute expected a permutation of {len(shape)} axes; received {axes}"
            )
        return (Aval(tuple(shape[a] for a in axes), srcs[0].dtype),)

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        g, axes = grads[0], node.params["axes"]
        inverse = [axes.index(i) for i in range(len(axes))]
        return (None if g is None else b.permute(g, inverse),)

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        return (b.permute(srcs[0], (0, *shifted(node.params["axes"]))),)

    def out_rows(self, node: Node, rows: Rows) -> Rows:
        return Rows(node.params["axes"].index(rows.axis), rows.inner)


@register
class Broadcast(Movement):
    """Source axis i becomes output axis dims[i] (strictly increasing); axes of size 1 repeat, and
    output axes named by no source axis repeat the whole."""

    name = "broadcast"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        shape = checked_shape(self.name, params["shape"])
        dims, old = params["dims"], srcs[0].shape
        if not dims and not old:  # a number, which fits: eager code gives one to most operations
            return (Aval(shape, srcs[0].dtype),)
        fits = len(dims) == len(old) and list(dims) == sorted(set(dims))
        if not fits or any(
            not 0 <= d < len(shape) or old[i] not in (1, shape[d]) for i, d in enumerate(dims)
        ):
            raise ShapeError(
                f"broadcast expected sizes of 1 or of the result along axes {dims}; received "
                f"{list(old)} to {list(shape)}"
            )
        return (Aval(shape, srcs[0].dtype),)

    def repeated(self, node: Node) -> tuple[int, ...]:
        """Output axes along which the source repeats."""
        old, dims = node.srcs[0].shape, node.params["dims"]
        kept = {d for i, d in enumerate(dims) if old[i] == node.shape[d]}
        return tuple(d for d in range(len(node.shape)) if d not in kept)

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        g = grads[0]
        if g is None:
            return (None,)
        return (b.reshape(b.reduce("reduce_sum", g, self.repeated(node)), node.srcs[0].shape),)

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        shape = (srcs[0].shape[0], *node.shape)
        return (b.broadcast(srcs[0], shape, (0, *shifted(node.params["dims"]))),)

    def out_rows(self, node: Node, rows: Rows) -> Rows:
        axis = node.params["dims"][rows.axis]
        if node.shape[axis] != node.srcs[0].shape[rows.axis]:
            raise RowsMixedError("broadcast repeats a single row over a batch")
        return Rows(axis, rows.inner)


@register
class BroadcastLike(Movement):
    """Broadcast to the shape of the second source, whose values have no influence.

    The cotangent of a sum is a repeated number, but one repeated over the rows of a batch: this
    node remembers whose rows. The compiler turns it into a plain broadcast once rows are settled.
    """

    name = "broadcast_like"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        x, like = srcs
        dims = params["dims"]
        if x.shape != tuple(like.shape[d] for d in dims):
            raise ShapeError(
                f"broadcast_like expected the sizes of {list(like.shape)} along axes {dims}; "
                f"received {list(x.shape)}"
            )
        return (Aval(like.shape, x.dtype),)

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        g, dims = grads[0], node.params["dims"]
        if g is None:
            return (None, None)
        return b.reduce("reduce_sum", g, [d for d in range(len(g.shape)) if d not in dims]), None

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        x, like = srcs
        like = repeated(like, size_of(srcs, batched), batched[1])
        dims = shifted(node.params["dims"])
        return (b.make("broadcast_like", x, like, dims=(0, *dims) if batched[0] else dims),)

    def rows(self, node: Node, srcs: Sequence[Rows | None]) -> tuple[Rows | None, tuple[int, ...]]:
        own, like = srcs
        if own is not None and like is not None:
            own = Rows(node.params["dims"][own.axis], own.inner)
            if own != like:
                raise RowsMixedError("broadcast_like repeats rows over the rows of another value")
        # Rows that arrive where the other value has none (a weight for each place in a batch) are
        # lost sight of, and the entry takes full batches only.
        return like, ()


@register
class Pad(Movement):
    """x surrounded by the 0-d second source: `low` before, `high` after, `interior` between
    neighbours, one entry an axis. Negative `low` and `high` cut away."""

    name = "pad"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        x, fill = srcs
        low, high, interior = params["low"], params["high"], params["interior"]
        if fill.shape != () or fill.dtype is not x.dtype:
            raise DtypeError(
                f"pad expected a 0-d {x.dtype.name} fill; received {fill.dtype.name} "
                f"{list(fill.shape)}"
            )
        if (
            not len(low) == len(high) == len(interior) == len(x.shape)
            or min(interior, default=0) < 0
        ):
            raise ShapeError(
                f"pad expected {len(x.shape)} entries for {list(x.shape)} in low, high and "
                f"interior (at least 0); received {low}, {high} and {interior}"
            )
        shape = tuple(
            lo + hi + n + max(n - 1, 0) * i
            for n, lo, hi, i in zip(x.shape, low, high, interior, strict=True)
        )
        if min(shape, default=0) < 0:
            raise ShapeError(
                f"pad expected to leave sizes of at least 0; received {low}, {high} for "
                f"{list(x.shape)}, which leaves less than nothing"
            )
        return (Aval(checked_shape(self.name, shape), x.dtype),)

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        g = grads[0]
        if g is None:
            return (None, None)
        p, shape = node.params, node.srcs[0].shape
        zero = b.const(0, g.dtype)
        # Cutting back what was added: negative padding, then every (interior + 1)-th element.
        cut = b.make(
            "pad",
            g,
            zero,
            low=tuple(-n for n in p["low"]),
            high=tuple(-n for n in p["high"]),
            interior=(0,) * len(shape),
        )
        step = tuple(i + 1 for i in p["interior"])
        if any(n != 1 for n in step):
            cut = b.make("slice", cut, start=(0,) * len(shape), stop=cut.shape, step=step)
        all_axes = tuple(range(len(shape)))
        fill = b.sub(b.reduce("reduce_sum", g, all_axes), b.reduce("reduce_sum", cut, all_axes))
        return cut, fill

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        size = size_of(srcs, batched)
        x, fill = repeated(srcs[0], size, batched[0]), srcs[1]
        around = {key: (0, *node.params[key]) for key in ("low", "high", "interior")}
        if not batched[1]:
            return (b.make("pad", x, fill, **around),)
        padded = b.make("pad", x, b.const(0, x.dtype), **around)
        inside = b.make("pad", b.full(x.shape, True, bool_), b.const(False, bool_), **around)
        return (b.select(inside, padded, b.broadcast(fill, padded.shape, (0,))),)

    def out_rows(self, node: Node, rows: Rows) -> Rows:
        p, a = node.params, rows.axis
        if p["low"][a] or p["high"][a] or p["interior"][a]:
            raise RowsMixedError("pad adds rows to a batch")
        return rows


@register
class Slice(Movement):
    """Elements start, start+step, ... below stop on each axis; steps are positive."""

    name = "slice"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        shape = srcs[0].shape
        start, stop, step = params["start"], params["stop"], params["step"]
        if not len(start) == len(stop) == len(step) == len(shape) or any(
            not (0 <= lo <= hi <= n and s > 0)
            for lo, hi, s, n in zip(start, stop, step, shape, strict=False)
        ):
            raise ShapeError(
                f"slice expected 0 <= start <= stop <= size and step > 0 on each axis of "
                f"{list(shape)}; received {start}, {stop}, {step}"
            )
        sizes = tuple((hi - lo + s - 1) // s for lo, hi, s in zip(start, stop, step, strict=True))
        return (Aval(checked_shape(self.name, sizes), srcs[0].dtype),)

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        g = grads[0]
        if g is None:
            return (None,)
        p, shape = node.params, node.srcs[0].shape
        last = [
            lo + (n - 1) * s + 1 if n else lo
            for lo, s, n in zip(p["start"], p["step"], node.shape, strict=True)
        ]
        return (
            b.make(
                "pad",
                g,
                b.const(0, g.dtype),
                low=p["start"],
                high=tuple(n - end for n, end in zip(shape, last, strict=True)),
                interior=tuple(s - 1 for s in p["step"]),
            ),
        )

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        p, size = node.params, srcs[0].shape[0]
        start, stop, step = (0, *p["start"]), (size, *p["stop"]), (1, *p["step"])
        return (b.make("slice", srcs[0], start=start, stop=stop, step=step),)

    def out_rows(self, node: Node, rows: Rows) -> Rows:
        if node.shape[rows.axis] != node.srcs[0].shape[rows.axis]:
            raise RowsMixedError("a slice takes some rows of a batch")
        return rows


@register
class Flip(Movement):
    """Reversed order along `axes`."""

    name = "flip"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        axes, rank = params["axes"], len(srcs[0].shape)
        if len(set(axes)) != len(axes) or any(not 0 <= a < rank for a in axes):
            raise ShapeError(f"flip expected distinct axes below {rank}; received {axes}")
        return (srcs[0],)

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        g = grads[0]
        return (None if g is None else b.make("flip", g, axes=node.params["axes"]),)

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        return (b.make("flip", srcs[0], axes=shifted(node.params["axes"])),)

    def out_rows(self, node: Node, rows: Rows) -> Rows:
        if rows.axis in node.params["axes"]:
            raise RowsMixedError("flip reverses the rows of a batch")
        return rows


@register
class Concatenate(Movement):
    """Sources one after the other along `axis`."""

    name = "concatenate"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        axis, first = params["axis"], srcs[0]
        if not 0 <= axis < len(first.shape):
            raise ShapeError(
                f"concatenate expected an axis of {list(first.shape)}; received {axis}"
            )
        for other in srcs[1:]:
            if other.dtype is not first.dtype:
                raise DtypeError(
                    f"concatenate expected one dtype; received {[s.dtype.name for s in srcs]}"
                )
            if _without(other.shape, axis) != _without(first.shape, axis):
                raise ShapeError(
                    f"concatenate expected shapes that agree outside axis {axis}; received "
                    f"{[list(s.shape) for s in srcs]}"
                )
        total = sum(s.shape[axis] for s in srcs)
        return (Aval((*first.shape[:axis], total, *first.shape[axis + 1 :]), first.dtype),)

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        g, axis = grads[0], node.params["axis"]
        if g is None:
            return (None,) * len(node.srcs)
        parts, at = [], 0
        for src in node.srcs:
            start, stop = [0] * len(g.shape), list(g.shape)
            start[axis], stop[axis] = at, at + src.shape[axis]
            at = stop[axis]
            one = (1,) * len(g.shape)
            parts.append(b.make("slice", g, start=tuple(start), stop=tuple(stop), step=one))
        return parts

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        xs = all_batched(srcs, batched)
        return (b.make("concatenate", *xs, axis=node.params["axis"] + 1),)

    def rows(self, node: Node, srcs: Sequence[Rows | None]) -> tuple[Rows | None, tuple[int, ...]]:
        found = [r for r in srcs if r is not None]
        if not found:
            return None, ()
        if any(r != found[0] for r in found) or found[0].axis == node.params["axis"]:
            raise RowsMixedError("concatenate joins batches along their rows")
        return found[0], ()


def _product(shape: Sequence[int]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total


def _without(shape: Sequence[int], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])
