"""Sweeps of functions: arguments of every size, exact references, units in the last place.

Float64 numbers are compared with mpmath's, float32 ones with float64. Tests that use this have the
fixture `references` (tests/conftest.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np

NAN = math.nan
Exact = tuple[float, float]
"""A number as the sum of two floats: the nearest one and what that leaves."""

EDGE_MANTISSAS = (0, 1, (1 << 51) - 1, 1 << 51, (1 << 52) - 1)


def sweep(count: int, seed: int = 7) -> Any:
    """Float64 numbers: every exponent, both signs, edges and `count` random mantissas."""
    random = np.random.default_rng(seed)
    heads = np.arange(4096, dtype=np.uint64) << np.uint64(52)
    edge = random.choice(np.array(EDGE_MANTISSAS, np.uint64), 4096)
    drawn = random.integers(0, 1 << 52, (count, 4096), np.uint64)
    numbers = np.concatenate([heads | edge, (heads | drawn).ravel()])
    return numbers.view(np.float64)


def sweep32(count: int) -> Any:
    """Float32 numbers: every exponent, both signs, the edges and `count` random mantissas."""
    random = np.random.default_rng(7)
    heads = (np.arange(512, dtype=np.uint32) << np.uint32(23))[:, None]
    edges = np.broadcast_to(np.uint32([0, 1, 2, 0x3FFFFF, 0x400000, 0x7FFFFE, 0x7FFFFF]), (512, 7))
    drawn = random.integers(0, 1 << 23, (512, count), np.uint32)
    return (heads | np.concatenate([edges, drawn], axis=1)).ravel().view(np.float32)


def split(value: Any) -> Exact:
    """A number of mpmath as two floats; infinities and NaN as they are."""
    high = float(value)
    return (high, float(value - high)) if math.isfinite(high) else (high, 0.0)


def real(function: Callable[[Any], Any]) -> Callable[[float], Exact]:
    """The reference of a function: NaN for NaN and where mpmath's result is not real."""

    def reference(x: float) -> Exact:
        if math.isnan(x):
            return NAN, 0.0
        value = function(mpmath.mpf(x))
        return split(value) if isinstance(value, mpmath.mpf) else (NAN, 0.0)

    return reference


def of_finite(function: Callable[[Any], Any], low: Any, high: Any) -> Callable[[Any], Any]:
    """`function`, with its limits at the infinities."""
    return lambda x: function(x) if mpmath.isfinite(x) else mpmath.mpf(high if x > 0 else low)


def left_open(x: Any, got: Any, want: Any) -> Any:
    """Where a GPU may differ in float32: it may take subnormal numbers for zeros."""
    tiny = np.finfo(np.float32).tiny
    return (x != 0) & (np.abs(x) < tiny) | (np.abs(want) < tiny) & (got == 0)


def ulps(got: Any, want: list[Exact]) -> Any:
    """The distance of float64 numbers from exact ones in units of the last place."""
    high, low = np.array(want).T
    assert np.array_equal(np.isnan(got), np.isnan(high)), "NaN in the wrong places"
    assert np.array_equal(np.isinf(got), np.isinf(high)), "infinities in the wrong places"
    assert np.array_equal(got[np.isinf(high)], high[np.isinf(high)])
    unit = np.spacing(np.abs(high))
    error = np.abs((got - high) - low) / unit
    return np.where(np.isfinite(high), error, 0.0)


def check_worst(got: Any, want: list[Exact], bound: float, *arguments: Any) -> None:
    """Complain about the largest error above the bound."""
    error = ulps(got, want)
    at = int(error.argmax())
    found = [float(a[at]) for a in arguments]
    assert error[at] <= bound, f"{error[at]:.3f} ulp at {found}: {got[at]!r}, not {want[at]!r}"


def check_worst32(
    got: Any, want: Any, bound: float, *arguments: Any, flushed: bool = False
) -> None:
    """Complain about the largest error of float32 numbers beside float64 ones above the bound.

    Beyond the largest float32 the error counts up to 2**128. With `flushed`, for results of a GPU,
    subnormal numbers may have been taken for zeros.
    """
    limit = 2.0**128
    finite = np.clip(want, -limit, limit)
    _, exponent = np.frexp(finite)
    unit = np.ldexp(1.0, np.clip(exponent - 24, -149, 104))
    distance = np.abs(np.clip(got.astype(np.float64), -limit, limit) - finite)
    error = np.where(np.isnan(got) != np.isnan(want), math.inf, np.nan_to_num(distance) / unit)
    if flushed:
        for x in arguments:
            error = np.where(left_open(x, got, want), 0, error)
    at = int(error.argmax())
    found = [float(a[at]) for a in arguments]
    assert error[at] <= bound, f"{error[at]:.2f} ulp at {found}: {got[at]!r}, not {want[at]!r}"


def assert_same(got: Any, want: Any) -> None:
    """Equal numbers, NaN in the same places, zeros of the same sign."""
    np.testing.assert_array_equal(got, want)
    zero = np.asarray(want) == 0
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]))
