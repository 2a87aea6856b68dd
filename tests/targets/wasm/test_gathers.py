"""Gathers, scatters and windows at run time, on wasmtime against NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tabgrad.dtypes import float32, int32
from tabgrad.ir import build as b
from tabgrad.ir.graph import make
from tests.targets.wasm.arrays import whole_numbers
from tests.targets.wasm.computing import Given, run


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "bool"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gathers_clamp_indices(dtype, axis):
    given, nodes, expected = Given(), [], []
    x = whole_numbers(5, 6, 7)
    x = x > 0 if dtype == "bool" else x.astype(dtype)
    xs = given(x)
    for shape in ((), (1,), (9,), (2, 5), (0,)):
        idx = np.random.default_rng(1).integers(-4, 12, shape).astype(np.int32)
        if idx.size > 1:
            idx.flat[:2] = np.iinfo(np.int32).min, np.iinfo(np.int32).max
        nodes.append(make("gather", xs, given(idx), axis=axis))
        expected.append(np.take(x, np.clip(idx, 0, x.shape[axis] - 1), axis))
    run("fma", given, nodes, expected)


def test_gathers_in_gathers_and_in_arithmetic(variant):
    given = Given()
    table, order = whole_numbers(11, 9), np.random.default_rng(0).permutation(11).astype(np.int32)
    idx = np.random.default_rng(1).integers(0, 11, (4, 3)).astype(np.int32)
    ts, os, ks = given(table), given(order), given(idx)
    inner = make("gather", os, ks, axis=0)
    rows = make("gather", b.add(ts, ts), inner, axis=0)
    run(variant, given, [b.mul(rows, rows)], [(2 * table[order[idx]]) ** 2])


def scattered(x, idx, u, axis, op):
    """Updates one after the other."""
    result = np.moveaxis(x.copy(), axis, 0)
    front = range(axis, axis + idx.ndim)
    parts = np.moveaxis(u, front, range(idx.ndim)).reshape(idx.size, *result.shape[1:])
    for place, part in zip(idx.reshape(-1), parts, strict=True):
        if 0 <= place < x.shape[axis]:
            old = result[place]
            new = {"set": part, "add": old + part, "max": np.maximum(old, part),
                   "min": np.minimum(old, part)}[op]  # fmt: skip
            result[place] = new.astype(x.dtype)
    return np.moveaxis(result, 0, axis)


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "int16"])
@pytest.mark.parametrize("op", ["set", "add", "max", "min"])
def test_scatters_with_repeats_and_out_of_range(op, dtype):
    given, nodes, expected = Given(), [], []
    x = whole_numbers(5, 6, 7).astype(dtype)
    xs = given(x)
    for axis, shape in itertools.product(range(3), ((), (12,), (3, 4), (0,))):
        idx = np.random.default_rng(axis).integers(-2, 8, shape).astype(np.int32)
        if idx.size > 1:
            idx.flat[:2] = np.iinfo(np.int32).min, np.iinfo(np.int32).max
        size = (*x.shape[:axis], *shape, *x.shape[axis + 1 :])
        u = whole_numbers(*size, seed=3).astype(dtype)
        nodes.append(make("scatter", xs, given(idx), given(u), axis=axis, op=op))
        expected.append(scattered(x, idx, u, axis, op))
    run("fma", given, nodes, expected)


def test_scatters_of_bools_and_of_computed_values(variant):
    given = Given()
    x = np.zeros((9, 5), bool)
    idx = np.int32([3, -1, 8, 3, 9])
    u = whole_numbers(5, 5) > 0
    nodes = [make("scatter", given(x), given(idx), given(u), axis=0, op="set")]
    expected = [scattered(x, idx, u, 0, "set")]
    y, v = whole_numbers(4, 7), whole_numbers(4, 5)
    doubled = b.add(given(v), given(v))
    nodes.append(make("scatter", make("neg", given(y)), given(idx), doubled, axis=1, op="add"))
    expected.append(scattered(-y, idx, v + v, 1, "add"))
    run(variant, given, nodes, expected)


def test_two_scatters_that_differ_only_in_what_they_read():
    """Equal texts of indices do not make them one function: they stand for other arguments."""
    given = Given()
    p, q = np.int32([0, 1, 2, 3]), np.int32([3, 2, 1, 0])
    zs, ps, qs = given(np.zeros(4, np.int32)), given(p), given(q)
    nodes = [
        make("scatter", zs, qs, b.sub(x, y), axis=0, op="add") for x, y in ((ps, qs), (qs, ps))
    ]
    run("fma", given, nodes, [(p - q)[q], (q - p)[q]])


def test_windows_at_run_time_are_moved_inside():
    given, nodes, expected = Given(), [], []
    x, u = whole_numbers(6, 9), whole_numbers(3, 4, seed=1)
    xs, us = given(x), given(u)
    for start in ((0, 0), (2, 5), (-3, 2), (9, 99), (1, -(2**31)), (2**31 - 1, 3)):
        at = [given(np.int32(s)) for s in start]
        row, column = np.clip(start[0], 0, 3), np.clip(start[1], 0, 5)
        nodes.append(make("dynamic_slice", xs, *at, sizes=(3, 4)))
        expected.append(x[row : row + 3, column : column + 4])
        nodes.append(make("dynamic_update_slice", xs, us, *at))
        new = x.copy()
        new[row : row + 3, column : column + 4] = u
        expected.append(new)
    run("fma", given, nodes, expected)


def test_indices_computed_on_the_way(variant):
    """argmax, then a gather with it, then arithmetic: indices are values like others."""
    given = Given()
    x, table = whole_numbers(6, 9), whole_numbers(9, 5)
    best = make("argmax", given(x), axis=1)
    shifted = b.sub(best, b.full((6,), 2, int32))
    rows = make("gather", given(table), shifted, axis=0)
    found = table[np.clip(np.argmax(x, 1) - 2, 0, 8)]
    run(
        variant, given, [rows, make("lt", rows, b.full(rows.shape, 0, float32))], [found, found < 0]
    )
