"""New tensors from sizes and numbers. Values known while tracing are constants of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad import dtypes
from tabgrad.dtypes import as_dtype, float32, int32
from tabgrad.errors import ArgumentError
from tabgrad.ir import build as b
from tabgrad.ir.graph import make
from tabgrad.ops.arguments import node_of
from tabgrad.tensor import Tensor


def _shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(int(n) for n in shape)


def zeros(shape: int | Sequence[int], dtype: Any = None) -> Tensor:
    """All 0, float32 by default."""
    return Tensor(b.full(_shape(shape), 0, as_dtype(dtype or float32)))


def ones(shape: int | Sequence[int], dtype: Any = None) -> Tensor:
    """All 1, float32 by default."""
    return Tensor(b.full(_shape(shape), 1, as_dtype(dtype or float32)))


def full(shape: int | Sequence[int], fill_value: Any, dtype: Any = None) -> Tensor:
    """All `fill_value`, by default of its own dtype."""
    if isinstance(fill_value, (bool, int, float)):
        want = as_dtype(dtype or type(fill_value))
        return Tensor(b.full(_shape(shape), fill_value, want))
    node = node_of(fill_value)
    node = node if dtype is None else b.cast(node, as_dtype(dtype))
    lead = len(_shape(shape)) - len(node.shape)
    return Tensor(b.broadcast(node, _shape(shape), range(lead, len(_shape(shape)))))


def _like(x: Any, value: Any, dtype: Any) -> Tensor:
    # A node that remembers x: where x holds a batch, so does this, and a sum over it counts the
    # true rows.
    node = node_of(x)
    return Tensor(
        make("broadcast_like", b.const(value, as_dtype(dtype or node.dtype)), node, dims=())
    )


def zeros_like(x: Any, dtype: Any = None) -> Tensor:
    """0 in the shape (and dtype) of x."""
    return _like(x, 0, dtype)


def ones_like(x: Any, dtype: Any = None) -> Tensor:
    """1 in the shape (and dtype) of x."""
    return _like(x, 1, dtype)


def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Tensor:
    """`fill_value` in the shape (and dtype) of x."""
    if isinstance(fill_value, (bool, int, float)):
        return _like(x, fill_value, dtype)
    node = node_of(x)
    return full(node.shape, fill_value, dtype or node.dtype)


def arange(start: float, stop: float | None = None, step: float = 1, dtype: Any = None) -> Tensor:
    """start, start + step, ... below stop."""
    if stop is None:
        start, stop = 0, start
    if step == 0:
        raise ArgumentError("arange expected a step other than 0")
    count = max(0, -int(-(stop - start) // step))
    whole = all(isinstance(v, int) for v in (start, stop, step))
    want = as_dtype(dtype) if dtype is not None else (int32 if whole else float32)
    work = want if want.is_integer else (want if want.is_float else int32)
    index = b.iota((count,), 0, work)
    value = b.add(b.mul(index, b.like(index, step)), b.like(index, start))
    return Tensor(b.cast(value, want))


def linspace(
    start: float, stop: float, num: int = 50, endpoint: bool = True, dtype: Any = None
) -> Tensor:
    """`num` evenly spaced numbers from start to stop (excluded without `endpoint`)."""
    want = as_dtype(dtype or float32)
    gaps = num - 1 if endpoint else num
    index = b.iota((num,), 0, float32)
    # From both ends, so that the last value is exactly `stop`.
    up = b.add(b.scale(index, (stop - start) / max(gaps, 1)), b.like(index, start))
    back = b.sub(
        b.like(index, stop),
        b.scale(b.sub(b.like(index, gaps), index), (stop - start) / max(gaps, 1)),
    )
    near = b.like(index, max(gaps, 1) / 2)
    return Tensor(b.cast(b.select(b.lt(index, near), up, back), want))


def eye(n: int, m: int | None = None, k: int = 0, dtype: Any = None) -> Tensor:
    """1 on the k-th diagonal of an (n, m) matrix."""
    shape = (n, n if m is None else m)
    row, column = b.iota(shape, 0, int32), b.iota(shape, 1, int32)
    return Tensor(b.cast(b.eq(b.add(row, b.like(row, k)), column), as_dtype(dtype or float32)))


def empty(shape: int | Sequence[int], dtype: Any = None) -> Tensor:
    """The same as zeros: nothing here is ever uninitialised."""
    return zeros(shape, dtype)


def tri(n: int, m: int | None = None, k: int = 0, dtype: Any = None) -> Tensor:
    """1 on and below the k-th diagonal of an (n, m) matrix."""
    shape = (n, n if m is None else m)
    row, column = b.iota(shape, 0, int32), b.iota(shape, 1, int32)
    below = b.lt(column, b.add(row, b.like(row, k + 1)))
    return Tensor(b.cast(below, as_dtype(dtype or dtypes.float32)))
