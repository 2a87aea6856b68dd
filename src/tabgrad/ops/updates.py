"""Writing by index: x.at[i].set(v) and its kin, x[i] = v, scatter, slice updates.

Every function here gives a new tensor. `x[i] = v` makes the handle x stand for one; other handles
on the old value keep it. Run-time indices out of range write nothing. A mask whose values are not
known yet chooses between old and new instead of scattering, where the values say nothing about how
many places it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad import realize
from tabgrad.dtypes import bool_, int32
from tabgrad.errors import ArgumentError, CaptureError, DtypeError, RangeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops import elementwise as e
from tabgrad.ops import indexing
from tabgrad.ops.arguments import (
    broadcast_shapes,
    common,
    is_complex,
    node_of,
    on_parts,
    parts_of,
    spread,
)
from tabgrad.ops.indexing import Plan, getitem
from tabgrad.ops.segment import segment_prod
from tabgrad.tensor import Tensor, converted


class At:
    """`x.at[index]`, waiting for what to do there: all methods give a new tensor.

    Indices are those of `x[index]`; values broadcast to the shape of `x[index]` and take x's dtype.
    Where indices repeat, `set` keeps the last value and the others combine all of them.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.tensor([1.0, 2.0, 3.0])
        >>> x.at[1:].set(0.0).tolist(), x.at[[0, 0]].add(10.0).tolist()
        ([1.0, 0.0, 0.0], [21.0, 2.0, 3.0])
    """

    __slots__ = ("_index", "_x")

    def __init__(self, x: Any, index: Any = None) -> None:
        self._x, self._index = x, index

    def __getitem__(self, index: Any) -> At:
        return At(self._x, (index,))

    def _scatter(self, values: Any, op: str) -> Tensor:
        if self._index is None:
            raise RangeError(
                "expected an index, as in x.at[index].set(values); received none: x.at.set(values)"
            )
        chosen = self._masked(values, _COMBINED[op])
        return _update(self._x, values, self._index[0], op) if chosen is None else chosen

    def _masked(self, values: Any, function: Any) -> Tensor | None:
        """What a mask without values yet changes; None for every other index."""
        index = self._index[0]
        mask = index[0] if isinstance(index, tuple) and len(index) == 1 else index
        if not isinstance(mask, Tensor) or mask.dtype is not bool_:
            return None
        if not realize.is_abstract(mask.node):
            return None
        x = Tensor(*parts_of(self._x))
        rest = x.shape[mask.ndim :]
        if mask.shape != x.shape[: mask.ndim]:
            raise RangeError(
                "expected a mask of the shape of the axes it stands for, "
                f"{list(x.shape[: mask.ndim])}; received {list(mask.shape)}. "
                "Make the mask with a comparison of x itself"
            )
        given = converted(Tensor(*parts_of(values, x.dtype)), x.dtype)
        if broadcast_shapes("an update", given.shape, rest) != rest:
            raise CaptureError(
                f"expected values that broadcast to shape {list(rest)}, one for all places of a "
                f"boolean mask of shape {list(mask.shape)}; received shape {list(given.shape)}, "
                "while how many places the mask has is not known before the function runs. Use "
                "tg.where(mask, values, x) with values of the shape of x"
            )
        wide = Tensor(b.reshape(mask.node, (*mask.shape, *[1] * len(rest))))
        return e.where(wide, converted(function(x, given), x.dtype), x)

    def get(self) -> Tensor:
        """x[index]."""
        return getitem(self._x, self._index[0])

    def set(self, values: Any) -> Tensor:
        """x with `values` at the index."""
        return self._scatter(values, "set")

    def add(self, values: Any) -> Tensor:
        """x with `values` added at the index; of bools, with `or`."""
        return self._scatter(values, "add")

    def subtract(self, values: Any) -> Tensor:
        """x with `values` subtracted at the index."""
        return self._scatter(e.negative(values), "add")

    def min(self, values: Any) -> Tensor:
        """x with the smaller of what is there and `values` at the index."""
        return self._scatter(values, "min")

    def max(self, values: Any) -> Tensor:
        """x with the larger of what is there and `values` at the index."""
        return self._scatter(values, "max")

    def multiply(self, values: Any) -> Tensor:
        """x multiplied by `values` at the index.

        Where the index holds arrays, which may repeat, the work grows with the product of the
        sizes of x and of the values.
        """
        return self._factors(values, e.multiply)

    def divide(self, values: Any) -> Tensor:
        """x divided by `values` at the index; the work is that of `multiply`."""
        return self._factors(values, e.divide)

    def power(self, values: Any) -> Tensor:
        """x to the power of `values` at the index; the work is that of `multiply`."""
        return self._factors(values, e.power)

    def _factors(self, values: Any, function: Any) -> Tensor:
        if self._index is not None:
            chosen = self._masked(values, function)
            if chosen is not None:
                return chosen
        x = Tensor(*parts_of(self._x))
        how = indexing.plan(x.shape, self._index[0])
        given = converted(Tensor(*parts_of(values, x.dtype)), x.dtype)
        if not how.arrays:  # no place is met twice
            return self.set(converted(function(getitem(x, self._index[0]), given), x.dtype))
        places = _positions(x.shape, how)
        flat = b.reshape(places, (places.size,))
        factors = b.reshape(spread(given.node, places.shape), (places.size,))
        product = segment_prod(Tensor(factors), Tensor(flat), x.size).node
        changed = function(x, Tensor(b.cast(b.reshape(product, x.shape), x.dtype)))
        nowhere, met = b.full((x.size,), False, bool_), b.full((places.size,), True, bool_)
        hit = make("scatter", nowhere, flat, met, axis=0, op="set")
        return e.where(Tensor(b.reshape(hit, x.shape)), converted(changed, x.dtype), x)


_COMBINED = {
    "set": lambda x, values: values,
    "add": lambda x, values: e.logical_or(x, values) if x.dtype is bool_ else e.add(x, values),
    "min": e.minimum,
    "max": e.maximum,
}


@on_parts("x", "values")
def _update(x: Any, values: Any, index: Any, op: str) -> Tensor:
    node = node_of(x)
    new = converted(Tensor(node_of(values, node.dtype)), node.dtype).node
    places = _positions(node.shape, indexing.plan(node.shape, index))
    extra = len(new.shape) - len(places.shape)
    if extra > 0 and all(n == 1 for n in new.shape[:extra]):
        new = b.reshape(new, new.shape[extra:])
    if broadcast_shapes("an update", new.shape, places.shape) != places.shape:
        raise ShapeError(
            f"expected values that broadcast to shape {list(places.shape)}, which the index "
            f"reads; received {list(new.shape)}. "
            "Reshape the values, or give one number"
        )
    if not places.size:
        return Tensor(node)
    flat = make(
        "scatter",
        b.reshape(node, (node.size,)),
        b.reshape(places, (places.size,)),
        b.reshape(spread(new, places.shape), (places.size,)),
        axis=0,
        op=_of_dtype(op, node),
    )
    return Tensor(b.reshape(flat, node.shape))


def _positions(shape: tuple[int, ...], how: Plan) -> Node:
    """For each element the index reads, where it lies in the flattened array; -1 for nowhere."""
    places = b.flat_iota(shape, int32)
    indexing.check_countable(places.size)
    return indexing.apply(places, how, outside=-1)


def setitem(x: Any, index: Any, value: Any) -> None:
    """`x[index] = value`: x becomes a handle on the updated value.

    Tensors that share the old value keep it, unlike a NumPy view. In a compiled function only
    tensors made inside it should be assigned to.
    """
    if not isinstance(x, Tensor):
        raise DtypeError(
            f"expected a tensor to assign to; received {type(x).__name__}. For a Variable: "
            "v.assign(v.value.at[index].set(value))"
        )
    if not x.dtype.is_complex and is_complex(value):
        raise DtypeError(
            f"expected real values for a tensor of {x.dtype.name}; received complex ones. "
            "Cast the tensor to complex64 first, or give tg.real(values)"
        )
    x._rebind(x.at[index].set(value))


@on_parts("inputs", "updates")
def slice_update(inputs: Any, start_indices: Sequence[Any], updates: Any) -> Tensor:
    """`inputs` with the window at `start_indices` replaced by `updates`.

    Args:
        inputs: of any shape and dtype, which the result has, too.
        start_indices: where the update begins on each axis; integers or an int32 tensor.
        updates: of the same rank.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.slice_update([1, 2, 3, 4], (1,), [7, 8]).tolist()
        [1, 7, 8, 4]
    """
    node, new = common("slice_update", inputs, updates)
    starts = [b.cast(node_of(s, int32), int32) for s in start_indices]
    return Tensor(make("dynamic_update_slice", node, new, *starts))


@on_parts("inputs", "updates")
def scatter_update(inputs: Any, indices: Any, updates: Any, reduction: str | None = None) -> Tensor:
    """`inputs` with rows at `indices` (n, k) replaced: k leading axes are indexed, as in Keras.

    `reduction` "add", "max" or "min" combines with what is there, "mul" multiplies.

    Args:
        inputs: of any dtype, which the result has, too.
        indices: integers (n, k), the first k axes of inputs.
        updates: (n, ...), cast to the dtype of inputs.
        reduction: what to do with what is there: None to replace it, "add", "max", "min" or "mul".

    Raises:
        ArgumentError: another reduction.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.scatter_update([1, 2, 3], [[0], [2]], [7, 8]).tolist()
        [7, 2, 8]
    """
    ops = {None: "set", "add": "add", "max": "max", "min": "min"}
    if reduction == "mul":
        idx = Tensor(node_of(indices))
        where = tuple(getitem(idx, (..., d)) for d in range(idx.shape[-1]))
        return At(Tensor(node_of(inputs)))[where].multiply(updates)
    if reduction not in ops:
        raise ArgumentError(
            "scatter_update expected reduction None, 'add', 'max', 'min' or 'mul'; received "
            f"{reduction!r}"
        )
    return _scatter("scatter_update", inputs, indices, updates, ops[reduction])


@on_parts("values")
def scatter(indices: Any, values: Any, shape: Sequence[int]) -> Tensor:
    """Zeros of this shape with `values` added at `indices` (n, k): k leading axes are indexed.

    Args:
        indices: integers (n, k), the first k axes of the result.
        values: (n, ...) of any dtype, which the result has, too.
        shape: of the result.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.scatter([[0], [2]], [1.0, 2.0], (4,)).tolist()
        [1.0, 0.0, 2.0, 0.0]
    """
    node = node_of(values)
    return scatter_add(Tensor(b.full(tuple(shape), 0, node.dtype)), indices, values)


@on_parts("inputs", "updates")
def scatter_add(inputs: Any, indices: Any, updates: Any) -> Tensor:
    """`inputs` with `updates` added at `indices` (n, k); repeated indices add up in order.

    Args:
        inputs: of any shape and dtype, which the result has, too.
        indices: integers (n, k).
        updates: (n, ...).

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.scatter_add([1, 2, 3], [[0], [0]], [7, 8]).tolist()
        [16, 2, 3]
    """
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
    found = make("scatter", merged, flat, new, axis=0, op=_of_dtype(op, node))
    return Tensor(b.reshape(found, node.shape))


def _of_dtype(op: str, node: Node) -> str:
    """How to scatter: the sum of bools is whether one of them is true."""
    return "max" if op == "add" and node.dtype is bool_ else op
