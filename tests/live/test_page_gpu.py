"""WebGPU inside Pyodide, in Chromium: values are awaited, or waited for where Python can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.live.computing import COMPUTE, LEARN, ROWS, check_learnt, check_values
from tests.player.shading import PRETEND_HALVES

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


HALVES = """
import json
from array import array
from tabgrad.engines import page

await page.prepare("webgpu")
tg.set_engine("webgpu")
engine = tg.realize.engine()
source, target = engine.alloc(30, "float16"), engine.alloc(18, "float16")
engine.write(source, array("H", range(1, 16)))
engine.write(source, array("H", [70, 80]), 2)
engine.copy_rows(target, source, 6, [4, 0, 2])
found = [array("H", await engine.read_async(handle, 18)).tolist() for handle in (source, target)]
answer = [sorted(engine.features), found]
total = (tg.ones((4, 4), dtype="float16") @ tg.ones((4, 4), dtype="float16")).realize()
try:
    await total.data()
except Exception as error:
    answer.append(str(error))
json.dumps(answer)
"""


def test_half_floats_take_two_bytes_where_the_adapter_has_them(
    in_pyodide: Callable[..., Any],
) -> None:
    """Here it only says so: shaders with f16 are made, which it refuses."""
    answer = in_pyodide("import tabgrad as tg", HALVES, patch=PRETEND_HALVES)
    features, found, error = answer
    assert "shader-f16" in features
    assert found == [[1, 70, 80, 4, 5, 6, 7, 8, 9], [13, 14, 15, 1, 70, 80, 7, 8, 9]]
    assert "enable f16;" in error
