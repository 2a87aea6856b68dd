"""Sorted rows are those of NumPy's stable sort, bit for bit, however long they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tabgrad.dtypes import as_dtype, int32
from tabgrad.ir import build as b
from tabgrad.ir.graph import make
from tabgrad.targets.wasm import radix
from tests.targets.wasm.computing import VARIANTS, Given, compute

Array = np.ndarray[Any, Any]

DTYPES = (
    "bool", "int8", "uint8", "int16", "uint16", "float16",
    "int32", "uint32", "float32", "int64", "uint64", "float64",
)  # fmt: skip
FEWEST = {dtype: radix.FEWEST * np.dtype(dtype).itemsize for dtype in DTYPES}


def any_bits(rng: np.random.Generator, count: int, dtype: str) -> Array:
    """Keys of all magnitudes: for floats any bits but those of signaling NaNs, which a copy of a
    float16 may make quiet."""
    if dtype == "bool":
        return rng.integers(0, 2, count).astype(bool)
    x = np.frombuffer(rng.bytes(count * np.dtype(dtype).itemsize), dtype).copy()
    if x.dtype.kind == "f":
        bits = x.view(f"u{x.itemsize}")
        bits[np.isnan(x)] |= bits.dtype.type(1 << (np.finfo(x.dtype).nmant - 1))
    return x


def few(rng: np.random.Generator, count: int, dtype: str) -> Array:
    """Keys of which many are equal; for floats zeros of both signs, NaNs and infinities, too."""
    if dtype[0] in "bu":
        return rng.integers(0, 2 if dtype == "bool" else 5, count).astype(dtype)
    x = rng.integers(-2, 3, count).astype(dtype)
    if dtype[0] == "f":
        x[rng.random(count) < 0.5] *= -1
        special = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0], dtype)
        put = rng.random(count) < 0.3
        x[put] = special[rng.integers(0, 6, int(put.sum()))]
    return x


def all_equal(rng: np.random.Generator, count: int, dtype: str) -> Array:
    return np.full(count, 1, dtype)


def in_order(rng: np.random.Generator, count: int, dtype: str) -> Array:
    x = any_bits(rng, count, dtype)
    return x[np.argsort(x, kind="stable")]


def backwards(rng: np.random.Generator, count: int, dtype: str) -> Array:
    return in_order(rng, count, dtype)[::-1].copy()


def of_one_sign(rng: np.random.Generator, count: int, dtype: str) -> Array:
    """Small whole numbers, whose upper digits are all equal in integers."""
    return rng.integers(0, 2 if dtype == "bool" else 100, count).astype(dtype)


KINDS: tuple[Callable[[np.random.Generator, int, str], Array], ...] = (
    any_bits, few, all_equal, in_order, backwards, of_one_sign,
)  # fmt: skip


def check(rows: Array, variant: str = "fma", payloads: tuple[str, ...] = ("int32",)) -> None:
    """Keys, with payloads that say where each came from, and keys alone."""
    given = Given()
    key = given(rows)
    line = len(rows.shape) - 1
    places = b.iota(rows.shape, line, int32)
    node = make("sort", key, *(b.cast(places, as_dtype(dtype)) for dtype in payloads))
    outs = [b.proj(node, i) for i in range(1 + len(payloads))]
    alone, keys, *moved = compute([make("sort", key), *outs], given.arrays, variant)
    expected = np.argsort(rows, -1, kind="stable")
    in_its_order = np.take_along_axis(rows, expected, -1).tobytes()
    assert keys.tobytes() == in_its_order
    assert alone.tobytes() == in_its_order
    for dtype, got in zip(payloads, moved, strict=True):
        np.testing.assert_array_equal(got, expected.astype(dtype))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_around_the_length_from_which_digits_are_sorted(dtype: str, kind: Any) -> None:
    rng = np.random.default_rng(0)
    for n in (FEWEST[dtype] - 1, FEWEST[dtype], FEWEST[dtype] + 1):
        check(kind(rng, 3 * n, dtype).reshape(3, n))


@pytest.mark.parametrize("n", [0, 1, 2, 8, 9, 255, 256, 257, radix.LONG[0] - 1, radix.LONG[0]])
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_length(dtype: str, n: int) -> None:
    rng = np.random.default_rng(n)
    check(any_bits(rng, 2 * n, dtype).reshape(2, n))
    check(few(rng, n, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_long_rows(dtype: str) -> None:
    rng = np.random.default_rng(1)
    check(any_bits(rng, 2 * 65537, dtype).reshape(2, 65537))
    check(few(rng, 65537, dtype))


@pytest.mark.parametrize("dtype", ["float32", "int64", "float64"])
def test_rows_too_long_for_long_digits(dtype: str) -> None:
    check(any_bits(np.random.default_rng(2), radix.LONG[-1] + 1, dtype))


@pytest.mark.parametrize("variant", VARIANTS)
def test_payloads_of_every_size(variant: str) -> None:
    rng = np.random.default_rng(3)
    for n in (120, 200):
        check(few(rng, 5 * n, "float32").reshape(5, n), variant, ("uint8", "int64", "float16"))


def test_keys_are_only_moved_where_nobody_asks_for_more() -> None:
    """A kernel that sorts keys alone has one buffer, and as much scratch."""
    from tests.targets.wasm.computing import machine

    given = Given()
    compute([make("sort", given(np.zeros(1000, np.float32)))], given.arrays)
    (kernel,) = [k for k in machine("fma")[1].kernels() if k.kind == "sort"]
    assert len(kernel.stores) == len(kernel.scratch) == 1
