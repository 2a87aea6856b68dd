"""Functions composed of others over all exponents: float32 against SciPy, float64 against mpmath.

The bounds are those of the docstrings; what was measured stands beside each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import mpmath
import numpy as np
import pytest
from scipy import special

import tabgrad as tg
from tests.ops.comparing import INSIDE, TINY
from tests.ops.engines import ENGINES, GPUS, WIDE_ENGINES, chosen
from tests.ops.table_special import i0, sinc
from tests.sweeping import (
    check_worst,
    check_worst32,
    left_open,
    of_finite,
    real,
    split,
    sweep,
    sweep32,
)

pytestmark = pytest.mark.usefixtures("references")


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    with chosen(request.param):
        yield request.param


def _within(low: float, high: float, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: function(x) if low <= x <= high else mpmath.mpf("nan")


def _clipped(limit: float, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: function(min(max(x, -limit), limit))


def _cbrt(x: Any) -> Any:
    return mpmath.sign(x) * mpmath.cbrt(abs(x))


def _sinc(x: Any) -> Any:
    return mpmath.sinpi(x) / (mpmath.pi * x) if x else mpmath.mpf(1)


def _acosh(x: Any) -> Any:
    return mpmath.acosh(x) if x >= 1 else mpmath.mpf("nan")


def _erfinv64(x: Any) -> Any:
    """By the normal quantile near 1, which keeps the digits of the complement."""
    near_one = -special.ndtri((1 - np.abs(x)) / 2) / np.sqrt(2)
    return np.where(np.abs(x) > 0.5, np.copysign(near_one, x), special.erfinv(x))


def _erfinv(x: Any) -> Any:
    if abs(x) >= 1 or x == 0:
        return mpmath.mpf("nan") if abs(x) > 1 else x * INF if x else x
    root = mpmath.mpf(float(_erfinv64(float(x)))) or x
    for _ in range(4):  # Newton's
        missing = mpmath.erfc(abs(root)) - (1 - abs(x))
        if abs(x) < 0.5:
            missing = abs(x) - mpmath.erf(abs(root))
        root += mpmath.sign(x) * missing * mpmath.exp(root * root) * mpmath.sqrt(mpmath.pi) / 2
    return root


def _logarithm(base: int) -> Callable[[Any], Any]:
    return lambda x: mpmath.log(x, base) if x > 0 else mpmath.mpf("-inf" if x == 0 else "nan")


INF = mpmath.inf

# name: (float64 reference for float32, mpmath's for float64, bound in ULP)  # largest error found
# in float32 and in float64 with 1500 and 3 random numbers for each exponent, on all engines.
FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any], float]] = {
    "arcsin": (np.arcsin, _within(-1, 1, mpmath.asin), 3),  # 2.17 1.62
    "arccos": (np.arccos, _within(-1, 1, mpmath.acos), 3),  # 2.35 2.01
    "arctan": (np.arctan, mpmath.atan, 2),  # 1.38 1.10
    "sinh": (np.sinh, _clipped(2000, mpmath.sinh), 3),  # 1.75 2.19
    "cosh": (np.cosh, _clipped(2000, mpmath.cosh), 3),  # 1.75 2.19
    "arcsinh": (np.arcsinh, of_finite(mpmath.asinh, -INF, INF), 3),  # 1.64 1.44
    "arccosh": (np.arccosh, of_finite(_acosh, "nan", INF), 3),  # 2.11 1.58
    "arctanh": (np.arctanh, _within(-1, 1, mpmath.atanh), 3),  # 2.01 1.74
    "exp2": (np.exp2, _clipped(3000, lambda x: mpmath.mpf(2) ** x), 2),  # 0.53 1.05
    "cbrt": (np.cbrt, of_finite(_cbrt, -INF, INF), 2),  # 0.73 0.72
    "deg2rad": (np.deg2rad, lambda x: x * mpmath.pi / 180, 2),  # 0.63 1.00
    "rad2deg": (np.rad2deg, lambda x: x * 180 / mpmath.pi, 2),  # 0.70 0.81
    "sinc": (sinc, of_finite(_sinc, "nan", "nan"), 4),  # 2.97 2.35
    "erfc": (special.erfc, _clipped(60, mpmath.erfc), 4),  # 3.63 2.90
    "erfinv": (_erfinv64, _erfinv, 4),  # 3.43 3.39
    "i0": (i0, _clipped(800, lambda x: mpmath.besseli(0, x)), 5),  # 4.14 3.23
    "log2": (np.log2, _logarithm(2), 2),  # 1.54 1.31
    "log10": (np.log10, _logarithm(10), 2),  # 1.86 1.22
}


def _near(count: int, dtype: str) -> Any:
    """Numbers of the sizes at which most functions change their formula."""
    random = np.random.default_rng(5)
    sizes = (0.3, 1, 1.1, 3, 12, 30, 110, 760)
    return np.concatenate([random.uniform(-s, s, count) for s in sizes]).astype(dtype)


WIDE = pytest.mark.parametrize("engine", WIDE_ENGINES, indirect=True)


def _check_float32(name: str, x: Any, engine: str) -> None:
    reference, _, bound = FUNCTIONS[name]
    want = reference(x.astype(np.float64))
    got = np.asarray(getattr(tg.ops, name)(tg.tensor(x)))
    assert got.dtype == np.float32
    if engine in GPUS:
        near = np.abs(got.astype(np.float64) - want) <= INSIDE.get(name, 0) * TINY
        got = np.where(near | left_open(x, got, want), want.astype(np.float32), got)
    check_worst32(got, want, bound, x)


def _check_float64(name: str, x: Any) -> None:
    _, exact, bound = FUNCTIONS[name]
    got = np.asarray(getattr(tg.ops, name)(tg.tensor(x, dtype="float64")))
    assert got.dtype == np.float64
    want = [real(lambda v: mpmath.mpf(exact(v)))(v) for v in x.tolist()]
    check_worst(got, want, bound, x)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_over_all_exponents(engine: str, name: str) -> None:
    _check_float32(name, np.concatenate([sweep32(40), _near(2000, "float32")]), engine)


@WIDE
@pytest.mark.parametrize("name", FUNCTIONS)
def test_float64_over_all_exponents(engine: str, name: str) -> None:
    _check_float64(name, np.concatenate([sweep(1)[::4], _near(100, "float64")]))


@WIDE
@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_at_many_points(engine: str, name: str) -> None:
    _check_float32(name, np.concatenate([sweep32(1000), _near(60000, "float32")]), engine)
    _check_float64(name, np.concatenate([sweep(2), _near(1500, "float64")]))


@WIDE
def test_hypot_and_logaddexp_of_float64(engine: str) -> None:
    random = np.random.default_rng(3)
    wide = sweep(1)
    wide = wide[np.isfinite(wide)]
    # Sides of similar length, down to the smallest numbers and up to overflow.
    x, y = wide, wide * random.uniform(0.01, 100, wide.shape)
    y = np.where(np.isfinite(y), y, x)
    got = np.asarray(tg.hypot(*(tg.tensor(v, dtype="float64") for v in (x, y))))
    check_worst(got, [split(mpmath.hypot(*pair)) for pair in zip(x, y, strict=True)], 2, x, y)
    x, y = random.normal(0, 30, (2, 4000))
    for name, base in (("logaddexp", mpmath.e), ("logaddexp2", mpmath.mpf(2))):
        function = getattr(tg.ops, name)
        got = np.asarray(function(*(tg.tensor(v, dtype="float64") for v in (x, y))))
        want = np.array(
            [split(mpmath.log(base**a + base**b, base)) for a, b in zip(x, y, strict=True)]
        )
        largest = np.maximum(np.maximum(np.abs(x), np.abs(y)), np.abs(got))
        error = np.abs((got - want[:, 0]) - want[:, 1]) / np.spacing(largest)
        assert error.max() <= 2
