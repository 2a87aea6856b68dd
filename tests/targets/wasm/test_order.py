"""Sorted rows are those of NumPy's stable sort, bit for bit, however long they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tabgrad.dtypes import as_dtype, int32
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ir.kernel import Kernel
from tabgrad.targets.wasm import radix, selection
from tests.targets.wasm.computing import VARIANTS, Given, compute, machine

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
    given = Given()
    compute([make("sort", given(np.zeros(1000, np.float32)))], given.arrays)
    kernel = sort_kernel()
    assert len(kernel.stores) == len(kernel.scratch) == 1


def sort_kernel() -> Kernel:
    (kernel,) = [k for k in machine("fma")[1].kernels() if k.kind == "sort"]
    return kernel


def cut(x: Node, start: int, stop: int) -> Node:
    rank = len(x.shape)
    begin, end = (*(0,) * (rank - 1), start), (*x.shape[:-1], stop)
    return make("slice", x, start=begin, stop=end, step=(1,) * rank)


def backward(x: Node) -> Node:
    return b.make("flip", x, axes=(len(x.shape) - 1,))


def check_last(rows: Array, k: int) -> None:
    """The last k, as they are and backwards."""
    given = Given()
    key, n = given(rows), rows.shape[-1]
    node = make("sort", key, b.iota(rows.shape, len(rows.shape) - 1, int32))
    keys, places = b.proj(node, 0), b.proj(node, 1)
    outs = [cut(keys, n - k, n), cut(backward(places), 0, k)]
    last, turned = compute(outs, given.arrays)
    assert sort_kernel().last == (k if k < n else 0)
    expected = np.argsort(rows, -1, kind="stable")[..., n - k :]
    assert last.tobytes() == np.take_along_axis(rows, expected, -1).tobytes()
    np.testing.assert_array_equal(turned, expected[..., ::-1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_last_few(dtype: str, kind: Any) -> None:
    rng = np.random.default_rng(4)
    for k in (1, 5, selection.MOST):
        check_last(kind(rng, 3 * 100, dtype).reshape(3, 100), k)


@pytest.mark.parametrize("n", [2, 3, 8, 31, 32, 33, 1000])
def test_the_last_few_of_any_number(n: int) -> None:
    rng = np.random.default_rng(n)
    wanted = (1, 2, 3, 7, 8, 9, selection.MOST, selection.MOST + 1, n // 2, n // 2 + 1, n - 1, n)
    for k in {k for k in wanted if k <= n}:
        check_last(few(rng, 2 * n, "float32").reshape(2, n), k)
        check_last(any_bits(rng, n, "int32"), k)


def test_the_last_of_keys_alone() -> None:
    rows = any_bits(np.random.default_rng(5), 3000, "float32").reshape(3, 1000)
    given = Given()
    (last,) = compute([cut(make("sort", given(rows)), 990, 1000)], given.arrays)
    assert sort_kernel().last == 10
    order = np.argsort(rows, -1, kind="stable")[:, 990:]
    assert last.tobytes() == np.take_along_axis(rows, order, -1).tobytes()


READERS: dict[str, tuple[Callable[[Node], list[Node]], int]] = {
    "slices": (lambda x: [cut(x, 90, 92), cut(x, 85, 100)], 15),
    "slices of what is turned": (lambda x: [cut(backward(x), 3, 9), cut(x, 95, 99)], 9),
    "turned twice": (lambda x: [cut(backward(b.neg(backward(cut(x, 93, 100)))), 0, 7)], 7),
    "the whole": (lambda x: [cut(x, 90, 100), x], 0),
    "the whole, turned": (lambda x: [cut(x, 90, 100), backward(x)], 0),
    "a function of the whole": (lambda x: [cut(x, 90, 100), b.neg(x)], 0),
    "the first": (lambda x: [cut(x, 0, 10)], 0),
    "the first, turned": (lambda x: [cut(backward(x), 90, 100)], 0),
}


@pytest.mark.parametrize("name", READERS)
def test_what_reads_a_sort_has_all_that_it_reads(name: str) -> None:
    read, last = READERS[name]
    rows = any_bits(np.random.default_rng(6), 200, "int32").reshape(2, 100)
    given, sorted_rows = Given(), Given()
    got = compute(read(make("sort", given(rows))), given.arrays)
    assert sort_kernel().last == last
    wanted = compute(read(sorted_rows(np.sort(rows, -1))), sorted_rows.arrays)
    for mine, theirs in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(mine, theirs)
