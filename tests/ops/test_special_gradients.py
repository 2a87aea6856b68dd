"""Gradients of functions composed of others: against mpmath, at edges, in transforms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

import tabgrad as tg


def _cbrt(x: Any) -> Any:
    return mpmath.sign(x) * mpmath.cbrt(abs(x))


def _sinc(x: Any) -> Any:
    return mpmath.sinpi(x) / (mpmath.pi * x) if x else mpmath.mpf(1)


AROUND = (-2.7, -1.2, -0.4, 0.3, 0.9, 1.4, 3.1)
POSITIVE = (1e-3, 0.2, 0.7, 1.9, 50.0)

# name: (mpmath's function, points within and between the ranges of the formulas)
UNARY: dict[str, tuple[Callable[[Any], Any], tuple[float, ...]]] = {
    "arcsin": (mpmath.asin, (-0.99, -0.5, 0.1, 0.7, 0.999)),
    "arccos": (mpmath.acos, (-0.99, -0.5, 0.1, 0.7, 0.999)),
    "arctan": (mpmath.atan, AROUND),
    "sinh": (mpmath.sinh, (*AROUND, 45.0, -60.0)),
    "cosh": (mpmath.cosh, (*AROUND, 45.0, -60.0)),
    "arcsinh": (mpmath.asinh, (*AROUND, 1e9, -1e9)),
    "arccosh": (mpmath.acosh, (1.001, 1.5, 7.0, 1e9)),
    "arctanh": (mpmath.atanh, (-0.99, -0.5, 0.1, 0.7, 0.999)),
    "exp2": (lambda x: mpmath.mpf(2) ** x, AROUND),
    "cbrt": (_cbrt, (*AROUND, 1e-5, -1e5)),
    "deg2rad": (mpmath.radians, AROUND),
    "rad2deg": (mpmath.degrees, AROUND),
    "sinc": (_sinc, (*AROUND, 0.01, -0.499, 0.501, 20.3)),
    "erfc": (mpmath.erfc, (*AROUND, 6.0)),
    "erfinv": (mpmath.erfinv, (-0.99, -0.5, 0.0, 0.1, 0.7, 0.999)),
    "i0": (lambda x: mpmath.besseli(0, x), (*AROUND, 7.9, -8.1, 30.0)),
    "log2": (lambda x: mpmath.log(x, 2), POSITIVE),
    "log10": (mpmath.log10, POSITIVE),
}


def _slope(function: Any, order: int) -> Any:
    """The derivative of an order of the sum of a function of each element."""
    for _ in range(order):
        function = tg.grad(lambda x, inner=function: tg.sum(inner(x)))
    return function


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("name", UNARY)
def test_derivatives_of_one_argument(engine: str, name: str, order: int) -> None:
    exact, points = UNARY[name]
    x = tg.tensor(np.array(points), dtype="float64")
    got = np.asarray(_slope(getattr(tg.ops, name), order)(x))
    with mpmath.workdps(60):
        want = [float(mpmath.diff(exact, mpmath.mpf(p), order)) for p in points]
    np.testing.assert_allclose(got, want, rtol=1e-9 if order < 3 else 1e-6, atol=1e-13)


# name: (mpmath's function, pairs of points)
BINARY: dict[str, tuple[Callable[[Any, Any], Any], tuple[tuple[float, float], ...]]] = {
    "hypot": (mpmath.hypot, ((3.0, -4.0), (1e-3, 2.0), (-5.0, 0.5))),
    "logaddexp": (
        lambda x, y: mpmath.log(mpmath.exp(x) + mpmath.exp(y)),
        ((0.3, -1.2), (2.0, 2.0), (-30.0, 4.0)),
    ),
    "logaddexp2": (
        lambda x, y: mpmath.log(mpmath.mpf(2) ** x + mpmath.mpf(2) ** y, 2),
        ((0.3, -1.2), (2.0, 2.0), (-30.0, 4.0)),
    ),
}


@pytest.mark.parametrize("orders", [(1, 0), (0, 1), (2, 0), (1, 1), (0, 2)], ids=str)
@pytest.mark.parametrize("name", BINARY)
def test_derivatives_of_two_arguments(engine: str, name: str, orders: tuple[int, int]) -> None:
    exact, points = BINARY[name]
    function: Any = getattr(tg.ops, name)
    for argument, times in enumerate(orders):
        for _ in range(times):
            function = tg.grad(lambda x, y, inner=function: tg.sum(inner(x, y)), argnums=argument)
    x, y = (tg.tensor(np.array(v), dtype="float64") for v in zip(*points, strict=True))
    with mpmath.workdps(60):
        want = [float(mpmath.diff(exact, p, orders)) for p in points]
    np.testing.assert_allclose(np.asarray(function(x, y)), want, rtol=1e-9, atol=1e-13)


INF = math.inf
EDGES: dict[str, list[tuple[float, float]]] = {
    "arcsin": [(0.0, 1.0), (1.0, INF), (-1.0, INF)],
    "arccos": [(0.0, -1.0), (1.0, -INF)],
    "arctan": [(0.0, 1.0), (INF, 0.0), (-INF, 0.0), (1e30, 0.0)],
    "sinh": [(0.0, 1.0), (100.0, INF), (-INF, INF)],
    "cosh": [(0.0, 0.0), (100.0, INF), (-INF, -INF)],
    "arcsinh": [(0.0, 1.0), (1e30, 1e-30), (-1e30, 1e-30), (INF, 0.0)],
    "arccosh": [(1.0, INF), (1e30, 1e-30), (INF, 0.0)],
    "arctanh": [(0.0, 1.0), (1.0, INF), (-1.0, INF)],
    "exp2": [(-INF, 0.0), (200.0, INF)],
    "cbrt": [(0.0, INF), (INF, 0.0)],
    "sinc": [(0.0, 0.0), (1e-30, -3.2898681e-30), (1.0, -1.0)],
    "erfc": [(0.0, -1.1283792), (20.0, 0.0), (-INF, 0.0), (INF, 0.0)],
    "i0": [(0.0, 0.0), (100.0, INF), (-INF, -INF)],
    "log2": [(0.0, INF), (INF, 0.0)],
}


@pytest.mark.parametrize("name", EDGES)
def test_gradients_at_edges(engine: str, name: str) -> None:
    points, want = np.array(EDGES[name], np.float32).T
    got = np.asarray(_slope(getattr(tg.ops, name), 1)(tg.tensor(points)))
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_gradients_of_pairs_at_edges(engine: str) -> None:
    def both(name: str, x: float, y: float) -> list[float]:
        slopes = tg.grad(lambda a, b: getattr(tg.ops, name)(a, b), argnums=(0, 1))
        return [float(s) for s in slopes(tg.tensor(x), tg.tensor(y))]

    assert both("hypot", 0.0, 0.0) == [0.0, 0.0]
    assert both("hypot", 1e-45, 0.0) == [1.0, 0.0]
    assert both("hypot", 1.5e38, 1e38) == pytest.approx([0.83205029, 0.5547002])
    assert both("hypot", INF, 2.0) == [1.0, 0.0]
    assert both("logaddexp", INF, INF) == [0.5, 0.5]
    assert both("logaddexp", -INF, -INF) == [0.5, 0.5]
    assert both("logaddexp", INF, 0.0) == [1.0, 0.0]
    assert both("copysign", 2.0, -1.0) == [-1.0, 0.0]
    assert both("copysign", -2.0, -1.0) == [1.0, 0.0]
    assert both("nextafter", 0.0, 1.0) == [1.0, 0.0]
    assert both("heaviside", 0.0, 3.0) == [0.0, 1.0]
    assert both("fmod", 7.5, -2.0) == [1.0, 3.0]
    assert both("divide_no_nan", 3.0, 0.0) == [0.0, 0.0]
    assert both("fmax", math.nan, 3.0) == [0.0, 1.0]


def test_nan_to_num_passes_no_gradient_where_it_replaces(engine: str) -> None:
    x = tg.tensor([math.nan, INF, 2.0, -INF])
    slope = tg.grad(lambda v: tg.sum(tg.ops.nan_to_num(v) * 3.0))(x)
    assert slope.tolist() == [0.0, 0.0, 3.0, 0.0]


def test_ldexp_scales_gradients(engine: str) -> None:
    slope = tg.grad(lambda v: tg.sum(tg.ops.ldexp(v, [3, -2])))(tg.tensor([1.0, 5.0]))
    assert slope.tolist() == [8.0, 0.25]


def test_float16_is_computed_wide_and_rounded_once(engine: str) -> None:
    x = np.linspace(-4, 4, 4001).astype(np.float16)
    for name in ("sinh", "arcsinh", "erfc", "i0", "cbrt", "sinc"):
        got = np.asarray(getattr(tg.ops, name)(tg.tensor(x, dtype="float16")))
        wide = np.asarray(getattr(tg.ops, name)(tg.tensor(x.astype(np.float32))))
        np.testing.assert_array_equal(got, wide.astype(np.float16))
    slope = tg.grad(lambda v: tg.sum(tg.ops.sinh(v)))(tg.tensor(x, dtype="float16"))
    assert slope.dtype is tg.float16
    np.testing.assert_allclose(np.asarray(slope), np.cosh(x.astype(np.float32)), rtol=1e-3)


def test_inside_compiled_functions_vmap_and_forward_mode(engine: str) -> None:
    x = tg.tensor([[0.1, 0.5, 0.9], [0.2, 0.4, 0.6]])
    want = np.arcsinh(np.asarray(x)) * np.cosh(np.asarray(x))

    def function(v: Any) -> Any:
        return tg.asinh(v) * tg.cosh(v)

    np.testing.assert_allclose(np.asarray(tg.compile(function)(x)), want, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(tg.vmap(function)(x)), want, rtol=1e-6)
    slope = np.asarray(_slope(function, 1)(x))
    compiled = tg.compile(lambda v: _slope(function, 1)(v))
    np.testing.assert_allclose(np.asarray(compiled(x)), slope, rtol=1e-6)
    _, tangent = tg.jvp(function, (x,), (tg.ones((2, 3)),))
    np.testing.assert_allclose(np.asarray(tangent), slope, rtol=1e-6)
    of_rows = tg.vmap(tg.grad(lambda v: tg.sum(function(v))))(x)
    np.testing.assert_allclose(np.asarray(of_rows), slope, rtol=1e-6)
