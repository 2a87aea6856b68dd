"""Gradients of indexing, updates and arrangements, first and second, by differences in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import tabgrad as tg
from tests.ops.engines import chosen

o = tg.ops
FUNCTIONS: dict[str, Callable[[tg.Tensor], tg.Tensor]] = {
    "arrays apart": lambda x: x[[0, 2, 0], :, [1, 1, 3]],
    "mask": lambda x: x[np.arange(24).reshape(3, 2, 4) % 5 == 0],
    "backwards": lambda x: x[::-2, None, ..., 1:],
    "at.set": lambda x: (x * 2).at[[0, 2], 1].set(x[0]),
    "at.add": lambda x: x.at[[0, 0, 1]].add(x * x),
    "at.max": lambda x: x.at[0].max(x[1]),
    "at.multiply": lambda x: x.at[[0, 0]].multiply(x[1:]),
    "at.power": lambda x: o.abs(x).at[0].power(1.5),
    "scatter": lambda x: o.scatter([[1], [1], [4]], x, (5, 2, 4)),
    "tril": lambda x: o.tril(x, 1),
    "diff": lambda x: o.diff(x, 2),
    "repeat": lambda x: o.repeat(x, [2, 0, 3], axis=0),
    "unstack": lambda x: o.unstack(x)[1] * o.unstack(x)[2],
    "roll": lambda x: o.roll(x, (1, 2), (0, 2)) * x,
    "rot90": lambda x: o.rot90(x),
    "rearrange": lambda x: o.rearrange(x, "a b (c d) -> (d a) b c", c=2),
    "diag": lambda x: o.diag(x[0, 0], 1),
    "trace": lambda x: o.trace(x, axis1=0, axis2=2),
    "linspace": lambda x: o.linspace(x[0], x[1], 3),
    "clip": lambda x: tg.clip(x, -0.4, 0.4),
    "corrected var": lambda x: o.var(x, 2, correction=1),
    "max with an initial value": lambda x: o.max(x, 2, initial=0.1),
    "nanmean": lambda x: o.nanmean(o.where(x > 0.5, np.nan, x), 2),
    "average": lambda x: o.average(x[0], 0, x[1] * x[1] + 1),
    "cdist": lambda x: o.cdist(x[0], x[1]),
    "trapezoid": lambda x: o.trapezoid(x[0], o.cumsum(x[1] * x[1], 1)),
    "correlate": lambda x: o.correlate(x[0, 0], x[1, 1], "full"),
    "complex": lambda x: tg.abs(tg.complex(x[0], x[1]) * tg.exp(tg.complex(x[1], x[2]))),
    "complex prod": lambda x: tg.real(tg.prod(tg.complex(x[0], x[1]), axis=1)),
    "complex matmul": lambda x: tg.imag(tg.complex(x[0], x[1]) @ tg.complex(x[2].T, x[0].T)),
}


@pytest.fixture(autouse=True, scope="module")
def reference() -> Iterator[None]:
    with chosen("reference"):
        yield


def differences(f: Callable[[tg.Tensor], tg.Tensor], x: np.ndarray) -> np.ndarray:
    """The slope of a scalar function by central differences."""
    slope = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = 1e-6
        ends = [f(tg.tensor(x + s * step, dtype="float64")).item() for s in (1, -1)]
        slope[i] = (ends[0] - ends[1]) / 2e-6
    return slope


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients(name: str) -> None:
    rng = np.random.default_rng(4)
    x, weights = rng.normal(size=(3, 2, 4)), rng.normal(size=10_000)

    def value(t: tg.Tensor) -> tg.Tensor:
        y = FUNCTIONS[name](t)
        scale = tg.tensor(weights[: y.size].reshape(y.shape), dtype="float64")
        return (scale * (y + y * y)).sum()

    def along(t: tg.Tensor) -> tg.Tensor:
        """The slope in one direction, whose own slope is a second derivative."""
        direction = tg.tensor(weights[: x.size].reshape(x.shape), dtype="float64")
        return (tg.grad(value)(t) * direction).sum()

    point = tg.tensor(x, dtype="float64")
    first, second = tg.grad(value)(point).numpy(), tg.grad(along)(point).numpy()
    np.testing.assert_allclose(first, differences(value, x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(second, differences(along, x), rtol=1e-4, atol=1e-5)
