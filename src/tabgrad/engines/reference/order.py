"""Rules of sorting and of running folds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tabgrad.engines.reference.elementwise import RULES as ELEMENTWISE
from tabgrad.engines.reference.reduce import accumulator

Array = np.ndarray[Any, np.dtype[Any]]


def _sort(params: Any, out: Any, key: Array, *payloads: Array) -> tuple[Array, ...]:
    # NumPy puts NaNs last as well, and holds 0 and -0 for equal.
    order = np.argsort(key, axis=-1, kind="stable")
    return tuple(np.take_along_axis(x, order, axis=-1) for x in (key, *payloads))


def _cumulative(params: Any, out: Any, x: Array) -> Array:
    axis, op = params["axis"], params["op"]
    walked = np.flip(x, axis) if params["reverse"] else x
    if op in ("sum", "prod"):
        fold = np.add if op == "sum" else np.multiply
        result = fold.accumulate(walked, axis, dtype=accumulator(x.dtype)).astype(x.dtype)
    else:
        result = _extremum(walked, axis, op)
    return np.flip(result, axis) if params["reverse"] else result


def _extremum(x: Array, axis: int, op: str) -> Array:
    # Of two zeros the positive one is larger, as for the primitives max and min.
    rows, larger = np.moveaxis(x, axis, 0).copy(), ELEMENTWISE[op]
    for i in range(1, len(rows)):
        rows[i] = larger({}, None, rows[i - 1], rows[i])
    return np.moveaxis(rows, 0, axis)


RULES: dict[str, Callable[..., Any]] = {"sort": _sort, "cumulative": _cumulative}
