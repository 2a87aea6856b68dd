"""`x[mask] = v` and `x.at[mask]` where the mask has no values yet: what NumPy does with the "
"values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad.errors import CaptureError, RangeError

X = np.arange(12, dtype=np.float32).reshape(3, 4) - 4
MASK = X % 3 == 1
ROWS = np.array([True, False, True])


def assigned(x: Any, mask: Any, value: Any) -> Any:
    x = x * 1
    x[mask] = value
    return x


UPDATES: dict[str, tuple[Callable[..., tg.Tensor], Callable[..., Any]]] = {
    "set": (lambda x, m, v: x.at[m].set(v), lambda old, v: v),
    "add": (lambda x, m, v: x.at[m].add(v), lambda old, v: old + v),
    "subtract": (lambda x, m, v: x.at[m].subtract(v), lambda old, v: old - v),
    "multiply": (lambda x, m, v: x.at[m].multiply(v), lambda old, v: old * v),
    "divide": (lambda x, m, v: x.at[m].divide(v), lambda old, v: old / v),
    "power": (lambda x, m, v: x.at[m].power(v), lambda old, v: old**v),
    "min": (lambda x, m, v: x.at[m].min(v), np.minimum),
    "max": (lambda x, m, v: x.at[m].max(v), np.maximum),
    "[]": (assigned, lambda old, v: v),
}


@pytest.mark.parametrize("name", UPDATES)
@pytest.mark.parametrize(
    ("mask", "value"),
    [(MASK, np.float32(2)), (ROWS, np.float32(2)), (ROWS, np.array([1, 2, 3, 4], np.float32)),
     (np.zeros_like(MASK), np.float32(2)), (np.bool_(True), np.float32(2))],
)  # fmt: skip
def test_as_numpy(name: str, mask: Any, value: Any) -> None:
    update, step = UPDATES[name]
    expected = X.copy()
    expected[mask] = step(expected[mask], value)
    found = tg.compile(lambda x, m, v: update(x, m, v))(*map(tg.tensor, (X, mask, value)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    eager = update(*map(tg.tensor, (X, mask, value)))
    np.testing.assert_allclose(eager.numpy(), expected, rtol=1e-6)


def test_dtypes_and_gradients() -> None:
    ints = tg.compile(lambda x: x.at[x > 3].set(100))(tg.arange(6, dtype="int8"))
    assert (ints.dtype.name, ints.tolist()) == ("int8", [0, 1, 2, 3, 100, 100])
    bools = tg.compile(lambda x, m: x.at[m].add(True))(
        tg.tensor([True, False]), tg.tensor([0, 1]) > 0
    )
    assert bools.tolist() == [True, True]
    z = tg.compile(lambda z, m: z.at[m].set(1j))(tg.tensor([1.0 + 2j, 3.0]), tg.tensor([0, 1]) > 0)
    assert z.tolist() == [1 + 2j, 1j]
    slope = tg.compile(tg.grad(lambda x: (x.at[x > 1].multiply(3.0) * x).sum()))(
        tg.tensor([1.0, 2.0])
    )
    assert slope.tolist() == [2.0, 12.0]
    rows = tg.vmap(lambda x: x.at[x > 1].set(0.0))(tg.tensor([[0.0, 2.0], [3.0, 1.0]]))
    assert rows.tolist() == [[0.0, 0.0], [0.0, 1.0]]


def test_what_cannot_be_said() -> None:
    x = tg.tensor(X)
    with pytest.raises(CaptureError, match=r"tg.where\(mask, values, x\)"):
        tg.compile(lambda x: x.at[x > 0].set(tg.ones(7)))(x)
    with pytest.raises(RangeError, match=r"\[3, 4\]; received \[2, 4\]"):
        tg.compile(lambda x: x.at[x[:2] > 0].set(1.0))(x)
    with pytest.raises(CaptureError, match=r"tg.where\(mask, x, other\)"):
        tg.compile(lambda x: x[x > 0])(x)
