"""Activations and roots over all exponents and both signs: float32 against float64, float64 against
mpmath.

The bounds are those of the docstring of `tabgrad.ops.activation`.
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
from tests.ops.test_special_sweeps import _near
from tests.sweeping import left_open, sweep, sweep32

pytestmark = pytest.mark.usefixtures("references")

ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805
LARGEST = 2.0**128


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    with chosen(request.param):
        yield request.param


def _softplus(x: Any) -> Any:
    return np.logaddexp(0, x)


def _squareplus(x: Any) -> Any:
    root = np.sqrt(x * x + 4)
    return np.where(x > 0, (x + root) / 2, 2 / (root - x))


def _elu(x: Any) -> Any:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def _selu(x: Any) -> Any:
    return SCALE * np.where(x > 0, x, ALPHA * np.expm1(np.minimum(x, 0)))


# name: (reference in float64, bound in ULP of the result)
OF_RESULT: dict[str, tuple[Callable[[Any], Any], float]] = {
    "softplus": (_softplus, 3),
    "log_sigmoid": (lambda x: -_softplus(-x), 3),
    "elu": (_elu, 3),
    "celu": (_elu, 3),
    "selu": (_selu, 3),
    "softsign": (lambda x: np.where(np.isinf(x), np.nan, x / (1 + np.abs(x))), 3),
    "squareplus": (_squareplus, 3),
    "leaky_relu": (lambda x: np.where(x > 0, x, 0.2 * x), 1),
    "hard_sigmoid": (lambda x: np.clip(x / 6 + 0.5, 0, 1), 3),
    "hard_silu": (lambda x: x * np.clip(x / 6 + 0.5, 0, 1), 3),
    "sparse_plus": (lambda x: np.where(x <= -1, 0, np.where(x >= 1, x, (x + 1) ** 2 / 4)), 3),
    "sparse_sigmoid": (lambda x: np.clip((x + 1) / 2, 0, 1), 1),
    "soft_shrink": (lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0), 1),
    "hard_tanh": (lambda x: np.clip(x, -1, 1), 0),
    "relu": (lambda x: np.maximum(x, 0), 0),
    "relu6": (lambda x: np.clip(x, 0, 6), 0),
    "reciprocal": (lambda x: 1 / x, 1),
    "sqrt": (np.sqrt, 1),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 2),
    "square": (np.square, 1),
}
# name: (reference in float64, bound in ULP of the larger of result and x)
OF_ARGUMENT: dict[str, tuple[Callable[[Any], Any], float]] = {
    "silu": (lambda x: x * special.expit(x), 4),
    "mish": (lambda x: x * np.tanh(_softplus(x)), 4),
    "gelu": (lambda x: x * special.ndtr(x), 4),
    "tanh_shrink": (lambda x: x - np.tanh(x), 4),
}
EXACT: dict[str, Callable[[Any], Any]] = {
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "log_sigmoid": lambda x: -mpmath.log1p(mpmath.exp(-x)),
    "elu": lambda x: x if x > 0 else mpmath.expm1(x),
    "softsign": lambda x: x / (1 + abs(x)),
    "squareplus": lambda x: (x + mpmath.sqrt(x * x + 4)) / 2,
    "sqrt": lambda x: mpmath.sqrt(x) if x >= 0 else mpmath.nan,
    "rsqrt": lambda x: 1 / mpmath.sqrt(x) if x > 0 else mpmath.nan,
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "mish": lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
    "tanh_shrink": lambda x: x - mpmath.tanh(x),
}  # fmt: skip


def _units(x: Any, digits: int, least: int) -> Any:
    _, exponent = np.frexp(x)
    return np.ldexp(1.0, np.maximum(exponent - digits, least))


def _arguments(name: str) -> dict[str, Any]:
    return {"approximate": False} if name == "gelu" else {}


@pytest.mark.parametrize("name", [*OF_RESULT, *OF_ARGUMENT])
def test_float32_over_all_exponents(engine: str, name: str) -> None:
    reference, bound = (OF_RESULT | OF_ARGUMENT)[name]
    x = np.concatenate([sweep32(40), _near(2000, "float32")])
    if name == "softsign":
        x = x[~np.isinf(x)]  # inf / inf
    got = np.asarray(getattr(tg.ops, name)(tg.tensor(x), **_arguments(name)))
    assert got.dtype == np.float32
    want = reference(x.astype(np.float64))
    if engine in GPUS:
        near = np.abs(got.astype(np.float64) - want) <= INSIDE.get(name, 0) * TINY
        got = np.where(near | left_open(x, got, want), want.astype(np.float32), got)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    clipped = np.clip(want, -LARGEST, LARGEST)
    unit = np.minimum(_units(clipped, 24, -149), 2.0**104)
    if name in OF_ARGUMENT:
        unit = np.maximum(unit, _units(np.nan_to_num(x.astype(np.float64)), 24, -149))
    error = np.abs(np.clip(got.astype(np.float64), -LARGEST, LARGEST) - clipped)
    error = np.nan_to_num(error) / unit
    at = error.argmax()
    assert error[at] <= bound, f"{error[at]:.2f} ulp at {x[at]!r}: {got[at]!r}, not {want[at]!r}"


@pytest.mark.parametrize("engine", WIDE_ENGINES, indirect=True)
@pytest.mark.parametrize("name", EXACT)
def test_float64_over_all_exponents(engine: str, name: str) -> None:
    bound = (OF_RESULT | OF_ARGUMENT)[name][1]
    x = np.concatenate([sweep(1)[::16], _near(50, "float64")])
    # Powers of numbers beyond the exponent's range are what mpmath takes hours for.
    x = x[np.isfinite(x) & ((np.abs(x) < 2000) | (name in ("softsign", "sqrt", "rsqrt")))]
    x = x[x != 0] if name == "rsqrt" else x
    got = np.asarray(getattr(tg.ops, name)(tg.tensor(x, dtype="float64")))
    assert got.dtype == np.float64
    for one, mine in zip(x.tolist(), got.tolist(), strict=True):
        want = EXACT[name](mpmath.mpf(one))
        if mpmath.isnan(want):
            assert np.isnan(mine)
            continue
        size = float(abs(want))
        unit = float(_units(max(size, abs(one)) if name in OF_ARGUMENT else size, 53, -1074))
        error = float(abs(mpmath.mpf(mine) - want) / unit)
        assert error <= bound, f"{error:.2f} ulp at {one!r}: {mine!r}, not {float(want)!r}"
