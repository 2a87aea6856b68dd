"""Maps, reductions, windows, gathers and scatters on wasmtime against NumPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tabgrad.dtypes import as_dtype, bool_, float32, int32
from tabgrad.ir import build as b
from tabgrad.ir.graph import make
from tests.targets.wasm.computing import (
    VARIANTS,
    Given,
    compute,
    machine,
    normal,
    whole_numbers,
)

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


@pytest.fixture(params=VARIANTS)
def variant(request):
    return request.param


def run(variant, given, nodes, expected, names=None):
    """Compute and compare to the bit; `names` says which node is which."""
    got = compute(nodes, given.arrays, variant)
    for i, (mine, true) in enumerate(zip(got, expected, strict=True)):
        true = np.asarray(true)
        assert mine.dtype == true.dtype, names and names[i]
        np.testing.assert_array_equal(mine, true, err_msg=str(names[i] if names else i))


def any_integers(dtype, *shape, seed=0):
    """Integers of the whole range, the extremes among them."""
    info = np.iinfo(dtype)
    found = np.random.default_rng(seed).integers(info.min, info.max, shape, dtype, True)
    edges = np.array([info.min, info.max, 0, 1, info.max - 1], dtype)
    found.reshape(-1)[: len(edges)] = edges[: found.size]
    return found


def subsets(rank):
    """Every choice of at least one axis."""
    return [c for n in range(1, rank + 1) for c in itertools.combinations(range(rank), n)]


# Reductions ------------------------------------------------------------------------------------

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


# The index of an extremum -----------------------------------------------------------------------


def ties_and_nans(*shape, seed):
    """Few different values, so that most extrema are ties; some NaN, some infinite."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, shape).astype(np.float32)
    x[rng.random(shape) < 0.03] = np.nan
    x[rng.random(shape) < 0.02] = np.inf
    x[rng.random(shape) < 0.02] = -np.inf
    return x


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


# Windows ---------------------------------------------------------------------------------------


def windows(x, p):
    """(position of a window, its elements' indices) for every window, padding left out."""
    counts = []
    for n, w, s, d, (low, high) in zip(
        x.shape, p["window"], p["strides"], p["dilation"], p["padding"], strict=True
    ):
        counts.append((n + low + high - (w - 1) * d - 1) // s + 1)
    for at in itertools.product(*map(range, counts)):
        indices = []
        for tap in itertools.product(*map(range, p["window"])):
            place = tuple(
                a * s + t * d - low
                for a, s, t, d, (low, _) in zip(
                    at, p["strides"], tap, p["dilation"], p["padding"], strict=True
                )
            )
            if all(0 <= i < n for i, n in zip(place, x.shape, strict=True)):
                indices.append(place)
        yield at, counts, indices


# shape, window, strides, padding of some axes, dilation
WINDOWS = [
    ((2, 9, 8, 5), (1, 2, 2, 1), (1, 2, 2, 1), {}, (1, 1, 1, 1)),
    ((2, 9, 8, 5), (1, 3, 3, 1), (1, 1, 1, 1), {1: (1, 1), 2: (1, 1)}, (1, 1, 1, 1)),
    ((2, 9, 8, 5), (1, 3, 2, 1), (1, 2, 3, 1), {1: (2, 1), 2: (0, 1)}, (1, 2, 1, 1)),
    ((3, 4, 7, 9), (1, 1, 3, 3), (1, 1, 2, 2), {2: (1, 0), 3: (0, 1)}, (1, 1, 1, 1)),
    ((3, 30, 2), (1, 5, 1), (1, 1, 1), {1: (4, 4)}, (1, 2, 1)),
    ((2, 5, 6, 4, 3), (1, 2, 3, 2, 1), (1, 2, 1, 2, 1), {1: (0, 1), 2: (1, 1)}, (1,) * 5),
    ((40,), (8,), (8,), {}, (1,)),
    ((5,), (2,), (2,), {0: (4, 5)}, (1,)),  # some windows hold padding alone
    ((6, 7), (6, 7), (1, 1), {}, (1, 1)),
]


@pytest.mark.parametrize("case", WINDOWS, ids=lambda case: f"{case[0]} {case[1]}")
def test_windows(variant, case):
    shape, window, strides, padding, dilation = case
    padded = tuple(padding.get(d, (0, 0)) for d in range(len(shape)))
    p = {"window": window, "strides": strides, "padding": padded, "dilation": dilation}
    given = Given()
    plain, odd = whole_numbers(*shape), ties_and_nans(*shape, seed=4)
    ps, os = given(plain), given(odd)
    nodes = [
        *(make("window_reduce", ps, op=op, **p) for op in ("sum", "max", "min")),
        *(make("window_reduce", os, op=op, **p) for op in ("max", "min")),
        make("window_argmax", ps, **p),
        make("window_argmax", os, **p),
    ]
    expected = [np.zeros(node.shape, node.dtype.name) for node in nodes]
    for at, counts, indices in windows(plain, p):
        assert tuple(counts) == nodes[0].shape
        few, many = ([x[i] for i in indices] for x in (plain, odd))
        expected[0][at] = sum(few)
        expected[1][at], expected[2][at] = max(few, default=-np.inf), min(few, default=np.inf)
        expected[3][at] = np.max(many, initial=-np.inf)
        expected[4][at] = np.min(many, initial=np.inf)
        for result, values, x in ((expected[5], few, plain), (expected[6], many, odd)):
            first = indices[int(np.argmax(values))] if indices else None
            result[at] = 2**31 - 1 if first is None else np.ravel_multi_index(first, x.shape)
    run(variant, given, nodes, expected)


# Maps ------------------------------------------------------------------------------------------

SIZES = (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65, 67, 70, 4095, 4096, 4097, 4101, 8197)


@pytest.mark.parametrize("size", SIZES)
def test_maps_of_every_length_with_several_results(variant, size):
    """One kernel stores floats, a bool, a byte and a short; nothing is written past the end."""
    given = Given()
    x, y = whole_numbers(size), whole_numbers(size, seed=1)
    xs, ys = given(x), given(y)
    total = b.add(xs, ys)
    less = make("lt", xs, ys)
    nodes = [total, less, b.cast(b.mul(xs, ys), as_dtype("int8")),
             b.cast(make("abs", total), as_dtype("uint16"))]  # fmt: skip
    expected = [x + y, x < y, (x * y).astype(np.int8), np.abs(x + y).astype(np.uint16)]
    run(variant, given, nodes, expected)
    if size > 1:
        assert len(machine(variant)[1].kernels()) == 1


def wrapped(name, x, y):
    """Integer arithmetic as the primitives define it: it wraps, and division by 0 gives 0."""
    kind, bits = x.dtype, x.dtype.itemsize * 8
    a, c = x.astype(object), y.astype(object)
    if name in ("floordiv", "mod"):
        safe = np.where(c == 0, 1, c)
        result = np.where(c == 0, 0, a // safe if name == "floordiv" else a % safe)
    elif name in ("shl", "shr"):
        inside = (c >= 0) & (c < bits)
        count = np.where(inside, c, 0)
        outside = np.where(a < 0, -1, 0) if name == "shr" else 0
        result = np.where(inside, a << count if name == "shl" else a >> count, outside)
    else:
        rule = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "max": np.maximum,
                "min": np.minimum, "and": np.bitwise_and, "or": np.bitwise_or,
                "xor": np.bitwise_xor}[name]  # fmt: skip
        result = rule(a, c)
    return np.array([int(v) & ((1 << bits) - 1) for v in result], np.uint64).astype(kind)


BINARY = ("add", "sub", "mul", "max", "min", "floordiv", "mod", "and", "or", "xor", "shl", "shr")


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_arithmetic(dtype):
    given = Given()
    x, y = any_integers(dtype, 203), any_integers(dtype, 203, seed=1)
    y[20:120] = np.random.default_rng(2).integers(0, 9, 100)
    y[5:8], x[8:11] = 0, np.iinfo(dtype).min
    if np.iinfo(dtype).min:
        y[8:11], y[120:140] = -1, np.random.default_rng(3).integers(-9, 0, 20)
    xs, ys = given(x), given(y)
    nodes = [make(name, xs, ys) for name in BINARY]
    expected = [wrapped(name, x, y) for name in BINARY]
    nodes += [make(name, xs, ys) for name in ("eq", "ne", "lt", "le")]
    expected += [x == y, x != y, x < y, x <= y]
    zero = np.zeros_like(x)
    nodes += [make("neg", xs), make("not", xs), make("abs", xs), make("sign", xs)]
    expected += [wrapped("sub", zero, x), ~x, np.where(x < 0, wrapped("sub", zero, x), x),
                 np.sign(x).astype(dtype)]  # fmt: skip
    names = [*BINARY, "eq", "ne", "lt", "le", "neg", "not", "abs", "sign"]
    run("fma", given, nodes, expected, names)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_powers_and_constant_shifts(dtype):
    """A negative exponent gives 0, but for the bases 1 and -1."""
    given, bits = Given(), np.iinfo(dtype).bits
    x = any_integers(dtype, 50)
    x[10:40] = np.arange(-15, 15).astype(dtype)
    y = (np.arange(50) % 9 - (4 if np.iinfo(dtype).min else 0)).astype(dtype)
    xs = given(x)
    nodes, expected = [make("pow", xs, given(y))], []
    wrap = (1 << bits) - 1
    powers = []
    for base, exponent in zip(x.tolist(), y.tolist(), strict=True):
        inverse = {1: 1, -1: -1 if exponent % 2 else 1}.get(base, 0)
        powers.append((base**exponent if exponent >= 0 else inverse) & wrap)
    expected.append(np.array(powers, np.uint64).astype(dtype))
    for name, n in itertools.product(("shl", "shr"), (0, 1, 5, bits - 1, bits, 100)):
        nodes.append(make(name, xs, b.full((50,), n, as_dtype(dtype))))
        expected.append(wrapped(name, x, np.full(50, n, dtype)))
    run("fma", given, nodes, expected)


def test_logic():
    given = Given()
    x, y = (np.random.default_rng(i).random(37) < 0.5 for i in range(2))
    xs, ys = given(x), given(y)
    nodes = [make(name, xs, ys) for name in ("and", "or", "xor", "eq", "ne", "lt", "le")]
    nodes += [make("not", xs), make("max", xs, ys), make("min", xs, ys)]
    expected = [x & y, x | y, x ^ y, x == y, x != y, x < y, x <= y, ~x, x | y, x & y]
    run("fma", given, nodes, expected)


CASTS = ("bool", *INTEGERS, "float32")


def cast_to(x, dtype):
    """A cast as defined: integers wrap, floats truncate and saturate, NaN is 0, bool is != 0."""
    if dtype == "bool":
        return x != 0
    if x.dtype.kind == "f" and dtype != "float32":
        low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        whole = np.nan_to_num(x.astype(np.float64), nan=0.0, posinf=1e30, neginf=-1e30)
        return np.array([min(max(int(v), low), high) for v in whole], dtype)
    return x.astype(dtype)


@pytest.mark.parametrize("source", CASTS)
def test_casts(source):
    given = Given()
    if source == "bool":
        x = np.random.default_rng(0).random(41) < 0.5
    elif source == "float32":
        edges = [0, -0.0, 0.5, -0.5, 127.9, -128.9, 255.5, -1, 65536, 2**31, -(2**31), 2**32, 2e9,
                 -3e9, np.nan, np.inf, -np.inf, 1e-40]  # fmt: skip
        x = np.concatenate([normal(50) * 1000, np.float32(edges)])
    else:
        x = any_integers(source, 53)
    xs = given(x)
    nodes = [b.cast(xs, as_dtype(target)) for target in CASTS]
    run("fma", given, nodes, [cast_to(x, target) for target in CASTS], CASTS)


def test_bitcasts_keep_the_bits():
    given = Given()
    x = np.concatenate([normal(33), np.float32([np.nan, -0.0, np.inf])])
    xs = given(x)
    bits = [make("bitcast", xs, dtype=as_dtype(name)) for name in ("int32", "uint32")]
    back = [make("bitcast", node, dtype=float32) for node in bits]
    shorts = any_integers("int16", 21)
    bits.append(make("bitcast", given(shorts), dtype=as_dtype("uint16")))
    expected = [x.view(np.int32), x.view(np.uint32), shorts.view(np.uint16), x, x]
    run("fma", given, [*bits, *back], expected)


@pytest.mark.parametrize("dtype", ["float32", "bool", "int8", "uint16", "float16", "float64"])
def test_movement(variant, dtype):
    """Every permutation, and the other movements, of odd shapes and every width of element."""
    given, nodes, expected = Given(), [], []
    for shape in ((3, 4, 5), (1, 17, 4), (2, 3, 4, 5)):
        x = (whole_numbers(*shape) > 0) if dtype == "bool" else whole_numbers(*shape).astype(dtype)
        xs = given(x)
        for axes in itertools.permutations(range(len(shape))):
            nodes.append(b.permute(xs, axes))
            expected.append(x.transpose(axes))
        nodes += [make("flip", xs, axes=axes) for axes in subsets(len(shape))]
        expected += [np.flip(x, axes) for axes in subsets(len(shape))]
        start, step = (0, 1, 2, 0)[: len(shape)], (1, 2, 2, 3)[: len(shape)]
        nodes.append(make("slice", xs, start=start, stop=shape, step=step))
        expected.append(x[tuple(slice(*s) for s in zip(start, shape, step, strict=True))])
        rank = len(shape)
        pad = {"low": (1, 0, 2, 1)[:rank], "high": (0, 3, 1, 0)[:rank],
               "interior": (0, 2, 1, 0)[:rank]}  # fmt: skip
        fill = np.asarray(1 if dtype == "bool" else 7, dtype)
        nodes.append(make("pad", xs, b.const(fill.item(), xs.dtype), **pad))
        sizes = [
            lo + hi + n + (n - 1) * i for n, lo, hi, i in zip(shape, *pad.values(), strict=True)
        ]
        padded = np.full(sizes, fill)
        padded[tuple(slice(lo, lo + n + (n - 1) * i, i + 1) for n, lo, i in
                     zip(shape, pad["low"], pad["interior"], strict=True))] = x  # fmt: skip
        expected.append(padded)
        for axis in range(rank):
            part = make("flip", xs, axes=(0,))
            nodes.append(make("concatenate", xs, part, xs, axis=axis))
            expected.append(np.concatenate([x, np.flip(x, 0), x], axis))
    run(variant, given, nodes, expected)


# Gathers and scatters --------------------------------------------------------------------------


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


def test_long_chains_of_operations(variant):
    """Far more operations than fit one expression; Python's recursion is not used up."""
    given = Given()
    x = true = whole_numbers(21)
    node = given(x)
    for _ in range(400):
        small = make("lt", node, b.full((21,), 9, float32))
        node = b.select(small, b.add(node, node), b.sub(b.full((21,), 5, float32), node))
        true = np.where(true < 9, true + true, 5 - true)
        node = make("max", node, b.full((21,), -90, float32))
        true = np.maximum(true, -90)
    run(variant, given, [node], [true])


def test_bools_are_ones_and_zeros_in_memory():
    """Whatever non-zero byte stands for True outside, ours are 1."""
    given = Given()
    x = whole_numbers(37)
    (got,) = compute([make("lt", given(x), b.full((37,), 1, float32))], given.arrays)
    assert set(got.view(np.uint8)) == {0, 1}
    assert got.dtype == bool and b.full((1,), True, bool_).dtype is bool_
