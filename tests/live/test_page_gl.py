"""WebGL2 inside Pyodide, in Chromium: values are read as they are on the processor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.live.computing import COMPUTE, LEARN, LEARNT, check_learnt, check_values

# Synchronous but for FIT: nothing here may need a Python that can wait for JavaScript.
START = """
import json
from tabgrad.errors import ArgumentError, EngineError, NotSupportedError

tg.set_engine("webgl")
engine = tg.realize.engine()
values = [t.tolist() for t in compute()]
"""
CONTINUE = """
learnt = [w.tolist(), float(losses[-1])]
memory = tg.memory()["webgl"].live
for _ in range(300):
    step(x, y, 0.1)
engine.sync()
grown = tg.memory()["webgl"].live - memory
problems = []
for work in (
    lambda: (tg.tensor([1], dtype="int64") + 1).realize(),
    lambda: tg.set_engine("webgl", deterministic=True),
    lambda: tg.set_engine("gpu"),
    lambda: engine.read(12345, 4),
):
    try:
        work()
    except (ArgumentError, EngineError, NotSupportedError) as error:
        problems.append(f"{type(error).__name__} {error}")
model = tg.Sequential([tg.Input((1,)), tg.layers.Dense(1)])
model.compile(optimizer="sgd", loss="mean_squared_error")
"""
FIT = """
xs = tg.tensor([1, 2, 3, 4], shape=(4, 1), dtype="float32")
ys = tg.tensor([1, 3, 5, 7], shape=(4, 1), dtype="float32")
await model.fit(xs, ys, epochs=100, verbose=0)
seed = float(model.predict(tg.tensor([[5.0]])))
later = await (w * 1).data()
json.dumps([engine.kind, engine.info, values, learnt, grown, problems, seed, later])
"""


def test_computing_with_webgl(in_pyodide: Callable[..., Any]) -> None:
    answer = in_pyodide(COMPUTE + START + LEARN + CONTINUE, FIT)
    kind, info, values, learnt, grown, problems, seed, later = answer
    assert kind == "webgl" and info["precision"] == "float32"
    check_values(values)
    check_learnt(*learnt)
    assert grown == 0
    wide, deterministic, unknown, handle = problems
    assert wide.startswith("NotSupportedError") and "32 bits" in wide
    assert deterministic.startswith("ArgumentError") and "'webgl'" in deterministic
    assert unknown.startswith("ArgumentError") and "'webgl'" in unknown
    assert handle.startswith("EngineError") and "not a live buffer" in handle
    assert 8 < seed < 10
    np.testing.assert_allclose(later, LEARNT, atol=1e-4)
