"""Rules of the leaves and of the primitives that only move elements.

Leaves bound to data of a run (`input`, `value`, `rows`) have no rule here: `evaluate` is handed
their arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def _const(params: Any, out: Any) -> Array:
    return np.asarray(params["value"], dtype=np.dtype(params["dtype"].name))


def _array(params: Any, out: Any) -> Array:
    dtype = np.dtype(params["dtype"].name).newbyteorder("<")
    content = np.frombuffer(params["data"], dtype=dtype).reshape(params["shape"])
    return content.astype(dtype.newbyteorder("="))


def _iota(params: Any, out: Any) -> Array:
    shape, axis = params["shape"], params["axis"]
    line = np.arange(shape[axis]).astype(np.dtype(params["dtype"].name))
    return np.broadcast_to(np.expand_dims(line, [d for d in range(len(shape)) if d != axis]), shape)


def _reshape(params: Any, out: Any, x: Array) -> Array:
    return x.reshape(params["shape"])


def _permute(params: Any, out: Any, x: Array) -> Array:
    return x.transpose(params["axes"])


def _broadcast(params: Any, out: Any, x: Array) -> Array:
    shape, dims = params["shape"], params["dims"]
    # Put the source dims in the order of the result, then insert the new ones with size 1.
    order = sorted(range(len(dims)), key=lambda i: dims[i])
    sizes = [1] * len(shape)
    for i in order:
        sizes[dims[i]] = x.shape[i]
    return np.broadcast_to(x.transpose(order).reshape(sizes), shape)


def _broadcast_like(params: Any, out: Any, x: Array, like: Array) -> Array:
    return _broadcast({"shape": like.shape, "dims": params["dims"]}, out, x)


def pad_array(
    x: Array, fill: Any, low: tuple[int, ...], high: tuple[int, ...], interior: tuple[int, ...]
) -> Array:
    """`x` with `fill` between its elements and around it; negative low and high cut off."""
    sizes = [
        lo + (max(n - 1, 0) * (inner + 1) + min(n, 1)) + hi
        for n, lo, hi, inner in zip(x.shape, low, high, interior, strict=True)
    ]
    result = np.full(sizes, fill, dtype=x.dtype)
    sources, targets = [], []
    for n, size, lo, inner in zip(x.shape, sizes, low, interior, strict=True):
        source = np.arange(n)
        target = lo + source * (inner + 1)
        kept = (target >= 0) & (target < size)
        sources.append(source[kept])
        targets.append(target[kept])
    result[np.ix_(*targets)] = x[np.ix_(*sources)]
    return result


def _pad(params: Any, out: Any, x: Array, fill: Array) -> Array:
    return pad_array(x, fill, params["low"], params["high"], params["interior"])


def _slice(params: Any, out: Any, x: Array) -> Array:
    bounds = zip(params["start"], params["stop"], params["step"], strict=True)
    return x[tuple(slice(*bound) for bound in bounds)]


def _flip(params: Any, out: Any, x: Array) -> Array:
    return np.flip(x, params["axes"])


def _concatenate(params: Any, out: Any, *xs: Array) -> Array:
    return np.concatenate(xs, axis=params["axis"])


def _window(shape: tuple[int, ...], sizes: tuple[int, ...], starts: tuple[Array, ...]) -> Any:
    # A window that would reach outside is moved inside, not cut.
    begins = [
        min(max(int(start), 0), n - size)
        for start, n, size in zip(starts, shape, sizes, strict=True)
    ]
    return tuple(slice(b, b + size) for b, size in zip(begins, sizes, strict=True))


def _dynamic_slice(params: Any, out: Any, x: Array, *starts: Array) -> Array:
    return np.asarray(x[_window(x.shape, params["sizes"], starts)])


def _dynamic_update_slice(params: Any, out: Any, x: Array, update: Array, *starts: Array) -> Array:
    result = x.copy()
    result[_window(x.shape, update.shape, starts)] = update
    return result


RULES: dict[str, Callable[..., Any]] = {
    "const": _const,
    "array": _array,
    "iota": _iota,
    "reshape": _reshape,
    "permute": _permute,
    "broadcast": _broadcast,
    "broadcast_like": _broadcast_like,
    "pad": _pad,
    "slice": _slice,
    "flip": _flip,
    "concatenate": _concatenate,
    "barrier": lambda params, out, x, after: x,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
}
