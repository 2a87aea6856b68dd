"""Rules of the reductions and of the window reductions (pooling).

An empty reduction gives the identity: 0, 1, or the smallest or largest value of the dtype
(infinities for floats), False or True for bool.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tabgrad.engines.reference.movement import pad_array

Array = np.ndarray[Any, np.dtype[Any]]


def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What a sum of `dtype` is accumulated in: float64 for floats, else itself (it wraps)."""
    return np.dtype(np.float64) if dtype.kind == "f" else dtype


def lowest(dtype: np.dtype[Any]) -> Any:
    """The identity of max."""
    if dtype.kind == "f":
        return dtype.type(-np.inf)
    return np.False_ if dtype.kind == "b" else dtype.type(np.iinfo(dtype).min)


def highest(dtype: np.dtype[Any]) -> Any:
    """The identity of min."""
    if dtype.kind == "f":
        return dtype.type(np.inf)
    return np.True_ if dtype.kind == "b" else dtype.type(np.iinfo(dtype).max)


def total(x: Array, axes: Sequence[int]) -> Array:
    """The sum over axes. NumPy adds in pairs only along the last axis, and one by one along others,
    so what is summed is put there: 1100 rows of float64 were a dozen units off."""
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    shape = [x.shape[axis] for axis in kept]
    folded = math.prod([x.shape[axis] for axis in axes])
    rows = np.ascontiguousarray(x.transpose(*kept, *axes)).reshape(*shape, folded)
    return np.asarray(np.sum(rows, axis=-1, dtype=accumulator(x.dtype))).astype(x.dtype)


def _sum(params: Any, out: Any, x: Array) -> Array:
    return total(x, params["axes"])


def _prod(params: Any, out: Any, x: Array) -> Array:
    return np.asarray(np.prod(x, axis=params["axes"], dtype=accumulator(x.dtype))).astype(x.dtype)


def _reduce_max(params: Any, out: Any, x: Array) -> Array:
    return np.asarray(np.max(x, axis=params["axes"], initial=lowest(x.dtype)))


def _reduce_min(params: Any, out: Any, x: Array) -> Array:
    return np.asarray(np.min(x, axis=params["axes"], initial=highest(x.dtype)))


def _argmax(params: Any, out: Any, x: Array) -> Array:
    # NumPy's rule is ours: the first of the largest, and the first NaN before any number.
    return np.asarray(np.argmax(x, axis=params["axis"])).astype(np.int32)


def _argmin(params: Any, out: Any, x: Array) -> Array:
    return np.asarray(np.argmin(x, axis=params["axis"])).astype(np.int32)


def _size(params: Any, out: Any, x: Array) -> Array:
    return np.asarray(math.prod(x.shape[axis] for axis in params["axes"]), dtype=np.int32)


def _taps(params: Any, x: Array, fill: Any) -> Iterator[Array]:
    """For each position inside the window, in row-major order, its element of every window."""
    window, strides, dilation = params["window"], params["strides"], params["dilation"]
    low = tuple(lo for lo, _ in params["padding"])
    high = tuple(hi for _, hi in params["padding"])
    padded = pad_array(x, fill, low, high, (0,) * x.ndim)
    counts = [
        max((n - (size - 1) * step - 1) // stride + 1, 0)
        for n, size, stride, step in zip(padded.shape, window, strides, dilation, strict=True)
    ]
    for position in itertools.product(*(range(size) for size in window)):
        begins = [p * step for p, step in zip(position, dilation, strict=True)]
        yield padded[
            tuple(
                slice(begin, begin + (count - 1) * stride + 1 if count else begin, stride)
                for begin, count, stride in zip(begins, counts, strides, strict=True)
            )
        ]


def _window_reduce(params: Any, out: Any, x: Array) -> Array:
    kind = params["op"]
    if kind == "sum":
        wide = x.astype(accumulator(x.dtype))
        return np.asarray(sum(_taps(params, wide, 0))).astype(x.dtype)
    fill, combine = (lowest, np.maximum) if kind == "max" else (highest, np.minimum)
    taps = _taps(params, x, fill(x.dtype))
    result = next(taps)
    for tap in taps:
        result = combine(result, tap)
    return result


def _window_argmax(params: Any, out: Any, x: Array) -> Array:
    # Padding never wins: its index lies outside of x, and a window of nothing else keeps it.
    outside = 2**31 - 1
    places = np.arange(x.size, dtype=np.int32).reshape(x.shape)
    pairs = zip(_taps(params, x, lowest(x.dtype)), _taps(params, places, outside), strict=True)
    best, where = next(pairs)
    for value, place in pairs:
        better = (value > best) | ((value != value) & (best == best)) | (where == outside)
        better &= place != outside
        best, where = np.where(better, value, best), np.where(better, place, where)
    return np.asarray(where, dtype=np.int32)


RULES: dict[str, Callable[..., Any]] = {
    "reduce_sum": _sum,
    "reduce_prod": _prod,
    "reduce_max": _reduce_max,
    "reduce_min": _reduce_min,
    "argmax": _argmax,
    "argmin": _argmin,
    "size": _size,
    "window_reduce": _window_reduce,
    "window_argmax": _window_argmax,
}
