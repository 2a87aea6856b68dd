"""WebGPU inside Pyodide, in Chromium: values are awaited, or waited for where Python can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.live.computing import COMPUTE, LEARN, ROWS, check_learnt, check_values

WITHOUT_WAITING = """
import json
from tabgrad.engines import page
from tabgrad.errors import EngineError, NotSupportedError

def problem(work):
    try:
        work()
    except EngineError as error:
        return [error.code, str(error)]

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
"""
CONTINUE = """
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


def test_computing_on_the_gpu(in_pyodide: Callable[..., Any]) -> None:
    answer = in_pyodide(COMPUTE + WITHOUT_WAITING, PREPARED, QUEUED, AWAITED + LEARN + CONTINUE)
    before, info, reading, values, waited, total, learnt, grown, wide = answer
    assert before[0] == "async"
    assert "page.prepare('webgpu')" in before[1]
    assert info["isFallbackAdapter"] is True
    assert reading[0] == "async"
    assert "await t.data()" in reading[1]
    check_values(values)
    assert waited == values
    assert total == ROWS.sum()
    check_learnt(*learnt)
    assert grown == 0
    assert "at most 32 bits on WebGPU" in wide
