"""64-bit values two to a vector, beside values of fewer bits, and float16 in float32 lanes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tabgrad.dtypes import as_dtype, bool_, float16, float32, float64, int64
from tabgrad.engines.reference import evaluate
from tabgrad.ir import build as b
from tabgrad.ir.graph import make
from tabgrad.targets.wasm.elements import width_of
from tests.targets.wasm.arrays import whole_numbers
from tests.targets.wasm.computing import Given, compute, machine

WIDE = ("float64", "int64", "uint64")
SIZES = (0, 1, 2, 3, 4, 5, 7, 8, 9, 17, 63, 70, 4095, 4096, 4097, 8197)


def run(variant, given, nodes, expected=None):
    """Compute and compare to the bit, with the reference engine where no arrays are given."""
    true_ones = evaluate(nodes, given.arrays) if expected is None else expected
    for i, (mine, true) in enumerate(zip(compute(nodes, given.arrays, variant), true_ones,
                                         strict=True)):  # fmt: skip
        assert mine.dtype == np.asarray(true).dtype, i
        np.testing.assert_array_equal(mine, true, err_msg=str(i))


def widths(variant):
    """How many points the kernels of the last Program compute at a time."""
    return [width_of(kernel) for kernel in machine(variant)[1].kernels()]


@pytest.mark.parametrize("size", SIZES)
def test_one_kernel_stores_values_of_all_widths(variant, size):
    given = Given()
    x, y = whole_numbers(size), whole_numbers(size, seed=1)
    xs, ys = given(x), given(y)
    total = b.add(xs, ys)
    names = ("float64", "float16", "int64", "uint64", "int8", "uint16", "int32", "bool")
    nodes = [b.cast(make("abs", total), as_dtype(name)) for name in names]
    run(variant, given, nodes, [np.abs(x + y).astype(name) for name in names])
    if size > 1:
        assert widths(variant) == [2]


def test_only_kernels_with_64_bits_compute_two_points_at_a_time(variant):
    given = Given()
    x = whole_numbers(3, 40)
    xs = given(x)
    wide = b.cast(xs, float64)
    nodes = [
        make("reduce_sum", b.mul(xs, xs), axes=(1,)),
        b.cast(make("reduce_sum", b.mul(wide, wide), axes=(1,)), float32),
        make("reduce_sum", b.cast(xs, float16), axes=(1,)),
    ]
    run(variant, given, nodes)
    assert sorted(widths(variant)) == [2, 4, 4]


@pytest.mark.parametrize("dtype", [*WIDE, "float16"])
def test_guards_steps_and_run_time_places(variant, dtype):
    """Padding with holes, backward and stepped views, joined arrays, gathers, windows, updates."""
    kind = as_dtype(dtype)
    given = Given()
    x = np.random.default_rng(0).integers(0, 9, (5, 11)).astype(dtype)
    at, two = np.int32([[4, 0], [2, 9]]), np.int32(2)
    xs, places, start = given(x), given(at), given(two)
    fill = b.const(3, kind)
    padded = make("pad", xs, fill, low=(1, 2), high=(0, -1), interior=(1, 2))
    window = {"window": (2, 3), "strides": (1, 2), "padding": ((1, 0), (1, 2)),
              "dilation": (1, 2)}  # fmt: skip
    flags = b.lt(xs, b.like(xs, 5))
    nodes = [
        padded,
        b.add(padded, padded),
        make("flip", xs, axes=(0, 1)),
        make("slice", xs, start=(0, 1), stop=(5, 11), step=(2, 3)),
        make("concatenate", xs, make("flip", xs, axes=(1,)), xs, axis=1),
        make("gather", xs, places, axis=1),
        make("gather", b.permute(xs, (1, 0)), places, axis=0),
        *(make("window_reduce", xs, op=op, **window) for op in ("sum", "max", "min")),
        make("window_argmax", xs, **window),
        make("dynamic_slice", xs, start, start, sizes=(2, 4)),
        make("dynamic_update_slice", xs, make("slice", xs, start=(0, 0), stop=(2, 3), step=(1, 1)),
             start, start),
        *(make("scatter", xs, places, make("gather", xs, places, axis=0), axis=0, op=op)
          for op in ("add", "max", "min")),
        b.select(flags, xs, b.add(xs, xs)),
        b.cast(make("pad", flags, b.const(True, bool_), low=(1, 1), high=(1, 1), interior=(0, 1)),
               kind),
        b.iota((3, 5), 1, kind),
    ]  # fmt: skip
    run(variant, given, nodes)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
@pytest.mark.parametrize("shape", [(1,), (5,), (70,), (5, 17), (17, 5), (3, 4, 5)], ids=str)
def test_extrema_and_their_places_with_nan_and_ties(variant, dtype, shape):
    given, nodes = Given(), []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x = rng.integers(-2, 3, shape).astype(dtype)
        x[rng.random(shape) < 0.1] = np.nan
        x[rng.random(shape) < 0.1] = np.inf
        xs = given(x)
        for axis in range(len(shape)):
            nodes += [make(name, xs, axis=axis) for name in ("argmax", "argmin")]
            nodes += [make(name, xs, axes=(axis,)) for name in ("reduce_max", "reduce_min")]
    run(variant, given, nodes)


def test_long_sums_of_doubles_are_accurate(variant):
    given = Given()
    x = np.random.default_rng(0).normal(size=1 << 18)
    exact = np.sum(x.astype(np.longdouble))
    (got,) = compute([make("reduce_sum", given(x), axes=(0,))], given.arrays, variant)
    assert abs(got - exact) <= 160 * np.finfo(float).eps * np.sum(np.abs(x))


def test_sums_of_halves_are_rounded_once(variant):
    given = Given()
    x = np.random.default_rng(0).uniform(0, 1, (40, 1500)).astype(np.float16)
    xs = given(x)
    nodes = [make("reduce_sum", xs, axes=axes) for axes in ((0,), (1,), (0, 1))]
    nodes.append(b.add(nodes[0], b.like(nodes[0], 1)))
    for mine, true in zip(compute(nodes, given.arrays, variant),
                          evaluate(nodes, given.arrays), strict=True):  # fmt: skip
        # float32's own rounding may tip a number that lies halfway between two halves.
        assert (np.abs(mine - true) <= np.spacing(true)).all()
        assert (mine == true).mean() > 0.98 or mine.size == 1


def test_an_epilogue_may_be_wider_than_its_tile(variant):
    """Values of 64 bits that only decide something do not keep a product in float32 from tiles."""
    given = Given()
    x, w, t = whole_numbers(9, 40), whole_numbers(40, 19, seed=1), np.random.default_rng(2)
    limit = t.integers(-9, 9, (9, 19)).astype(np.int64)
    xs, ws, ts = given(x), given(w), given(limit)
    product = make("dot", xs, ws, contract=((1,), (0,)), batch=((), ()))
    chosen = b.select(b.lt(product, b.like(product, 0)), ts, b.add(ts, ts))
    node = b.select(b.lt(chosen, b.like(chosen, 3)), product, b.like(product, 7))
    true = x @ w
    inner = np.where(true < 0, limit, limit + limit)
    run(variant, given, [node], [np.where(inner < 3, true, np.float32(7))])
    assert [k.kind for k in machine(variant)[1].kernels()] == ["contract"]
    assert widths(variant) == [2]


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "uint64"])
def test_a_row_of_a_product_is_the_same_in_any_batch(variant, dtype):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(40, 300)) * 9, rng.normal(size=(300, 21)) * 9
    x, w = (np.abs(v).astype(dtype) for v in (x, w))
    results = []
    for rows in (1, 2, 7, 40):
        given = Given()
        node = make("dot", given(x[:rows]), given(w), contract=((1,), (0,)), batch=((), ()))
        results += compute([node], given.arrays, variant)
    for found in results:
        np.testing.assert_array_equal(found, results[-1][: len(found)])


# float16

HALVES = np.arange(65536, dtype=np.uint16).view(np.float16)


def test_every_half_is_read_and_written(variant):
    given = Given()
    xs = given(HALVES)
    nodes = [b.cast(xs, float32), b.cast(xs, float64), make("stop", b.cast(b.cast(xs, float32),
             float16)), make("bitcast", xs, dtype=as_dtype("uint16"))]  # fmt: skip
    single, double, same, bits = compute(nodes, given.arrays, variant)
    np.testing.assert_array_equal(single, HALVES.astype(np.float32))
    np.testing.assert_array_equal(double, HALVES.astype(np.float64))
    np.testing.assert_array_equal(same, HALVES)
    numbers = ~np.isnan(HALVES)
    np.testing.assert_array_equal(bits[numbers], HALVES.view(np.uint16)[numbers])
    np.testing.assert_array_equal(same[numbers].view(np.uint16), bits[numbers])


def test_rounding_to_halves(variant):
    """Of both wider formats at once: the neighbours of every tie, and all magnitudes."""
    numbers = HALVES[:0x7C00].astype(np.float64)
    ties = (numbers[1:] + numbers[:-1]) / 2
    near = [np.nextafter(ties, -1), ties, np.nextafter(ties, 1e9)]
    ends = [65504, 65519.999, 65520, 65536, 1e300, np.inf, np.nan, 2.0**-25, 1e-300, 0]
    doubles = np.concatenate([*near, numbers, ends])
    doubles = np.concatenate([doubles, -doubles])
    singles = np.random.default_rng(0).integers(0, 1 << 32, 100_000, np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        singles = np.concatenate([singles[singles == singles], doubles.astype(np.float32)])
    given = Given()
    nodes = [b.cast(given(doubles), float16), b.cast(given(singles), float16)]
    with np.errstate(all="ignore"):
        expected = [doubles.astype(np.float16), singles.astype(np.float16)]
    run(variant, given, nodes, expected)
    for got, true in zip(compute(nodes, given.arrays, variant), expected, strict=True):
        np.testing.assert_array_equal(np.signbit(got[got == 0]), np.signbit(true[true == 0]))


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
def test_each_operation_on_halves_is_rounded(variant, name):
    rng = np.random.default_rng(0)
    x, y = (rng.integers(0, 65536, 50_000, np.uint16).view(np.float16) for _ in range(2))
    given = Given()
    node = make(name, given(x), given(y))
    with np.errstate(all="ignore"):
        oracle = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}[name]
        run(variant, given, [node], [oracle(x, y)])


# 64-bit integers


@pytest.mark.parametrize("target", ["float64", "float32", "float16"])
@pytest.mark.parametrize("source", ["int64", "uint64"])
def test_long_integers_are_rounded_once(source, target):
    info = np.iinfo(source)
    edges = [(1 << p) + (1 << q) + r for p, q, r in itertools.product(
             (24, 25, 40, 53, 54, 62), (0, 1, 2, 8, 20), (-1, 0, 1))]  # fmt: skip
    values = [v for v in edges if info.min <= v <= info.max] + [info.min, info.max, 0, 65519, 65520]
    x = np.array(values, source)
    given = Given()
    with np.errstate(all="ignore"):
        run("fma", given, [b.cast(given(x), as_dtype(target))], [x.astype(target)])


def test_division_by_zero_and_overflow_do_not_trap():
    x = np.array([5, -5, -(2**63), 2**63 - 1, 0], np.int64)
    y = np.array([0, 0, -1, -1, 0], np.int64)
    given = Given()
    xs, ys = given(x), given(y)
    nodes = [make("floordiv", xs, ys), make("mod", xs, ys)]
    run("fma", given, nodes, [np.int64([0, 0, -(2**63), -(2**63 - 1), 0]), np.zeros(5, np.int64)])


def test_powers_and_shifts_by_long_counts():
    x = np.array([3, -3, 2, -2, 1, -1, 0, 10], np.int64)
    counts = np.array([39, 39, 62, 63, -4, -3, 5, 18], np.int64)
    given = Given()
    xs, cs = given(x), given(counts)
    nodes = [make("pow", xs, cs), make("shl", xs, cs), make("shr", xs, cs)]
    nodes.append(make("shr", xs, b.like(xs, 1)))
    assert nodes[0].dtype is int64
    run("fma", given, nodes[:1] + nodes[3:])
    outside = (counts < 0) | (counts > 63)
    left, right = compute(nodes[1:3], given.arrays)
    np.testing.assert_array_equal(left[outside], 0)
    np.testing.assert_array_equal(right[outside], np.where(x < 0, -1, 0)[outside])
    np.testing.assert_array_equal(left[~outside], (x << counts)[~outside])
    np.testing.assert_array_equal(right[~outside], (x >> counts)[~outside])
