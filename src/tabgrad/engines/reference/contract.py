"""Rules of the contractions (`dot`, `conv`) and of indexing (`gather`, `scatter`).

Floats are accumulated in float64 and rounded once; integers wrap in their own dtype.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tabgrad.engines.reference.movement import pad_array
from tabgrad.engines.reference.reduce import accumulator

Array = np.ndarray[Any, np.dtype[Any]]


def _dot(params: Any, out: Any, a: Array, b: Array) -> Array:
    (ca, cb), (ba, bb) = params["contract"], params["batch"]
    free_a = [d for d in range(a.ndim) if d not in (*ca, *ba)]
    free_b = [d for d in range(b.ndim) if d not in (*cb, *bb)]
    batch = [a.shape[d] for d in ba]
    rows, columns = [a.shape[d] for d in free_a], [b.shape[d] for d in free_b]
    k = math.prod(a.shape[d] for d in ca)
    wide = accumulator(a.dtype)
    left = a.transpose([*ba, *free_a, *ca]).reshape([*batch, math.prod(rows), k]).astype(wide)
    right = b.transpose([*bb, *cb, *free_b]).reshape([*batch, k, math.prod(columns)]).astype(wide)
    product: Array = np.matmul(left, right).reshape([*batch, *rows, *columns])
    return product.astype(a.dtype)


def _conv(params: Any, out: Any, x: Array, w: Array) -> Array:
    lhs_spec, rhs_spec, out_spec = params["dims"]
    groups, batch_groups = params["groups"], params["batch_groups"]
    strides, rhs_dilation = params["strides"], params["rhs_dilation"]
    wide = accumulator(x.dtype)
    x_ncs = x.transpose(lhs_spec).astype(wide)
    w_ois = w.transpose(rhs_spec).astype(wide)
    padded = pad_array(
        x_ncs,
        0,
        (0, 0, *(lo for lo, _ in params["padding"])),
        (0, 0, *(hi for _, hi in params["padding"])),
        (0, 0, *(step - 1 for step in params["lhs_dilation"])),
    )
    # Feature groups split the input's features, batch groups its rows; either splits the output's
    # features. One of them is always 1, so one list of (input part, kernel part) serves both.
    x_parts = (
        np.split(padded, groups, axis=1)
        if batch_groups == 1
        else np.split(padded, batch_groups, axis=0)
    )
    w_parts = np.split(w_ois, max(groups, batch_groups), axis=0)
    parts = [
        _correlate(xp, wp, strides, rhs_dilation) for xp, wp in zip(x_parts, w_parts, strict=True)
    ]
    result = np.concatenate(parts, axis=1)
    return result.transpose(np.argsort(out_spec)).astype(x.dtype)


def _correlate(x: Array, w: Array, strides: tuple[int, ...], dilation: tuple[int, ...]) -> Array:
    """Batch, feature, *spatial with out, in, *spatial: no padding, one group."""
    counts = [
        max((n - (size - 1) * step - 1) // stride + 1, 0)
        for n, size, stride, step in zip(x.shape[2:], w.shape[2:], strides, dilation, strict=True)
    ]
    result = np.zeros((x.shape[0], w.shape[0], *counts), dtype=x.dtype)
    if 0 in counts:
        return result
    for position in itertools.product(*(range(size) for size in w.shape[2:])):
        tap = x[
            (slice(None), slice(None))
            + tuple(
                slice(p * step, p * step + (count - 1) * stride + 1, stride)
                for p, step, count, stride in zip(position, dilation, counts, strides, strict=True)
            )
        ]
        corner: Any = (..., *position)
        result += np.moveaxis(np.tensordot(w[corner], tap, axes=([1], [1])), 0, 1)
    return result


def _gather(params: Any, out: Any, x: Array, index: Array) -> Array:
    axis = params["axis"]
    return np.take(x, np.clip(index, 0, max(x.shape[axis] - 1, 0)), axis=axis)


def _scatter(params: Any, out: Any, x: Array, index: Array, update: Array) -> Array:
    axis, kind = params["axis"], params["op"]
    wide = accumulator(x.dtype) if kind == "add" else x.dtype
    result = np.moveaxis(x, axis, 0).astype(wide)
    # The update has the index's dims in place of the axis: bring them to the front, in one line.
    front = range(axis, axis + index.ndim)
    parts = np.moveaxis(update, front, range(index.ndim))
    parts = parts.reshape((index.size, *result.shape[1:])).astype(wide)
    flat = index.reshape(-1)
    kept = (flat >= 0) & (flat < x.shape[axis])
    flat, parts = flat[kept], parts[kept]
    if kind == "add":
        np.add.at(result, flat, parts)
    elif kind == "max":
        np.maximum.at(result, flat, parts)
    elif kind == "min":
        np.minimum.at(result, flat, parts)
    else:
        for place, part in zip(flat, parts, strict=True):
            result[place] = part
    return np.moveaxis(result, 0, axis).astype(x.dtype)


RULES: dict[str, Callable[..., Any]] = {
    "dot": _dot,
    "conv": _conv,
    "gather": _gather,
    "scatter": _scatter,
}
