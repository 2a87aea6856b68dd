"""The op table: complex numbers. Their parts are compared in units of the number's magnitude."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tabgrad as tg
from tests.ops.comparing import Array, Case, pairs, random, special_floats

SHAPES = ((5,), (), (3, 4), (0,), (17,))


def complex_random(shape: tuple[int, ...], seed: int = 0) -> Array:
    """complex64 numbers of ordinary size."""
    return (random(shape, seed) + 1j * random(shape, seed + 1)).astype(np.complex64)


def _viewed(x: Array) -> Array:
    # 1j * inf has a NaN beside it.
    found = np.zeros(x.shape[:-1], np.result_type(x, np.complex64))
    found.real, found.imag = x[..., 0], x[..., 1]
    return found


def _row(
    op: str, oracle: Callable[..., Any], *inputs: Array, ulp: float | None = None, **options: Any
) -> Case:
    label = options.pop("label", "") or " ".join(str(x.dtype) for x in inputs)
    kwargs = options.pop("kwargs", {})
    function = getattr(tg.ops, op)
    return Case(
        op,
        f"complex {label}",
        lambda *xs: function(*xs, **kwargs),
        oracle,
        inputs,
        ulp=ulp,
        dtype=options.pop("dtype", "complex64"),
        **options,
    )


def _parts() -> Iterator[Case]:
    z = complex_random((3, 5))
    x, y = random((3, 5), 4), random((5,), 5)
    yield _row("complex", lambda a, b: a + 1j * b, x, y)
    for op in ("real", "imag", "conj"):
        yield _row(op, getattr(np, op), z)
        yield _row(op, getattr(np, op), x)
    yield _row("conjugate", np.conjugate, z)
    yield _row("angle", np.angle, z, ulp=2, dtype="float32")
    yield _row("angle", np.angle, x, ulp=1, dtype="float32")
    yield _row("polar", lambda r, a: r * np.exp(1j * a), np.abs(x), x, ulp=4)
    yield _row("view_as_real", lambda a: np.stack([a.real, a.imag], -1), z)
    yield _row("view_as_complex", _viewed, random((3, 2)), ulp=0)


def _arithmetic() -> Iterator[Case]:
    for shape in SHAPES:
        z, w = complex_random(shape), complex_random(shape, 9)
        label = f"{list(shape)}"
        yield _row("add", np.add, z, w, ulp=1, label=label)
        yield _row("subtract", np.subtract, z, w, ulp=1, label=label, scale=_sizes)
        yield _row("multiply", np.multiply, z, w, ulp=2, label=label)
        yield _row("divide", np.divide, z, w, ulp=4, label=label)
    z, x = complex_random((3, 5)), random((3, 5), 3)
    for op in ("add", "subtract", "multiply", "divide"):
        oracle = getattr(np, op)
        yield _row(op, oracle, z, x, ulp=4, scale=_sizes)
        yield _row(op, oracle, x, z, ulp=4, scale=_sizes)
    for op in ("negative", "sign", "square", "reciprocal"):
        yield _row(op, getattr(np, op), z, ulp=4)
    yield _row("abs", np.abs, z, ulp=2, dtype="float32")
    floats = special_floats()
    real, imag = pairs(floats[:: floats.size // 16])
    edges = real + 1j * imag
    yield _row("abs", np.abs, edges, ulp=2, dtype="float32", label="special")
    for op in ("isnan", "isinf", "isfinite"):
        yield _row(op, getattr(np, op), edges)
    one, other = pairs(np.array([0, 1, 1j, 1 + 1j, -1, np.nan, complex(np.nan, 1)], np.complex64))
    yield _row("equal", np.equal, one, other)
    yield _row("not_equal", np.not_equal, one, other)


def _sizes(a: Array, b: Array) -> Array:
    return np.abs(a) + np.abs(b)


def _structure() -> Iterator[Case]:
    z, w, x = complex_random((3, 5)), complex_random((5, 2), 7), random((3, 5), 8)
    yield _row("sum", lambda a: a.sum(0), z, ulp=4, kwargs={"axis": 0}, scale=_total)
    yield _row("mean", lambda a: a.mean(0), z, ulp=4, kwargs={"axis": 0}, scale=_total)
    yield _row("prod", lambda a: a.prod(0), z, ulp=8, kwargs={"axis": 0})
    yield _row("prod", lambda a: a.prod(), z[:0], ulp=0, label="empty")
    yield _row("matmul", np.matmul, z, w, ulp=8, scale=lambda a, b: np.abs(a) @ np.abs(b))
    yield _row("matmul", np.matmul, x, w, ulp=8, scale=lambda a, b: np.abs(a) @ np.abs(b))
    yield _row("vecdot", np.vecdot, z, z, ulp=8, scale=lambda a, b: np.vecdot(abs(a), abs(b)))
    yield _row("transpose", np.transpose, z)
    yield _row("reshape", lambda a: a.reshape(5, 3), z, kwargs={"newshape": (5, 3)})
    yield Case(
        "concatenate",
        "complex beside real",
        lambda a, b: tg.ops.concatenate([a, b], axis=1),
        lambda a, b: np.concatenate([a, b], axis=1),
        (z, x),
    )
    yield Case(
        "where",
        "complex beside a number",
        lambda a, b: tg.ops.where(b > 0, a, 2.0),
        lambda a, b: np.where(b > 0, a, np.complex64(2)),
        (z, x),
    )


def _total(a: Array) -> Array:
    return np.abs(a).sum(0)


CASES = [*_parts(), *_arithmetic(), *_structure()]
