"""The 64-bit math library against mpmath, over all exponents, in both variants."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

from tabgrad.targets.wasm.builder import F64x2, Function, I64x2, Module, U64x2
from tabgrad.targets.wasm.mathlib import double
from tests.sweeping import Exact, assert_same, check_worst, of_finite, real, split, sweep
from tests.targets.wasm.functions import DTYPES, VARIANTS, check_plain, check_temporaries, evaluate

pytestmark = pytest.mark.usefixtures("references")

INF, NAN = math.inf, math.nan


def exp(x: Any) -> Any:
    return mpmath.exp(min(max(x, -2000), 2000))


def expm1(x: Any) -> Any:
    return mpmath.expm1(min(max(x, -2000), 2000))


def log(x: Any) -> Any:
    return mpmath.log(x) if x > 0 else mpmath.mpf(-INF if x == 0 else NAN)


def log1p(x: Any) -> Any:
    if x == INF or x <= -1:
        return mpmath.mpf(INF if x > 0 else -INF if x == -1 else NAN)
    return mpmath.log1p(x)


def tanh(x: Any) -> Any:
    return mpmath.tanh(min(max(x, -50), 50))


def sigmoid(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-min(max(x, -2000), 2000)))


UNARY: dict[str, tuple[Callable[[float], Exact], float]] = {
    "exp": (real(exp), 1.5),
    "expm1": (real(expm1), 2),
    "log": (real(log), 1.5),
    "log1p": (real(log1p), 2),
    "tanh": (real(tanh), 4),
    "sigmoid": (real(sigmoid), 4),
    "erf": (real(of_finite(mpmath.erf, -1, 1)), 2),
    "sin": (real(of_finite(mpmath.sin, NAN, NAN)), 1.25),
    "cos": (real(of_finite(mpmath.cos, NAN, NAN)), 1.25),
    "tan": (real(of_finite(mpmath.tan, NAN, NAN)), 1.5),
}


def _check_unary(name: str, x: Any) -> None:
    reference, bound = UNARY[name]
    want = [reference(v) for v in x.tolist()]
    for fma in (False, True):
        got = evaluate(lambda f, v, fma=fma: getattr(double, name)(f, v, fma), F64x2, x)
        check_worst(got, want, bound, x)


@pytest.mark.parametrize("name", UNARY)
def test_accuracy_over_all_exponents(name: str) -> None:
    # The interesting range of most functions once more.
    random = np.random.default_rng(5)
    near = [random.uniform(-s, s, 700) for s in (0.5, 1, 3, 7, 40, 760)]
    ends = [random.uniform(-746, -708, 300), random.uniform(709.5, 710, 100)]
    _check_unary(name, np.concatenate([sweep(1), *near, *ends]))


@pytest.mark.slow
@pytest.mark.parametrize("name", UNARY)
def test_accuracy_at_many_points(name: str) -> None:
    random = np.random.default_rng(6)
    near = [random.uniform(-s, s, 8000) for s in (0.5, 1, 3, 7, 40, 760)]
    _check_unary(name, np.concatenate([sweep(20, seed=8), *near]))


def _nearest_multiples() -> Any:
    """For many exponents, the significands that come nearest to a multiple of pi/2."""
    found = []
    with mpmath.workprec(2300):
        for exponent in range(-52, 971, 11):
            # The denominators m of the convergents of 2**exponent / (pi/2) make m times that ratio
            # nearest to a whole number.
            ratio = mpmath.mpf(2) ** exponent * 2 / mpmath.pi
            rest, last, current = ratio, (0, 1), (1, 0)
            for _ in range(200):
                whole = mpmath.floor(rest)
                last, current = (
                    current,
                    tuple(int(whole) * c + p for c, p in zip(current, last, strict=True)),
                )
                if current[1] >= 1 << 53:
                    break
                found.append(math.ldexp(current[1], exponent))
                if rest == whole:
                    break
                rest = 1 / (rest - whole)
    return np.array(found)


def test_reduction_next_to_multiples_of_half_pi() -> None:
    x = _nearest_multiples()
    x = np.concatenate([x, -x])
    with mpmath.workprec(1300):
        want = {name: [UNARY[name][0](v) for v in x.tolist()] for name in ("sin", "cos", "tan")}
    nearest = min(abs(high) for high, _ in want["sin"] if high)
    assert nearest < 2.0**-55
    for name, values in want.items():
        for fma in (False, True):
            got = evaluate(lambda f, v, n=name, fma=fma: getattr(double, n)(f, v, fma), F64x2, x)
            check_worst(got, values, UNARY[name][1], x)


SPECIAL: dict[str, list[tuple[float, float]]] = {
    "exp": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0.0), (709.79, INF), (-746.0, 0.0), (NAN, NAN)],
    "expm1": [
        (0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1), (709.79, INF), (NAN, NAN),
        (5e-324, 5e-324), (-40.0, -1),
    ],
    "log": [
        (1.0, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-INF, NAN), (-1.0, NAN), (NAN, NAN),
        (-5e-324, NAN),
    ],
    "log1p": [
        (0.0, 0.0), (-0.0, -0.0), (-1.0, -INF), (-1.5, NAN), (INF, INF), (-INF, NAN), (NAN, NAN),
        (5e-324, 5e-324),
    ],
    "tanh": [
        (0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (40.0, 1), (NAN, NAN), (-5e-324, -5e-324),
    ],
    "sigmoid": [(0.0, 0.5), (INF, 1), (-INF, 0.0), (1e300, 1), (NAN, NAN)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (7.0, 1), (NAN, NAN)],
    "sin": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    "cos": [(0.0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    "tan": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN), (5e-324, 5e-324)],
    "sign": [(0.0, 0.0), (-0.0, 0.0), (5e-324, 1), (-INF, -1), (2.0, 1), (NAN, NAN)],
}  # fmt: skip


@VARIANTS
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name: str, fma: bool) -> None:
    x, want = np.array(SPECIAL[name], np.float64).T
    options = () if name == "sign" else (fma,)
    assert_same(evaluate(lambda f, v: getattr(double, name)(f, v, *options), F64x2, x), want)


EDGES = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 5e-324, -5e-324, 1e308, -1e308, 2.5,
     -2.5, 2.0**53, 2.0**53 - 1, -(2.0**54), 1.0000000000000002, 0.9999999999999999, INF, -INF,
     2.0**-1022, 2.0**1023, NAN],
)  # fmt: skip
EDGE_PAIRS = [a.ravel() for a in np.meshgrid(EDGES, EDGES)]


def pairs(count: int) -> tuple[Any, Any]:
    """All exponents against shuffled ones, neighbours in size, and moderate numbers."""
    random = np.random.default_rng(11)
    wide = sweep(count)
    near = random.normal(size=(2, 4000), scale=5)
    ratio = random.uniform(-40, 40, len(wide)) * 2.0 ** random.integers(-30, 31, len(wide))
    x = np.concatenate([wide, near[0], wide * ratio, EDGE_PAIRS[0]])
    return x, np.concatenate([random.permutation(wide), near[1], wide, EDGE_PAIRS[1]])


def _power(x: float, y: float) -> Exact:
    if not (math.isfinite(x) and math.isfinite(y)) or x in (0, 1) or y == 0:
        return float(np.power(np.array([x]), np.array([y]))[0]), 0.0
    if x < 0 and y != math.floor(y):
        return NAN, 0.0
    exponent = mpmath.log(abs(x), 2) * y
    limited = mpmath.mpf(2) ** min(max(exponent, -1200), 1100)
    high, low = split(limited)
    return (-high, -low) if x < 0 and y % 2 == 1 else (high, low)


def _check_power(count: int) -> None:
    random = np.random.default_rng(3)
    x, y = pairs(count)
    # Results in range for bases of every size; next to 1; and whole exponents for negative bases.
    base = np.abs(sweep(count))
    exponent = random.uniform(-1090, 1040, base.shape) / np.log2(base)
    size = 3000 * count
    next_to_one = 1 + random.uniform(-1, 1, size) * 2.0 ** random.integers(-52, -2, size)
    large = random.uniform(-1090, 1040, size) / np.log2(next_to_one)
    whole = random.integers(-200, 200, size)
    x = np.concatenate([x, base, next_to_one, random.normal(size=size, scale=3)])
    y = np.concatenate([y, exponent, large, whole])
    want = [_power(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    for fma in (False, True):
        got = evaluate(lambda f, a, b, fma=fma: double.power(f, a, b, fma), F64x2, x, y)
        check_worst(got, want, 1.5, x, y)
        zero = np.array([high == 0 for high, _ in want])
        sign = np.array([math.copysign(1, high) for high, _ in want]) < 0
        np.testing.assert_array_equal(np.signbit(got[zero]), sign[zero])


def test_power() -> None:
    _check_power(1)


@pytest.mark.slow
def test_power_at_many_points() -> None:
    _check_power(8)


def _check_atan2(count: int) -> None:
    y, x = pairs(count)
    want = []
    for a, b in zip(y.tolist(), x.tolist(), strict=True):
        if 0 < abs(a) < INF and 0 < abs(b) < INF:
            want.append(split(mpmath.atan2(a, b)))
        else:
            want.append(split(mpmath.mpf(math.atan2(a, b))))
    signs = np.signbit(np.arctan2(y, x))
    for fma in (False, True):
        got = evaluate(lambda f, a, b, fma=fma: double.atan2(f, a, b, fma), F64x2, y, x)
        check_worst(got, want, 2, y, x)
        known = ~np.isnan(got)
        np.testing.assert_array_equal(np.signbit(got[known]), signs[known])


def test_atan2() -> None:
    _check_atan2(1)


@pytest.mark.slow
def test_atan2_at_many_points() -> None:
    _check_atan2(10)


def test_floor_mod_is_numpys() -> None:
    x, y = pairs(3)
    assert_same(evaluate(double.floor_mod, F64x2, x, y), np.mod(x, y))


def test_floor_divide_floors_the_exact_quotient() -> None:
    x, y = pairs(2)
    random = np.random.default_rng(13)
    # Quotients that rounding brings up to a whole number, or leaves at one.
    scale = 2.0 ** random.integers(-990, 900, 4000)
    divisor = random.uniform(1, 2, 4000) * scale * random.choice([-1, 1], 4000)
    count = np.floor(2.0 ** random.uniform(0, 53, 4000))
    multiple = divisor * count
    dividends = [multiple, np.nextafter(multiple, 0), np.nextafter(multiple, INF)]
    x = np.concatenate([x, *dividends])
    y = np.concatenate([y, divisor, divisor, divisor])
    got = evaluate(double.floor_divide, F64x2, x, y)
    for a, b, result in zip(x.tolist(), y.tolist(), got.tolist(), strict=True):
        if not math.isfinite(a) or math.isnan(b) or (a == 0 and b == 0):
            assert math.isnan(result), (a, b, result)
        elif b == 0:
            assert result == math.copysign(INF, a) * math.copysign(1, b), (a, b, result)
        elif math.isinf(b):
            assert result == (-1 if a and (a < 0) != (b < 0) else 0), (a, b, result)
        elif abs(result) < 2.0**53:
            assert result == Fraction(a) // Fraction(b), (a, b, result)
        else:
            assert result == np.float64(a) / np.float64(b), (a, b, result)
    zero = got == 0
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(x[zero] / y[zero]))


def test_sign_maximum_and_minimum() -> None:
    x, y = pairs(1)
    assert_same(evaluate(double.sign, F64x2, x), np.sign(x) + 0.0)
    assert_same(evaluate(double.maximum, F64x2, x, y), _extreme(x, y, np.maximum))
    assert_same(evaluate(double.minimum, F64x2, x, y), _extreme(x, y, np.minimum))


def _extreme(x: Any, y: Any, function: Callable[..., Any]) -> Any:
    """+0 is above -0, whatever NumPy's processor says."""
    zeros = (x == 0) & (y == 0)
    other = -(-x + -y) if function is np.minimum else x + y
    return np.where(zeros, other, function(x, y))


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", [1, 8, 16, 31, 32, 33, 53, 63, 64])
def test_casts_to_integers_truncate_and_saturate(bits: int, signed: bool) -> None:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    ends = np.array([low, high], np.float64)
    ends = np.concatenate([np.nextafter(ends, -INF), ends, np.nextafter(ends, INF)])
    x = np.concatenate([sweep(1), np.linspace(-300, 300, 1201), ends, ends - 0.5])
    got = evaluate(lambda f, v: double.to_integer(f, v, bits, signed), F64x2, x)
    want = [0 if math.isnan(v) else min(max(v, low), high) for v in x.tolist()]
    assert got.tolist() == [int(v) for v in want]


def test_casts_check_the_width() -> None:
    f = Module().function("f")
    with pytest.raises(ValueError, match="1 to 64 bits, got 65"):
        double.to_integer(f, F64x2.const(0), 65, True)


@pytest.mark.parametrize("kind", [I64x2, U64x2], ids=lambda k: k.__name__)
def test_casts_from_integers_round_to_nearest(kind: Any) -> None:
    random = np.random.default_rng(17)
    words = random.integers(0, 1 << 64, 3000, np.uint64)
    words = np.concatenate([words >> np.uint64(s) for s in range(64)])
    ends = np.array([0, 1, (1 << 53) + 1, (1 << 54) + 2, 1 << 63, (1 << 64) - 1], np.uint64)
    x = np.concatenate([words, np.uint64(0) - words, ends]).view(DTYPES[kind])
    got = evaluate(double.from_integer, kind, x)
    assert got.tolist() == [float(v) for v in x.tolist()]


BINARY = ("power", "atan2")


def test_functions_give_their_temporaries_back() -> None:
    check_temporaries(F64x2, [getattr(double, name) for name in UNARY])


def test_the_plain_variant_needs_no_relaxed_instructions() -> None:
    def emit(f: Function, x: F64x2, fma: bool) -> Iterator[F64x2]:
        yield from (getattr(double, name)(f, x, fma) for name in UNARY)
        yield from (getattr(double, name)(f, x, x, fma) for name in BINARY)
        for name in ("floor_divide", "floor_mod", "maximum", "minimum"):
            yield getattr(double, name)(f, x, x)

    check_plain(F64x2, emit)
