"""Segments: rows with the same number folded together, in any order of rows.

Rows whose number is negative or too large are left out, as in TensorFlow's `unsorted_segment_*`.
Not here: sparse matrices as lists of places and values (`sparse.py`).
"""

from __future__ import annotations

from typing import Any

from tabgrad import dtypes, realize
from tabgrad.dtypes import DType, int32
from tabgrad.errors import ArgumentError, CaptureError, DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import node_of, on_parts
from tabgrad.ops.manipulation import cut
from tabgrad.ops.order import argsort
from tabgrad.tensor import Tensor


@on_parts()
def segment_sum(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Tensor:
    """Sum of the rows of each segment; 0 for one without rows.

    Args:
        data: (*ids, ...): `segment_ids` names its leading axes.
        segment_ids: integers, usually (n,); rows outside 0 ... num_segments - 1 are left out.
        num_segments: how many segments there are; by default one more than the largest number,
            which must then be known (not while `tg.compile` captures).
        sorted: a promise that the numbers never decrease, which saves `segment_prod` a sort.

    Returns:
        (num_segments, ...); bools add up in int32.

    Raises:
        ShapeError: numbers whose shape does not begin that of the data.
        DtypeError: numbers that are not integers.
        CaptureError: no `num_segments` while capturing.

    Example:
        >>> import tabgrad as tg
        >>> x, ids = tg.tensor([1.0, 2.0, 4.0]), tg.tensor([1, 0, 1])
        >>> tg.segment.sum(x, ids, num_segments=3).tolist()
        [2.0, 5.0, 0.0]
    """
    x, ids, count = _rows("segment_sum", data, segment_ids, num_segments)
    return Tensor(_fold(x, ids, count, "add", 0))


@on_parts()
def segment_mean(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Tensor:
    """Mean of the rows of each segment, floating point; 0 for one without rows.

    Arguments and errors are those of `segment_sum`.

    Args:
        data: numbers (n, ...); the result has their dtype.
        segment_ids: integers (n,), the segment of each row.
        num_segments: how many; by default one more than the largest id.
        sorted: whether the ids never fall; nothing here depends on it.

    Example:
        >>> import tabgrad as tg
        >>> x, ids = tg.tensor([1.0, 2.0, 4.0]), tg.tensor([1, 0, 1])
        >>> tg.segment.mean(x, ids, num_segments=2).tolist()
        [2.0, 2.5]
    """
    x, ids, count = _rows("segment_mean", data, segment_ids, num_segments)
    if not x.dtype.is_float:
        x = b.cast(x, dtypes.float32)
    total = _fold(x, ids, count, "add", 0)
    rows = _fold(b.full(ids.shape, 1, int32), ids, count, "add", 0)
    rows = b.cast(make("max", rows, b.like(rows, 1)), x.dtype)
    return Tensor(b.div(total, b.broadcast(rows, total.shape, (0,))))


def segment_max(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Tensor:
    """Largest element of each segment; the lowest value of the dtype (-inf) without rows.

    Arguments and errors are those of `segment_sum`. Equal largest elements share the gradient.

    Args:
        data: numbers (n, ...); the result has their dtype.
        segment_ids: integers (n,), the segment of each row.
        num_segments: how many; by default one more than the largest id.
        sorted: whether the ids never fall; nothing here depends on it.

    Example:
        >>> import tabgrad as tg
        >>> x, ids = tg.tensor([1.0, 2.0, 4.0]), tg.tensor([1, 0, 1])
        >>> tg.segment.max(x, ids, num_segments=3).tolist()
        [2.0, 4.0, -inf]
    """
    x, ids, count = _rows("segment_max", data, segment_ids, num_segments)
    return Tensor(_fold(x, ids, count, "max", dtypes.limits(x.dtype)[0]))


def segment_min(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Tensor:
    """Smallest element of each segment; the highest value of the dtype (inf) without rows.

    Arguments and errors are those of `segment_sum`. Equal smallest elements share the gradient.

    Args:
        data: numbers (n, ...); the result has their dtype.
        segment_ids: integers (n,), the segment of each row.
        num_segments: how many; by default one more than the largest id.
        sorted: whether the ids never fall; nothing here depends on it.

    Example:
        >>> import tabgrad as tg
        >>> x, ids = tg.tensor([1.0, 2.0, 4.0]), tg.tensor([1, 0, 1])
        >>> tg.segment.min(x, ids, num_segments=2).tolist()
        [2.0, 1.0]
    """
    x, ids, count = _rows("segment_min", data, segment_ids, num_segments)
    return Tensor(_fold(x, ids, count, "min", dtypes.limits(x.dtype)[1]))


def segment_prod(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Tensor:
    """Product of the rows of each segment; 1 for one without rows.

    Arguments and errors are those of `segment_sum`. Rows are sorted by segment unless `sorted`
    promises that they are, then multiplied pairwise, log2(n) times.

    Args:
        data: numbers (n, ...); the result has their dtype.
        segment_ids: integers (n,), the segment of each row.
        num_segments: how many; by default one more than the largest id.
        sorted: whether the ids never fall; nothing here depends on it.

    Example:
        >>> import tabgrad as tg
        >>> x, ids = tg.tensor([3.0, 2.0, 4.0]), tg.tensor([1, 0, 1])
        >>> tg.segment.prod(x, ids, num_segments=3).tolist()
        [2.0, 12.0, 1.0]
    """
    x, ids, count = _rows("segment_prod", data, segment_ids, num_segments)
    n, rest = ids.size, x.shape[1:]
    if not n or not count:
        return Tensor(b.full((count, *rest), 1, x.dtype))
    if not sorted:
        order = argsort(Tensor(ids)).node
        x, ids = (make("gather", v, order, axis=0) for v in (x, ids))
    step = 1
    while step < n:
        # Row i is the product of rows i ... i + step - 1 of its segment; make it twice as many.
        together = b.eq(cut(ids, 0, 0, n - step), cut(ids, 0, step, n))
        ahead = cut(x, 0, step, n)
        together = b.broadcast(together, ahead.shape, (0,))
        ahead = b.select(together, ahead, b.like(ahead, 1))
        grown = b.mul(cut(x, 0, 0, n - step), ahead)
        x = make("concatenate", grown, cut(x, 0, n - step, n), axis=0)
        step *= 2
    first = _fold(b.iota((n,), 0, int32), ids, count, "min", n)
    some = b.lt(first, b.like(first, n))
    found = make("gather", x, first, axis=0)
    shape = found.shape
    return Tensor(b.select(b.broadcast(some, shape, (0,)), found, b.full(shape, 1, x.dtype)))


def _fold(x: Node, ids: Node, count: int, op: str, start: Any) -> Node:
    out = b.full((count, *x.shape[1:]), start, x.dtype)
    if not count or not x.size:
        return out
    return make("scatter", out, ids, x, axis=0, op=op)


def segment_numbers(name: str, given: Any) -> Node:
    """Integer numbers of rows as int32; DtypeError for any other kind."""
    ids = node_of(given)
    if not ids.dtype.is_integer:
        raise DtypeError(
            f"{name} expected integers; received {ids.dtype.name} {list(ids.shape)}. Cast them "
            "to int32"
        )
    return b.cast(ids, int32)


def _rows(
    name: str, data: Any, segment_ids: Any, num_segments: int | None
) -> tuple[Node, Node, int]:
    """The data with the axes that are numbered as one, the flat numbers, and how many there are."""
    x, ids = node_of(data), segment_numbers(f"{name} (segment_ids)", segment_ids)
    x = b.cast(x, _summed(x.dtype))
    rank = len(ids.shape)
    if not rank or x.shape[:rank] != ids.shape:
        raise ShapeError(
            f"{name} expected segment_ids with the leading axes of the data; received "
            f"segment_ids {list(ids.shape)} for data {list(x.shape)}. Give each row a number"
        )
    flat = b.reshape(ids, (ids.size,))
    rows = b.reshape(x, (ids.size, *x.shape[rank:]))
    if num_segments is None:
        return rows, flat, _largest(name, flat) + 1
    if not isinstance(num_segments, int) or isinstance(num_segments, bool) or num_segments < 0:
        raise ArgumentError(
            f"{name} expected num_segments to be an int of at least 0; received {num_segments!r}"
        )
    return rows, flat, num_segments


def _summed(dtype: DType) -> DType:
    return int32 if dtype.kind == "b" else dtype


def _largest(name: str, ids: Node) -> int:
    if realize.is_abstract(ids):
        raise CaptureError(
            f"{name} expected num_segments while tg.compile captures, when the largest of "
            f"segment_ids {list(ids.shape)} is not known. Pass num_segments"
        )
    return max(Tensor(ids).tolist(), default=-1)
