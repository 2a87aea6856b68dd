"""Reading by index: x[...], take, take_along_axis. Writing by index is in `updates.py`.

Basic indices (integers, slices, ellipsis, newaxis) move nothing; integer arrays gather; boolean
masks become integer arrays, for which their values are needed. Indices known while building (ints,
lists, NumPy arrays) are checked; run-time indices out of range are clamped.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

from tabgrad import dtypes, realize
from tabgrad.dtypes import int32
from tabgrad.errors import CaptureError, DtypeError, NotSupportedError, RangeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import axis_of, broadcast_shapes, node_of, on_parts, spread
from tabgrad.packing import unpack
from tabgrad.tensor import Tensor
from tabgrad.variable import Variable


class Plan(NamedTuple):
    """An index as the steps that read it.

    A slice of every axis, a reversal of some, a reshape (which drops the axes of integers and adds
    new ones), then one gather on `axes` (of the reshaped array) by integer arrays, whose common
    shape stands at `place` in the result.
    """

    start: tuple[int, ...]
    stop: tuple[int, ...]
    step: tuple[int, ...]
    flips: tuple[int, ...]
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    arrays: tuple[Node, ...]
    place: int


@on_parts()
def getitem(x: Any, index: Any) -> Tensor:
    """x[index] by NumPy's rules, for integers, slices, `...`, None, integer arrays and masks.

    Raises:
        RangeError: (an IndexError) an index out of range, where it is known while building.
        ShapeError: too many indices, or arrays that do not broadcast together.
        CaptureError: a boolean mask while capturing, whose result would have no known size.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.tensor([[1, 2, 3], [4, 5, 6]])
        >>> x[:, ::-2].tolist(), x[[1, 0], [0, 2]].tolist(), x[x > 4].tolist()
        ([[3, 1], [6, 4]], [4, 3], [5, 6])
    """
    node = node_of(x)
    return Tensor(apply(node, plan(node.shape, index)))


def plan(shape: Sequence[int], index: Any) -> Plan:
    """How to read `index` from an array of this shape."""
    items = _expand(shape, index)
    start, stop, step, flips = [], [], [], []
    out: list[int] = []
    axes: list[int] = []
    arrays: list[Node] = []
    advanced: list[int] = []  # where in the index an array stands, or an integer beside arrays
    place: int | None = None
    axis = 0
    for position, item in enumerate(items):
        if item is None:
            out.append(1)
            continue
        if isinstance(item, bool):  # a 0-d mask: a new axis of which one or no element is taken
            advanced.append(position)
            place = len(out) - len(axes) if place is None else place
            axes.append(len(out))
            arrays.append(b.full((int(item),), 0, int32))
            out.append(1)
            continue
        n = shape[axis]
        if isinstance(item, slice):
            lo, hi, by = item.indices(n)
            if by < 0:
                # The same elements walked upwards, then reversed.
                count = max(0, (lo - hi - by - 1) // -by)
                lo, hi, by = (lo + (count - 1) * by, lo + 1, -by) if count else (0, 0, 1)
                flips.append(axis)
            start.append(lo)
            stop.append(max(lo, hi))
            step.append(by)
            out.append((stop[-1] - lo + by - 1) // by)
        elif isinstance(item, int):
            advanced.append(position)
            place = len(out) - len(axes) if place is None else place
            if not -n <= item < n:
                raise _no_such(item, axis, n)
            start.append(item % n)
            stop.append(item % n + 1)
            step.append(1)
        else:
            advanced.append(position)
            place = len(out) - len(axes) if place is None else place
            axes.append(len(out))
            arrays.append(index_array(item, n, axis))
            start.append(0)
            stop.append(n)
            step.append(1)
            out.append(n)
        axis += 1
    # Arrays apart from one another: their shape comes first, as in NumPy.
    apart = bool(advanced) and advanced[-1] - advanced[0] != len(advanced) - 1
    return Plan(
        tuple(start),
        tuple(stop),
        tuple(step),
        tuple(flips),
        tuple(out),
        tuple(axes),
        tuple(arrays),
        0 if apart or place is None else place,
    )


def _expand(shape: Sequence[int], index: Any) -> list[Any]:
    """One item for each axis: the ellipsis written out, masks turned into integer arrays."""
    given = list(index) if isinstance(index, tuple) else [index]
    found = [
        item if item is None or item is Ellipsis or isinstance(item, (slice, bool))
        else _array_or_int(item)
        for item in given
    ]  # fmt: skip
    takes = [
        0 if item is None or item is Ellipsis or isinstance(item, bool)
        else len(item.shape) if isinstance(item, Node)
        else 1
        for item in found
    ]  # fmt: skip
    if sum(item is Ellipsis for item in found) > 1:
        raise RangeError(
            "expected at most one '...' in an index; received more. Write the others out as ':'"
        )
    if sum(takes) > len(shape):
        raise RangeError(
            f"expected at most {len(shape)} indices for shape {list(shape)}; received {sum(takes)}."
            " Insert axes with None, or leave some out"
        )
    items: list[Any] = []
    axis = 0
    for item, taken in zip(found, takes, strict=True):
        if item is Ellipsis:
            taken = len(shape) - sum(takes)
            items += [slice(None)] * taken
        elif isinstance(item, Node):
            items += _places(item, shape[axis : axis + taken])
        else:
            items.append(item)
        axis += taken
    return items + [slice(None)] * (len(shape) - axis)


def _array_or_int(item: Any) -> Any:
    """An int, an integer array, or the node of a mask."""
    array = isinstance(item, (Tensor, Variable, list)) or bool(getattr(item, "ndim", 0))
    if not array and hasattr(item, "__index__"):
        return operator.index(item)
    if not array and not hasattr(item, "__array__"):
        raise RangeError(
            "expected integers, slices, '...', None, integer or boolean arrays as an index; "
            f"received {type(item).__name__}"
        )
    if isinstance(item, list) and not item:
        return item
    node = node_of(item)
    if node.dtype.kind == "b":
        return node
    if not node.dtype.is_integer:
        raise RangeError(f"expected integers or bools as an index; received {node.dtype.name}")
    return item


def _places(mask: Node, shape: Sequence[int]) -> list[Any]:
    """A mask as integer arrays, one for each of its axes; a bool for a 0-d one."""
    if realize.is_abstract(mask):
        raise CaptureError(
            "expected an index of a fixed number of places; received a boolean mask of shape "
            f"{list(mask.shape)} while a function is captured, when its values are not known and "
            "so neither is the size of the result. Use tg.where(mask, x, other), x.at[mask].add(v) "
            "and its like, or indices of a fixed number: tg.nonzero(mask, size=n)"
        )
    flat = unpack([realize.read(mask)], mask.dtype)
    if not mask.shape:
        return [bool(flat[0])]
    # An axis of size 0 picks nothing from an axis of any size, as in NumPy.
    if any(m not in (n, 0) for m, n in zip(mask.shape, shape, strict=True)):
        raise RangeError(
            f"expected a mask of the shape of the axes it stands for, {list(shape)}; received "
            f"{list(mask.shape)}. "
            "Make the mask with a comparison of x itself, or index one axis at a time"
        )
    found = [i for i, true in enumerate(flat) if true]
    places: list[Any] = []
    stride = mask.size
    for n in mask.shape:
        stride = stride // n if n else 1
        places.append([i // stride % n for i in found])
    return places


def _no_such(index: Any, axis: int, n: int) -> RangeError:
    valid = f"an index from {-n} to {n - 1}" if n else "no index"
    return RangeError(
        f"expected {valid} for axis {axis} of size {n}; received {index}, which is out of range"
    )


def index_array(item: Any, n: int, axis: int) -> Node:
    """Integers as int32 indices from 0; checked where their values are at hand."""
    if isinstance(item, list) and not item:
        return b.full((0,), 0, int32)
    node = node_of(item)
    if not node.dtype.is_integer:
        raise DtypeError(
            f"expected integers as an index; received {node.dtype.name}. "
            "Cast them with tg.ops.cast(index, 'int32')"
        )
    if n == 0 and node.size:
        raise _no_such("one", axis, n)
    if not isinstance(item, (Tensor, Variable)):
        for i in unpack([realize.read(node)], node.dtype):
            if not -n <= i < n:
                raise _no_such(i, axis, n)
    low, high = dtypes.limits(node.dtype)
    if high > dtypes.limits(int32)[1]:  # what does not fit is out of range, and stays so
        node = make("min", node, b.like(node, min(n, high)))
        node = make("max", node, b.like(node, max(-n - 1, low)))
    node = b.cast(node, int32)
    return b.select(b.lt(node, b.like(node, 0)), b.add(node, b.like(node, n)), node)


def apply(node: Node, how: Plan, outside: int | None = None) -> Node:
    """Read a plan; `outside` is what stands where an index array is out of range (None: clamp)."""
    if any(how.start) or how.stop != node.shape or any(s != 1 for s in how.step):
        node = make("slice", node, start=how.start, stop=how.stop, step=how.step)
    if how.flips:
        node = make("flip", node, axes=how.flips)
    node = b.reshape(node, how.shape)
    if not how.arrays:
        return node
    shape = broadcast_shapes("indexing", *(array.shape for array in how.arrays))
    sizes = [how.shape[axis] for axis in how.axes]
    rest = [d for d in range(len(how.shape)) if d not in how.axes]
    place = how.place
    result = (
        *(how.shape[d] for d in rest[:place]),
        *shape,
        *(how.shape[d] for d in rest[place:]),
    )
    if 0 in result:
        return b.full(result, 0, node.dtype)
    check_countable(_product(sizes))
    # One gather on all indexed axes seen as one.
    node = b.permute(node, (*rest[:place], *how.axes, *rest[place:]))
    flat, inside = b.full(shape, 0, int32), b.full(shape, True, dtypes.bool_)
    for array, n in zip(how.arrays, sizes, strict=True):
        along = spread(array, shape)
        last = b.like(along, n - 1)
        clamped = make("min", make("max", along, b.like(along, 0)), last)
        inside = make("and", inside, b.eq(along, clamped))
        flat = b.add(b.mul(flat, b.like(flat, n)), clamped)
    merged = (*node.shape[:place], _product(sizes), *node.shape[place + len(sizes) :])
    found = make("gather", b.reshape(node, merged), flat, axis=place)
    if outside is None:
        return found
    dims = range(place, place + len(shape))
    return b.select(b.broadcast(inside, found.shape, dims), found, b.like(found, outside))


def check_countable(places: int) -> None:
    """Raise NotSupportedError where the places of an index do not fit int32."""
    if places > 2**31 - 1:
        raise NotSupportedError(
            f"expected an index into at most 2**31 - 1 places, which int32 counts; received "
            f"{places}. Index one axis after the other"
        )


def _product(sizes: Sequence[int]) -> int:
    total = 1
    for n in sizes:
        total *= n
    return total


@on_parts()
def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """Elements at `indices` along an axis (of the flattened x when it is None).

    Returns:
        Of the dtype of x.

    Example:
        >>> import tabgrad as tg
        >>> tg.take([10, 20, 30], [2, 0]).tolist()
        [30, 10]
    """
    node = node_of(x)
    if axis is None:
        node, axis = b.reshape(node, (node.size,)), 0
    where = axis_of("take", axis, len(node.shape))
    idx = index_array(indices, node.shape[where], where)
    if not idx.size:
        shape = (*node.shape[:where], *idx.shape, *node.shape[where + 1 :])
        return Tensor(b.full(shape, 0, node.dtype))
    return Tensor(make("gather", node, idx, axis=where))


@on_parts()
def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """For each place, the element whose index along `axis` stands there in `indices`.

    Args:
        x: of any dtype, which the result has, too.
        indices: integers of the rank of x; other axes broadcast.
        axis: the axis; None for the flattened x.

    Raises:
        ShapeError: indices of another rank than x.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.take_along_axis([[3, 4, 5]], [[2, 0]], 1).tolist()
        [[5, 3]]
    """
    node = node_of(x)
    idx = node_of(indices)
    if axis is None:
        node, axis = b.reshape(node, (node.size,)), 0
    where = axis_of("take_along_axis", axis, len(node.shape))
    if len(idx.shape) != len(node.shape):
        raise ShapeError(
            f"take_along_axis expected indices of rank {len(node.shape)}; received "
            f"{list(idx.shape)}. "
            "Give them as many axes as x has: tg.ops.expand_dims; or use tg.ops.take"
        )
    n = node.shape[where]
    idx = index_array(indices if len(idx.shape) == len(node.shape) else Tensor(idx), n, where)
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
    """The window of `shape` at `start_indices`, which may be tensors; clamped so that it fits.

    Args:
        inputs: of any dtype, which the result has, too.
        start_indices: where to begin on each axis.
        shape: of the result.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.slice([1, 2, 3, 4], (1,), (2,)).tolist()
        [2, 3]
    """
    node = node_of(inputs)
    starts = [b.cast(node_of(s, int32), int32) for s in start_indices]
    return Tensor(make("dynamic_slice", node, *starts, sizes=tuple(shape)))
