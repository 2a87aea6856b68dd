"""Complex functions at every kind of edge, and in general, against `cmath` (C99, Annex G)."""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tabgrad as tg
from tabgrad.ops import arguments
from tests.ops.engines import ENGINES, chosen

EDGES = (0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1e-3, 30.0, -30.0, 1e5, math.inf, -math.inf, math.nan)
POINTS = [complex(x, y) for x in EDGES for y in EDGES]
NAMES = (
    "exp", "log", "log10", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos",
    "atan", "asinh", "acosh", "atanh",
)  # fmt: skip

# Annex G leaves these signs open, or the standard says something else: acosh(0 + NaN i) has the
# imaginary part pi/2, tanh(0 + NaN i) the real part 0 and tanh(inf + y i) the imaginary part 0 with
# the sign of y (and so the tangent).
OPEN = {
    "sinh": lambda z: z.real in (0, math.inf, -math.inf) and not math.isfinite(z.imag),
    "cosh": lambda z: not (math.isfinite(z.real) and math.isfinite(z.imag)),
    "sin": lambda z: (math.isinf(z.imag) and not math.isfinite(z.real)) or math.isnan(z.real),
    "cos": lambda z: not (math.isfinite(z.real) and math.isfinite(z.imag)),
    "tanh": lambda z: (z.real == 0 and math.isnan(z.imag)) or math.isinf(z.real),
    "tan": lambda z: (z.imag == 0 and math.isnan(z.real)) or math.isinf(z.imag),
    "asin": lambda z: math.isinf(z.real) and math.isnan(z.imag),
    "acosh": lambda z: z.real == 0 and math.isnan(z.imag),
}


def rule(name: str) -> Callable[..., tg.Tensor]:
    """What the public function of this name does with complex numbers."""
    return arguments._complex_rules[name]


def close(got: float, want: float, size: float, error: float) -> bool:
    """Equal at the edges, signs of zeros included, and near in between."""
    if math.isnan(want) or math.isinf(want):
        return math.isnan(got) if math.isnan(want) else got == want
    if want == 0 and got == 0:
        return math.copysign(1, got) == math.copysign(1, want)
    return abs(got - want) <= error * size


@pytest.mark.parametrize("name", NAMES)
def test_edges(name: str) -> None:
    with chosen("reference"):
        results = rule(name)(tg.tensor(POINTS, dtype="complex128")).tolist()
    wrong = []
    for z, got in zip(POINTS, results, strict=True):
        try:
            want = getattr(cmath, name)(z)
        except (ValueError, OverflowError):
            continue  # a pole, or where Python raises: the suite of the standard has those
        if name in OPEN and OPEN[name](z):
            continue
        size = abs(want) if cmath.isfinite(want) else 1.0
        if not (
            close(got.real, want.real, size, 1e-14) and close(got.imag, want.imag, size, 1e-14)
        ):
            wrong.append(f"{name}({z}) = {got}, expected {want}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", [*NAMES, "expm1", "log1p", "log2"])
def test_values(engine: str, name: str) -> None:
    rng = np.random.default_rng(7)
    z = (rng.normal(size=(2, 400)) * [[3], [3]]).astype(np.float32)
    values = (z[0] + 1j * z[1]).astype(np.complex64)
    values[::4] *= np.float32(1e-3)  # where expm1 and log1p must be careful
    numpy_name = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}.get(name, name)
    numpy_name = {"asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh"}.get(name, numpy_name)
    want = getattr(np, numpy_name)(values.astype(np.complex128))
    with chosen(engine):
        got = rule(name)(tg.tensor(values)).numpy()
    assert got.dtype == np.complex64
    assert np.max(np.abs(got - want) / np.abs(want)) < 1e-6


@pytest.mark.parametrize("engine", ENGINES)
def test_power(engine: str) -> None:
    rng = np.random.default_rng(3)
    x, y = (rng.normal(size=(2, 50)) + 1j * rng.normal(size=(2, 50))).astype(np.complex64)
    with chosen(engine):
        for base, exponent in (
            (x, y),
            (x, y.real.copy()),
            (x, 3),
            (x, 0.5),
            (x, 2),
            (x, -1),
            (2, y),
        ):
            given = [tg.tensor(v) if isinstance(v, np.ndarray) else v for v in (base, exponent)]
            got = tg.pow(*given).numpy()
            want = np.power(base, exponent, dtype=np.complex128)
            assert np.max(np.abs(got - want) / np.abs(want)) < 3e-6
        zero = tg.tensor([0j, 0j, 0j]) ** tg.tensor([0j, 2 + 0j, 0.5 + 1j])
        assert zero.tolist() == [1, 0, 0]


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "sin", "tanh", "asin", "abs"])
def test_gradients(name: str) -> None:
    """Of |f(z)| with respect to both parts, against differences, in float64."""
    rng = np.random.default_rng(1)
    parts = rng.normal(size=(2, 6)) * 0.4 + 0.3

    def f(p: tg.Tensor) -> tg.Tensor:
        z = tg.complex(p[0], p[1])
        return (tg.abs(rule(name)(z)) ** 2).sum()

    with chosen("reference"):
        slope = tg.grad(f)(tg.tensor(parts, dtype="float64")).numpy()
        for i in np.ndindex(parts.shape):
            step = np.zeros_like(parts)
            step[i] = 1e-6
            ends = [f(tg.tensor(parts + s * step, dtype="float64")).item() for s in (1, -1)]
            assert abs((ends[0] - ends[1]) / 2e-6 - slope[i]) < 1e-6 * max(1, abs(slope[i]))


def test_real_functions_refuse_complex_tensors() -> None:
    with pytest.raises(tg.errors.DtypeError, match=r"complex64.*tg\.real"):
        tg.relu(tg.tensor([1j]))
    with pytest.raises(tg.errors.DtypeError, match="complex"):
        tg.maximum(tg.tensor([1j]), 1.0)


@pytest.mark.parametrize("name", ["abs", "log", "log2", "log10", "sqrt", "rsqrt"])
def test_second_derivatives_where_both_parts_are_equal(name: str) -> None:
    """There the modulus is made of either part; its derivatives are those of neither's corner."""
    z = np.array([1.5 + 1.5j, -2 + 2j, 0.25 - 0.25j, 3 + 1j], np.complex64)

    def along(function: Any, grad: Any, space: Any) -> Any:
        def slope(x: Any) -> Any:
            gradient = grad(function)(x)
            return space.sum(space.real(gradient) * 0.3 + space.imag(gradient) * 0.7)

        return slope

    def mine(x: Any) -> Any:
        y = getattr(tg, name)(x) if hasattr(tg, name) else getattr(tg.ops, name)(x)
        return tg.sum(tg.real(y) * 0.4 + (tg.imag(y) * 0.9 if name != "abs" else 0.0))

    def theirs(x: Any) -> Any:
        y = jax.lax.rsqrt(x) if name == "rsqrt" else getattr(jnp, name)(x)
        return jnp.sum(jnp.real(y) * 0.4 + jnp.imag(y) * 0.9)

    first, second = along(mine, tg.grad, tg), along(theirs, jax.grad, jnp)
    got = tg.grad(first)(tg.tensor(z)).numpy()
    want = np.asarray(jax.grad(second)(z))
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)
