"""Indexing with indices known only at run time: gather, scatter, and windows at a moving start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabgrad.dtypes import bool_, int32
from tabgrad.errors import DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.batching import check_flat, joined, moved, repeated, size_of
from tabgrad.ir.graph import Aval, Node, Primitive, Rows, RowsMixedError, register


@register
class Gather(Primitive):
    """x[..., idx, ...] on `axis`: the shape of idx takes the place of that axis. Indices are
    clamped into range; callers that must refuse others check before."""

    name = "gather"
    family = "indexing"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        x, idx = srcs
        axis = params["axis"]
        _check_index(self.name, idx)
        if not 0 <= axis < len(x.shape) or x.shape[axis] == 0:
            raise ShapeError(
                f"gather expected a non-empty axis of {list(x.shape)}; received {axis}"
            )
        return (Aval((*x.shape[:axis], *idx.shape, *x.shape[axis + 1 :]), x.dtype),)

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        g, (x, idx), axis = grads[0], node.srcs, node.params["axis"]
        if g is None:
            return (None, None)
        inside = _clamped(idx, x.shape[axis])
        zeros = b.full(x.shape, 0, g.dtype)
        return b.make("scatter", zeros, inside, g, axis=axis, op="add"), None

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        (x, idx), axis = srcs, node.params["axis"]
        if not batched[1]:
            return (b.make("gather", x, idx, axis=axis + 1),)
        if not batched[0]:
            return (moved(b.make("gather", x, idx, axis=axis), axis, 0),)
        flat, lead = _flat(x, axis)
        size = node.srcs[0].shape[axis]
        places = _placed(_clamped(idx, size), size)
        found = b.make("gather", flat, places, axis=0)
        return (_unflat(found, 1, len(idx.shape) - 1, lead),)

    def rows(self, node: Node, srcs: Sequence[Rows | None]) -> tuple[Rows | None, tuple[int, ...]]:
        x_rows, idx_rows = srcs
        axis = node.params["axis"]
        if idx_rows is not None and x_rows is None:
            return Rows(axis + idx_rows.axis, idx_rows.inner), ()
        if x_rows is not None and idx_rows is None and x_rows.axis != axis:
            grown = len(node.srcs[1].shape) - 1
            return Rows(x_rows.axis + (grown if x_rows.axis > axis else 0), x_rows.inner), ()
        if x_rows is None and idx_rows is None:
            return None, ()
        raise RowsMixedError("gather picks among the rows of a batch")


@register
class Scatter(Primitive):
    """x with u put (`op` set), added, or combined by max/min at idx on `axis`, in index order.
    Indices out of range are dropped."""

    name = "scatter"
    family = "indexing"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        x, idx, u = srcs
        axis = params["axis"]
        _check_index(self.name, idx)
        want = (*x.shape[:axis], *idx.shape, *x.shape[axis + 1 :])
        if not 0 <= axis < len(x.shape) or u.shape != want or u.dtype is not x.dtype:
            raise ShapeError(
                f"scatter expected updates {x.dtype.name} {list(want)} for {list(x.shape)} at "
                f"indices {list(idx.shape)} on axis {axis}; received {u.dtype.name} {list(u.shape)}"
            )
        return (x,)

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        g, (x, idx, u) = grads[0], node.srcs
        axis, op = node.params["axis"], node.params["op"]
        if g is None:
            return (None, None, None)
        there = _gather_or_zero(g, idx, axis)
        if op == "add":
            return g, None, there
        zeros = b.full(u.shape, 0, g.dtype)
        if op == "set":
            kept = b.make("scatter", g, idx, zeros, axis=axis, op="set")
            # Of repeated indices the last one won: let each update leave its number and look.
            numbers = b.flat_iota(u.shape, int32)
            winner = b.make(
                "scatter", b.full(x.shape, -1, int32), idx, numbers, axis=axis, op="set"
            )
            won = b.eq(b.make("gather", winner, idx, axis=axis), numbers)
            return kept, None, b.select(won, there, zeros)
        # max and min: everything equal to the result shares its cotangent.
        one_x, one_u = b.full(x.shape, 1, g.dtype), b.full(u.shape, 1, g.dtype)
        hit_x = b.select(b.eq(x, node), one_x, b.full(x.shape, 0, g.dtype))
        hit_u = b.select(b.eq(u, b.make("gather", node, idx, axis=axis)), one_u, zeros)
        hits = b.make("scatter", hit_x, idx, hit_u, axis=axis, op="add")
        share = b.div(g, hits)
        return b.mul(share, hit_x), None, b.mul(_gather_or_zero(share, idx, axis), hit_u)

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        size = size_of(srcs, batched)
        axis, op = node.params["axis"], node.params["op"]
        x, u = (repeated(srcs[i], size, batched[i]) for i in (0, 2))
        if not batched[1]:
            return (b.make("scatter", x, srcs[1], u, axis=axis + 1, op=op),)
        idx, n = srcs[1], node.srcs[0].shape[axis]
        flat, lead = _flat(x, axis)
        inside = b.eq(_clamped(idx, n), idx) if n else b.full(idx.shape, False, bool_)
        # What is out of range of its example must be so for the whole batch.
        places = b.select(inside, _placed(idx, n), b.like(idx, flat.shape[0]))
        # The updates' axes: batch, `lead` before, those of idx, the rest; wanted: idx first.
        rank, inner = len(u.shape), len(idx.shape) - 1
        own = range(1 + lead, 1 + lead + inner)
        rest = [d for d in range(1, rank) if d not in own]
        updates = b.permute(u, (0, *own, *rest))
        result = b.make("scatter", flat, places, updates, axis=0, op=op)
        return (_unflat(b.reshape(result, (size, n, *result.shape[1:])), 1, 1, lead),)

    def rows(self, node: Node, srcs: Sequence[Rows | None]) -> tuple[Rows | None, tuple[int, ...]]:
        x_rows, idx_rows, u_rows = srcs
        axis = node.params["axis"]
        if idx_rows is None and u_rows is None and x_rows is None:
            return None, ()
        grown = len(node.srcs[1].shape) - 1
        if idx_rows is None and u_rows is not None:
            at = u_rows.axis
            if not axis <= at <= axis + grown:
                there = Rows(at - (grown if at > axis else 0), u_rows.inner)
                if x_rows in (None, there):
                    return there, ()
        elif idx_rows is None and x_rows is not None and x_rows.axis != axis:
            return x_rows, ()
        folded = None if idx_rows is None else Rows(axis + idx_rows.axis, idx_rows.inner)
        if x_rows is None and folded is not None and node.params["op"] == "add":
            if u_rows is None or u_rows == folded:
                return None, (2,)
        raise RowsMixedError("scatter puts the rows of a batch on top of each other")


def _check_index(name: str, idx: Aval) -> None:
    if idx.dtype is not int32:
        raise DtypeError(f"{name} expected int32 indices; received {idx.dtype.name}")


def _clamped(idx: Node, size: int) -> Node:
    return b.make("min", b.make("max", idx, b.like(idx, 0)), b.like(idx, size - 1))


def _gather_or_zero(x: Node, idx: Node, axis: int) -> Node:
    """gather, with 0 where the index is out of range (where scatter dropped the update)."""
    found = b.make("gather", x, idx, axis=axis)
    inside = b.eq(_clamped(idx, x.shape[axis]), idx)
    dims = tuple(range(axis, axis + len(idx.shape)))
    return b.select(b.broadcast(inside, found.shape, dims), found, b.like(found, 0))


def _flat(x: Node, axis: int) -> tuple[Node, int]:
    """A batched x with `axis` (of an example) brought to the front and joined with the batch, and
    how many axes were in front of it."""
    check_flat(x.shape[0] * x.shape[axis + 1], "an index")
    return joined(moved(x, axis + 1, 1), 0), axis


def _placed(idx: Node, size: int) -> Node:
    """Batched indices into one example as indices into all of them, one after the other."""
    example = b.iota(idx.shape, 0, int32)
    return b.add(idx, b.mul(example, b.like(example, size)))


def _unflat(x: Node, first: int, count: int, lead: int) -> Node:
    """Put `count` axes from `first` on behind the `lead` axes that follow them."""
    own = range(first, first + count)
    before = range(first + count, first + count + lead)
    rest = range(first + count + lead, len(x.shape))
    return b.permute(x, (*range(first), *before, *own, *rest))


def _window_places(
    starts: Sequence[Node],
    batched: Sequence[bool],
    shape: Sequence[int],
    sizes: Sequence[int],
    batch: int,
    shared: bool,
) -> Node:
    """Flat indices of the elements of each example's window, (batch, *sizes), into one source that
    all share or into a batch of them."""
    whole = (batch, *sizes)
    places, stride = b.full(whole, 0, int32), 1
    for d in range(len(shape) - 1, -1, -1):
        start = starts[d]
        room = shape[d] - sizes[d]
        start = b.make("min", b.make("max", start, b.like(start, 0)), b.like(start, room))
        begin = b.broadcast(start, whole, (0,) if batched[d] else ())
        here = b.add(begin, b.iota(whole, d + 1, int32))
        places = b.add(places, b.mul(here, b.like(here, stride)))
        stride *= shape[d]
    check_flat(stride * (1 if shared else batch), "a window")
    if shared:
        return places
    return _placed(places, stride)


class _Moving(Primitive):
    family = "indexing"

    def check_starts(self, x: Aval, starts: Sequence[Aval], sizes: Sequence[int]) -> None:
        """Raise unless there is a 0-d int32 start per axis and the window fits."""
        if len(starts) != len(x.shape) or any(s != Aval((), int32) for s in starts):
            raise DtypeError(
                f"{self.name} expected {len(x.shape)} int32 scalars as starts; received "
                f"{[(s.dtype.name, list(s.shape)) for s in starts]}"
            )
        if len(sizes) != len(x.shape) or any(
            not 0 <= n <= m for n, m in zip(sizes, x.shape, strict=True)
        ):
            raise ShapeError(
                f"{self.name} expected a window inside {list(x.shape)}; received {list(sizes)}"
            )


@register
class DynamicSlice(_Moving):
    """The window of `sizes` beginning at run-time starts, which are clamped so that it fits."""

    name = "dynamic_slice"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        self.check_starts(srcs[0], srcs[1:], params["sizes"])
        return (Aval(params["sizes"], srcs[0].dtype),)

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        g, (x, *starts) = grads[0], node.srcs
        nothing = (None,) * len(starts)
        if g is None:
            return (None, *nothing)
        zeros = b.full(x.shape, 0, g.dtype)
        return (b.make("dynamic_update_slice", zeros, g, *starts), *nothing)

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        x, *starts = srcs
        sizes = node.params["sizes"]
        if not any(batched[1:]):
            zero = b.const(0, int32)
            return (b.make("dynamic_slice", x, zero, *starts, sizes=(x.shape[0], *sizes)),)
        shape, size = node.srcs[0].shape, size_of(srcs, batched)
        places = _window_places(starts, batched[1:], shape, sizes, size, shared=not batched[0])
        found = b.make("gather", b.reshape(x, (x.size,)), b.reshape(places, (places.size,)), axis=0)
        return (b.reshape(found, places.shape),)

    def rows(self, node: Node, srcs: Sequence[Rows | None]) -> tuple[Rows | None, tuple[int, ...]]:
        rows = srcs[0]
        if any(s is not None for s in srcs[1:]):
            raise RowsMixedError("dynamic_slice starts at a place that depends on a row")
        if rows is not None and node.shape[rows.axis] != node.srcs[0].shape[rows.axis]:
            raise RowsMixedError("dynamic_slice takes some rows of a batch")
        return rows, ()


@register
class DynamicUpdateSlice(_Moving):
    """x with the window at run-time starts (clamped so that it fits) replaced by u."""

    name = "dynamic_update_slice"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        x, u = srcs[0], srcs[1]
        self.check_starts(x, srcs[2:], u.shape)
        if u.dtype is not x.dtype:
            raise DtypeError(f"{self.name} expected {x.dtype.name}; received {u.dtype.name}")
        return (x,)

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        g, (_, u, *starts) = grads[0], node.srcs
        nothing = (None,) * len(starts)
        if g is None:
            return (None, None, *nothing)
        zeros = b.full(u.shape, 0, g.dtype)
        kept = b.make("dynamic_update_slice", g, zeros, *starts)
        return (kept, b.make("dynamic_slice", g, *starts, sizes=u.shape), *nothing)

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        size = size_of(srcs, batched)
        x, u = (repeated(srcs[i], size, batched[i]) for i in (0, 1))
        starts = srcs[2:]
        if not any(batched[2:]):
            return (b.make("dynamic_update_slice", x, u, b.const(0, int32), *starts),)
        inner = node.srcs[1].shape
        places = _window_places(starts, batched[2:], node.shape, inner, size, shared=False)
        flat, at, new = (b.reshape(v, (v.size,)) for v in (x, places, u))
        return (b.reshape(b.make("scatter", flat, at, new, axis=0, op="set"), x.shape),)

    def rows(self, node: Node, srcs: Sequence[Rows | None]) -> tuple[Rows | None, tuple[int, ...]]:
        found = [r for r in srcs[:2] if r is not None]
        if any(s is not None for s in srcs[2:]) or any(r != found[0] for r in found):
            raise RowsMixedError("dynamic_update_slice writes at a place that depends on a row")
        if found and node.srcs[1].shape[found[0].axis] != node.shape[found[0].axis]:
            raise RowsMixedError("dynamic_update_slice replaces some rows of a batch")
        return (found[0] if found else None), ()
