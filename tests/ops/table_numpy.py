"""The op table: what NumPy has beside Keras: blocks, insertions, indices, interpolation, sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

import tabgrad as tg
from tests.ops.comparing import SIZES, Array, Case, integers, random
from tests.ops.table_complex import complex_random


def same(
    op: str, label: str, call: Callable[..., Any], *inputs: Array, tolerance: float = 0
) -> Case:
    """A call that is written alike for tabgrad and for NumPy, whose dtypes are made ours."""

    def expected(*xs: Array) -> Any:
        return _plain(call(np, *xs), [x.dtype for x in xs])

    if not tolerance:
        return Case(op, label, lambda *xs: call(tg.ops, *xs), expected, inputs)
    # Differences of inputs: as accurate as the largest of those, not as the result.
    return Case(
        op,
        label,
        lambda *xs: call(tg.ops, *xs),
        expected,
        inputs,
        tolerance,
        lambda *xs: max(float(np.nanmax(np.abs(x), initial=1.0)) for x in xs),
        "complex64" if inputs[0].dtype.kind == "c" else "float32",
    )


def _plain(result: Any, dtypes: list[Any]) -> Any:
    if isinstance(result, (list, tuple)):
        return type(result)(_plain(item, dtypes) for item in result)
    found = np.asarray(result)
    if found.dtype == np.int64 and np.int64 not in dtypes:
        return found.astype(np.int32)
    if found.dtype == np.float64 and np.float64 not in dtypes:
        return found.astype(np.float32)
    return found.astype(np.complex64) if found.dtype == np.complex128 else found


def assembling() -> Iterator[Case]:
    scalar, line, table, cube = (integers(shape, 1) for shape in ((), (5,), (3, 4), (2, 3, 4)))
    z = complex_random((3, 4))
    for op in ("atleast_1d", "atleast_2d", "atleast_3d"):
        for x in (scalar, line, table, cube, z, integers((0,), 1)):
            yield same(op, f"{x.dtype} {list(x.shape)}", lambda m, x, op=op: getattr(m, op)(x), x)
        yield same(op, "several", lambda m, *xs, op=op: tuple(getattr(m, op)(*xs)), scalar, line)
    yield same("column_stack", "vectors", lambda m, x: m.column_stack([x, x + 1]), line)
    yield same("column_stack", "mixed", lambda m, x, y: m.column_stack((x, y)), line[:3], table)
    yield same("column_stack", "complex", lambda m, x: m.column_stack((x, x)), z)
    yield same("block", "matrix", lambda m, x, y: m.block([[x, x], [y, y]]), table, table[:1])
    yield same("block", "ranks", lambda m, x, y: m.block([[x], [y]]), table, table[0])
    yield same("block", "line", lambda m, x, y: m.block([x, y]), line, scalar)
    yield same("block", "no list", lambda m, x: m.block(x), cube)
    yield same("block", "deep", lambda m, x: m.block([[[x, x]], [[x, x]]]), cube)
    picks: dict[str, Any] = {
        "one": 1, "negative": -1, "several": [0, 2, 2], "none": [], "slice": slice(0, 3, 2),
        "bools": [True, False, True],
    }  # fmt: skip
    for label, at in picks.items():
        yield same("delete", f"{label} axis 0", lambda m, x, at=at: m.delete(x, at, 0), table)
    yield same("delete", "flat", lambda m, x: m.delete(x, [3, -2]), table)
    yield same("delete", "axis -1", lambda m, x: m.delete(x, 1, -1), cube)
    yield same("delete", "complex", lambda m, x: m.delete(x, 1, 1), z)
    for label, at in list(picks.items())[:3]:
        yield same("insert", f"{label} a number", lambda m, x, at=at: m.insert(x, at, 7, 1), table)
    yield same("insert", "flat", lambda m, x: m.insert(x, [0, 12, 3], [7, 8, 9]), table)
    yield same("insert", "behind", lambda m, x: m.insert(x, 5, 7), line)
    yield same("insert", "row", lambda m, x: m.insert(x, 1, x[0] * 2, 0), table)
    yield same("insert", "rows", lambda m, x: m.insert(x, 1, x[:2] * 2, 0), table)
    yield same("insert", "places", lambda m, x: m.insert(x, [0, 3], x[:2] * 2, 0), table)
    yield same("insert", "columns", lambda m, x: m.insert(x, [1, 1], x[:, :2], 1), table)
    yield same("insert", "many at one", lambda m, x: m.insert(x, 2, [7, 8, 9]), line)
    yield same("insert", "complex", lambda m, x: m.insert(x, 1, 1j, 0), z)
    yield same("put_along_axis", "rows", _put(1), table, np.array([[3], [0], [-1]], np.int32))
    yield same("put_along_axis", "columns", _put(0), table, np.array([[2, 0, 1, 1]], np.int32))
    yield same("put_along_axis", "flat", _put(None), table, np.array([[7, 2]], np.int32))


def _put(axis: int | None) -> Callable[..., Any]:
    def put(module: Any, x: Any, places: Any) -> Any:
        if module is tg.ops:
            return tg.ops.put_along_axis(x, places, 9, axis)
        x = x.copy()
        np.put_along_axis(x, places.ravel() if axis is None else places, 9, axis)
        return x

    return put


def _triangle(op: str, *sizes: Any) -> Callable[..., Any]:
    return lambda m: tuple(getattr(m, op)(*sizes))


def places() -> Iterator[Case]:
    triangles = [(3, 0, None), (3, -1, 5), (4, 2, 2), (0, 0, None), (1, 0, 3)]
    for n, k, m in (*triangles, *((1, size, size) for size in SIZES if size)):
        yield same("tril_indices", f"{n} {k} {m}", _triangle("tril_indices", n, k, m))
    for n, k, m in (*triangles, *((1, 0, size) for size in SIZES if size not in (0, 3))):
        yield same("triu_indices", f"{n} {k} {m}", _triangle("triu_indices", n, k, m))
    for size in SIZES:
        yield same("diag_indices", f"{size}", lambda m, n=size: tuple(m.diag_indices(n)))
    yield same("diag_indices", "2 in 3", lambda m: tuple(m.diag_indices(2, 3)))
    for shape in ((2, 3), (2, 1, 3), (0, 2), *((size,) for size in SIZES)):
        yield same("indices", f"{shape}", lambda m, s=shape: m.indices(s))
        yield same("indices", f"{shape} sparse",
                   lambda m, s=shape: tuple(m.indices(s, sparse=True)))  # fmt: skip
    for dtype in ("uint8", "float16", "float32", "float64"):
        yield Case("indices", dtype, lambda d=dtype: tg.indices((2, 3), d),
                   lambda d=dtype: np.indices((2, 3), d), ())  # fmt: skip
    yield same("ix_", "integers", lambda m, x, y: tuple(m.ix_(x, y)), integers((3,), 1),
               integers((2,), 2))  # fmt: skip
    yield same("ix_", "bools", lambda m, x, y: tuple(m.ix_(x, y)),
               np.array([True, False, True]), integers((2,), 2))  # fmt: skip


def sampled() -> Iterator[Case]:
    xp = np.array([-1.0, 0.0, 0.5, 2.0], np.float32)
    fp = np.array([3.0, -1.0, 4.0, 1.5], np.float32)
    x = np.concatenate([np.linspace(-2, 3, 23, dtype=np.float32), xp, np.float32([np.nan])])
    yield same("interp", "inside and out", lambda m, *xs: m.interp(*xs), x, xp, fp, tolerance=8)
    yield same("interp", "left and right", lambda m, *xs: m.interp(*xs, left=-7.0, right=9.0), x,
               xp, fp, tolerance=8)  # fmt: skip
    yield same("interp", "one point", lambda m, *xs: m.interp(*xs), x[:-1], xp[:1], fp[:1])
    yield same("interp", "matrix", lambda m, *xs: m.interp(*xs), x[:6].reshape(2, 3), xp, fp,
               tolerance=8)  # fmt: skip
    turn = np.array([350, -10, 370, 90, 5], np.float32)
    at = np.array([300, 5, 190, 10], np.float32)
    yield same("interp", "period", lambda m, *xs: m.interp(*xs, period=360), turn, at,
               fp, tolerance=32)  # fmt: skip
    line, table = random((7,), 1), random((5, 4), 2)
    for order in (1, 2):
        yield same("gradient", f"line order {order}",
                   lambda m, x, o=order: m.gradient(x, edge_order=o), line,
                   tolerance=16)  # fmt: skip
        yield same("gradient", f"axis 0 order {order}",
                   lambda m, x, o=order: m.gradient(x, 0.5, axis=0, edge_order=o), table,
                   tolerance=16)  # fmt: skip
        yield same("gradient", f"coordinates order {order}",
                   lambda m, x, y, o=order: m.gradient(x, y, edge_order=o), line,
                   np.array([0, 1, 1.5, 3, 3.25, 5, 8], np.float32), tolerance=64)  # fmt: skip
    yield same("gradient", "both axes", lambda m, x: m.stack(list(m.gradient(x, 2.0, 0.25))), table,
               tolerance=16)  # fmt: skip
    yield same("gradient", "two points", lambda m, x: m.gradient(x), line[:2])
    yield same("gradient", "complex", lambda m, x: m.gradient(x, axis=1), complex_random((2, 5)),
               tolerance=16)  # fmt: skip
    angles = np.array([0, 1, 4, -3, 3, -3.1, 9.5, 9.6, -20], np.float32)
    yield same("unwrap", "angles", lambda m, x: m.unwrap(x), angles, tolerance=32)
    yield same("unwrap", "whole", lambda m, x: m.unwrap(x, period=4.0),
               np.array([0, 2, 0, -2, 4, 9, 1], np.float32))  # fmt: skip
    yield same("unwrap", "jumps", lambda m, x: m.unwrap(x, 5.0), angles, tolerance=32)
    yield same("unwrap", "axis", lambda m, x: m.unwrap(x, axis=0), 5 * table, tolerance=32)
    a, v = integers((6,), 1), integers((3,), 2)
    for mode in ("full", "same", "valid"):
        yield same("convolve", f"{mode}", lambda m, x, y, mode=mode: m.convolve(x, y, mode), a, v)
        yield same("convolve", f"{mode} turned",
                   lambda m, x, y, mode=mode: m.convolve(x, y, mode), v, a)  # fmt: skip
    yield same("convolve", "floats", lambda m, x, y: m.convolve(x, y), random((40,), 1),
               random((9,), 2), tolerance=64)  # fmt: skip
    yield same("convolve", "complex", lambda m, x, y: m.convolve(x, y), complex_random((5,)),
               complex_random((3,)), tolerance=64)  # fmt: skip
    for coefficients in ([2.0], [1.0, -2.0, 0.5], []):
        p = np.array(coefficients, np.float32)
        yield same("polyval", f"{coefficients}", lambda m, p, x: m.polyval(p, x), p, table,
                   tolerance=16)  # fmt: skip
    yield same("polyval", "integers", lambda m, p, x: m.polyval(p, x), v, a)
    for label, call in {
        "rows": lambda m, x: m.cov(x),
        "columns": lambda m, x: m.cov(x, rowvar=False),
        "bias": lambda m, x: m.cov(x, bias=True),
        "ddof": lambda m, x: m.cov(x, ddof=2),
        "more": lambda m, x: m.cov(x, x * 2 + 1),
        "one": lambda m, x: m.cov(x[0]),
    }.items():
        yield same("cov", label, call, table, tolerance=64)
    yield same("cov", "complex", lambda m, x: m.cov(x), complex_random((3, 6)), tolerance=64)


def sets() -> Iterator[Case]:
    a, c = integers((3, 4), 1, low=-4, high=5), integers((7,), 2, low=-4, high=5)
    for op in ("union1d", "intersect1d", "setdiff1d"):
        yield same(op, "integers", lambda m, x, y, op=op: getattr(m, op)(x, y), a, c)
        yield same(op, "floats", lambda m, x, y, op=op: getattr(m, op)(x, y),
                   a.astype(np.float32) / 2, c.astype(np.float32) / 2)  # fmt: skip
        yield same(op, "nothing", lambda m, x, y, op=op: getattr(m, op)(x, y), a[:0], c[:0])
    table = random((3, 5))
    yield replace(same("array_equal", "a view", lambda m, x, y: m.array_equal(x, y), table, table),
                  view="flipped")  # fmt: skip
    nan = np.array([1, np.nan, -0.0], np.float32)
    for label, one, other in (
        ("equal", nan[:1], nan[:1]), ("shapes", nan, nan[:2]), ("NaN", nan, nan),
        ("zeros", nan[2:], -nan[2:]), ("dtypes", nan[:1], np.array([1], np.int32)),
    ):  # fmt: skip
        yield same("array_equal", label, lambda m, x, y: m.array_equal(x, y), one, other)
    yield same("array_equal", "equal NaN", lambda m, x, y: m.array_equal(x, y, equal_nan=True),
               nan, nan)  # fmt: skip


def further() -> Iterator[Case]:
    """What NumPy's functions take that Keras's of the same name do not."""
    line, table, z = integers((5,), 1), integers((3, 4), 2), complex_random((3, 4))
    for mode in ("wrap", "reflect", "symmetric"):
        for widths in ((3, 2), (17, 4), (0, 23)):
            yield same("pad", f"{mode} {widths}",
                       lambda m, x, w=widths, mode=mode: m.pad(x, w, mode), line)  # fmt: skip
        yield same("pad", f"{mode} matrix",
                   lambda m, x, mode=mode: m.pad(x, ((7, 1), (0, 9)), mode), table)  # fmt: skip
        yield same("pad", f"{mode} one", lambda m, x, mode=mode: m.pad(x, 3, mode), line[:1])
    values: dict[str, Any] = {
        "pair": (3, 4), "one": (3,), "pairs": ((1, 2), (3, 4)), "one pair": ((1, 2),),
        "one each": ((1,), (2,)),
    }  # fmt: skip
    for label, each in values.items():
        yield same("pad", f"constants {label}",
                   lambda m, x, v=each: m.pad(x, ((1, 2), (0, 3)), constant_values=v),
                   table)  # fmt: skip
    for op in ("var", "std"):
        for label, options in (("", {}), ("axis", {"axis": 1}), ("ddof", {"ddof": 1})):
            yield Case(
                op,
                f"complex {label}",
                lambda x, op=op, o=options: getattr(tg.ops, op)(x, **o),
                lambda x, op=op, o=options: getattr(np, op)(x, **o),
                (z,),
                8,
            )
            yield same(op, f"as NumPy's {label}",
                       lambda m, x, op=op, o=options: getattr(m, op)(x, **o),
                       random((3, 4), 5), tolerance=8)  # fmt: skip
    yield Case("angle", "degrees", lambda x: tg.ops.angle(x, deg=True),
               lambda x: np.angle(x, deg=True), (z,), 4)  # fmt: skip


def cases() -> Iterator[Case]:
    yield from assembling()
    yield from places()
    yield from sampled()
    yield from sets()
    yield from further()


CASES = list(cases())
