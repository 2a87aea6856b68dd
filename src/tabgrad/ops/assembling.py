"""Arrays built of others as NumPy does: more axes, columns, blocks, elements inserted and deleted,
and indices of triangles, diagonals and grids.

What is computed from sizes alone is a constant. Joining itself is in `manipulation.py` and
`joining.py`, indexing in `indexing.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad.dtypes import as_dtype, bool_, int32
from tabgrad.errors import ArgumentError, RangeError, ShapeError
from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import axis_of, broadcast_shapes, parts_of, sizes_of, whole
from tabgrad.ops.indexing import index_array, take
from tabgrad.ops.manipulation import (
    broadcast_to,
    concatenate,
    expand_dims,
    moveaxis,
    ravel,
    reshape,
)
from tabgrad.ops.ranges import arange
from tabgrad.ops.updates import At
from tabgrad.tensor import Tensor, tensor


def atleast_1d(*xs: Any) -> Any:
    """Each array, a scalar as one of shape (1,).

    Args:
        xs: any number of arrays of any dtype.

    Returns:
        A tensor for one array, a tuple of them for several.

    Example:
        >>> import tabgrad as tg
        >>> tg.atleast_1d(3.0).shape
        (1,)
    """
    return _each(xs, lambda x: x if x.ndim else reshape(x, (1,)))


def atleast_2d(*xs: Any) -> Any:
    """Each array with two axes or more: (n,) becomes (1, n).

    Args:
        xs: any number of arrays of any dtype.

    Returns:
        A tensor for one array, a tuple of them for several.

    Example:
        >>> import tabgrad as tg
        >>> tg.atleast_2d([1, 2, 3]).shape
        (1, 3)
    """
    return _each(xs, lambda x: x if x.ndim > 1 else reshape(x, (1, x.size)))


def atleast_3d(*xs: Any) -> Any:
    """Each array with three axes or more: (n,) becomes (1, n, 1), (m, n) becomes (m, n, 1).

    Args:
        xs: any number of arrays of any dtype.

    Returns:
        A tensor for one array, a tuple of them for several.

    Example:
        >>> import tabgrad as tg
        >>> tg.atleast_3d([[1, 2, 3]]).shape
        (1, 3, 1)
    """
    shapes = {0: (1, 1, 1), 1: (1, -1, 1)}
    return _each(
        xs, lambda x: x if x.ndim > 2 else reshape(x, shapes.get(x.ndim, (*x.shape, 1)))
    )  # fmt: skip


def column_stack(tup: Sequence[Any]) -> Tensor:
    """Vectors as the columns of a matrix, beside the columns of matrices.

    Args:
        tup: arrays of one or two axes, with equally many rows; their dtypes are promoted.

    Example:
        >>> import tabgrad as tg
        >>> tg.column_stack(([1, 2], [3, 4])).tolist()
        [[1, 3], [2, 4]]
    """
    given = [Tensor(*parts_of(x)) for x in tup]
    return concatenate([reshape(x, (x.size, 1)) if x.ndim < 2 else x for x in given], axis=1)


def block(arrays: Any) -> Tensor:
    """An array put together from nested lists of blocks: the innermost lists along the last axis,
    those around them along the one before it, and so on.

    Args:
        arrays: an array, or lists of them nested equally deep; blocks with fewer axes get more in
            front, and dtypes are promoted.

    Raises:
        ArgumentError: an empty list, or lists nested unequally.

    Example:
        >>> import tabgrad as tg
        >>> tg.block([[tg.eye(2), tg.zeros((2, 1))], [tg.ones((1, 3))]]).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
    """
    depth = _depth(arrays)
    rank = max(depth, _rank(arrays))

    def joined(part: Any, level: int) -> Tensor:
        if level == depth:
            x = Tensor(*parts_of(part))
            return reshape(x, (*[1] * (rank - x.ndim), *x.shape))
        return concatenate([joined(inner, level + 1) for inner in part], axis=level - depth)

    return joined(arrays, 0)


def delete(x: Any, obj: Any, axis: int | None = None) -> Tensor:
    """x without the elements (slices along an axis) at some indices.

    Args:
        x: of any dtype, which the result has, too.
        obj: an index, several, a slice, or as many bools as there are elements. While a function
            is captured they must be known.
        axis: the axis; None for the flattened x.

    Raises:
        RangeError: an index that does not exist.

    Example:
        >>> import tabgrad as tg
        >>> tg.delete([1, 2, 3, 4], [0, -1]).tolist()
        [2, 3]
    """
    given = Tensor(*parts_of(x))
    given, axis = (ravel(given), 0) if axis is None else (given, axis)
    where = axis_of("delete", axis, given.ndim)
    n = given.shape[where]
    gone = set(_places("delete", obj, n))
    return take(given, [i for i in range(n) if i not in gone], axis=where)


def insert(x: Any, obj: Any, values: Any, axis: int | None = None) -> Tensor:
    """x with values put in before some indices along an axis.

    Args:
        x: of any dtype, which the result has, too.
        obj: an index, several, or a slice, all counted in x as it is given. While a function is
            captured they must be known.
        values: what to put in; broadcasts to the places.
        axis: the axis; None for the flattened x.

    Raises:
        RangeError: an index that does not exist.

    Example:
        >>> import tabgrad as tg
        >>> tg.insert([1, 2, 3], 1, 9).tolist(), tg.insert([1, 2, 3], [0, 3], [8, 9]).tolist()
        ([1, 9, 2, 3], [8, 1, 2, 3, 9])
    """
    given = Tensor(*parts_of(x))
    given, axis = (ravel(given), 0) if axis is None else (given, axis)
    where = axis_of("insert", axis, given.ndim)
    n = given.shape[where]
    obj = whole("insert", "indices", obj)
    places = _places("insert", obj, n, behind=1)
    new = e.cast(Tensor(*parts_of(values, given.dtype)), given.dtype)
    if isinstance(obj, int) and new.ndim:  # as many as there are values
        new = reshape(new, (*[1] * (given.ndim - new.ndim), *new.shape))
        new = moveaxis(new, 0, where)
        places = places * new.shape[where]
    shape = [len(places) if d == where else size for d, size in enumerate(given.shape)]
    both = concatenate([given, broadcast_to(new, shape)], axis=where)
    order = sorted(range(n + len(places)), key=lambda i: (i, 1) if i < n else (places[i - n], 0))
    return take(both, order, axis=where)


def indices(dimensions: Sequence[int], dtype: Any = int32, sparse: bool = False) -> Any:
    """For each axis of a grid the index of every point along it.

    Args:
        dimensions: the sizes of the grid.
        dtype: of the result.
        sparse: whether to return one tensor for each axis, which has size 1 along all others.

    Returns:
        `(number of axes, *dimensions)`, or a tuple with `sparse`.

    Example:
        >>> import tabgrad as tg
        >>> tg.indices((2, 2)).tolist()
        [[[0, 0], [1, 1]], [[0, 1], [0, 1]]]
    """
    sizes = sizes_of("indices", dimensions)
    want = as_dtype(dtype)
    lines = ix_(*[arange(n, dtype=want) for n in sizes])
    if sparse:
        return lines
    if not sizes:
        return tensor([], dtype=want)
    return concatenate([expand_dims(broadcast_to(line, sizes), 0) for line in lines], axis=0)


def ix_(*args: Any) -> tuple[Tensor, ...]:
    """Vectors on axes of their own, so that as indices they read every combination.

    Args:
        args: vectors of integers, or of bools that say which.

    Raises:
        ShapeError: an argument that is no vector.

    Example:
        >>> import tabgrad as tg
        >>> tg.arange(9).reshape(3, 3)[tg.ix_([0, 2], [1, 2])].tolist()
        [[1, 2], [7, 8]]
    """
    found = []
    for i, arg in enumerate(args):
        line = Tensor(*parts_of(arg))
        if line.ndim != 1:
            raise ShapeError(
                f"ix_ expected vectors; received shape {list(line.shape)}. "
                "Flatten them with x.ravel()"
            )
        if line.dtype is bool_:
            line = tensor([k for k, true in enumerate(line.tolist()) if true], dtype=int32)
        found.append(reshape(line, [line.size if d == i else 1 for d in range(len(args))]))
    return tuple(found)


def tril_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Tensor, Tensor]:
    """Rows and columns of the lower triangle of an (n, m) matrix.

    Args:
        n: number of rows.
        k: the last diagonal that counts: 0 the main one, above it positive.
        m: number of columns, n by default.

    Returns:
        Two int32 vectors.

    Example:
        >>> import tabgrad as tg
        >>> [i.tolist() for i in tg.tril_indices(2)]
        [[0, 1, 1], [0, 0, 1]]
    """
    return _pairs((i, j) for i in range(n) for j in range(_columns(n, m)) if j - i <= k)


def triu_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Tensor, Tensor]:
    """Rows and columns of the upper triangle of an (n, m) matrix.

    Args:
        n: number of rows.
        k: the first diagonal that counts: 0 the main one, above it positive.
        m: number of columns, n by default.

    Returns:
        Two int32 vectors.

    Example:
        >>> import tabgrad as tg
        >>> [i.tolist() for i in tg.triu_indices(2)]
        [[0, 0, 1], [0, 1, 1]]
    """
    return _pairs((i, j) for i in range(n) for j in range(_columns(n, m)) if j - i >= k)


def diag_indices(n: int, ndim: int = 2) -> tuple[Tensor, ...]:
    """The indices of the main diagonal of an array with `ndim` axes of size n.

    Args:
        n: the size.
        ndim: the number of axes.

    Returns:
        An int32 vector for each axis.

    Example:
        >>> import tabgrad as tg
        >>> [i.tolist() for i in tg.diag_indices(2)]
        [[0, 1], [0, 1]]
    """
    return (arange(n),) * ndim


def put_along_axis(x: Any, indices: Any, values: Any, axis: int | None) -> Tensor:
    """x with values where `take_along_axis(x, indices, axis)` reads; nothing is changed in place.

    Args:
        x: of any dtype, which the result has, too.
        indices: integers of the rank of x; other axes broadcast.
        values: broadcast to the indices.
        axis: the axis; None for the flattened x.

    Raises:
        ShapeError: indices of another rank than x.

    Example:
        >>> import tabgrad as tg
        >>> tg.put_along_axis([[1, 2], [3, 4]], [[1], [0]], 9, 1).tolist()
        [[1, 9], [9, 4]]
    """
    given = Tensor(*parts_of(x))
    if axis is None:
        return reshape(At(ravel(given))[ravel(indices)].set(values), given.shape)
    where = axis_of("put_along_axis", axis, given.ndim)
    picked = Tensor(index_array(indices, given.shape[where], where))
    if picked.ndim != given.ndim:
        raise ShapeError(
            f"put_along_axis expected indices of rank {given.ndim}; received {list(picked.shape)}. "
            "Give them as many axes as x has, with size 1 where they repeat"
        )
    around = [1 if d == where else n for d, n in enumerate(given.shape)]
    shape = broadcast_shapes("put_along_axis", picked.shape, around)
    grid = list(ix_(*[arange(n) for n in shape]))
    grid[where] = broadcast_to(picked, shape)
    return At(given)[tuple(grid)].set(values)


def _each(xs: Sequence[Any], change: Any) -> Any:
    found = tuple(change(Tensor(*parts_of(x))) for x in xs)
    return found[0] if len(found) == 1 else found


def _columns(n: int, m: int | None) -> int:
    return n if m is None else m


def _pairs(places: Any) -> tuple[Tensor, Tensor]:
    rows, columns = zip(*found, strict=True) if (found := list(places)) else ((), ())
    return tensor(list(rows), dtype=int32), tensor(list(columns), dtype=int32)


def _depth(arrays: Any) -> int:
    if not isinstance(arrays, list):
        return 0
    depths = {_depth(item) for item in arrays}
    if len(depths) != 1:
        raise ArgumentError(
            "block expected lists nested equally deep, none of them empty; received depths "
            f"{sorted(depths)}. "
            "Add brackets where a level is missing"
        )
    return 1 + depths.pop()


def _rank(arrays: Any) -> int:
    if isinstance(arrays, list):
        return max(map(_rank, arrays))
    return Tensor(*parts_of(arrays)).ndim


def _places(name: str, obj: Any, n: int, behind: int = 0) -> list[int]:
    """Indices from 0; `behind` also allows the one behind the last."""
    if isinstance(obj, slice):
        return list(range(n))[obj]
    given = whole(name, "indices", obj) if getattr(obj, "dtype", None) != bool_ else obj.tolist()
    given = given.tolist() if hasattr(given, "tolist") else given
    listed = [given] if isinstance(given, int) else list(given)
    if listed and all(isinstance(i, bool) for i in listed):
        if len(listed) != n:
            raise ShapeError(
                f"{name} expected {n} bools; received {len(listed)}. "
                "Give one for each element of the axis"
            )
        return [i for i, true in enumerate(listed) if true]
    for i in listed:
        if not -n <= i < n + behind:
            raise RangeError(
                f"{name} expected indices from {-n} to {n - 1 + behind}; received {i}. "
                "Negative indices count from the end"
            )
    return [i % n if i < n else i for i in listed] if n else listed
