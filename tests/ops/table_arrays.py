"""The op table: joining, splitting, diagonals, ranges, averages, folds without NaNs; NumPy says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.spatial import distance

import tabgrad as tg
from tests.ops.building import made, moved
from tests.ops.comparing import Array, Case, integers, random
from tests.ops.table_complex import complex_random


def _plain(op: str, label: str, *inputs: Array, name: str = "", **options: Any) -> Case:
    """The op and NumPy's function of the same name, called alike; exact."""
    theirs = getattr(np, name or op)
    return Case(
        op,
        label,
        lambda *xs: getattr(tg.ops, op)(*xs, **options),
        lambda *xs: np.asarray(theirs(*xs, **options)).astype(xs[0].dtype),
        inputs,
    )


def joining() -> Iterator[Case]:
    x, y, v, w = (
        integers((3, 4, 2), 1),
        integers((3, 4, 2), 2),
        integers((4,), 3),
        integers((4,), 4),
    )
    yield _plain("append", "flat", x, v)
    yield _plain("append", "axis", x, y, axis=1)
    for op in ("hstack", "vstack", "dstack"):
        for label, pair in (("arrays", (x, y)), ("matrices", (x[0], y[0])), ("vectors", (v, w))):
            yield Case(
                op,
                label,
                lambda a, b, op=op: getattr(tg.ops, op)([a, b]),
                lambda a, b, op=op: getattr(np, op)([a, b]),
                pair,
            )
    for op, parts in (("vsplit", 3), ("hsplit", 2), ("dsplit", [1]), ("hsplit", [1, 3])):
        yield from moved(
            op,
            f"{parts}",
            lambda x, op=op, parts=parts: getattr(tg.ops, op)(x, parts),
            lambda x, op=op, parts=parts: getattr(np, op)(x, parts),
            x,
        )
    for op, parts in (
        ("hsplit", 2),
        ("array_split", 3),
        ("array_split", 5),
        ("array_split", [1, 3]),
    ):
        yield Case(
            op,
            f"vector {parts}",
            lambda x, op=op, parts=parts: getattr(tg.ops, op)(x, parts),
            lambda x, op=op, parts=parts: getattr(np, op)(x, parts),
            (v,),
        )
    yield Case("scatter", "", lambda i, u: tg.ops.scatter(i, u, (4, 2)), _scattered,
               (np.array([[0], [3], [0]], np.int32), random((3, 2))), ulp=0)  # fmt: skip
    for reduction, ufunc in (("add", np.add), ("max", np.maximum), ("mul", np.multiply)):
        yield Case(
            "scatter_update",
            f"reduction {reduction}",
            lambda x, u, r=reduction: tg.ops.scatter_update(x, [[0], [2], [0]], u, reduction=r),
            lambda x, u, f=ufunc: _at(x, [0, 2, 0], u, f),
            (integers((4, 2), 5), integers((3, 2), 6)),
        )


def _scattered(indices: Array, values: Array) -> Array:
    return _at(np.zeros((4, 2), values.dtype), indices[:, 0], values, np.add)


def _at(x: Array, indices: Any, values: Array, ufunc: Any) -> Array:
    x = x.copy()
    ufunc.at(x, indices, values)
    return x


def arrangement() -> Iterator[Case]:
    x = integers((4, 3, 2), 1)
    for op in ("fliplr", "flipud"):
        yield _plain(op, "", x)
    for k in range(4):
        yield _plain("rot90", f"{k} times", x, k=k)
    yield _plain("rot90", "other axes", x, axes=(2, 0))
    for k in (0, 1, -2):
        yield _plain("diag", f"vector {k}", integers((3,), 2), k=k)
        yield _plain("diag", f"matrix {k}", integers((4, 3), 2), k=k)
        yield _plain("diagflat", f"{k}", integers((2, 2), 2), k=k)
        yield _plain("diagonal", f"{k}", x, offset=k)
        yield _plain("trace", f"{k}", x, offset=k, axis1=2, axis2=0)
    yield _plain("diagonal", "complex", complex_random((3, 4)))
    yield _plain("diagonal", "outside", x, offset=9)
    yield _plain("vander", "", integers((4,), 2))
    yield _plain("vander", "increasing", random((4,), 2), N=3, increasing=True)
    yield Case(
        "unravel_index",
        "",
        lambda i: tg.ops.unravel_index(i, (3, 4, 5)),
        lambda i: [
            v.astype(np.uint32 if i.dtype.kind == "u" else np.int32)
            for v in np.unravel_index(i, (3, 4, 5))
        ],
        (np.array([0, 59, 31], np.int32),),
    )
    yield Case(
        "select",
        "",
        lambda x: tg.ops.select([x < -2, x < 3], [x, x * 10], 7),
        lambda x: np.select([x < -2, x < 3], [x, x * 10], 7),
        (integers((9,), 3),),
    )
    patterns: dict[str, Any] = {
        "a b c -> c (b a)": lambda x: x.transpose(2, 1, 0).reshape(x.shape[2], -1),
        "(h w) b c -> b h c w": lambda x: x.reshape(2, 2, 3, 2).transpose(2, 0, 3, 1),
        "... c -> c ...": lambda x: x.transpose(2, 0, 1),
        "a b c -> a 1 (b c) 1": lambda x: x.reshape(4, 1, 6, 1),
    }
    for pattern, oracle in patterns.items():
        sizes = {"h": 2} if "h" in pattern else {}
        yield from moved(
            "rearrange",
            pattern,
            lambda x, p=pattern, s=sizes: tg.ops.rearrange(x, p, **s),
            oracle,
            x,
        )


def ranges() -> Iterator[Case]:
    low, high = random((3,), 1), random((3,), 2)
    yield made("identity", "", lambda: tg.ops.identity(3), np.identity(3, np.float32))
    for axis in (0, 1):
        yield Case(
            "linspace",
            f"arrays, axis {axis}",
            lambda a, b, axis=axis: tg.ops.linspace(a, b, 5, axis=axis),
            lambda a, b, axis=axis: np.linspace(a, b, 5, axis=axis),
            (low, high),
            ulp=2,
            scale=lambda a, b, axis=axis: np.linspace(
                abs(a) + abs(b), abs(a) + abs(b), 5, axis=axis
            ),
        )
    yield Case("linspace", "step", lambda: tg.ops.linspace(0, 3, 4, retstep=True),
               lambda: [np.arange(4, dtype=np.float32), np.float32(1)], (), ulp=0)  # fmt: skip
    yield Case("logspace", "", lambda: tg.ops.logspace(0, 2, 5), lambda: np.logspace(0, 2, 5), (),
               ulp=16)  # fmt: skip
    yield Case("geomspace", "", lambda: tg.ops.geomspace(1, 256, 9),
               lambda: np.geomspace(1, 256, 9), (), ulp=16)  # fmt: skip
    yield Case("geomspace", "negative", lambda: tg.ops.geomspace(-2, -32, 5),
               lambda: np.geomspace(-2, -32, 5), (), ulp=16)  # fmt: skip
    yield _plain("array", "", low)
    yield _plain("copy", "", low)
    yield Case("get_item", "", lambda x: tg.ops.get_item(x, (slice(None, None, -1),)),
               lambda x: x[::-1], (low,))  # fmt: skip
    yield Case("view", "", lambda x: tg.ops.view(x, "int32"), lambda x: x.view(np.int32), (low,))
    for name in ("max", "min"):
        for shape in ((3, 4), (0, 4)):
            yield Case(
                name,
                f"initial {list(shape)}",
                lambda x, n=name: getattr(tg.ops, n)(x, 0, initial=2),
                lambda x, n=name: getattr(np, n)(x, 0, initial=2),
                (integers(shape, 1),),
            )


def without_nans() -> Iterator[Case]:
    x = random((4, 5), 1)
    x[0, 1] = x[2, 3] = x[2, 4] = np.nan
    x[:, 0] = np.nan
    for op in ("nansum", "nanprod", "nanmean", "nanvar", "nanstd", "nanmax", "nanmin"):
        for axis in (None, 0, 1):
            yield Case(
                op,
                f"axis {axis}",
                lambda x, op=op, axis=axis: getattr(tg.ops, op)(x, axis, keepdims=True),
                lambda x, op=op, axis=axis: _quiet(getattr(np, op), x, axis),
                (x,),
                ulp=16,
                scale=lambda x, axis=axis: np.nansum(abs(x), axis, keepdims=True) + 1,
            )
    for op in ("nanargmax", "nanargmin"):
        yield Case(
            op,
            "",
            lambda x, op=op: getattr(tg.ops, op)(x, 1),
            lambda x, op=op: getattr(np, op)(x, 1).astype(np.int32),
            (x,),
        )
        yield made(
            op,
            "nothing",
            lambda op=op: getattr(tg.ops, op)([np.nan, np.nan]),
            np.array(-1, np.int32),
        )


def _quiet(function: Any, x: Array, axis: int | None) -> Array:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        result: Array = function(x, axis, keepdims=True)
    return result


def measures() -> Iterator[Case]:
    x, weights = random((4, 5), 1), random((4, 5), 2, 0.5, 2)
    yield _plain("ptp", "", integers((4, 5), 1), axis=1)
    yield Case("average", "plain", lambda x: tg.ops.average(x, 0), lambda x: np.average(x, 0), (x,),
               ulp=8)  # fmt: skip
    yield Case("average", "weights", lambda x, w: tg.ops.average(x, 1, w),
               lambda x, w: np.average(x, 1, w), (x, weights), ulp=16)  # fmt: skip
    yield Case("average", "weights of an axis", lambda x, w: tg.ops.average(x, 0, w),
               lambda x, w: np.average(x, 0, w), (x, weights[:, 0]), ulp=16)  # fmt: skip
    yield Case("corrcoef", "", tg.ops.corrcoef, np.corrcoef, (x,), ulp=8,
               scale=lambda x: np.ones((4, 4)))  # fmt: skip
    for mode in ("valid", "same", "full"):
        for n, m in ((7, 3), (3, 6), (4, 4)):
            yield Case(
                "correlate",
                f"{mode} {n} {m}",
                lambda a, b, mode=mode: tg.ops.correlate(a, b, mode),
                lambda a, b, mode=mode: _correlated(a, b, mode),
                (integers((n,), 1), integers((m,), 2)),
            )
    yield Case("trapezoid", "", lambda y: tg.ops.trapezoid(y, dx=0.5, axis=0),
               lambda y: np.trapezoid(y, dx=0.5, axis=0), (x,), ulp=8,
               scale=lambda y: abs(y).sum(0))  # fmt: skip
    places = np.array([0, 1, 3, 3.5, 6], np.float32)
    yield Case("trapezoid", "places", tg.ops.trapezoid, np.trapezoid, (x, places), ulp=8,
               scale=lambda y, x: 6 * abs(y).sum(1))  # fmt: skip
    yield Case("cdist", "", tg.ops.cdist, distance.cdist, (x, weights[:3]), ulp=8)


def _correlated(a: Array, b: Array, mode: str) -> Array:
    """Every shift, counted from the first overlap; NumPy turns round what is shorter."""
    full = np.array([
        sum(a[i] * b[i - s] for i in range(a.size) if 0 <= i - s < b.size)
        for s in range(1 - b.size, a.size)
    ], np.result_type(a, b))  # fmt: skip
    return full if mode == "full" else np.correlate(a, b, mode)


CASES = [
    *joining(), *arrangement(), *ranges(), *without_nans(), *measures(),
]  # fmt: skip
