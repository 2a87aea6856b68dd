"""GPUs that are lost under Pyodide, in Chromium: fit goes on, without any way to wait for a GPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

CATCH_DEVICES = """
const request = GPUAdapter.prototype.requestDevice;
GPUAdapter.prototype.requestDevice = async function (...given) {
  return (window.device = await request.apply(this, given));
};
const get = OffscreenCanvas.prototype.getContext;
OffscreenCanvas.prototype.getContext = function (...given) {
  return (window.context = get.apply(this, given));
};
"""
TRAIN = """
import json, warnings
import js, pyodide.ffi
import tabgrad as tg
from tabgrad.engines import page

pyodide.ffi.can_run_sync = lambda: False
warnings.simplefilter("always")
kinds = []

class Lose(tg.callbacks.Callback):
    def __init__(self, at):
        self.at = at
    def on_train_batch_begin(self, batch, logs=None):
        kinds.append(tg.realize.engine().kind)
        what = self.at.get(len(kinds))
        if what == "device":
            js.window.device.destroy()
        if what == "context":
            js.window.context.getExtension("WEBGL_lose_context").loseContext()

async def train(engine, lose):
    if engine == "webgpu":
        await page.prepare("webgpu")
    tg.set_engine(engine)
    kinds.clear()
    tg.random.seed(3)
    model = tg.Sequential([
        tg.Input((4,)),
        tg.layers.Dense(8, "tanh"),
        tg.layers.Dropout(0.2, seed=5),
        tg.layers.Dense(3, "softmax"),
    ])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x = [[((7 * i + 3 * j) % 11) / 5 - 1 for j in range(4)] for i in range(48)]
    y = [i % 3 for i in range(48)]
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        history = await model.fit(
            x, y, epochs=6, batch_size=8, verbose=0, validation_split=0.25, callbacks=[Lose(lose)]
        )
    weights = [await w.value.data() for w in model.weights]
    said = [f"{one.category.__name__}: {one.message}" for one in found]
    return history.history, weights, list(kinds), said
"""
RUN = """
json.dumps([
    await train("wasm", {}),
    await train("webgpu", {}),
    await train("webgpu", {11: "device", 23: "context"}),
])
"""


def test_fit_survives_both_gpus(in_pyodide: Callable[..., Any]) -> None:
    wasm, gpu, lost = in_pyodide(TRAIN, RUN, patch=CATCH_DEVICES)
    assert set(wasm[2]) == {"wasm"} and set(gpu[2]) == {"webgpu"}
    assert wasm[3] == gpu[3] == []
    assert len(lost[2]) == len(gpu[2]) == 6 * 5
    order = sorted(set(lost[2]), key=lost[2].index)
    assert order == ["webgpu", "webgl", "wasm"]
    assert len(lost[3]) == 2
    assert "EngineWarning: the engine 'webgpu' lost its device, so 'webgl'" in lost[3][0]
    assert "EngineWarning: the engine 'webgl' lost its device, so 'wasm'" in lost[3][1]
    for one in (gpu, lost):
        for name, values in wasm[0].items():
            np.testing.assert_allclose(one[0][name], values, rtol=1e-4, atol=1e-5)
        for ours, theirs in zip(one[1], wasm[1], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


CHOOSE = """
import contextlib, io
from tabgrad.engines import auto

auto.WORTH = 1
timed = auto.seconds

async def seconds(*given):
    return max(await timed(*given), 1e-5)  # the clocks of pages are coarse, and this model small

auto.seconds = seconds
auto.is_software = lambda engine: False
async def choose(gain):
    auto.GAIN, auto.SECONDS = gain, 60
    said = io.StringIO()
    tg.set_engine("auto")
    with contextlib.redirect_stderr(said):
        history, weights, kinds, warned = await train("auto", {})
    return weights, kinds, warned, said.getvalue(), js.localStorage.getItem("tabgrad-engines")

json.dumps([await choose(0), await choose(1e9), js.localStorage.clear(), await choose(1e9)])
"""


def test_auto_changes_between_epochs(in_pyodide: Callable[..., Any]) -> None:
    """What decides is set to a value that no time can pass, and to one that every time does."""
    stayed, known, _, changed = in_pyodide(TRAIN, CHOOSE)
    assert stayed[1] == known[1] == ["wasm"] * 30 and stayed[3] == known[3] == ""
    (entry,) = json.loads(stayed[4]).values()
    assert entry["engine"] == "wasm" and entry["device"] == ""
    after = changed[1][5:]
    assert changed[1][:5] == ["wasm"] * 5
    assert len(set(after)) == 1 and after[0] in ("webgpu", "webgl")
    assert changed[2] == []
    assert changed[3].startswith(f"tabgrad: {after[0]} computes 'sequential") and (
        changed[3].count("\n") == 1
    )
    (entry,) = json.loads(changed[4]).values()
    assert entry["engine"] == after[0] and entry["device"]
    for ours, theirs in zip(changed[0], stayed[0], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
