"""WebGL2 inside Pyodide, in Chromium: values are read as they are on the processor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.engines.browser import at

if TYPE_CHECKING:
    from tests.conftest import SiteServer

# Everything is synchronous: nothing here may need a Python that can wait for JavaScript.
COMPUTE = """
import json
import tabgrad as tg
from tabgrad.errors import ArgumentError, EngineError, NotSupportedError

tg.set_engine("webgl")
engine = tg.realize.engine()
x = tg.tensor([[1.5, -2.0, 0.25], [3.0, 4.0, -1.0]])
values = [
    t.tolist()
    for t in (tg.exp(x @ x.T / 10), tg.tensor([1, 2, 3], dtype="int8") * 2, tg.ops.sort(x, axis=1))
]

w = tg.Variable(tg.zeros((3, 1)), name="w")

@tg.compile
def step(x, y, rate):
    loss, slope = tg.value_and_grad(lambda w: tg.ops.mean((x @ w - y) ** 2))(w)
    w.assign_sub(rate * slope)
    return loss

x = tg.random.normal((64, 3), seed=1)
y = x @ tg.tensor([[1.0], [-2.0], [3.0]])
losses = [step(x, y, 0.1) for _ in range(100)]
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


def test_computing_with_webgl(live_folder: Callable[..., Path], site_server: SiteServer) -> None:
    answer: list[Any] = json.loads(
        at(
            f"{site_server(live_folder())}?python",
            """async ([now, later]) => {
                const py = await window.result;
                py.runPython(now);
                return py.runPythonAsync(later);
            }""",
            [COMPUTE, FIT],
        )
    )
    kind, info, values, learnt, grown, problems, seed, later = answer
    assert kind == "webgl" and info["precision"] == "float32"
    x = np.array([[1.5, -2.0, 0.25], [3.0, 4.0, -1.0]])
    np.testing.assert_allclose(values[0], np.exp(x @ x.T / 10), rtol=1e-6)
    assert values[1:] == [[2, 4, 6], np.sort(x, axis=1).tolist()]
    np.testing.assert_allclose(learnt[0], [[1], [-2], [3]], atol=1e-4)
    assert 0 <= learnt[1] < 1e-6
    assert grown == 0
    wide, deterministic, unknown, handle = problems
    assert wide.startswith("NotSupportedError") and "32 bits" in wide
    assert deterministic.startswith("ArgumentError") and "'webgl'" in deterministic
    assert unknown.startswith("ArgumentError") and "'webgl'" in unknown
    assert handle.startswith("EngineError") and "not a live buffer" in handle
    assert 8 < seed < 10
    np.testing.assert_allclose(later, [[1], [-2], [3]], atol=1e-4)
