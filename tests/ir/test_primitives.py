"""The reference's rules of the elementwise primitives, against oracles that share no code with it.

Transcendentals are compared with mpmath, integers with Python's, threefry with JAX, and special
cases with tables of expected values.
"""

from __future__ import annotations

import itertools
import math

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax.extend.random import threefry_2x32

from tabgrad import dtypes
from tabgrad.engines.reference import rule_names
from tabgrad.ir.graph import PRIMITIVES
from tests.ir.running import identical, run, run_all

INF, NAN = np.inf, np.nan
INTEGERS = [d.name for d in dtypes.ALL if d.is_integer]
FLOATS = ["float16", "float32", "float64"]


def exponents(dtype="float32"):
    """Numbers of every third binary exponent and both signs, with the special ones."""
    info = np.finfo(dtype)
    powers = np.arange(info.minexp - info.nmant, info.maxexp, 3 if dtype != "float64" else 23)
    rng = np.random.default_rng(7)
    with np.errstate(all="ignore"):
        values = np.ldexp(rng.uniform(1, 2, powers.size), powers).astype(dtype)
    special = np.array([0, 1, 0.5, 2, INF, info.max, info.tiny, info.smallest_subnormal], dtype)
    near_one = np.array([1 - info.epsneg, 1 + info.eps], dtype)
    positive = np.concatenate([values, special, near_one])
    return np.concatenate([positive, -positive, np.array([NAN], dtype)])


def test_every_primitive_has_a_rule():
    assert set(PRIMITIVES) == set(rule_names())


def _mp(function, *, nan_where=lambda *xs: False):
    """A scalar oracle at 60 digits; mpmath has no domain errors for reals, so they are given."""

    def oracle(*args):
        if any(np.isnan(a) for a in args) or nan_where(*args):
            return NAN
        with mpmath.workdps(60):
            return function(*(mpmath.mpf(float(a)) for a in args))

    return oracle


def _mp_exp(x):
    return mpmath.mpf(0) if x < -2000 else mpmath.mpf("inf") if x > 2000 else mpmath.exp(x)


def _mp_tanh(x):
    return mpmath.sign(x) if abs(x) > 2000 else mpmath.tanh(x)


TRANSCENDENTAL = {
    "exp": _mp(_mp_exp),
    "expm1": _mp(
        lambda x: (
            mpmath.mpf(-1) if x < -2000 else mpmath.expm1(x) if x < 2000 else mpmath.mpf("inf")
        )
    ),
    "log": _mp(lambda x: mpmath.log(x) if x else mpmath.mpf("-inf"), nan_where=lambda x: x < 0),
    "log1p": _mp(
        lambda x: mpmath.log1p(x) if x > -1 else mpmath.mpf("-inf"), nan_where=lambda x: x < -1
    ),
    "sqrt": _mp(mpmath.sqrt, nan_where=lambda x: x < 0),
    "sin": _mp(mpmath.sin, nan_where=np.isinf),
    "cos": _mp(mpmath.cos, nan_where=np.isinf),
    "tan": _mp(mpmath.tan, nan_where=np.isinf),
    "tanh": _mp(_mp_tanh),
    "sigmoid": _mp(lambda x: 1 / (1 + _mp_exp(-x))),
    "erf": _mp(lambda x: mpmath.erf(x) if abs(x) < 1e3 else mpmath.sign(x)),
}


def rounded(value, dtype):
    """An mpmath number as a NumPy scalar of `dtype`, rounded once."""
    if isinstance(value, float):
        return np.dtype(dtype).type(value)
    if not mpmath.isfinite(value):
        return np.dtype(dtype).type(float(value))
    # A float64 that is sticky in its last bit rounds on to a narrower float as the exact value.
    near = float(value)
    if dtype != "float64" and mpmath.mpf(near) != value and np.isfinite(near):
        other = np.nextafter(near, np.inf if value > near else -np.inf)
        near = near if np.float64(near).view(np.uint64) & 1 else other
    with np.errstate(all="ignore"):
        return np.dtype(dtype).type(near)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", TRANSCENDENTAL)
def test_transcendentals_are_correctly_rounded(name, dtype):
    xs = exponents(dtype)
    if name in ("sin", "cos", "tan") and dtype == "float64":
        xs = xs[~(np.abs(xs) > 1e15)]  # mpmath's own range reduction needs more digits there
    expected = np.array([rounded(TRANSCENDENTAL[name](x), dtype) for x in xs], dtype)
    got = run(name, xs)
    if dtype == "float64":
        np.testing.assert_array_max_ulp(got, expected, maxulp=2)
    else:
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("neg", np.negative),
        ("abs", np.abs),
        ("sign", np.sign),
        ("floor", np.floor),
        ("ceil", np.ceil),
        ("round", np.rint),
        ("trunc", np.trunc),
        ("stop", lambda x: x),
    ],
)
@pytest.mark.parametrize("dtype", FLOATS)
def test_rounding_and_sign(name, oracle, dtype):
    halves = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, -0.0], dtype)
    xs = np.concatenate([exponents(dtype), halves])
    identical(run(name, xs), oracle(xs).astype(dtype))


BINARY = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
}


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_arithmetic_is_rounded_once(name, dtype):
    values = exponents(dtype)
    x, y = (a.ravel() for a in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        # Exact or innocuously double rounded in float64 (53 bits are more than 2 * 24 + 2).
        expected = BINARY[name](x.astype(np.float64), y.astype(np.float64)).astype(dtype)
    identical(run(name, x, y), expected)


def test_pow_special_values():
    x = np.float32([NAN, 1, 0, -0.0, -0.0, -1, -2, -2, INF, 0.5, 2, -8, 0, 4])
    y = np.float32([0, NAN, -1, -1, 3, INF, 3, 0.5, -1, INF, -1, 1 / 3, 0, 0.5])
    expected = np.float32([1, 1, INF, -INF, -0.0, 1, -8, NAN, 0, 0, 0.5, NAN, 1, 2])
    identical(run("pow", x, y), expected)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_pow_of_integers_wraps_and_truncates(dtype):
    signed = dtype.startswith("int")
    bases = [0, 1, 2, 3, 7, *([-1, -2, -3] if signed else [])]
    powers = [0, 1, 2, 5, 11, *([-1, -2] if signed else [])]
    pairs = list(itertools.product(bases, powers))
    d = dtypes.as_dtype(dtype)

    def exact(x, y):
        if y >= 0:
            return x**y
        return 0 if abs(x) != 1 else x**-y

    expected = np.array([dtypes.wrap(exact(x, y), d) for x, y in pairs], dtype)
    x, y = np.array(pairs, dtype).T
    identical(run("pow", x, y), expected)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_division_and_modulo(dtype):
    info, d = np.iinfo(dtype), dtypes.as_dtype(dtype)
    values = [0, 1, 2, 3, 7, 100, info.max, info.min, info.max - 1]
    values += [-1, -2, -3, -7] if info.min else []
    pairs = list(itertools.product(values, values))
    x, y = np.array(pairs, dtype).T
    divided = [dtypes.wrap(int(a) // int(c) if c else 0, d) for a, c in pairs]
    remainder = [int(a) % int(c) if c else 0 for a, c in pairs]
    identical(run("floordiv", x, y), np.array(divided, dtype))
    identical(run("mod", x, y), np.array(remainder, dtype))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_greatest_common_divisors(dtype):
    """Of the smallest integer and itself or 0 it is that integer: its size wraps."""
    info, d = np.iinfo(dtype), dtypes.as_dtype(dtype)
    values = [0, 1, 2, 3, 12, 18, 55, 89, 100, info.max, info.min, info.max - 1]
    values += [-1, -2, -12, info.min + 1] if info.min else []
    pairs = list(itertools.product(values, values))
    x, y = np.array(pairs, dtype).T
    expected = [dtypes.wrap(math.gcd(int(a), int(c)), d) for a, c in pairs]
    identical(run("gcd", x, y), np.array(expected, dtype))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_arithmetic_wraps(dtype):
    info, d = np.iinfo(dtype), dtypes.as_dtype(dtype)
    values = [0, 1, 2, 5, info.max, info.min, info.max - 3]
    pairs = list(itertools.product(values, values))
    x, y = np.array(pairs, dtype).T
    for name, exact in [
        ("add", lambda a, c: a + c),
        ("sub", lambda a, c: a - c),
        ("mul", lambda a, c: a * c),
        ("max", max),
        ("min", min),
        ("and", lambda a, c: a & c),
        ("or", lambda a, c: a | c),
        ("xor", lambda a, c: a ^ c),
    ]:
        expected = [dtypes.wrap(exact(int(a), int(c)), d) for a, c in pairs]
        identical(run(name, x, y), np.array(expected, dtype))
    identical(run("neg", x), np.array([dtypes.wrap(-int(a), d) for a, _ in pairs], dtype))
    identical(run("abs", x), np.array([dtypes.wrap(abs(int(a)), d) for a, _ in pairs], dtype))
    identical(run("not", x), np.array([dtypes.wrap(~int(a), d) for a, _ in pairs], dtype))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_shifts(dtype):
    info, d = np.iinfo(dtype), dtypes.as_dtype(dtype)
    pairs = list(itertools.product([0, 1, 5, info.max, info.min], [0, 1, 3, info.bits - 1]))
    pairs += [(1, info.bits), (5, info.bits + 3)]
    x, y = np.array(pairs, dtype).T
    left = [dtypes.wrap(int(a) << int(n), d) for a, n in pairs]
    identical(run("shl", x, y), np.array(left, dtype))
    identical(run("shr", x, y), np.array([int(a) >> int(n) for a, n in pairs], dtype))


def test_bool_logic():
    x, y = np.array(list(itertools.product([False, True], repeat=2))).T
    for name, oracle in [
        ("and", np.logical_and),
        ("or", np.logical_or),
        ("xor", np.logical_xor),
        ("max", np.logical_or),
        ("min", np.logical_and),
        ("eq", np.equal),
        ("lt", np.less),
        ("le", np.less_equal),
    ]:
        identical(run(name, x, y), oracle(x, y))
    identical(run("not", x), ~x)


@pytest.mark.parametrize("dtype", FLOATS)
def test_float_modulo_has_the_sign_of_the_divisor(dtype):
    x = np.array([7, -7, 7, -7, 5.5, -0.0, 1, NAN, INF, 6, -6], dtype)
    y = np.array([3, 3, -3, -3, 2, 1, 0, 1, 2, 3, 3], dtype)
    expected = np.array([1, 2, -2, -1, 1.5, 0, NAN, NAN, NAN, 0, 0], dtype)
    np.testing.assert_array_equal(run("mod", x, y), expected)
    quotient = np.array([2, -3, -3, 2, 2], dtype)
    np.testing.assert_array_equal(run("floordiv", x[:5], y[:5]), quotient)


def test_max_and_min_propagate_nan_and_order_zeros():
    x = np.float32([NAN, 1, -0.0, 0.0, -0.0, INF, -INF, 2])
    y = np.float32([1, NAN, 0.0, -0.0, -0.0, NAN, 1, 3])
    identical(run("max", x, y), np.float32([NAN, NAN, 0.0, 0.0, -0.0, NAN, 1, 3]))
    identical(run("min", x, y), np.float32([NAN, NAN, -0.0, -0.0, -0.0, NAN, -INF, 2]))


def test_comparisons_with_nan_and_zeros():
    x = np.float32([NAN, 1, -0.0, 1, 2, -INF])
    y = np.float32([NAN, NAN, 0.0, 2, 1, INF])
    identical(run("eq", x, y), np.array([0, 0, 1, 0, 0, 0], bool))
    identical(run("ne", x, y), np.array([1, 1, 0, 1, 1, 1], bool))
    identical(run("lt", x, y), np.array([0, 0, 0, 1, 0, 1], bool))
    identical(run("le", x, y), np.array([0, 0, 1, 1, 0, 1], bool))


def test_atan2_of_all_quadrants_and_zeros():
    values = [0.0, -0.0, 1.0, -1.0, INF, -INF, 3.5, NAN]
    y, x = np.float32(list(itertools.product(values, values))).T
    oracle = _mp(lambda a, c: mpmath.atan2(a, c))
    finite = np.isfinite(x) & np.isfinite(y) & (x != 0) & (y != 0)
    expected = [rounded(oracle(a, c), "float32") for a, c in zip(y[finite], x[finite], strict=True)]
    got = run("atan2", y, x)
    identical(got[finite], np.float32(expected))
    special = np.arctan2(y.astype(np.float64), x.astype(np.float64))  # C99's table
    identical(got[~finite], special[~finite].astype(np.float32))


def test_select_ignores_the_other_side():
    condition = np.array([True, False, True])
    identical(
        run("select", condition, np.float32([1, NAN, 3]), np.float32([NAN, 5, INF])),
        np.float32([1, 5, 3]),
    )


@pytest.mark.parametrize("target", INTEGERS)
def test_cast_of_floats_truncates_and_saturates(target):
    info = np.iinfo(target)
    xs = np.float64(
        [
            0,
            -0.0,
            1.9,
            -1.9,
            126.99,
            NAN,
            INF,
            -INF,
            1e30,
            -1e30,
            2.0**31,
            2.0**63,
            -(2.0**63),
            2.0**64,
            300.7,
            -129.2,
        ]
    )
    # Python compares a float with an integer exactly, whatever their sizes.
    exact = [
        0 if x != x else info.max if x > info.max else info.min if x < info.min else int(x)
        for x in xs.tolist()
    ]
    identical(run("cast", xs, dtype=dtypes.as_dtype(target)), np.array(exact, target))


@pytest.mark.parametrize("source", INTEGERS)
@pytest.mark.parametrize("target", INTEGERS)
def test_cast_of_integers_wraps(source, target):
    info, d = np.iinfo(source), dtypes.as_dtype(target)
    xs = [0, 1, info.max, info.min, info.max // 2 + 1, 77]
    expected = np.array([dtypes.wrap(x, d) for x in xs], target)
    identical(run("cast", np.array(xs, source), dtype=d), expected)


@pytest.mark.parametrize("source", ["bool", *INTEGERS, *FLOATS])
def test_cast_to_bool_and_back(source):
    xs = np.array([0, 1, 2, 0], source)
    identical(run("cast", xs, dtype=dtypes.bool_), np.array([False, True, True, False]))
    ones = run("cast", np.array([True, False]), dtype=dtypes.as_dtype(source))
    identical(ones, np.array([1, 0], source))


def test_cast_of_special_floats_to_bool():
    xs = np.float32([NAN, INF, -0.0, 1e-45])
    identical(run("cast", xs, dtype=dtypes.bool_), np.array([True, True, False, True]))


def test_cast_between_floats_rounds_to_even():
    xs = np.float64([1 + 2**-24, 1 + 3 * 2**-24, 1e300, -1e-300, NAN, 65519.9, 2**-149, 2**-150])
    with np.errstate(all="ignore"):
        identical(run("cast", xs, dtype=dtypes.float32), xs.astype(np.float32))
    assert run("cast", xs, dtype=dtypes.float32)[0] == 1
    big = run("cast", np.float32([65519.0, 65520.0]), dtype=dtypes.float16)
    identical(big, np.float16([65504, INF]))


def test_cast_of_wide_integers_to_float_rounds_once():
    xs = np.int64([2**24 + 1, 2**53 + 1, 2**62 + 2**38 + 1, -(2**63)])
    with mpmath.workdps(60):
        expected = [rounded(mpmath.mpf(int(x)), "float32") for x in xs]
    identical(run("cast", xs, dtype=dtypes.float32), np.float32(expected))


def test_bitcast():
    xs = np.float32([1.0, -0.0, INF])
    bits = np.uint32([0x3F800000, 0x80000000, 0x7F800000])
    identical(run("bitcast", xs, dtype=dtypes.uint32), bits)
    identical(run("bitcast", bits, dtype=dtypes.float32), xs)
    identical(run("bitcast", np.int8([-1]), dtype=dtypes.uint8), np.uint8([255]))


def test_threefry_is_jax_threefry():
    rng = np.random.default_rng(3)
    for _ in range(5):
        key = rng.integers(0, 2**32, 2, dtype=np.uint32)
        counter = rng.integers(0, 2**32, 64, dtype=np.uint32)
        expected = np.asarray(threefry_2x32(jnp.asarray(key), jnp.asarray(counter)))
        ones = np.ones(32, np.uint32)
        got = run_all("threefry", key[0] * ones, key[1] * ones, counter[:32], counter[32:])
        identical(np.concatenate(got), expected)


def test_threefry_known_answer():
    # Random123's kat_vectors: all ones.
    ones = np.uint32([0xFFFFFFFF])
    got = run_all("threefry", ones, ones, ones, ones)
    assert [int(x[0]) for x in got] == [0x1CB996FC, 0xBB002BE7]
