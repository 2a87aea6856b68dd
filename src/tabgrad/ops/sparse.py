"""Sparse matrices as lists of places and values, on plain tensors: TensorFlow's `sparse_*`.

What decides the size of a result is read while building, so those functions work eagerly only;
values stay in the graph and keep their gradients. Semantics: TensorFlow's raw operations
SparseToDense, SparseSegmentSum, SparseSegmentMean, SparseFillEmptyRows and SparseReshape
(tensorflow.org, API documentation of `tf.raw_ops`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad import realize
from tabgrad.dtypes import int32
from tabgrad.errors import ArgumentError, CaptureError, NotSupportedError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import common, node_of
from tabgrad.ops.indexing import take
from tabgrad.ops.segment import segment_mean, segment_numbers, segment_sum
from tabgrad.tensor import Tensor, tensor


def read_integers(name: str, x: Any, instead: str) -> Any:
    """Integers as nested lists; CaptureError naming what to do instead while capturing."""
    if isinstance(x, (list, tuple, range)) and not any(hasattr(v, "dtype") for v in x):
        return list(x)
    node = segment_numbers(name, x)
    if realize.is_abstract(node):
        raise CaptureError(
            f"{name} decides the size of the result, and {node.dtype.name} {list(node.shape)} has "
            f"no value while tg.compile captures. {instead}"
        )
    return Tensor(node).tolist()


def sparse_to_dense(
    sparse_indices: Any, sparse_values: Any, output_shape: Sequence[int], default_value: Any = 0
) -> Tensor:
    """A dense tensor with values put at given places; of a repeated place the last value.

    Args:
        sparse_indices: (n, rank) places, (n,) for one axis, or a single index.
        sparse_values: (n,), or one value for all places.
        output_shape: shape of the result.
        default_value: what stands elsewhere.

    Raises:
        ShapeError: places of another rank than `output_shape`, values that do not fit them.
        DtypeError: places that are not integers.

    Places outside the shape are left out.

    Example:
        >>> import tabgrad as tg
        >>> tg.segment.sparse_to_dense([[0, 1], [1, 0]], [5.0, 6.0], (2, 2)).tolist()
        [[0.0, 5.0], [6.0, 0.0]]
    """
    shape = tuple(int(n) for n in output_shape)
    where = segment_numbers("sparse_to_dense (sparse_indices)", sparse_indices)
    values, default = common("sparse_to_dense", sparse_values, default_value)
    if len(where.shape) < 2:
        where = b.reshape(where, (where.size, 1))
    if len(where.shape) != 2 or where.shape[1] != len(shape):
        raise ShapeError(
            f"sparse_to_dense expected sparse_indices (n, {len(shape)}) for output_shape "
            f"{list(shape)}; received {list(where.shape)}. "
            "Each row of sparse_indices is one place"
        )
    n = where.shape[0]
    if values.shape not in ((), (1,), (n,)) or default.size != 1:
        raise ShapeError(
            f"sparse_to_dense expected {n} values, or one, and one default_value; received "
            f"{list(values.shape)} and {list(default.shape)}. "
            "Give one value for each place"
        )
    size = 1
    for m in shape:
        size *= m
    flat = _flat(where, shape)
    if values.shape != (n,):
        values = b.broadcast(b.reshape(values, ()), (n,), ())
    out = b.broadcast(b.reshape(default, ()), (size,), ())
    if size and n:
        out = make("scatter", out, flat, values, axis=0, op="set")
    return Tensor(b.reshape(out, shape))


def _flat(where: Node, shape: Sequence[int]) -> Node:
    """Row-major places of (n, rank) indices; -1 for those outside."""
    n = where.shape[0]
    flat, inside = b.full((n,), 0, int32), b.full((n,), True, b.eq(where, where).dtype)
    for d, m in enumerate(shape):
        column = b.reshape(make("slice", where, start=(0, d), stop=(n, d + 1), step=(1, 1)), (n,))
        flat = b.add(b.mul(flat, b.like(flat, m)), column)
        fits = make("and", make("le", b.like(column, 0), column), b.lt(column, b.like(column, m)))
        inside = make("and", inside, fits)
    return b.select(inside, flat, b.like(flat, -1))


def sparse_segment_sum(
    data: Any, indices: Any, segment_ids: Any, num_segments: int | None = None
) -> Tensor:
    """Sum, by segment, of chosen rows: `segment_sum(take(data, indices, 0), segment_ids)`.

    Args:
        data: (m, ...).
        indices: (n,), which rows.
        segment_ids: (n,), the segment each belongs to.
        num_segments: how many there are; by default one more than the largest.

    Returns:
        (num_segments, ...) of the dtype of data.

    Raises:
        ShapeError: indices and segment_ids that are not two vectors of one size.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.tensor([[1.0], [2.0], [4.0]])
        >>> tg.segment.sparse_segment_sum(x, [0, 2, 2], [0, 0, 1]).tolist()
        [[5.0], [4.0]]
    """
    rows, ids = _chosen("sparse_segment_sum", data, indices, segment_ids)
    return segment_sum(rows, ids, num_segments)


def sparse_segment_mean(
    data: Any, indices: Any, segment_ids: Any, num_segments: int | None = None
) -> Tensor:
    """Mean, by segment, of chosen rows: `segment_mean(take(data, indices, 0), segment_ids)`.

    Errors are those of `sparse_segment_sum`.

    Args:
        data: numbers (n, ...).
        indices: integers (m,), the rows to fold.
        segment_ids: integers (m,), the segment of each.
        num_segments: how many; by default one more than the last id.

    Returns:
        (num_segments, ...) of the dtype of data.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.tensor([[1.0], [2.0], [4.0]])
        >>> tg.segment.sparse_segment_mean(x, [0, 2, 2], [0, 0, 1]).tolist()
        [[2.5], [4.0]]
    """
    rows, ids = _chosen("sparse_segment_mean", data, indices, segment_ids)
    return segment_mean(rows, ids, num_segments)


def _chosen(name: str, data: Any, indices: Any, segment_ids: Any) -> tuple[Tensor, Tensor]:
    which = segment_numbers(f"{name} (indices)", indices)
    ids = segment_numbers(f"{name} (segment_ids)", segment_ids)
    if len(which.shape) != 1 or which.shape != ids.shape or not node_of(data).shape:
        raise ShapeError(
            f"{name} expected data (m, ...) and vectors of one size as indices and segment_ids; "
            f"received {list(node_of(data).shape)}, {list(which.shape)} and {list(ids.shape)}. "
            "Give a segment id for each of the indices"
        )
    return take(data, Tensor(which), 0), Tensor(ids)


def sparse_fill_empty_rows(
    indices: Any, values: Any, dense_shape: Any, default_value: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A place and the default value added to each row of a sparse matrix that has none.

    Args:
        indices: (n, rank) places, read while building.
        values: (n,).
        dense_shape: (rank,), the shape of the matrix.
        default_value: one value.

    Returns:
        The places ordered by row, their values, for each row whether it was empty, and where each
        of the n values went.

    Raises:
        CaptureError: while `tg.compile` captures, as the number of places depends on values.
        ArgumentError: a place in no row.
        ShapeError: another number of values than of places, or several default values.

    Example:
        >>> import tabgrad as tg
        >>> filled = tg.segment.sparse_fill_empty_rows([[0, 3], [2, 0]], [1.0, 2.0], (3, 4), -1.0)
        >>> [part.tolist() for part in filled]
        [[[0, 3], [1, 0], [2, 0]], [1.0, -1.0, 2.0], [False, True, False], [0, 2]]
    """
    instead = "Call it outside, or use sparse_to_dense, whose size is fixed"
    places = read_integers("sparse_fill_empty_rows (indices)", indices, instead)
    shape = read_integers("sparse_fill_empty_rows (dense_shape)", dense_shape, instead)
    given, default = common("sparse_fill_empty_rows", values, default_value)
    if given.shape != (len(places),) or default.size != 1:
        raise ShapeError(
            f"sparse_fill_empty_rows expected {len(places)} values and one default_value; "
            f"received {list(given.shape)} and {list(default.shape)}. "
            "Give one value for each place"
        )
    rows: list[list[int]] = [[] for _ in range(shape[0])]
    for i, place in enumerate(places):
        if not 0 <= place[0] < shape[0]:
            raise ArgumentError(
                f"sparse_fill_empty_rows expected rows from 0 to {shape[0] - 1}; received place "
                f"{place}. Check dense_shape"
            )
        rows[place[0]].append(i)
    out: list[list[int]] = []
    source: list[int] = []
    target = [0] * len(places)
    for number, row in enumerate(rows):
        if not row:
            out.append([number] + [0] * (len(shape) - 1))
            source.append(len(places))
        for i in row:
            target[i] = len(out)
            out.append(list(places[i]))
            source.append(i)
    pool = make("concatenate", given, b.reshape(default, (1,)), axis=0)
    return (
        tensor([v for place in out for v in place], (len(out), len(shape)), int32),
        take(Tensor(pool), tensor(source, (len(source),), int32), 0),
        tensor([not row for row in rows], (len(rows),), "bool"),
        tensor(target, (len(target),), int32),
    )


def sparse_reshape(input_indices: Any, input_shape: Any, new_shape: Any) -> tuple[Tensor, Tensor]:
    """The places of a sparse tensor after a reshape of the tensor.

    Args:
        input_indices: (n, rank) places.
        input_shape: (rank,), read while building.
        new_shape: the new shape, read while building; one size may be -1.

    Returns:
        The places (n, new rank) and the new shape, int32.

    Raises:
        ShapeError: shapes of different size.
        NotSupportedError: a tensor of 2**31 elements or more.

    Example:
        >>> import tabgrad as tg
        >>> places, shape = tg.segment.sparse_reshape([[0, 1], [1, 2]], (2, 3), (-1, 2))
        >>> places.tolist(), shape.tolist()
        ([[0, 1], [2, 1]], [3, 2])
    """
    instead = "Pass the shapes as Python ints"
    old = read_integers("sparse_reshape (input_shape)", input_shape, instead)
    new = read_integers("sparse_reshape (new_shape)", new_shape, instead)
    size, known = 1, 1
    for n in old:
        size *= n
    for n in new:
        known *= 1 if n == -1 else n
    if new.count(-1) == 1 and known and size % known == 0:
        new[new.index(-1)] = size // known
        known = size
    if known != size or -1 in new:
        raise ShapeError(
            f"sparse_reshape expected a shape of {size} elements for {old}; received {new}. "
            "The number of elements stays: check the sizes, or give -1 for one of "
            "them"
        )
    if size >= 2**31:
        raise NotSupportedError(
            f"sparse_reshape computes places in int32; received {old} of {size} elements. Reshape "
            "in parts below 2**31 elements"
        )
    where = segment_numbers("sparse_reshape (input_indices)", input_indices)
    if len(where.shape) != 2 or where.shape[1] != len(old):
        raise ShapeError(
            f"sparse_reshape expected input_indices (n, {len(old)}) for {old}; received "
            f"{list(where.shape)}. "
            "Each row of input_indices is one place"
        )
    flat, columns, stride = _flat(where, old), [], size
    for n in new:
        stride //= max(n, 1)
        along = make("mod", make("floordiv", flat, b.like(flat, max(stride, 1))),
                     b.like(flat, max(n, 1)))  # fmt: skip
        columns.append(b.reshape(along, (where.shape[0], 1)))
    if not columns:
        return Tensor(b.full((where.shape[0], 0), 0, int32)), tensor(new, (0,), int32)
    joined = make("concatenate", *columns, axis=1) if len(columns) > 1 else columns[0]
    return Tensor(joined), tensor(new, (len(new),), int32)
