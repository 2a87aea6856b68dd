"""The math library against float64 references, over all exponents, in both variants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tabgrad.targets.wasm import mathlib
from tabgrad.targets.wasm.builder import F32x4, Function, I32x4, Module, U32x4
from tests.sweeping import assert_same, check_worst32, sweep32
from tests.targets import single
from tests.targets.wasm.functions import VARIANTS, check_plain, check_temporaries, evaluate

pytestmark = pytest.mark.usefixtures("references")

BOUNDS = {
    "exp": 1.5,
    "expm1": 1.5,
    "log": 1,
    "log1p": 1.5,
    "tanh": 4,
    "sigmoid": 2.5,
    "erf": 1.5,
    "sin": 1.75,
    "cos": 1.75,
    "tan": 0.6,
}


def check(got: Any, want: Any, bound: float, *arguments: Any) -> None:
    """Units of the last place; zeros have the right sign."""
    check_worst32(got, want, bound, *arguments)
    zero = want == 0
    assert np.array_equal(np.signbit(got[zero]), np.signbit(want[zero]))


@VARIANTS
@pytest.mark.parametrize("name", single.UNARY)
def test_accuracy_over_all_exponents(name: str, fma: bool) -> None:
    x = single.numbers()
    got = evaluate(lambda f, v: getattr(mathlib, name)(f, v, fma), F32x4, x)
    check(got, single.UNARY[name](x.astype(np.float64)), BOUNDS[name], x)


@VARIANTS
@pytest.mark.parametrize("name", single.SPECIAL)
def test_special_values(name: str, fma: bool) -> None:
    x, want = np.array(single.SPECIAL[name], np.float32).T
    assert_same(evaluate(lambda f, v: getattr(mathlib, name)(f, v, fma), F32x4, x), want)


@VARIANTS
@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh", "sin", "tan"])
def test_the_smallest_numbers_stay_as_they_are(name: str, fma: bool) -> None:
    x = np.float32([1e-45, -1e-45, 3e-45, -1e-39])
    assert_same(evaluate(lambda f, v: getattr(mathlib, name)(f, v, fma), F32x4, x), x)


@VARIANTS
def test_what_never_rises_above_one_has_the_bits_of_exp(fma: bool) -> None:
    x = np.concatenate([-np.abs(sweep32(400)), np.linspace(-110, 0, 60000, dtype=np.float32)])
    odd = np.array([0x7FC00001, 0xFFC12345, 0x7FC00000], np.uint32).view(np.float32)
    x = np.concatenate([x, odd, np.float32([0.0, -0.0, -np.inf])])
    x = x[: len(x) // 4 * 4]
    falling, general = (
        evaluate(lambda f, v, name=name: getattr(mathlib, name)(f, v, fma), F32x4, x)
        for name in ("falling_exp", "exp")
    )
    assert_same(falling, general)


@VARIANTS
def test_power(fma: bool) -> None:
    x, y, want = single.powers()
    check(evaluate(lambda f, a, b: mathlib.power(f, a, b, fma), F32x4, x, y), want, 0.6, x, y)


@VARIANTS
def test_atan2(fma: bool) -> None:
    y, x, want = single.angles()
    check(evaluate(lambda f, a, b: mathlib.atan2(f, a, b, fma), F32x4, y, x), want, 1.75, y, x)


def test_floor_mod_and_floor_divide_are_numpys() -> None:
    x, y, floor, rest = single.quotients()
    assert_same(evaluate(mathlib.floor_mod, F32x4, x, y), rest)
    assert_same(evaluate(mathlib.floor_divide, F32x4, x, y), floor)


def test_sign_maximum_and_minimum() -> None:
    x, y = single.pairs(20)
    positive = evaluate(mathlib.sign, F32x4, x)
    assert_same(positive, np.sign(x) + np.float32(0))
    np.testing.assert_array_equal(evaluate(mathlib.maximum, F32x4, x, y), np.maximum(x, y))
    np.testing.assert_array_equal(evaluate(mathlib.minimum, F32x4, x, y), np.minimum(x, y))


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", [1, 8, 16, 24, 25, 31, 32])
def test_casts_to_integers_truncate_and_saturate(bits: int, signed: bool) -> None:
    x, want = single.truncated(bits, signed)
    got = evaluate(lambda f, v: mathlib.to_integer(f, v, bits, signed), F32x4, x)
    np.testing.assert_array_equal(got.astype(np.int64), want.astype(np.int64))


def test_casts_check_the_width() -> None:
    f = Module().function("f")
    with pytest.raises(ValueError, match="1 to 32 bits, got 64"):
        mathlib.to_integer(f, F32x4.const(0), 64, True)


@pytest.mark.parametrize("kind", [I32x4, U32x4], ids=lambda k: k.__name__)
def test_integer_division(kind: Any) -> None:
    x, y, quotient, rest = single.integer_quotients("int32" if kind is I32x4 else "uint32")
    np.testing.assert_array_equal(evaluate(mathlib.integer_floor_divide, kind, x, y), quotient)
    np.testing.assert_array_equal(evaluate(mathlib.integer_mod, kind, x, y), rest)
    np.testing.assert_array_equal(evaluate(mathlib.integer_gcd, kind, x, y), np.gcd(x, y))
    if kind is I32x4:
        np.testing.assert_array_equal(evaluate(mathlib.integer_sign, kind, x), np.sign(x))


def test_threefry_known_answers() -> None:
    *arguments, x0, x1 = (np.resize(words, 4) for words in single.THREEFRY)
    got = evaluate(
        lambda f, k0, k1, c0, c1: mathlib.threefry2x32(f, (k0, k1), (c0, c1)), U32x4, *arguments
    )
    assert [word.tolist() for word in got] == [x0.tolist(), x1.tolist()]


def test_functions_give_their_temporaries_back() -> None:
    check_temporaries(F32x4, [getattr(mathlib, name) for name in single.UNARY])


def test_the_plain_variant_needs_no_relaxed_instructions() -> None:
    def emit(f: Function, x: F32x4, fma: bool) -> Iterator[F32x4]:
        yield from (getattr(mathlib, name)(f, x, fma) for name in single.UNARY)
        yield from (binary(f, x, x, fma) for binary in (mathlib.power, mathlib.atan2))

    check_plain(F32x4, emit)
