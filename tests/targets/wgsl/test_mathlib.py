"""Scalar functions of shaders against float64, over all exponents, of one lane and of four.

Bounds hold on any adapter within WebGPU's accuracy of divisions (2.5 units); what SwiftShader gives
stands beside each. Subnormal numbers are left to the adapter: it may take them for zeros, and where
a result is to be one it may be a zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tabgrad.targets.shading import mathlib
from tabgrad.targets.shading.values import LANES
from tests.sweeping import assert_same, check_worst32, left_open, sweep32
from tests.targets import single
from tests.targets.single import INF
from tests.targets.wgsl.machine import evaluate

pytestmark = pytest.mark.usefixtures("references")

WIDTHS = pytest.mark.parametrize("width", [1, LANES], ids=["one lane", "four lanes"])


def check(got: Any, want: Any, bound: float, *arguments: Any) -> None:
    """Units of the last place, away from subnormal numbers; zeros have the right sign."""
    check_worst32(got, want, bound, *arguments, flushed=True)
    zero = want == 0
    for x in arguments:
        zero &= ~left_open(x, got, want)
    assert np.array_equal(np.signbit(got[zero]), np.signbit(want[zero]))


BOUNDS = {
    "exp": 1.5,  # 1.15
    "expm1": 1.5,  # 1.26
    "log": 1,  # 0.70
    "log1p": 1.5,  # 1.09
    "tanh": 4,  # 3.05
    "sigmoid": 2.5,  # 2.00
    "erf": 1.75,  # 1.37
    "sin": 1.75,  # 1.43
    "cos": 1.75,  # 1.42
    "tan": 2,  # 1.50
}


@WIDTHS
@pytest.mark.parametrize("name", single.UNARY)
def test_accuracy_over_all_exponents(name: str, width: int) -> None:
    x = single.numbers()
    (got,) = evaluate(getattr(mathlib, name), width, ["float32"], x)
    check(got, single.UNARY[name](x.astype(np.float64)), BOUNDS[name], x)


@WIDTHS
@pytest.mark.parametrize("name", single.SPECIAL)
def test_special_values(name: str, width: int) -> None:
    x, want = np.array(single.SPECIAL[name], np.float32).T
    (got,) = evaluate(getattr(mathlib, name), width, ["float32"], x)
    assert_same(got, want)


@WIDTHS
def test_power(width: int) -> None:
    x, y, want = single.powers()
    (got,) = evaluate(mathlib.power, width, ["float32"], x, y)
    check(got, want, 2, x, y)  # 1.80


@WIDTHS
def test_atan2(width: int) -> None:
    y, x, want = single.angles()
    (got,) = evaluate(mathlib.atan2, width, ["float32"], y, x)
    check(got, want, 1.75, y, x)  # 1.45


@WIDTHS
def test_floor_mod_and_floor_divide_are_numpys(width: int) -> None:
    x, y, floor, rest = single.quotients()
    (got,) = evaluate(mathlib.floor_mod, width, ["float32"], x, y)
    check(got, rest.astype(np.float64), 0, x, y)
    (got,) = evaluate(mathlib.floor_divide, width, ["float32"], x, y)
    check(got, floor.astype(np.float64), 0, x, y)


@WIDTHS
def test_maximum_and_minimum(width: int) -> None:
    x, y = single.pairs(20)
    normal = ~(left_open(x, x, x) | left_open(y, y, y))
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
    x = np.concatenate([sweep32(200), at, *beside])
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
    x, want = single.truncated(bits, signed)
    (got,) = evaluate(lambda v: mathlib.to_integer(v, bits, signed), width, [want.dtype.name], x)
    np.testing.assert_array_equal(got, want)


@WIDTHS
@pytest.mark.parametrize("dtype", ["int32", "uint32"])
def test_integers(dtype: str, width: int) -> None:
    """Quotients and remainders towards -infinity, 0 for a divisor of 0; common divisors; powers; to
    floats."""
    x, y, quotient, rest = single.integer_quotients(dtype)
    (got,) = evaluate(mathlib.integer_floor_divide, width, [dtype], x, y)
    np.testing.assert_array_equal(got, quotient)
    (got,) = evaluate(mathlib.integer_mod, width, [dtype], x, y)
    np.testing.assert_array_equal(got, rest)
    (got,) = evaluate(mathlib.integer_gcd, width, [dtype], x, y)
    np.testing.assert_array_equal(got, np.gcd(x, y))
    (got,) = evaluate(mathlib.to_float, width, ["float32"], x)
    np.testing.assert_array_equal(got, x.astype(np.float32))
    exponent = np.where(y >= 0, y, 0)
    (got,) = evaluate(mathlib.integer_power, width, [dtype], x, exponent)
    np.testing.assert_array_equal(got, x**exponent)


@WIDTHS
def test_negative_integer_powers(width: int) -> None:
    x, y = (v.ravel() for v in np.meshgrid(np.int32([-3, -2, -1, 0, 1, 2, 9]), -np.arange(1, 6)))
    (got,) = evaluate(mathlib.integer_power, width, ["int32"], x, y.astype(np.int32))
    want = np.where(x == 1, 1, np.where(x == -1, np.where(y % 2, -1, 1), 0))
    np.testing.assert_array_equal(got, want)


@WIDTHS
def test_threefry_has_the_known_answers(width: int) -> None:
    *arguments, x0, x1 = single.THREEFRY
    got = evaluate(mathlib.threefry2x32, width, ["uint32", "uint32"], *arguments)
    assert [word.tolist() for word in got] == [x0.tolist(), x1.tolist()]
