"""Sorting, ranking and searching. Everything is stable, and a NaN is larger than any number."""

from __future__ import annotations

from typing import Any

from tabgrad.dtypes import bool_, int32
from tabgrad.errors import ArgumentError, DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.cumulative import flat_index
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import axis_of, common, node_of
from tabgrad.tensor import Tensor


def sort(x: Any, axis: int | None = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """x in ascending order along an axis (Array API, NumPy).

    Args:
        x: real numbers or bools.
        axis: the axis to sort along; None sorts the flattened array.
        descending: the largest first, NaNs before all numbers.
        stable: equal elements keep their order, whatever is passed: it costs nothing here.

    Raises:
        RangeError: an axis that x does not have.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.sort(tg.tensor([3, 1, 2]), descending=True).tolist()
        [3, 2, 1]
    """
    node, at = _last("sort", node_of(x), axis)
    return Tensor(_back(sorted_with(node, descending=descending)[0], at))


def argsort(x: Any, axis: int | None = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The int32 indices that sort x along an axis (Array API, NumPy).

    Args:
        x: real numbers or bools.
        axis: the axis to sort along; None sorts the flattened array.
        descending: the largest first; equal elements keep their order then, too.
        stable: equal elements keep their order, whatever is passed: it costs nothing here.

    Raises:
        RangeError: an axis that x does not have.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.argsort(tg.tensor([3, 1, 2])).tolist()
        [1, 2, 0]
    """
    node, at = _last("argsort", node_of(x), axis)
    return Tensor(_back(sorted_with(node, _places(node), descending=descending)[1], at))


def lexsort(keys: Any, axis: int = -1) -> Tensor:
    """The indices that sort by several keys, the last one first (NumPy).

    Args:
        keys: an array whose first axis holds the keys, or a list of arrays of one shape.
        axis: the axis of each key to sort along.

    Returns:
        Int32 indices.

    Raises:
        ShapeError: no keys, or keys of different shapes.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.lexsort([tg.tensor([2, 1, 0]), tg.tensor([0, 1, 0])]).tolist()
        [2, 0, 1]
    """
    if isinstance(keys, (list, tuple)):
        nodes = [node_of(key) for key in keys]
    else:
        whole = node_of(keys)
        if not whole.shape:
            raise ShapeError(
                "lexsort expected keys along a first axis; received a scalar. "
                "Give the keys as a list, or as rows"
            )
        nodes = [_part(whole, i) for i in range(whole.shape[0])]
    if not nodes or any(node.shape != nodes[0].shape for node in nodes):
        raise ShapeError(
            "lexsort expected at least one key and keys of one shape; received "
            f"{[list(node.shape) for node in nodes]}. "
            "The last key is the first to sort by"
        )
    moved = [_last("lexsort", node, axis) for node in nodes]
    order: Node | None = None
    for node, _ in moved:
        if order is None:
            order = sorted_with(node, _places(node))[1]
        else:
            order = sorted_with(along_last(node, order), order)[1]
    assert order is not None
    return Tensor(_back(order, moved[0][1]))


def top_k(x: Any, k: int, sorted: bool = True) -> tuple[Tensor, Tensor]:
    """The k largest elements along the last axis and their indices (Keras).

    Args:
        x: real numbers, with at least one axis.
        k: how many, at most the size of the last axis.
        sorted: the largest comes first, whatever is passed.

    Returns:
        values and int32 indices, both with a last axis of k; of equal elements those that come
        first are taken first.

    Raises:
        ShapeError: a k that is larger than the last axis, or negative.

    Example:
        >>> import tabgrad as tg
        >>> values, indices = tg.ops.top_k(tg.tensor([1.0, 4.0, 2.0]), 2)
        >>> values.tolist(), indices.tolist()
        ([4.0, 2.0], [1, 2])
    """
    node = node_of(x)
    if not node.shape or not 0 <= k <= node.shape[-1]:
        raise ShapeError(
            f"top_k expected k from 0 to the size of the last axis; received k={k} for shape "
            f"{list(node.shape)}. "
            "Ask for fewer"
        )
    values, places = sorted_with(node, _places(node), descending=True)
    return Tensor(_first(values, k)), Tensor(_first(places, k))


def in_top_k(targets: Any, predictions: Any, k: int) -> Tensor:
    """Whether the prediction for each target is among the k largest of its row (Keras).

    Args:
        targets: integers, one for each row.
        predictions: rows of scores, real numbers or bools.
        k: among how many.

    Returns:
        A bool for each row. Scores equal to the k-th largest are among them; a target outside of
        the row, or with a score that is not finite, is not.

    Raises:
        ShapeError: predictions that have not one axis more than targets. DtypeError: targets that
            are no integers.

    Example:
        >>> import tabgrad as tg
        >>> scores = tg.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]])
        >>> tg.ops.in_top_k(tg.tensor([2, 2]), scores, k=2).tolist()
        [True, False]
    """
    at, scores = node_of(targets), node_of(predictions)
    if not at.dtype.is_integer:
        raise DtypeError(
            f"in_top_k expected integer targets; received {at.dtype.name}. Cast them to int32"
        )
    if scores.shape[:-1] != at.shape or not scores.shape:
        raise ShapeError(
            "in_top_k expected predictions with one axis more than targets; received "
            f"{list(scores.shape)} and {list(at.shape)}. "
            "Targets are the class of each row, one number"
        )
    if not scores.dtype.is_float and not scores.dtype.is_integer:
        scores = b.cast(scores, int32)
    dims = tuple(range(len(at.shape)))
    place = b.broadcast(b.cast(at, int32), scores.shape, dims)
    mine = b.eq(place, _places(scores))
    zero = b.like(scores, 0)
    score = b.reduce("reduce_sum", b.select(mine, scores, zero), (len(dims),))
    above = b.lt(b.broadcast(score, scores.shape, dims), scores)
    rank = b.reduce("reduce_sum", b.cast(above, int32), (len(dims),))
    found = b.reduce("reduce_max", mine, (len(dims),))
    finite = b.eq(b.sub(score, score), b.like(score, 0))
    inside = b.make("and", found, finite)
    return Tensor(b.make("and", inside, b.lt(rank, b.like(rank, k))))


def argpartition(x: Any, kth: int, axis: int | None = -1) -> Tensor:
    """Indices that put the element of rank `kth` in its place along an axis, smaller ones before it
    and larger ones after it (NumPy). Here all are in order.

    Args:
        x: real numbers or bools.
        kth: the rank, which may count from the end.
        axis: the axis to partition along; None takes the flattened array.

    Raises:
        RangeError: an axis or a rank that x does not have.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.argpartition(tg.tensor([3, 1, 2]), 1).tolist()
        [1, 2, 0]
    """
    node, at = _last("argpartition", node_of(x), axis)
    axis_of("argpartition with kth as", kth, node.shape[-1])
    return Tensor(_back(sorted_with(node, _places(node))[1], at))


def partition(x: Any, kth: int, axis: int | None = -1) -> Tensor:
    """x with the element of rank `kth` in its place along an axis, smaller ones before it and
    larger ones after it (NumPy). Here all are in order.

    Args:
        x: real numbers or bools.
        kth: the rank, which may count from the end.
        axis: the axis to partition along; None takes the flattened array.

    Raises:
        RangeError: an axis or a rank that x does not have.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.partition(tg.tensor([3, 1, 2]), 1).tolist()
        [1, 2, 3]
    """
    node, at = _last("partition", node_of(x), axis)
    axis_of("partition with kth as", kth, node.shape[-1])
    return Tensor(_back(sorted_with(node)[0], at))


def searchsorted(
    sorted_sequence: Any, values: Any, side: str = "left", sorter: Any = None
) -> Tensor:
    """Where values would go in a sorted sequence to keep it sorted (Array API).

    Args:
        sorted_sequence: one axis, ascending, NaNs last.
        values: numbers of any shape.
        side: "left": before elements that are equal; "right": after them.
        sorter: integer indices that sort the sequence, for one that is not sorted.

    Returns:
        int32 indices from 0 to the size of the sequence, of the shape of `values`.

    Raises:
        ShapeError: a sequence that has not one axis. ArgumentError: another side.

    Source: a binary search by halving steps, Knuth, "The Art of Computer Programming" 3, 6.2.1 U.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.searchsorted(tg.tensor([1, 2, 2, 3]), tg.tensor([2, 9]), side="right").tolist()
        [3, 4]
    """
    if side not in ("left", "right"):
        raise ArgumentError(f"searchsorted expected side 'left' or 'right'; received {side!r}")
    line, xs = common("searchsorted", sorted_sequence, values)
    if len(line.shape) != 1:
        raise ShapeError(
            f"searchsorted expected a sequence with one axis; received shape {list(line.shape)}. "
            "Sort the rows of a matrix apart, with tg.vmap"
        )
    if sorter is not None:
        index = node_of(sorter)
        if index.shape != line.shape or not index.dtype.is_integer:
            raise ShapeError(
                f"searchsorted expected an integer sorter of shape {list(line.shape)}; received "
                f"{index.dtype.name} {list(index.shape)}. "
                "Make it with tg.argsort"
            )
        line = make("gather", line, b.cast(index, int32), axis=0)
    return Tensor(_search(line, xs, side))


def digitize(x: Any, bins: Any, right: bool = False) -> Tensor:
    """The number of the bin that each element falls into (NumPy, Keras).

    Args:
        x: numbers of any shape.
        bins: one axis, ascending or descending.
        right: whether a bin holds its right edge instead of its left one.

    Returns:
        int32: i where bins[i-1] <= x < bins[i] for ascending bins.

    Raises:
        ShapeError: bins that have not one axis.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.digitize(tg.tensor([0.2, 6.4, 3.0]), tg.tensor([0.0, 1.0, 2.5, 4.0])).tolist()
        [1, 4, 3]
    """
    edges, xs = common("digitize", bins, x)
    if len(edges.shape) != 1:
        raise ShapeError(
            f"digitize expected bins with one axis; received {list(edges.shape)}. "
            "Flatten them with bins.ravel()"
        )
    side, n = ("left" if right else "right"), edges.shape[0]
    rising = _search(edges, xs, side)
    if n < 2:
        return Tensor(rising)
    turned = _search(b.make("flip", edges, axes=(0,)), xs, side)
    falling = b.sub(b.like(turned, n), turned)
    up = b.make("le", _part(edges, 0), _part(edges, n - 1))
    return Tensor(b.select(b.broadcast(up, xs.shape, ()), rising, falling))


def isin(x1: Any, x2: Any, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Whether each element of x1 is one of x2 (Array API, NumPy). NaN equals nothing.

    Args:
        x1: numbers of any shape.
        x2: numbers of any shape.
        assume_unique: accepted as in NumPy and without effect.
        invert: whether each element is none of x2 instead.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.isin(tg.tensor([1, 2, 3]), tg.tensor([3, 1])).tolist()
        [True, False, True]
    """
    xs, wanted = common("isin", x1, x2)
    if not wanted.size:
        found = b.full(xs.shape, False, bool_)
    else:
        line = sorted_with(b.reshape(wanted, (wanted.size,)))[0]
        place = _search(line, xs, "left")
        place = b.make("min", place, b.like(place, wanted.size - 1))
        found = b.eq(make("gather", line, place, axis=0), xs)
    return Tensor(b.make("not", found) if invert else found)


# On nodes, along the last axis


def sorted_with(key: Node, *payloads: Node, descending: bool = False) -> list[Node]:
    """The key sorted along its last axis, and what goes with it."""
    nodes = [key, *payloads]
    if descending:
        # Backwards twice: equal keys then keep their order.
        axes = (len(key.shape) - 1,)
        turned = sorted_with(*[b.make("flip", node, axes=axes) for node in nodes])
        return [b.make("flip", node, axes=axes) for node in turned]
    node = make("sort", *nodes)
    return [node] if not payloads else [b.proj(node, i) for i in range(len(nodes))]


def along_last(x: Node, index: Node) -> Node:
    """take_along_axis of the last axis, for indices of the shape of x."""
    if not x.size:
        return x
    flat = make("gather", b.reshape(x, (x.size,)), flat_index(index), axis=0)
    return b.reshape(flat, x.shape)


def _places(node: Node) -> Node:
    return b.iota(node.shape, len(node.shape) - 1, int32)


def _last(name: str, node: Node, axis: int | None) -> tuple[Node, int]:
    """The node with an axis moved to the end, and where that was."""
    if axis is None:
        return b.reshape(node, (node.size,)), 0
    at = axis_of(name, axis, len(node.shape))
    order = [d for d in range(len(node.shape)) if d != at]
    return b.permute(node, [*order, at]), at


def _back(node: Node, axis: int) -> Node:
    last = len(node.shape) - 1
    order = list(range(last))
    order.insert(axis, last)
    return b.permute(node, order)


def _first(node: Node, k: int) -> Node:
    rank = len(node.shape)
    stop = (*node.shape[:-1], k)
    return make("slice", node, start=(0,) * rank, stop=stop, step=(1,) * rank)


def _part(node: Node, i: int) -> Node:
    """Element i of the first axis."""
    rank = len(node.shape)
    start, stop = (i, *(0,) * (rank - 1)), (i + 1, *node.shape[1:])
    cut = make("slice", node, start=start, stop=stop, step=(1,) * rank)
    return b.reshape(cut, node.shape[1:])


def _search(line: Node, xs: Node, side: str) -> Node:
    """The number of elements of `line` that are less than (or equal to, on the right) each x."""
    n = line.shape[0]
    found = b.full(xs.shape, 0, int32)
    step = 1 << max(n.bit_length() - 1, 0)
    while n and step:
        further = b.add(found, b.like(found, step))
        last = b.sub(further, b.like(found, 1))
        there = make("gather", line, last, axis=0)
        before = _less(there, xs) if side == "left" else b.make("not", _less(xs, there))
        inside = b.make("le", further, b.like(further, n))
        found = b.select(b.make("and", inside, before), further, found)
        step //= 2
    return found


def _less(x: Node, y: Node) -> Node:
    """x < y, where NaN is larger than any number."""
    if x.dtype.kind == "b":
        return b.make("and", b.make("not", x), y)
    smaller = b.lt(x, y)
    if not x.dtype.is_float:
        return smaller
    last = b.make("and", b.eq(x, x), b.make("ne", y, y))
    return b.make("or", smaller, last)
