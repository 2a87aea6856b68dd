"""WebGPU inside Pyodide, in Chromium: values are awaited, or waited for where Python can."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.engines.browser import at

if TYPE_CHECKING:
    from tests.conftest import SiteServer

COMPUTE = """
import asyncio, json
import tabgrad as tg
from tabgrad.engines import page
from tabgrad.errors import EngineError, NotSupportedError

def problem(work):
    try:
        work()
    except EngineError as error:
        return [error.code, str(error)]

def compute():
    x = tg.tensor([[1.5, -2.0, 0.25], [3.0, 4.0, -1.0]])
    return tg.exp(x @ x.T / 10), tg.tensor([1, 2, 3], dtype="int8") * 2, tg.ops.sort(x, axis=1)
"""
WITHOUT_WAITING = """
before = problem(lambda: tg.set_engine("webgpu"))
"""
PREPARED = """
await page.prepare("webgpu")
"""
QUEUED = """
tg.set_engine("webgpu")
info = tg.realize.engine().info
product, whole, ordered = compute()
product.realize()
reading = problem(lambda: product.tolist())
"""
AWAITED = """
values = [await t.data() for t in (product, whole, ordered)]
waited = [t.tolist() for t in compute()]
total = float(tg.ops.sum(ordered))

w = tg.Variable(tg.zeros((3, 1)), name="w")

@tg.compile
def step(x, y, rate):
    loss, slope = tg.value_and_grad(lambda w: tg.ops.mean((x @ w - y) ** 2))(w)
    w.assign_sub(rate * slope)
    return loss

x = tg.random.normal((64, 3), seed=1)
y = x @ tg.tensor([[1.0], [-2.0], [3.0]])
losses = [step(x, y, 0.1) for _ in range(100)]
learnt = [await (w * 1).data(), await losses[-1].data()]

memory = tg.memory()["webgpu"].live
for _ in range(300):
    step(x, y, 0.1)
grown = tg.memory()["webgpu"].live - memory
rows = await tg.ops.where(x > 0, x, 0).data()
try:
    (tg.tensor([1], dtype="int64") + 1).realize()
except NotSupportedError as error:
    wide = str(error)
json.dumps([before, info, reading, values, waited, total, learnt, grown, wide])
"""


def test_computing_on_the_gpu(live_folder: Callable[..., Path], site_server: SiteServer) -> None:
    answer: list[Any] = json.loads(
        at(
            f"{site_server(live_folder())}?python",
            """async ([now, later, queued, rest]) => {
                const py = await window.result;
                py.runPython(now);
                await py.runPythonAsync(later);
                py.runPython(queued);
                return py.runPythonAsync(rest);
            }""",
            [COMPUTE + WITHOUT_WAITING, PREPARED, QUEUED, AWAITED],
        )
    )
    before, info, reading, values, waited, total, learnt, grown, wide = answer
    assert before[0] == "async"
    assert "page.prepare('webgpu')" in before[1]
    assert info["isFallbackAdapter"] is True
    assert reading[0] == "async"
    assert "await t.data()" in reading[1]
    x = np.array([[1.5, -2.0, 0.25], [3.0, 4.0, -1.0]])
    np.testing.assert_allclose(values[0], np.exp(x @ x.T / 10), rtol=1e-6)
    assert values[1:] == [[2, 4, 6], np.sort(x, axis=1).tolist()]
    assert waited == values
    assert total == x.sum()
    np.testing.assert_allclose(learnt[0], [[1], [-2], [3]], atol=1e-4)
    assert 0 <= learnt[1] < 1e-6
    assert grown == 0
    assert "at most 32 bits on WebGPU" in wide
