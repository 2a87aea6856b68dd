"""Scalar functions of shaders against float64, over all exponents, of one lane and of four.

Bounds hold on any adapter within WebGPU's accuracy of divisions (2.5 units); what SwiftShader gives
stands beside each. Subnormal numbers are left to the adapter: it may take them for zeros, and where
a result is to be one it may be a zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from scipy import special

from tabgrad.targets.shading import mathlib
from tabgrad.targets.shading.values import LANES
from tests.sweeping import assert_same
from tests.targets.wgsl.machine import evaluate

INF, NAN = math.inf, math.nan
TINY = float(np.finfo(np.float32).tiny)
LIMIT = 2.0**128
WIDTHS = pytest.mark.parametrize("width", [1, LANES], ids=["one lane", "four lanes"])


@pytest.fixture(autouse=True)
def _no_floating_point_warnings() -> Iterator[None]:
    """The references overflow, divide by zero and meet signalling NaN, as they should."""
    with np.errstate(all="ignore"):
        yield


def sweep(count: int) -> Any:
    """Float32 numbers: every exponent, both signs, the edges and `count` random mantissas."""
    random = np.random.default_rng(7)
    edges = np.array([0, 1, 2, 0x3FFFFF, 0x400000, 0x7FFFFE, 0x7FFFFF], np.uint32)
    mantissas = random.integers(0, 1 << 23, (512, count), np.uint32)
    mantissas = np.concatenate([np.broadcast_to(edges, (512, len(edges))), mantissas], axis=1)
    heads = (np.arange(512, dtype=np.uint32) << 23)[:, None]
    return (heads | mantissas).ravel().view(np.float32)


EDGES = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 1e38, -1e38, 2.5, -2.5, 16777215.0,
     16777216.0, -33554432.0, 1.0000001, 0.9999999, TINY, -TINY, INF, -INF, NAN],
    np.float32,
)  # fmt: skip


def pairs(count: int) -> tuple[Any, Any]:
    """All exponents against shuffled ones, moderate numbers, and every edge with every other."""
    random = np.random.default_rng(11)
    wide = sweep(count)
    near = random.normal(size=(2, 40000), scale=5).astype(np.float32)
    x, y = np.concatenate([wide, near[0]]), np.concatenate([random.permutation(wide), near[1]])
    edges = np.meshgrid(EDGES, EDGES)
    return np.concatenate([x, edges[0].ravel()]), np.concatenate([y, edges[1].ravel()])


def is_subnormal(x: Any) -> Any:
    return (x != 0) & (np.abs(x) < TINY)


def check(got: Any, want: Any, bound: float, *arguments: Any) -> None:
    """Units of the last place, away from subnormal numbers; zeros have the right sign."""
    _, exponent = np.frexp(np.clip(want, -LIMIT, LIMIT))
    unit = np.ldexp(1.0, np.clip(exponent - 24, -149, 104))
    distance = np.clip(got.astype(np.float64), -LIMIT, LIMIT) - np.clip(want, -LIMIT, LIMIT)
    error = np.where(np.isnan(got) != np.isnan(want), INF, np.nan_to_num(np.abs(distance)) / unit)
    left_open = is_subnormal(want) & (got == 0)
    for x in arguments:
        left_open |= is_subnormal(x)
    error = np.where(left_open, 0, error)
    at = error.argmax()
    asked = [x[at] for x in arguments]
    assert error[at] <= bound, f"{error[at]:.2f} ulp at {asked}: {got[at]!r}, not {want[at]!r}"
    zero = (want == 0) & ~left_open
    assert np.array_equal(np.signbit(got[zero]), np.signbit(want[zero]))


def sigmoid(x: Any) -> Any:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1.0 + small)


UNARY: dict[str, tuple[Callable[[Any], Any], float]] = {
    "exp": (np.exp, 1.5),  # 1.15
    "expm1": (np.expm1, 1.5),  # 1.26
    "log": (np.log, 1),  # 0.70
    "log1p": (np.log1p, 1.5),  # 1.09
    "tanh": (np.tanh, 4),  # 3.05
    "sigmoid": (sigmoid, 2.5),  # 2.00
    "erf": (special.erf, 1.75),  # 1.37
    "sin": (np.sin, 1.75),  # 1.43
    "cos": (np.cos, 1.75),  # 1.42
    "tan": (np.tan, 2),  # 1.50
}


@WIDTHS
@pytest.mark.parametrize("name", UNARY)
def test_accuracy_over_all_exponents(name: str, width: int) -> None:
    reference, bound = UNARY[name]
    # The interesting range of most functions once more, densely.
    x = np.concatenate([sweep(400), np.linspace(-110, 110, 60000, dtype=np.float32)])
    (got,) = evaluate(getattr(mathlib, name), width, ["float32"], x)
    check(got, reference(x.astype(np.float64)), bound, x)


SPECIAL: dict[str, list[tuple[float, float]]] = {
    "exp": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0.0), (88.8, INF), (-104.0, 0.0), (NAN, NAN)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1), (88.8, INF), (NAN, NAN)],
    "log": [(1.0, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-INF, NAN), (-1, NAN), (NAN, NAN)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1.0, -INF), (-1.5, NAN), (INF, INF), (-INF, NAN)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (20.0, 1), (NAN, NAN)],
    "sigmoid": [(0.0, 0.5), (INF, 1), (-INF, 0.0), (200.0, 1), (NAN, NAN)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (5.0, 1), (NAN, NAN)],
    "sin": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    "cos": [(0.0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    "tan": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN)],
}


@WIDTHS
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name: str, width: int) -> None:
    x, want = np.array(SPECIAL[name], np.float32).T
    (got,) = evaluate(getattr(mathlib, name), width, ["float32"], x)
    assert_same(got, want)


@WIDTHS
def test_power(width: int) -> None:
    random = np.random.default_rng(3)
    x, y = pairs(60)
    # Results in range for bases of every size; and whole exponents for negative bases.
    base = np.abs(sweep(60))
    exponent = random.uniform(-150, 130, base.shape) / np.log2(base)
    whole = random.integers(-20, 20, 20000)
    x = np.concatenate([x, base, random.normal(size=20000, scale=3)]).astype(np.float32)
    y = np.concatenate([y, exponent, whole]).astype(np.float32)
    (got,) = evaluate(mathlib.power, width, ["float32"], x, y)
    check(got, np.power(x.astype(np.float64), y.astype(np.float64)), 2, x, y)  # 1.80


@WIDTHS
def test_atan2(width: int) -> None:
    y, x = pairs(150)
    (got,) = evaluate(mathlib.atan2, width, ["float32"], y, x)
    check(got, np.arctan2(y.astype(np.float64), x.astype(np.float64)), 1.75, y, x)  # 1.45


@WIDTHS
def test_floor_mod_is_numpys(width: int) -> None:
    x, y = pairs(60)
    (got,) = evaluate(mathlib.floor_mod, width, ["float32"], x, y)
    check(got, np.mod(x, y).astype(np.float64), 0, x, y)


@WIDTHS
def test_floor_divide(width: int) -> None:
    x, y = pairs(60)
    (got,) = evaluate(mathlib.floor_divide, width, ["float32"], x, y)
    want = np.floor_divide(x.astype(np.float64), y.astype(np.float64)).astype(np.float32)
    want[~np.isfinite(x)] = NAN
    check(got, want.astype(np.float64), 0, x, y)


@WIDTHS
def test_maximum_and_minimum(width: int) -> None:
    x, y = pairs(20)
    normal = ~is_subnormal(x) & ~is_subnormal(y)
    for ours, numpys in ((mathlib.maximum, np.maximum), (mathlib.minimum, np.minimum)):
        (got,) = evaluate(ours, width, ["float32"], x, y)
        np.testing.assert_array_equal(got[normal], numpys(x, y)[normal])
    zeros = np.float32([0.0, -0.0, 0.0, -0.0]), np.float32([0.0, 0.0, -0.0, -0.0])
    for ours, signs in ((mathlib.maximum, [0, 0, 0, 1]), (mathlib.minimum, [0, 1, 1, 1])):
        (got,) = evaluate(ours, width, ["float32"], *zeros)
        assert np.signbit(got).tolist() == signs


BITS = np.arange(65536, dtype=np.uint32)
HALVES = BITS.astype(np.uint16).view(np.float16)


@WIDTHS
def test_every_half(width: int) -> None:
    """All 65,536 of them to float32 and back."""
    wide, nan = HALVES.astype(np.float32), np.isnan(HALVES)
    (got,) = evaluate(mathlib.half_from_bits, width, ["float32"], BITS)
    np.testing.assert_array_equal(got.view(np.uint32)[~nan], wide.view(np.uint32)[~nan])
    assert np.isnan(got[nan]).all()
    (bits,) = evaluate(mathlib.half_to_bits, width, ["uint32"], wide)
    np.testing.assert_array_equal(bits[~nan], BITS[~nan])
    assert np.isnan(bits[nan].astype(np.uint16).view(np.float16)).all()


@WIDTHS
def test_rounding_to_halves(width: int) -> None:
    """All exponents; every half, the middle between it and the next, and what lies beside these."""
    finite = HALVES[np.isfinite(HALVES)].astype(np.float32)
    middles = (finite[:-1] + finite[1:]) / 2
    at = np.concatenate([finite, middles, np.float32([65519.99, 65520, -65520])])
    beside = [np.nextafter(at, np.float32(end)) for end in (-INF, INF)]
    x = np.concatenate([sweep(200), at, *beside])
    (got,) = evaluate(mathlib.rounded_to_half, width, ["float32"], x)
    want = x.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    number = ~np.isnan(want)
    np.testing.assert_array_equal(got.view(np.uint32)[number], want.view(np.uint32)[number])


@WIDTHS
@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_floats_to_integers(signed: bool, bits: int, width: int) -> None:
    """Truncated, with the limits for what is beyond them and 0 for NaN."""
    limits = [2.0**k + d for k in (7, 8, 15, 16, 31, 32) for d in (-1, -0.5, 0, 0.5, 1)]
    near = np.nextafter(np.float32(limits), np.float32(0))
    x = np.concatenate([sweep(200), np.float32(limits), -np.float32(limits), near, -near])
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    dtype = "int32" if signed else "uint32"
    (got,) = evaluate(lambda v: mathlib.to_integer(v, bits, signed), width, [dtype], x)
    finite = np.nan_to_num(x.astype(np.float64), nan=0, posinf=1e300, neginf=-1e300)
    np.testing.assert_array_equal(got, np.trunc(np.clip(finite, low, high)).astype(dtype))


def integer_pairs(dtype: str) -> tuple[Any, Any]:
    random, info = np.random.default_rng(2), np.iinfo(dtype)
    low = -9 if info.min else 0
    wide = random.integers(info.min, info.max, (2, 8000), dtype, endpoint=True)
    small = random.integers(low, 10, (2, 8000)).astype(dtype)
    ends = [0, 1, 2, 7, info.max, info.max - 1, info.min, info.min + 1, *([-1, -2] if low else [])]
    edges = np.meshgrid(np.array(ends, dtype), np.array(ends, dtype))
    x = np.concatenate([wide[0], wide[1], small[0], edges[0].ravel()])
    return x, np.concatenate([wide[1], small[1], small[1], edges[1].ravel()])


@WIDTHS
@pytest.mark.parametrize("dtype", ["int32", "uint32"])
def test_integers(dtype: str, width: int) -> None:
    """Quotients and remainders towards -infinity, 0 for a divisor of 0; powers; to floats."""
    x, y = integer_pairs(dtype)
    divisor = np.where(y == 0, np.ones_like(y), y)
    (quotient,) = evaluate(mathlib.integer_floor_divide, width, [dtype], x, y)
    np.testing.assert_array_equal(quotient, np.where(y == 0, 0, x // divisor))
    (rest,) = evaluate(mathlib.integer_mod, width, [dtype], x, y)
    np.testing.assert_array_equal(rest, np.where(y == 0, 0, x % divisor))
    (single,) = evaluate(mathlib.to_float, width, ["float32"], x)
    np.testing.assert_array_equal(single, x.astype(np.float32))
    exponent = np.where(y >= 0, y, 0)
    (power,) = evaluate(mathlib.integer_power, width, [dtype], x, exponent)
    np.testing.assert_array_equal(power, x**exponent)


@WIDTHS
def test_negative_integer_powers(width: int) -> None:
    x, y = (v.ravel() for v in np.meshgrid(np.int32([-3, -2, -1, 0, 1, 2, 9]), -np.arange(1, 6)))
    (got,) = evaluate(mathlib.integer_power, width, ["int32"], x, y.astype(np.int32))
    want = np.where(x == 1, 1, np.where(x == -1, np.where(y % 2, -1, 1), 0))
    np.testing.assert_array_equal(got, want)


@WIDTHS
def test_threefry_has_the_known_answers(width: int) -> None:
    """Those of Random123's kat_vectors, https://www.thesalmons.org/john/random123/."""
    k0, k1, c0, c1, x0, x1 = np.array(
        [
            (0, 0, 0, 0, 0x6B200159, 0x99BA4EFE),
            (*[0xFFFFFFFF] * 4, 0x1CB996FC, 0xBB002BE7),
            (0x13198A2E, 0x03707344, 0x243F6A88, 0x85A308D3, 0xC4923A9C, 0x483DF7A0),
        ],
        np.uint32,
    ).T
    got = evaluate(mathlib.threefry2x32, width, ["uint32", "uint32"], k0, k1, c0, c1)
    assert [word.tolist() for word in got] == [x0.tolist(), x1.tolist()]
