"""Shapes and places: reshape, transpose, join, split. None copies by itself.

Padding and repeating are in `repeating.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import (
    axes_of,
    axis_of,
    broadcast_shapes,
    common,
    node_of,
    on_parts,
    parts_of,
    sizes_of,
    spread,
)
from tabgrad.tensor import Tensor

MAX_PARTS = 16


@on_parts()
def reshape(x: Any, newshape: int | Sequence[int]) -> Tensor:
    """x under another shape; one size may be -1, to be computed.

    Args:
        x: any tensor.
        newshape: an integer or several; one of them may be -1.

    Returns:
        The dtype of x.

    Raises:
        ShapeError: a shape of another number of elements, or more than one -1.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.reshape([1, 2, 3, 4], (2, -1)).tolist()
        [[1, 2], [3, 4]]
    """
    node = node_of(x)
    shape = sizes_of("reshape", newshape)
    if shape.count(-1) > 1:
        raise ShapeError(
            f"reshape expected at most one -1; received {shape}. "
            "Only one size can be found from the others"
        )
    if -1 in shape:
        known = 1
        for n in shape:
            known *= 1 if n == -1 else n
        if known == 0 or node.size % known:
            raise ShapeError(
                f"reshape expected sizes whose product divides {node.size} beside -1; received "
                f"{shape} for shape {list(node.shape)}. "
                "The number of elements stays: check the sizes, or give -1 for one of "
                "them"
            )
        shape[shape.index(-1)] = node.size // known
    return Tensor(b.reshape(node, shape))


@on_parts()
def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """Axes in another order, by default reversed.

    Args:
        x: of any dtype, which the result has, too.
        axes: the old axis at each new place; all reversed by default.

    Example:
        >>> import tabgrad as tg
        >>> tg.transpose([[1, 2], [3, 4]]).tolist()
        [[1, 3], [2, 4]]
    """
    node = node_of(x)
    rank = len(node.shape)
    order = (
        range(rank - 1, -1, -1) if axes is None else [axis_of("transpose", a, rank) for a in axes]
    )
    return Tensor(b.permute(node, tuple(order)))


def permute_dims(x: Any, axes: Sequence[int]) -> Tensor:
    """Axes in the order `axes`.

    Args:
        x: of any dtype, which the result has, too.
        axes: the old axis at each new place; all reversed by default.

    Example:
        >>> import tabgrad as tg
        >>> tg.permute_dims(tg.ones((2, 3, 4)), (2, 0, 1)).shape
        (4, 2, 3)
    """
    return transpose(x, axes)


def matrix_transpose(x: Any) -> Tensor:
    """The last two axes exchanged.

    Args:
        x: of any dtype, which the result has, too.

    Example:
        >>> import tabgrad as tg
        >>> tg.matrix_transpose(tg.ones((2, 3, 4))).shape
        (2, 4, 3)
    """
    return swapaxes(x, -1, -2)


@on_parts()
def swapaxes(x: Any, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged.

    Args:
        x: of any dtype, which the result has, too.
        axis1: one axis.
        axis2: the other.

    Example:
        >>> import tabgrad as tg
        >>> tg.swapaxes(tg.ones((2, 3, 4)), 0, 2).shape
        (4, 3, 2)
    """
    node = node_of(x)
    order = list(range(len(node.shape)))
    i, j = (axis_of("swapaxes", a, len(order)) for a in (axis1, axis2))
    order[i], order[j] = order[j], order[i]
    return Tensor(b.permute(node, order))


@on_parts()
def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Axes moved to other places, the others staying in order.

    Args:
        x: of any dtype, which the result has, too.
        source: the axes to move, by their places now.
        destination: where they go.

    Raises:
        ShapeError: another number of sources than of destinations.

    Example:
        >>> import tabgrad as tg
        >>> tg.moveaxis(tg.ones((2, 3, 4)), 0, -1).shape
        (3, 4, 2)
    """
    node = node_of(x)
    rank = len(node.shape)
    src = [axis_of("moveaxis", a, rank) for a in ([source] if isinstance(source, int) else source)]
    dst = [
        axis_of("moveaxis", a, rank)
        for a in ([destination] if isinstance(destination, int) else destination)
    ]
    if len(src) != len(dst):
        raise ShapeError(
            f"moveaxis expected as many sources as destinations; received {src}, {dst}. "
            "Give a destination for each source"
        )
    order = [a for a in range(rank) if a not in src]
    for to, frm in sorted(zip(dst, src, strict=True)):
        order.insert(to, frm)
    return Tensor(b.permute(node, order))


@on_parts()
def expand_dims(x: Any, axis: int | Sequence[int] = 0) -> Tensor:
    """New axes of size 1 at `axis` of the result.

    Args:
        x: of any dtype, which the result has, too.
        axis: where the new axis is in the result, or several.

    Example:
        >>> import tabgrad as tg
        >>> tg.expand_dims([1, 2], axis=1).tolist()
        [[1], [2]]
    """
    node = node_of(x)
    given = (axis,) if isinstance(axis, int) else tuple(axis)
    rank = len(node.shape) + len(given)
    where = axes_of("expand_dims", given, rank)
    rest = iter(node.shape)
    return Tensor(b.reshape(node, [1 if d in where else next(rest) for d in range(rank)]))


@on_parts()
def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Tensor:
    """Axes of size 1 removed, by default all of them.

    Args:
        x: of any dtype, which the result has, too.
        axis: the axes to drop, of size 1; all such axes by default.

    Raises:
        ShapeError: an axis of another size than 1.

    Example:
        >>> import tabgrad as tg
        >>> tg.squeeze([[1, 2]]).tolist()
        [1, 2]
    """
    node = node_of(x)
    if axis is None:
        where: tuple[int, ...] = tuple(d for d, n in enumerate(node.shape) if n == 1)
    else:
        where = axes_of("squeeze", axis, len(node.shape))
        if any(node.shape[d] != 1 for d in where):
            raise ShapeError(
                f"squeeze expected axes of size 1; received axes {axis} of {list(node.shape)}. "
                "Leave axis out to squeeze those of size 1, or index the axis: x[0]"
            )
    return Tensor(b.reshape(node, [n for d, n in enumerate(node.shape) if d not in where]))


@on_parts()
def ravel(x: Any) -> Tensor:
    """x as one axis.

    Args:
        x: of any dtype, which the result has, too.

    Example:
        >>> import tabgrad as tg
        >>> tg.ravel([[1, 2], [3, 4]]).tolist()
        [1, 2, 3, 4]
    """
    return reshape(x, (-1,)) if node_of(x).size else reshape(x, (0,))


@on_parts()
def broadcast_to(x: Any, shape: Sequence[int]) -> Tensor:
    """x repeated to `shape` by NumPy's rule.

    Args:
        x: of any dtype, which the result has, too.
        shape: of the result.

    Raises:
        ShapeError: a shape that x does not broadcast to.

    Example:
        >>> import tabgrad as tg
        >>> tg.broadcast_to([1, 2], (2, 2)).tolist()
        [[1, 2], [1, 2]]
    """
    node = node_of(x)
    want = tuple(shape)
    if broadcast_shapes("broadcast_to", node.shape, want) != want:
        raise ShapeError(
            f"broadcast_to expected a shape that {list(node.shape)} broadcasts to; received "
            f"{list(want)}. "
            "Sizes must be equal or 1, from the last axis on: insert axes with x[:, "
            "None]"
        )
    return Tensor(spread(node, want))


@on_parts()
def concatenate(xs: Sequence[Any], axis: int | None = 0) -> Tensor:
    """Arrays joined along an axis (flattened first when it is None).

    Args:
        xs: tensors whose other sizes agree; their dtypes are promoted.
        axis: the axis to join; None flattens them first.

    Raises:
        ArgumentError: no arrays.

    Example:
        >>> import tabgrad as tg
        >>> tg.concatenate([[1, 2], [3]]).tolist()
        [1, 2, 3]
    """
    if not xs:
        raise ArgumentError(
            "concatenate expected at least one array; received none. "
            "Check that the list is not empty"
        )
    nodes = common("concatenate", *[convert(x) for x in xs])
    if axis is None:
        nodes, axis = [b.reshape(node, (node.size,)) for node in nodes], 0
    where = axis_of("concatenate", axis, len(nodes[0].shape))
    # A kernel asks for each element which part it is in, so many parts are joined in several steps.
    while len(nodes) > MAX_PARTS:
        groups = [nodes[i : i + MAX_PARTS] for i in range(0, len(nodes), MAX_PARTS)]
        nodes = [make("concatenate", *group, axis=where) for group in groups]
    return Tensor(make("concatenate", *nodes, axis=where) if len(nodes) > 1 else nodes[0])


concat = concatenate


def convert(x: Any) -> Tensor:
    """Anything array-like as a Tensor."""
    return Tensor(*parts_of(x))


@on_parts()
def stack(x: Sequence[Any], axis: int = 0) -> Tensor:
    """Arrays of one shape joined along a new axis.

    Args:
        x: tensors of one shape; their dtypes are promoted.
        axis: the new axis.

    Example:
        >>> import tabgrad as tg
        >>> tg.stack([[1, 2], [3, 4]], axis=1).tolist()
        [[1, 3], [2, 4]]
    """
    return concatenate([expand_dims(item, axis) for item in x], axis)


@on_parts()
def split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Equal parts, or parts between the given indices.

    Args:
        x: of any dtype, which the parts have, too.
        indices_or_sections: how many equal parts, or the indices at which to cut.
        axis: the axis to cut.

    Raises:
        ShapeError: a number of parts that does not divide the size.

    Example:
        >>> import tabgrad as tg
        >>> [part.tolist() for part in tg.split([1, 2, 3, 4], [1, 3])]
        [[1], [2, 3], [4]]
    """
    node = node_of(x)
    where = axis_of("split", axis, len(node.shape))
    n = node.shape[where]
    if isinstance(indices_or_sections, int):
        if indices_or_sections < 1 or n % indices_or_sections:
            raise ShapeError(
                "split expected a number of parts of at least 1 that divides the size; received "
                f"{indices_or_sections} for {n}. "
                "Give the places to cut at as a list, or use array_split for uneven parts"
            )
        size = n // indices_or_sections
        edges = list(range(0, n + 1, size)) if size else [0] * (indices_or_sections + 1)
    else:
        # As for slices: negative from the end, and no further than there is something.
        inside = [slice(0, i).indices(n)[1] for i in indices_or_sections]
        edges = [0, *inside, n]
    return [Tensor(cut(node, where, lo, max(lo, hi))) for lo, hi in pairwise(edges)]


def cut(node: Node, axis: int, start: int, stop: int) -> Node:
    """The slice start:stop on one axis, of a node."""
    starts, stops = [0] * len(node.shape), list(node.shape)
    starts[axis], stops[axis] = start, stop
    one = (1,) * len(starts)
    return make("slice", node, start=tuple(starts), stop=tuple(stops), step=one)


@on_parts()
def flip(x: Any, axis: int | Sequence[int] | None = None) -> Tensor:
    """Reversed along `axis`, by default along all.

    Args:
        x: of any dtype, which the result has, too.
        axis: the axes to reverse, all by default.

    Example:
        >>> import tabgrad as tg
        >>> tg.flip([1, 2, 3]).tolist()
        [3, 2, 1]
    """
    node = node_of(x)
    axes = axes_of("flip", axis, len(node.shape))
    return Tensor(make("flip", node, axes=axes) if axes else node)


@on_parts()
def unstack(x: Any, num: int | None = None, axis: int = 0) -> list[Tensor]:
    """The slices along an axis, which they no longer have.

    Args:
        x: an array with at least one axis.
        num: how many slices there must be; not needed.
        axis: the axis to take apart.

    Raises:
        ShapeError: another number of slices than `num`.

    Example:
        >>> import tabgrad as tg
        >>> [part.tolist() for part in tg.ops.unstack([[1, 2], [3, 4]], axis=1)]
        [[1, 3], [2, 4]]
    """
    node = node_of(x)
    where = axis_of("unstack", axis, len(node.shape))
    count = node.shape[where]
    if num not in (None, count):
        raise ShapeError(
            f"unstack expected {num} slices on axis {axis}; received {count}. "
            "Leave num out to get all of them"
        )
    shape = (*node.shape[:where], *node.shape[where + 1 :])
    return [Tensor(b.reshape(cut(node, where, i, i + 1), shape)) for i in range(count)]


def broadcast_arrays(*arrays: Any) -> list[Tensor]:
    """All arrays repeated to the one shape they broadcast to.

    Args:
        arrays: of any dtypes, which stay.

    Example:
        >>> import tabgrad as tg
        >>> [t.shape for t in tg.broadcast_arrays(tg.ones((3, 1)), tg.ones(2))]
        [(3, 2), (3, 2)]
    """
    given = [Tensor(*parts_of(x)) for x in arrays]
    shape = broadcast_shapes("broadcast_arrays", *(x.shape for x in given))
    return [broadcast_to(x, shape) for x in given]


@on_parts("a", "prepend", "append")
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Tensor:
    """Differences of neighbours along an axis, `n` times.

    `prepend` and `append` are arrays joined to it before.

    Returns:
        The dtype of a; bools stay bools.

    Raises:
        ArgumentError: a negative n.

    Example:
        >>> import tabgrad as tg
        >>> tg.diff([1, 4, 9, 16]).tolist()
        [3, 5, 7]
    """
    if n < 0:
        raise ArgumentError(f"diff expected n of at least 0; received {n}")
    (node,) = common("diff", a)
    where = axis_of("diff", axis, len(node.shape))
    around = [Tensor(node_of(v)) for v in (prepend, append) if v is not None]
    if around:
        shape = [1 if d == where else size for d, size in enumerate(node.shape)]
        around = [v if v.shape else broadcast_to(v, shape) for v in around]
        ends = (
            [around[0]] if prepend is not None else [],
            around[-1:] if append is not None else [],
        )
        node = concatenate([*ends[0], Tensor(node), *ends[1]], where).node
    for _ in range(n):
        size = node.shape[where]
        if size == 0:
            break
        low, high = cut(node, where, 0, size - 1), cut(node, where, 1, size)
        node = make("ne", high, low) if node.dtype.kind == "b" else b.sub(high, low)
    return Tensor(node)


@on_parts("x")
def meshgrid(*x: Any, indexing: str = "xy") -> list[Tensor]:
    """Coordinate arrays of the grid spanned by 1-d arrays.

    Args:
        indexing: "xy" for matrices of rows y and columns x, "ij" for axes in the order given.
        x: arrays of one axis, or numbers, of any dtype.

    Returns:
        One array of all axes for each, of its dtype.

    Raises:
        ArgumentError: another indexing.

    Example:
        >>> import tabgrad as tg
        >>> [x.tolist() for x in tg.meshgrid([1, 2], [3, 4])]
        [[[1, 2], [1, 2]], [[3, 3], [4, 4]]]
    """
    nodes = [b.reshape(node, (node.size,)) for node in map(node_of, x)]
    if indexing not in ("xy", "ij"):
        raise ArgumentError(f"meshgrid expected indexing 'xy' or 'ij'; received {indexing!r}")
    order = list(range(len(nodes)))
    if indexing == "xy" and len(order) > 1:
        order[0], order[1] = 1, 0
    shape = [0] * len(nodes)
    for i, node in enumerate(nodes):
        shape[order[i]] = node.size
    return [Tensor(b.broadcast(node, shape, (order[i],))) for i, node in enumerate(nodes)]
