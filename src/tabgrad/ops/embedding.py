"""Integers as vectors: one-hot and multi-hot codes, and rows looked up in a table."""

from __future__ import annotations

from typing import Any

from tabgrad.dtypes import as_dtype, float32, int32
from tabgrad.errors import ArgumentError, DtypeError, NotSupportedError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops import elementwise as e
from tabgrad.ops import reduction as r
from tabgrad.ops.arguments import axis_of, node_of
from tabgrad.tensor import Tensor


def _codes(name: str, x: Any, num_classes: int, sparse: bool) -> Node:
    if sparse:
        raise NotSupportedError(
            f"{name} expected sparse=False; received True. tabgrad has dense tensors only, and a "
            "code that is multiplied at once is never stored"
        )
    if not isinstance(num_classes, int) or num_classes < 0:
        raise ArgumentError(
            f"{name} expected num_classes to be an int of at least 0; received {num_classes!r}. "
            "Count them with int(tg.max(x)) + 1"
        )
    return b.cast(node_of(x), int32)


def one_hot(
    x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False
) -> Tensor:
    """1 at the index, 0 elsewhere, along a new axis; an index out of range gives zeros only.

    Args:
        x: integers of any shape.
        num_classes: size of the new axis.
        axis: where the new axis goes in the result.
        dtype: dtype of the result, float32 by default.
        sparse: only False.

    Raises:
        NotSupportedError: sparse=True.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.one_hot([0, 2], 3).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    idx = _codes("one_hot", x, num_classes, sparse)
    rank = len(idx.shape) + 1
    where = axis_of("one_hot", axis, rank)
    shape = (*idx.shape[:where], num_classes, *idx.shape[where:])
    dims = [d for d in range(rank) if d != where]
    hit = b.eq(b.broadcast(idx, shape, dims), b.iota(shape, where, int32))
    return Tensor(b.cast(hit, as_dtype(dtype or float32)))


def multi_hot(
    inputs: Any,
    num_classes: int | None = None,
    axis: int = -1,
    dtype: Any = None,
    sparse: bool = False,
) -> Tensor:
    """1 at every index that occurs in a row, 0 elsewhere.

    Args:
        inputs: integers shaped (n,) or (batch, n, ...); the first axis, or the one after the batch,
            is what is united.
        num_classes: number of classes.
        axis: where the axis of classes goes before the union, as in `one_hot`.
        dtype: dtype of the result, float32 by default.
        sparse: only False.

    Raises:
        ArgumentError: without num_classes.
        NotSupportedError: sparse=True.

    Example:
        >>> import tabgrad as tg
        >>> tg.nn.multi_hot([0, 2, 2], num_classes=4).tolist()
        [1.0, 0.0, 1.0, 0.0]
    """
    if num_classes is None:
        raise ArgumentError("multi_hot expected num_classes; received None. Give their number")
    rank = len(_codes("multi_hot", inputs, num_classes, sparse).shape)
    return r.max(one_hot(inputs, num_classes, axis, dtype), axis=1 if rank > 1 else 0)


def embedding_lookup(params: Any, ids: Any, max_norm: float | None = None) -> Tensor:
    """Rows of a table: (rows, ...) at integers of any shape.

    Args:
        params: the table, a vector (or more) a row.
        ids: integers of any shape; negative ones count from the end, others are clamped.
        max_norm: rows with a larger Euclidean norm are scaled down to it; None leaves them.

    Returns:
        A tensor shaped ids.shape + params.shape[1:]. Its gradient adds up the cotangents of rows
        that occur more than once.

    Raises:
        DtypeError: ids that are not integers.
        ShapeError: a table without rows.

    Example:
        >>> import tabgrad as tg
        >>> table = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> tg.nn.embedding_lookup(table, [1, 0, 1]).tolist()
        [[3.0, 4.0], [1.0, 2.0], [3.0, 4.0]]
    """
    table, idx = node_of(params), node_of(ids)
    if not idx.dtype.is_integer:
        raise DtypeError(
            f"embedding_lookup expected integer ids; received {idx.dtype.name}. Cast them with "
            "tg.cast(ids, 'int32')"
        )
    if not table.shape or not table.shape[0]:
        raise ShapeError(
            f"embedding_lookup expected a table (rows, ...) with at least one row; received shape "
            f"{list(table.shape)}. "
            "Check the first size of the table"
        )
    idx = b.cast(idx, int32)
    below = b.lt(idx, b.like(idx, 0))
    idx = b.select(below, b.add(idx, b.like(idx, table.shape[0])), idx)
    rows = Tensor(make("gather", table, idx, axis=0))
    if max_norm is None:
        return rows
    axes = tuple(range(len(idx.shape), len(rows.shape)))
    square = r.sum(e.square(rows), axes, True)
    # A row of zeros has no slope of its norm; it is not scaled either.
    long = e.greater(square, max_norm * max_norm)
    return e.where(long, rows * (max_norm * e.rsqrt(e.where(long, square, 1.0))), rows)
