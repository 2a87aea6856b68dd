"""What the tests of GPUs under Pyodide compute, and what has to come out.

Not here: on which engine, and whether Python waits for values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

COMPUTE = """
import tabgrad as tg

def compute():
    x = tg.tensor([[1.5, -2.0, 0.25], [3.0, 4.0, -1.0]])
    return tg.exp(x @ x.T / 10), tg.tensor([1, 2, 3], dtype="int8") * 2, tg.ops.sort(x, axis=1)
"""
ROWS = np.array([[1.5, -2.0, 0.25], [3.0, 4.0, -1.0]])
LEARN = """
w = tg.Variable(tg.zeros((3, 1)), name="w")

@tg.compile
def step(x, y, rate):
    loss, slope = tg.value_and_grad(lambda w: tg.ops.mean((x @ w - y) ** 2))(w)
    w.assign_sub(rate * slope)
    return loss

x = tg.random.normal((64, 3), seed=1)
y = x @ tg.tensor([[1.0], [-2.0], [3.0]])
losses = [step(x, y, 0.1) for _ in range(100)]
"""
LEARNT = [[1], [-2], [3]]


def check_values(values: list[Any]) -> None:
    """`values` are those of `compute()`."""
    np.testing.assert_allclose(values[0], np.exp(ROWS @ ROWS.T / 10), rtol=1e-6)
    assert values[1:] == [[2, 4, 6], np.sort(ROWS, axis=1).tolist()]


def check_learnt(weights: list[Any], loss: float) -> None:
    """`weights` are those of `w` and `loss` is the last of `losses`."""
    np.testing.assert_allclose(weights, LEARNT, atol=1e-4)
    assert 0 <= loss < 1e-6
