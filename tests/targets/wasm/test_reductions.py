"""Sums, products and extrema, and the index of an extremum, on wasmtime against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tabgrad.dtypes import float32
from tabgrad.ir import build as b
from tabgrad.ir.graph import make
from tests.targets.wasm.arrays import INTEGERS, any_integers, normal, ties_and_nans, whole_numbers
from tests.targets.wasm.computing import Given, compute, machine, run, subsets

SHAPES = [
    (1,), (3,), (4,), (5,), (17,), (1030,), (1, 5), (5, 1), (3, 4), (4, 17), (17, 5), (3, 1030),
    (1030, 3), (17, 1030), (1030, 17), (3, 4, 5), (1, 4, 17), (5, 17, 4), (17, 1, 3), (4, 1030, 3),
    (3, 4, 5, 17), (5, 1, 17, 3),
]  # fmt: skip
EMPTY = [(0,), (0, 5), (5, 0), (3, 0, 4), (0, 0)]


@pytest.mark.parametrize("shape", SHAPES + EMPTY, ids=str)
def test_sums_and_extrema_over_every_subset_of_axes(variant, shape):
    given = Given()
    x = whole_numbers(*shape)
    signs = np.where(x > 0, 1, -1).astype(np.float32)
    xs, ss = given(x), given(signs)
    nodes, expected, names = [], [], []
    for axes in subsets(len(shape)):
        for name, source, oracle in (
            ("reduce_sum", xs, np.sum(x, axes, dtype=np.float64)),
            ("reduce_prod", ss, np.prod(signs, axes)),
            ("reduce_max", xs, np.max(x, axes, initial=-np.inf)),
            ("reduce_min", xs, np.min(x, axes, initial=np.inf)),
        )[: 4 if all(shape[d] for d in axes) else 2]:  # nothing has no extremum
            nodes.append(make(name, source, axes=axes))
            expected.append(np.asarray(oracle, np.float32))
            names.append((name, axes))
    run(variant, given, nodes, expected, names)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_reductions_wrap_in_their_dtype(dtype):
    for shape in ((1030,), (5, 17), (17, 5), (3, 4, 5), (0, 3)):
        given = Given()
        x = any_integers(dtype, *shape)
        xs = given(x)
        info = np.iinfo(dtype)
        nodes, expected = [], []
        for axes in subsets(len(shape)):
            for name, oracle in (
                ("reduce_sum", np.sum(x, axes, dtype=dtype)),
                ("reduce_prod", np.prod(x, axes, dtype=dtype)),
                ("reduce_max", np.max(x, axes, initial=info.min)),
                ("reduce_min", np.min(x, axes, initial=info.max)),
            )[: 4 if all(shape[d] for d in axes) else 2]:
                nodes.append(make(name, xs, axes=axes))
                expected.append(np.asarray(oracle, dtype))
        run("fma", given, nodes, expected)


@pytest.mark.parametrize("shape", [(1,), (17,), (1030,), (5, 17), (17, 5), (3, 4, 5), (0, 3)],
                         ids=str)  # fmt: skip
@pytest.mark.parametrize("density", [0.0, 0.05, 0.95, 1.0])
def test_any_and_all(shape, density):
    given = Given()
    x = np.random.default_rng(0).random(shape) < density
    xs = given(x)
    nodes, expected = [], []
    for axes in subsets(len(shape)):
        nodes += [make("reduce_max", xs, axes=axes), make("reduce_min", xs, axes=axes)]
        expected += [np.any(x, axes), np.all(x, axes)]
    run("fma", given, nodes, expected)


def test_nan_wins_in_extrema_wherever_it_is():
    given, nodes, expected = Given(), [], []
    for n in (1, 3, 4, 5, 17, 70):
        for place in {0, 1, n // 2, n - 1} & set(range(n)):
            x = normal(3, n)
            x[1, place] = np.nan
            x[2, :] = -np.inf
            for array, axis in ((x, 1), (x.T.copy(), 0)):
                xs = given(array)
                for name, oracle in (("reduce_max", np.max), ("reduce_min", np.min)):
                    nodes.append(make(name, xs, axes=(axis,)))
                    expected.append(oracle(array, axis))
    run("fma", given, nodes, expected)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_extrema_of_long_rows_meet_nan_and_infinities(variant, dtype):
    """Long rows look for NaN by a sum, and once more where that is NaN."""
    random = np.random.default_rng(4)
    x = random.standard_normal((40, 150)).astype(dtype)
    for row in range(1, 30):
        for value in random.choice([np.nan, np.inf, -np.inf], random.integers(1, 4)):
            x[row, random.integers(0, 150)] = value
    x[30:34] = -np.inf
    x[34, :75], x[34, 75:] = np.inf, -np.inf
    x[35, 149] = np.nan
    x[36], x[37] = np.finfo(dtype).max, np.finfo(dtype).min
    given, nodes, expected = Given(), [], []
    for array, axes in ((x, (1,)), (x.T.copy(), (0,)), (x[30:35], (0, 1)), (x, (0, 1))):
        xs = given(array)
        for name, oracle in (("reduce_max", np.max), ("reduce_min", np.min)):
            nodes.append(make(name, xs, axes=axes))
            expected.append(oracle(array, axes))
    run(variant, given, nodes, expected)


def test_long_sums_are_accurate(variant):
    """Sums of blocks: the error stays far below that of adding one by one."""
    given, nodes, expected, sizes = Given(), [], [], []
    numbers = [normal(1 << 20), np.full(1 << 20, 0.1, np.float32)]
    numbers += [normal(1 << 10, 300) + 100, np.abs(normal(5000, 70))]
    for x in numbers:
        nodes.append(make("reduce_sum", given(x), axes=(0,)))
        expected.append(np.sum(x, 0, dtype=np.float64))
        sizes.append(np.sum(np.abs(x), 0, dtype=np.float64))
    unit = np.finfo(np.float32).eps
    got = compute(nodes, given.arrays, variant)
    for mine, true, size, most in zip(got, expected, sizes, (160, 160, 4, 4), strict=True):
        assert (np.abs(mine - true) <= most * unit * size).all()


@pytest.mark.parametrize("n", [3, 17, 130, 1030, 5000])
def test_a_row_is_the_same_in_any_batch(variant, n):
    """The order of a sum depends on what is added, not on how many sums there are."""
    x = np.exp(normal(40, n, seed=n))
    results: dict[Any, list[Any]] = {}
    for rows in (1, 2, 5, 33, 40):
        given = Given()
        xs = given(x[:rows])
        square = b.mul(xs, xs)
        nodes = [
            make("reduce_sum", xs, axes=(1,)),
            make("reduce_sum", square, axes=(1,)),
            make("reduce_sum", b.reshape(xs, (rows, n, 1)), axes=(1, 2)),
        ]
        if rows > 1:  # a single column lies in memory like a row, and is added like one
            nodes.append(make("reduce_sum", given(x[:rows].T.copy()), axes=(0,)))
        for i, got in enumerate(compute(nodes, given.arrays, variant)):
            results.setdefault(i, []).append(got)
    for found in results.values():
        for got in found:
            np.testing.assert_array_equal(got, found[-1][: len(got)])


def test_what_surrounds_a_sum_is_in_its_kernel(variant):
    for shape, axes in (((5, 1030), (1,)), ((1030, 5), (0,)), ((6, 7, 9), (0, 2)), ((33,), (0,))):
        given = Given()
        x = normal(*shape)
        xs = given(x)
        total = make("reduce_sum", b.mul(make("abs", xs), b.full(shape, 3, float32)), axes=axes)
        (got,) = compute([make("sqrt", b.add(total, b.full(total.shape, 1, float32)))],
                         given.arrays, variant)  # fmt: skip
        assert len(machine(variant)[1].kernels()) == 1
        true = np.sqrt(np.sum(np.abs(x, dtype=np.float64) * 3, axes) + 1)
        np.testing.assert_allclose(got, true, rtol=3e-6)


@pytest.mark.parametrize("shape", [(1,), (5,), (17,), (1030,), (5, 17), (17, 5), (1, 9), (3, 4, 5),
                                   (4, 130, 3)], ids=str)  # fmt: skip
def test_argmax_takes_the_first_of_ties_and_the_first_nan(variant, shape):
    given, nodes, expected = Given(), [], []
    for seed in range(3):
        for x in (
            ties_and_nans(*shape, seed=seed),
            np.full(shape, (-np.inf, np.inf, np.nan)[seed], np.float32),
        ):
            xs = given(x)
            for axis in range(len(shape)):
                nodes += [make("argmax", xs, axis=axis), make("argmin", xs, axis=axis)]
                expected += [np.argmax(x, axis).astype("i"), np.argmin(x, axis).astype("i")]
    run(variant, given, nodes, expected)


@pytest.mark.parametrize("dtype", (*INTEGERS, "bool"))
def test_argmax_of_integers(dtype):
    given, nodes, expected = Given(), [], []
    for shape in ((70,), (5, 17), (17, 6)):
        for x in (
            np.random.default_rng(1).integers(0, 2 if dtype == "bool" else 5, shape).astype(dtype),
            np.zeros(shape, dtype) if dtype == "bool" else any_integers(dtype, *shape),
        ):
            xs = given(x)
            for axis in range(len(shape)):
                nodes += [make("argmax", xs, axis=axis), make("argmin", xs, axis=axis)]
                expected += [np.argmax(x, axis).astype("i"), np.argmin(x, axis).astype("i")]
    run("fma", given, nodes, expected)
