"""Maps on wasmtime against NumPy: arithmetic of integers, casts, movement."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tabgrad.dtypes import as_dtype, bool_, float32
from tabgrad.ir import build as b
from tabgrad.ir.graph import make
from tests.targets.wasm.arrays import INTEGERS, any_integers, normal, whole_numbers
from tests.targets.wasm.computing import Given, compute, machine, run, subsets

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
                "xor": np.bitwise_xor, "gcd": np.gcd}[name]  # fmt: skip
        result = rule(a, c)
    return np.array([int(v) & ((1 << bits) - 1) for v in result], np.uint64).astype(kind)


BINARY = ("add", "sub", "mul", "max", "min", "floordiv", "mod", "gcd", "and", "or", "xor", "shl",
          "shr")  # fmt: skip


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
