"""The op table: float64, float16 and 64-bit integers, which engines hold in other lanes than the
32-bit numbers of the other tables: special values, casts, folds, contractions, movement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import special

import tabgrad as tg
from tests.ops.comparing import Array, Case, integers, pairs, special_floats, special_integers

FLOATS = ("float64", "float16")
LONG = ("int64", "uint64")
ALL = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64",
)  # fmt: skip
LENGTHS = ((0,), (1,), (2,), (3,), (5,), (70,), (3, 5))


def values_of(dtype: str) -> Array:
    """Special values of any dtype."""
    return special_floats(dtype) if dtype.startswith("f") else special_integers(dtype)


def _few(dtype: str) -> Array:
    """Some of the special values, for pairs."""
    values = values_of(dtype)
    return values if values.size < 30 else np.append(values[::5], values[-1])


def numbers(
    shape: tuple[int, ...], seed: int, dtype: str, low: float = -3, high: float = 3
) -> Array:
    """Numbers of ordinary size; whole ones of integer dtypes."""
    if dtype.startswith("f"):
        return np.random.default_rng(seed).uniform(low, high, shape).astype(dtype)
    return integers(shape, seed, dtype=dtype)


def _each_length(call: Callable[..., Any], count: int) -> Callable[..., list[Any]]:
    """The call on every group of `count` arguments."""
    return lambda *xs: [call(*xs[i : i + count]) for i in range(0, len(xs), count)]


def elementwise(
    op: str,
    oracle: Callable[..., Any],
    ulp: float | None = None,
    dtypes: tuple[str, ...] = (*FLOATS, *LONG),
    *,
    count: int = 2,
    values: Callable[[str], Array] = _few,
    low: float = -3,
    **options: Any,
) -> Iterator[Case]:
    """On special values and on a few lengths of ordinary ones."""
    call = getattr(tg.ops, op)
    for dtype in dtypes:
        given = pairs(values(dtype)) if count == 2 else (values(dtype),)
        known = options | ({"dtype": dtype} if ulp is not None else {})
        yield Case(op, f"{dtype} special values", call, oracle, given, ulp, **known)
        groups = [numbers(shape, i, dtype, low) for shape in LENGTHS for i in range(count)]
        yield Case(
            op, f"{dtype} lengths", _each_length(call, count), _each_length(oracle, count),
            tuple(groups), ulp, **known,
        )  # fmt: skip


def arithmetic() -> Iterator[Case]:
    for op, oracle in (("add", np.add), ("subtract", np.subtract), ("multiply", np.multiply)):
        yield from elementwise(op, oracle, dtypes=FLOATS)
    yield from elementwise("divide", np.divide, dtypes=FLOATS)
    yield from elementwise("maximum", np.maximum, dtypes=FLOATS)
    yield from elementwise("minimum", np.minimum, dtypes=FLOATS)
    for op, oracle in (
        ("negative", np.negative), ("abs", np.abs), ("floor", np.floor), ("ceil", np.ceil),
        ("trunc", np.trunc), ("round", np.rint), ("sqrt", np.sqrt), ("square", np.square),
        ("isnan", np.isnan), ("isinf", np.isinf), ("isfinite", np.isfinite),
    ):  # fmt: skip
        yield from elementwise(op, oracle, dtypes=FLOATS, count=1, values=values_of)
    yield from elementwise("sign", np.sign, count=1, values=values_of)
    yield from elementwise("negative", np.negative, dtypes=("int64",), count=1)
    yield from elementwise("square", np.square, dtypes=LONG, count=1)
    for op, oracle in (
        ("equal", np.equal), ("not_equal", np.not_equal), ("less", np.less),
        ("less_equal", np.less_equal), ("greater", np.greater),
    ):  # fmt: skip
        yield from elementwise(op, oracle)
    # As for float32: an infinity divided by zero is left open.
    edges = np.array([0, -0.0, 1, -1, 2.5, -3, 7, 0.1, 0.3, 1e4, 1e-4, np.inf, -np.inf, np.nan])
    for dtype in FLOATS:
        x, y = pairs(edges.astype(dtype))
        kept = ~(np.isinf(x) & (y == 0))
        for op, oracle in (("floor_divide", np.floor_divide), ("mod", np.mod)):
            yield Case(op, f"{dtype} edges", getattr(tg.ops, op), oracle, (x[kept], y[kept]))


def _sigmoid(x: Array) -> Array:
    # SciPy's gives 0 where the true value is subnormal.
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def functions() -> Iterator[Case]:
    # NumPy's own float64 functions are a unit off too.
    for op, oracle, ulp in (
        ("exp", np.exp, 2), ("expm1", np.expm1, 2), ("log", np.log, 2), ("log1p", np.log1p, 2),
        ("sin", np.sin, 2), ("cos", np.cos, 2), ("tan", np.tan, 3), ("tanh", np.tanh, 4),
        ("sigmoid", _sigmoid, 4), ("erf", special.erf, 2),
    ):  # fmt: skip
        for dtype in FLOATS:
            yield from elementwise(
                op, oracle, ulp + 1 if dtype == "float64" else 1, (dtype,), count=1,
                values=values_of, low=-0.9 if op == "log1p" else 0.1 if op == "log" else -3,
            )  # fmt: skip
    near = np.array([0, -0.0, 1, -1, 0.5, 1.5, -2, 3, 10, 0.99, np.inf, -np.inf, np.nan])
    for dtype in FLOATS:
        ulp = 3 if dtype == "float64" else 1
        given = pairs(near.astype(dtype))
        yield Case("power", f"{dtype}", tg.ops.power, np.power, given, ulp, dtype=dtype)
        yield Case("arctan2", f"{dtype}", tg.ops.arctan2, np.arctan2, given, ulp, dtype=dtype)
    for dtype in LONG:
        x, y = (a.ravel() for a in np.meshgrid([0, 1, 2, 3, 7, 10], [0, 1, 2, 3, 17, 22, 63]))
        given = x.astype(dtype), y.astype(dtype)
        yield Case("power", f"{dtype}", tg.ops.power, np.power, given)


def choosing() -> Iterator[Case]:
    for dtype in (*FLOATS, *LONG):
        x, y = pairs(_few(dtype))
        yield Case(
            "where", f"{dtype}", lambda x, y: tg.ops.where(x < y, x, y),
            lambda x, y: np.where(x < y, x, y), (x, y),
        )  # fmt: skip
        yield Case(
            "where", f"{dtype} condition beside float32",
            lambda x, y: tg.ops.where(x < y, tg.ops.cast(x, "float32"), 0.0),
            lambda x, y: np.where(x < y, x.astype(np.float32), np.float32(0)), (x, y),
        )  # fmt: skip
        yield Case(
            "clip", f"{dtype}", lambda x: tg.ops.clip(x, 1, 5), lambda x: np.clip(x, 1, 5),
            (values_of(dtype),),
        )  # fmt: skip


def _cast(x: Array, dtype: str) -> Array:
    """Floats to integers truncate and saturate, NaN becomes 0; integers wrap."""
    target = np.dtype(dtype)
    if target.kind not in "iu" or x.dtype.kind != "f":
        return x != 0 if dtype == "bool" else x.astype(target)
    info = np.iinfo(target)
    whole = [0 if v != v else v for v in x.astype(np.float64).tolist()]
    limited = [min(max(v, float(info.min)), float(info.max)) for v in whole]
    return np.array([min(int(v), int(info.max)) for v in limited], target)


def casts() -> Iterator[Case]:
    for source in ALL:
        yield Case(
            "cast", f"{source} to every dtype", lambda x: [tg.ops.cast(x, d) for d in ALL],
            lambda x: [_cast(x, d) for d in ALL], (values_of(source),),
        )  # fmt: skip
    for one, other in (
        ("float64", "int64"), ("float64", "uint64"), ("float16", "int16"), ("float16", "uint16"),
        ("int8", "uint8"), ("int64", "uint64"),
    ):  # fmt: skip
        for source, target in ((one, other), (other, one)):
            values = values_of(source)
            yield Case(
                "bitcast", f"{source} to {target}", lambda x, d=target: tg.ops.bitcast(x, d),
                lambda x, d=target: x.view(d), (values[values == values],),
            )  # fmt: skip


def added(x: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """Sums that are rounded once. NumPy's own add rows one by one, and are 11 units off."""
    axes = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    last = np.moveaxis(x, axes, range(-len(axes), 0))
    kept = last.shape[: x.ndim - len(axes)]
    rows = last.reshape(math.prod(kept), -1)
    return np.array([math.fsum(row) for row in rows]).reshape(kept)


def averaged(x: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """Such a sum divided by how many there are."""
    sums = added(x, axis)
    return sums / (x.size / sums.size)


def folds() -> Iterator[Case]:
    shapes = (((7,), None), ((3, 5), 0), ((3, 5), 1), ((2, 3, 4), (0, 2)), ((1100,), None))
    shapes += (((1100, 3), 0), ((2, 1100), 1), ((4, 9), None))
    for dtype in FLOATS:
        for op, oracle in (("sum", added), ("prod", np.prod), ("mean", averaged)):
            for shape, axis in shapes:
                low, high = (0.999, 1.001) if op == "prod" else (0.5, 1)
                yield Case(
                    op, f"{dtype} {list(shape)} axis {axis}",
                    lambda x, op=op, axis=axis: getattr(tg.ops, op)(x, axis=axis),
                    lambda x, oracle=oracle, axis=axis: oracle(x, axis=axis),
                    (numbers(shape, 1, dtype, low, high),),
                    300 if op == "prod" else 4,
                    dtype=dtype,
                )  # fmt: skip
    for dtype in (*FLOATS, *LONG):
        for op, oracle in (("max", np.max), ("min", np.min)):
            for shape, axis in shapes:
                yield Case(
                    op, f"{dtype} {list(shape)} axis {axis}",
                    lambda x, op=op, axis=axis: getattr(tg.ops, op)(x, axis=axis),
                    lambda x, oracle=oracle, axis=axis: oracle(x, axis=axis),
                    (numbers(shape, 1, dtype),),
                )  # fmt: skip
        for op, oracle in (("argmax", np.argmax), ("argmin", np.argmin)):
            for shape in ((9,), (3, 5), (5, 3), (1, 70)):
                for axis in range(len(shape)):
                    yield Case(
                        op, f"{dtype} {list(shape)} axis {axis}",
                        lambda x, op=op, axis=axis: getattr(tg.ops, op)(x, axis=axis),
                        lambda x, oracle=oracle, axis=axis: np.int32(oracle(x, axis=axis)),
                        (numbers(shape, 3, dtype),),
                    )  # fmt: skip
            yield Case(
                op, f"{dtype} special values", lambda x, op=op: getattr(tg.ops, op)(x),
                lambda x, oracle=oracle: np.int32(oracle(x)), (values_of(dtype),),
            )  # fmt: skip
    # Rounded at every step the sum would end at 2048.
    ones = np.ones(3000, np.float16)
    yield Case("sum", "float16 ones", tg.ops.sum, lambda x: np.float16(x.sum(dtype=float)), (ones,))


def contractions() -> Iterator[Case]:
    for dtype in (*FLOATS, *LONG, "int8"):
        for m, k, n in ((1, 5, 1), (3, 4, 5), (17, 33, 18), (40, 70, 50), (1, 300, 40), (64, 1, 3)):
            given = numbers((m, k), 1, dtype), numbers((k, n), 2, dtype)
            options: dict[str, Any] = {}
            if dtype.startswith("f"):
                options = {"ulp": 4, "scale": lambda x, y: np.abs(x) @ np.abs(y), "dtype": dtype}
            yield Case("matmul", f"{dtype} {m}x{k}x{n}", tg.ops.matmul, np.matmul, given, **options)
    for dtype in FLOATS:
        # Whole numbers: exact in any order.
        x, w = (np.round(numbers(s, i, dtype)) for i, s in enumerate(((2, 9, 8, 3), (3, 3, 3, 5))))
        for padding in ("same", "valid"):
            yield Case(
                "conv", f"{dtype} {padding}",
                lambda x, w, padding=padding: tg.ops.conv(x, w, padding=padding),
                lambda x, w, padding=padding: _conv(x, w, padding), (x, w),
            )  # fmt: skip
        yield Case(
            "max_pool", f"{dtype}", lambda x: tg.ops.max_pool(x, 2),
            lambda x: x[:, :8].reshape(2, 4, 2, 4, 2, 3).max((2, 4)), (x,),
        )  # fmt: skip
        yield Case(
            "average_pool", f"{dtype}", lambda x: tg.ops.average_pool(x, 2),
            lambda x: x[:, :8].reshape(2, 4, 2, 4, 2, 3).astype(float).mean((2, 4)).astype(x.dtype),
            (x,),
        )  # fmt: skip


def _conv(x: Array, w: Array, padding: str) -> Array:
    if padding == "same":
        x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(float), w.shape[:2], (1, 2))
    return np.einsum("bijchw,hwcf->bijf", windows, w.astype(float)).astype(x.dtype)


def places() -> Iterator[Case]:
    for dtype in (*FLOATS, *LONG):
        x, at = numbers((5, 7), 1, dtype), np.int32([3, 0, 4, 4])
        yield Case(
            "take", f"{dtype}", lambda x, at: tg.ops.take(x, at, axis=1),
            lambda x, at: np.take(x, at, 1), (x, at),
        )  # fmt: skip
        where, u = np.int32([[3], [0], [3]]), numbers((3, 7), 2, dtype)
        yield Case(
            "scatter_update", f"{dtype}", tg.ops.scatter_update,
            lambda x, at, u: _updated(x, at, u), (x, where, u),
        )  # fmt: skip
        yield Case(
            "slice", f"{dtype}", lambda x: tg.ops.slice(x, (1, 2), (3, 4)),
            lambda x: x[1:4, 2:6], (x,),
        )  # fmt: skip
        yield Case(
            "concatenate", f"{dtype}", lambda x: tg.ops.concatenate([x, x[:, :3]], axis=1),
            lambda x: np.concatenate([x, x[:, :3]], 1), (x,),
        )  # fmt: skip
        yield Case(
            "pad", f"{dtype}", lambda x: tg.ops.pad(x, ((1, 2), (0, 3))),
            lambda x: np.pad(x, ((1, 2), (0, 3))), (x,),
        )  # fmt: skip
        yield Case(
            "flip", f"{dtype}", lambda x: tg.ops.flip(x), lambda x: np.flip(x), (x,)
        )  # fmt: skip
        yield Case(
            "transpose", f"{dtype}", tg.ops.transpose, lambda x: x.T, (x,)
        )  # fmt: skip
        yield Case(
            "scan", f"{dtype}",
            lambda x: tg.ops.scan(lambda c, r: (c + r, c * 2), x[0], x),
            lambda x: _scanned(x), (np.round(x),),
        )  # fmt: skip


def _updated(x: Array, at: Array, u: Array) -> Array:
    result = x.copy()
    for i, row in zip(at[:, 0], u, strict=True):
        result[i] = row
    return result


def _scanned(x: Array) -> list[Array]:
    carry, seen = x[0], []
    for row in x:
        seen.append(carry * 2)
        carry = carry + row
    return [carry, np.stack(seen)]


CASES = [
    *arithmetic(),
    *functions(),
    *choosing(),
    *casts(),
    *folds(),
    *contractions(),
    *places(),
]
