"""Indexing: x[...], take, and functional updates by scatter.

Basic indices (integers, slices, ellipsis, newaxis) move nothing; integer arrays gather. Reads with
an index known while building are checked; run-time indices out of range are clamped on reads and
dropped on writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad.dtypes import int32
from tabgrad.errors import DtypeError, NotSupportedError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import axis_of, broadcast_shapes, common, node_of, on_parts, spread
from tabgrad.tensor import Tensor
from tabgrad.variable import Variable


@on_parts()
def getitem(x: Any, index: Any) -> Tensor:
    """x[index] for integers, slices, `...`, None and integer arrays on neighbouring axes."""
    node = node_of(x)
    items = list(index) if isinstance(index, tuple) else [index]
    rank = len(node.shape)
    used = sum(1 for i in items if i is not None and i is not Ellipsis)
    if used > rank:
        raise ShapeError(
            f"expected at most {rank} indices for shape {list(node.shape)}; received {used}"
        )
    if sum(i is Ellipsis for i in items) > 1:
        raise ShapeError("expected at most one '...' in an index; received more")
    if Ellipsis not in [i if i is Ellipsis else None for i in items]:
        items.append(Ellipsis)
    at = next(i for i, item in enumerate(items) if item is Ellipsis)
    items[at : at + 1] = [slice(None)] * (rank - used)

    start, stop, step, flips, shape = [], [], [], [], []
    arrays: list[tuple[int, Node]] = []
    axis = 0
    for item in items:
        if item is None:
            shape.append(1)
            continue
        n = node.shape[axis]
        if isinstance(item, slice):
            lo, hi, by = item.indices(n)
            if by < 0:
                # The same elements walked upwards, then reversed.
                count = max(0, (lo - hi - by - 1) // -by)
                lo, hi, by = (lo + (count - 1) * by, lo + 1, -by) if count else (0, 0, 1)
                flips.append(axis)
            hi = max(lo, hi)
            start.append(lo)
            stop.append(hi)
            step.append(by)
            shape.append((hi - lo + by - 1) // by)
        elif isinstance(item, int) and not isinstance(item, bool):
            if not -n <= item < n:
                raise ShapeError(f"index {item} is out of range for axis {axis} of size {n}")
            start.append(item % n)
            stop.append(item % n + 1)
            step.append(1)
        else:
            arrays.append((len(shape), _index_array(item, n)))
            start.append(0)
            stop.append(n)
            step.append(1)
            shape.append(n)
        axis += 1
    if any(start) or tuple(stop) != node.shape or any(s != 1 for s in step):
        node = make("slice", node, start=tuple(start), stop=tuple(stop), step=tuple(step))
    if flips:
        node = make("flip", node, axes=tuple(flips))
    node = b.reshape(node, shape)
    return Tensor(_gather_many(node, arrays) if arrays else node)


def _index_array(item: Any, n: int) -> Node:
    if isinstance(item, (Tensor, Variable)) or hasattr(item, "__array__") or isinstance(item, list):
        idx = node_of(item)
        if idx.dtype.kind == "b":
            raise NotSupportedError(
                "boolean masks have a result whose size depends on values; use tg.where(mask, x, 0)"
            )
        if not idx.dtype.is_integer:
            raise DtypeError(f"expected integers as an index; received {idx.dtype.name}")
        idx = b.cast(idx, int32)
        below = b.lt(idx, b.like(idx, 0))
        return b.select(below, b.add(idx, b.like(idx, n)), idx)
    raise DtypeError(
        f"expected integers, slices, '...', None or integer arrays; received {type(item).__name__}"
    )


def _gather_many(node: Node, arrays: list[tuple[int, Node]]) -> Node:
    """Integer arrays on neighbouring axes: one gather on those axes seen as one."""
    axes = [axis for axis, _ in arrays]
    if axes != list(range(axes[0], axes[0] + len(axes))):
        raise NotSupportedError(
            "integer arrays on axes that are not neighbours; index them one after the other"
        )
    shape = broadcast_shapes("indexing", *(idx.shape for _, idx in arrays))
    sizes = node.shape[axes[0] : axes[0] + len(axes)]
    flat = b.full(shape, 0, int32)
    for (_, idx), n in zip(arrays, sizes, strict=True):
        flat = b.add(b.mul(flat, b.like(flat, n)), spread(idx, shape))
    total = 1
    for n in sizes:
        total *= n
    merged = b.reshape(node, (*node.shape[: axes[0]], total, *node.shape[axes[-1] + 1 :]))
    return make("gather", merged, flat, axis=axes[0])


@on_parts()
def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """Elements at `indices` along an axis (of the flattened x when it is None)."""
    node = node_of(x)
    if axis is None:
        node, axis = b.reshape(node, (node.size,)), 0
    where = axis_of("take", axis, len(node.shape))
    idx = _index_array(Tensor(node_of(indices)), node.shape[where])
    return Tensor(make("gather", node, idx, axis=where))


@on_parts()
def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """For each place, the element whose index along `axis` stands there in `indices`."""
    node = node_of(x)
    idx = node_of(indices)
    if axis is None:
        node, axis = b.reshape(node, (node.size,)), 0
    where = axis_of("take_along_axis", axis, len(node.shape))
    if len(idx.shape) != len(node.shape):
        raise ShapeError(
            f"take_along_axis expected indices of rank {len(node.shape)}; received "
            f"{list(idx.shape)}"
        )
    n = node.shape[where]
    idx = _index_array(Tensor(idx), n)
    lead = [(1 if d == where else m) for d, m in enumerate(node.shape)]
    shape = broadcast_shapes("take_along_axis", lead, [
        1 if d == where else m for d, m in enumerate(idx.shape)
    ])  # fmt: skip
    idx = spread(idx, [idx.shape[d] if d == where else m for d, m in enumerate(shape)])
    full = [n if d == where else m for d, m in enumerate(shape)]
    node = spread(node, full)
    # A flat index lets one gather serve: all axes but `where` are those of the place itself.
    flat, stride = b.full(idx.shape, 0, int32), 1
    for d in range(len(full) - 1, -1, -1):
        along = idx if d == where else b.iota(idx.shape, d, int32)
        flat = b.add(flat, b.mul(along, b.like(along, stride)))
        stride *= full[d]
    return Tensor(make("gather", b.reshape(node, (node.size,)), flat, axis=0))


@on_parts()
def slice_(inputs: Any, start_indices: Sequence[Any], shape: Sequence[int]) -> Tensor:
    """The window of `shape` at `start_indices`, which may be tensors; clamped so that it fits."""
    node = node_of(inputs)
    starts = [b.cast(node_of(s, int32), int32) for s in start_indices]
    return Tensor(make("dynamic_slice", node, *starts, sizes=tuple(shape)))


@on_parts("inputs", "updates")
def slice_update(inputs: Any, start_indices: Sequence[Any], updates: Any) -> Tensor:
    """`inputs` with the window at `start_indices` replaced by `updates`."""
    node, new = common("slice_update", inputs, updates)
    starts = [b.cast(node_of(s, int32), int32) for s in start_indices]
    return Tensor(make("dynamic_update_slice", node, new, *starts))


@on_parts("inputs", "updates")
def scatter_update(inputs: Any, indices: Any, updates: Any) -> Tensor:
    """`inputs` with rows at `indices` (n, k) replaced: k leading axes are indexed, as in Keras."""
    return _scatter("scatter_update", inputs, indices, updates, "set")


@on_parts("inputs", "updates")
def scatter_add(inputs: Any, indices: Any, updates: Any) -> Tensor:
    """`inputs` with `updates` added at `indices` (n, k); repeated indices add up in order."""
    return _scatter("scatter_add", inputs, indices, updates, "add")


def _scatter(name: str, inputs: Any, indices: Any, updates: Any, op: str) -> Tensor:
    node, new = common(name, inputs, updates)
    idx = b.cast(node_of(indices), int32)
    k = idx.shape[-1]
    sizes = node.shape[:k]
    flat = b.full(idx.shape[:-1], 0, int32)
    for d, n in enumerate(sizes):
        column = Tensor(idx)
        flat = b.add(b.mul(flat, b.like(flat, n)), getitem(column, (Ellipsis, d)).node)
    total = 1
    for n in sizes:
        total *= n
    merged = b.reshape(node, (total, *node.shape[k:]))
    return Tensor(b.reshape(make("scatter", merged, flat, new, axis=0, op=op), node.shape))
