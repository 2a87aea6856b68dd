"""The math library against float64 references, over all exponents, in both variants."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tabgrad.targets.wasm import mathlib
from tabgrad.targets.wasm.builder import F32x4, Function, I32x4, Module, U32x4
from tests.sweeping import assert_same, check_plain, check_temporaries, evaluate

INF, NAN = math.inf, math.nan
VARIANTS = pytest.mark.parametrize("fma", [False, True], ids=["plain", "fma"])


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


def ulps(got: Any, want: Any) -> Any:
    """The distance of float32 numbers from float64 ones in units of float32's last place."""
    assert np.array_equal(np.isnan(got), np.isnan(want)), "NaN in the wrong places"
    limit = 2.0**128
    got = np.clip(got.astype(np.float64), -limit, limit)
    want = np.clip(want, -limit, limit)
    _, exponent = np.frexp(want)
    unit = np.ldexp(1.0, np.clip(exponent - 24, -149, 104))
    return np.nan_to_num(np.abs(got - want)) / unit


def sigmoid(x: Any) -> Any:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1.0 + small)


UNARY: dict[str, tuple[Callable[[Any], Any], float]] = {
    "exp": (np.exp, 1.5),
    "expm1": (np.expm1, 1.5),
    "log": (np.log, 1),
    "log1p": (np.log1p, 1.5),
    "tanh": (np.tanh, 4),
    "sigmoid": (sigmoid, 2.5),
    "erf": (np.vectorize(math.erf, otypes=[float]), 1.5),
    "sin": (np.sin, 1.75),
    "cos": (np.cos, 1.75),
    "tan": (np.tan, 0.6),
}


@VARIANTS
@pytest.mark.parametrize("name", UNARY)
def test_accuracy_over_all_exponents(name: str, fma: bool) -> None:
    reference, bound = UNARY[name]
    # The interesting range of most functions once more, densely.
    x = np.concatenate([sweep(400), np.linspace(-110, 110, 60000, dtype=np.float32)])
    got = evaluate(lambda f, v: getattr(mathlib, name)(f, v, fma), F32x4, x)
    want = reference(x.astype(np.float64))
    error = ulps(got, want)
    assert error.max() <= bound, f"{error.max():.2f} ulp at {x[error.argmax()]!r}"


SPECIAL: dict[str, list[tuple[float, float]]] = {
    "exp": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0.0), (88.8, INF), (-104.0, 0.0), (NAN, NAN)],
    "expm1": [
        (0.0, 0.0),
        (-0.0, -0.0),
        (INF, INF),
        (-INF, -1),
        (88.8, INF),
        (NAN, NAN),
        (1e-45, 1e-45),
    ],
    "log": [
        (1.0, 0.0),
        (0.0, -INF),
        (-0.0, -INF),
        (INF, INF),
        (-INF, NAN),
        (-1.0, NAN),
        (NAN, NAN),
    ],
    "log1p": [
        (0.0, 0.0),
        (-0.0, -0.0),
        (-1.0, -INF),
        (-1.5, NAN),
        (INF, INF),
        (-INF, NAN),
        (NAN, NAN),
    ],
    "tanh": [
        (0.0, 0.0),
        (-0.0, -0.0),
        (INF, 1),
        (-INF, -1),
        (20.0, 1),
        (NAN, NAN),
        (-1e-45, -1e-45),
    ],
    "sigmoid": [(0.0, 0.5), (INF, 1), (-INF, 0.0), (200.0, 1), (NAN, NAN)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (5.0, 1), (NAN, NAN)],
    "sin": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    "cos": [(0.0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    "tan": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN)],
}


@VARIANTS
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name: str, fma: bool) -> None:
    x, want = np.array(SPECIAL[name], np.float32).T
    got = evaluate(lambda f, v: getattr(mathlib, name)(f, v, fma), F32x4, x)
    assert_same(got, want)


@VARIANTS
def test_what_never_rises_above_one_has_the_bits_of_exp(fma: bool) -> None:
    x = np.concatenate([-np.abs(sweep(400)), np.linspace(-110, 0, 60000, dtype=np.float32)])
    odd = np.array([0x7FC00001, 0xFFC12345, 0x7FC00000], np.uint32).view(np.float32)
    x = np.concatenate([x, odd, np.float32([0.0, -0.0, -INF])])
    x = x[: len(x) // 4 * 4]
    falling, general = (
        evaluate(lambda f, v, name=name: getattr(mathlib, name)(f, v, fma), F32x4, x)
        for name in ("falling_exp", "exp")
    )
    assert_same(falling, general)


EDGES = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 1e-45, -1e-45, 1e38, -1e38, 2.5, -2.5,
     16777215.0, 16777216.0, -33554432.0, 1.0000001, 0.9999999, INF, -INF, NAN],
    np.float32,
)  # fmt: skip
EDGE_PAIRS = [a.ravel() for a in np.meshgrid(EDGES, EDGES)]


def pairs(count: int) -> tuple[Any, Any]:
    """All exponents against shuffled ones, and moderate numbers."""
    random = np.random.default_rng(11)
    wide = sweep(count)
    near = random.normal(size=(2, 40000), scale=5).astype(np.float32)
    x, y = np.concatenate([wide, near[0]]), np.concatenate([random.permutation(wide), near[1]])
    return np.concatenate([x, EDGE_PAIRS[0]]), np.concatenate([y, EDGE_PAIRS[1]])


@VARIANTS
def test_power(fma: bool) -> None:
    random = np.random.default_rng(3)
    x, y = pairs(60)
    # Results in range for bases of every size; and whole exponents for negative bases.
    base = np.abs(sweep(60))
    exponent = random.uniform(-150, 130, base.shape) / np.log2(base)
    whole = random.integers(-20, 20, 20000)
    x = np.concatenate([x, base, random.normal(size=20000, scale=3)]).astype(np.float32)
    y = np.concatenate([y, exponent, whole]).astype(np.float32)
    got = evaluate(lambda f, a, b: mathlib.power(f, a, b, fma), F32x4, x, y)
    want = np.power(x.astype(np.float64), y.astype(np.float64))
    error = ulps(got, want)
    worst = error.argmax()
    assert error[worst] <= 0.6, f"{error[worst]:.2f} ulp at {x[worst]!r} ** {y[worst]!r}"
    zero = want == 0
    assert np.array_equal(np.signbit(got[zero]), np.signbit(want[zero]))


@VARIANTS
def test_atan2(fma: bool) -> None:
    y, x = pairs(150)
    got = evaluate(lambda f, a, b: mathlib.atan2(f, a, b, fma), F32x4, y, x)
    want = np.arctan2(y.astype(np.float64), x.astype(np.float64))
    error = ulps(got, want)
    worst = error.argmax()
    assert error[worst] <= 1.75, f"{error[worst]:.2f} ulp at {y[worst]!r}, {x[worst]!r}"
    zero = want == 0
    assert np.array_equal(np.signbit(got[zero]), np.signbit(want[zero]))


def test_floor_mod_is_numpys() -> None:
    x, y = pairs(60)
    assert_same(evaluate(mathlib.floor_mod, F32x4, x, y), np.mod(x, y))


def test_floor_divide() -> None:
    x, y = pairs(60)
    got = evaluate(mathlib.floor_divide, F32x4, x, y)
    want = np.floor_divide(x.astype(np.float64), y.astype(np.float64)).astype(np.float32)
    assert_same(got[np.isfinite(x)], want[np.isfinite(x)])
    assert np.isnan(got[~np.isfinite(x)]).all()


def test_sign_maximum_and_minimum() -> None:
    x, y = pairs(20)
    positive = evaluate(mathlib.sign, F32x4, x)
    assert_same(positive, np.sign(x) + np.float32(0))
    np.testing.assert_array_equal(evaluate(mathlib.maximum, F32x4, x, y), np.maximum(x, y))
    np.testing.assert_array_equal(evaluate(mathlib.minimum, F32x4, x, y), np.minimum(x, y))


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", [1, 8, 16, 24, 25, 31, 32])
def test_casts_to_integers_truncate_and_saturate(bits: int, signed: bool) -> None:
    x = np.concatenate([sweep(10), np.linspace(-300, 300, 1201, dtype=np.float32)])
    got = evaluate(lambda f, v: mathlib.to_integer(f, v, bits, signed), F32x4, x)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    want = np.clip(np.trunc(np.nan_to_num(x.astype(np.float64), nan=0.0)), low, high)
    np.testing.assert_array_equal(got.astype(np.int64), want.astype(np.int64))


def test_casts_check_the_width() -> None:
    f = Module().function("f")
    with pytest.raises(ValueError, match="1 to 32 bits, got 64"):
        mathlib.to_integer(f, F32x4.const(0), 64, True)


@pytest.mark.parametrize("kind", [I32x4, U32x4], ids=lambda k: k.__name__)
def test_integer_division(kind: Any) -> None:
    dtype = np.int32 if kind is I32x4 else np.uint32
    random = np.random.default_rng(5)
    info = np.iinfo(dtype)
    edges = np.array([0, 1, 2, 3, 7, info.min, info.min + 1, info.max, info.max - 1], dtype)
    edges = np.concatenate([edges, -edges])
    wide = random.integers(info.min, info.max, 20000, dtype, endpoint=True)
    small = random.integers(0, 20, 20000).astype(dtype) - dtype(10 if info.min else 0)
    grid = [a.ravel() for a in np.meshgrid(edges, edges)]
    x = np.concatenate([wide, wide, small, grid[0]])
    y = np.concatenate([random.permutation(wide), small, random.permutation(small), grid[1]])
    want_quotient, want_mod = np.floor_divide(x, y), np.mod(x, y)
    quotient = evaluate(mathlib.integer_floor_divide, kind, x, y)
    np.testing.assert_array_equal(quotient, want_quotient)
    np.testing.assert_array_equal(evaluate(mathlib.integer_mod, kind, x, y), want_mod)
    if kind is I32x4:
        np.testing.assert_array_equal(evaluate(mathlib.integer_sign, kind, x), np.sign(x))


def test_threefry_known_answers() -> None:
    """The vectors published with the Random123 library."""
    ones = 0xFFFFFFFF
    key = [(0, 0), (ones, ones), (0x13198A2E, 0x03707344), (0, 0)]
    counter = [(0, 0), (ones, ones), (0x243F6A88, 0x85A308D3), (0, 0)]
    words = [np.array(w, np.uint32) for w in (*zip(*key), *zip(*counter))]
    got = evaluate(
        lambda f, k0, k1, c0, c1: mathlib.threefry2x32(f, (k0, k1), (c0, c1)), U32x4, *words
    )
    assert [hex(w) for w in got[0][:3]] == ["0x6b200159", "0x1cb996fc", "0xc4923a9c"]
    assert [hex(w) for w in got[1][:3]] == ["0x99ba4efe", "0xbb002be7", "0x483df7a0"]


def test_functions_give_their_temporaries_back() -> None:
    check_temporaries(F32x4, [getattr(mathlib, name) for name in UNARY])


def test_the_plain_variant_needs_no_relaxed_instructions() -> None:
    def emit(f: Function, x: F32x4, fma: bool) -> Iterator[F32x4]:
        yield from (getattr(mathlib, name)(f, x, fma) for name in UNARY)
        yield from (binary(f, x, x, fma) for binary in (mathlib.power, mathlib.atan2))

    check_plain(F32x4, emit)
