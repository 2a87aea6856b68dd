"""10,000 training steps leave memory as it was: the engine's, JavaScript's and Python's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import tabgrad as tg
from tests.e2e.models import digits_data, digits_model, export, for_js, show_session

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.conftest import SiteServer

ROOT = Path(__file__).resolve().parents[2]


class Heaps:
    """Bytes of JavaScript objects, after a collection, in the page and in its worker."""

    def __init__(self, page: Page) -> None:
        self._page = page.context.new_cdp_session(page)
        self._worker = ""
        self._answers: dict[int, Any] = {}
        self._asked = 0
        self._wait = page.wait_for_timeout
        self._page.on("Target.attachedToTarget", self._attached)
        self._page.on("Target.receivedMessageFromTarget", self._received)
        attach = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": False}
        self._page.send("Target.setAutoAttach", attach)

    def measure(self) -> dict[str, int]:
        self._page.send("HeapProfiler.collectGarbage")
        here = self._page.send("Runtime.getHeapUsage")
        self._in_worker("HeapProfiler.collectGarbage")
        there = self._in_worker("Runtime.getHeapUsage")
        return {"page": int(here["usedSize"]), "worker": int(there["usedSize"])}

    def _attached(self, event: Any) -> None:
        if event["targetInfo"]["type"] == "worker":
            self._worker = event["sessionId"]

    def _received(self, event: Any) -> None:
        message = json.loads(event["message"])
        if "id" in message:
            self._answers[message["id"]] = message["result"]

    def _in_worker(self, method: str) -> Any:
        self._asked += 1
        message = json.dumps({"id": self._asked, "method": method})
        asked = {"sessionId": self._worker, "message": message}
        self._page.send("Target.sendMessageToTarget", asked)
        while self._asked not in self._answers:
            self._wait(5)
        return self._answers.pop(self._asked)


TRAIN = """async ({ x, y, steps }) => {
    const { scenarios } = await import("./places.js");
    const options = { epochs: steps / 10, batchSize: 8 };
    const { histories } = await scenarios.train(window.tabgrad.model, {
        fits: [{ x, y, options }],
    });
    return histories[0].history.loss.at(-1);
}"""


@pytest.mark.slow
def test_in_chromium(page: Page, site_server: SiteServer, tmp_path: Path) -> None:
    x, _, y, _ = digits_data()
    data = {"x": for_js(x[:75]), "y": for_js(y[:75])}  # ten batches, the last with 3 rows
    folder = export(digits_model(tg.optimizers.Adam()), tmp_path, 8)
    show_session(folder)
    folder.joinpath("places.js").write_text(Path(__file__).with_name("places.js").read_text())
    page.goto(site_server(folder))
    page.evaluate("async () => { await window.tabgrad.ready; }")
    (worker,) = page.workers
    heaps = Heaps(page)

    def measure(steps: int) -> dict[str, Any]:
        loss = page.evaluate(TRAIN, data | {"steps": steps})
        use = worker.evaluate("() => self.session.engine.memoryUse()")
        return {"loss": loss, **use, **heaps.measure()}

    measure(1000)
    before, after = measure(100), measure(10_000)
    print(f"Chromium: {before} -> {after}")
    assert after["loss"] < 1e-3
    for name in ("live", "peak", "capacity"):
        assert after[name] == before[name], name
    for name in ("page", "worker"):
        assert after[name] - before[name] < 200_000, name


STEPS = """
import gc, json, os, subprocess, sys
import numpy as np
import tabgrad as tg
from tabgrad import realize
from tests.e2e.models import digits_data, digits_model

x, _, y, _ = digits_data()
x, y = x[:300], y[:300]
model = digits_model(tg.optimizers.Adam())

def fit(steps):
    return model.fit(x[:75], y[:75], 8, epochs=steps // 10, verbose=0).history["loss"][-1]

small = tg.Sequential([tg.Input((8, 8, 1)), tg.layers.Flatten(), tg.layers.Dense(10)])
small.compile("adam", tg.losses.SparseCategoricalCrossentropy(from_logits=True))

def on_batches(steps):
    for i in range(steps):
        start = 32 * (i % 9)
        loss = small.train_on_batch(x[start:start + 32], y[start:start + 32])
    return loss

weights = tg.Variable(np.zeros((64, 10), np.float32), name="w")

@tg.compile
def step(images, labels, rate):
    def loss():
        picked = tg.ops.log_softmax(images @ weights) * tg.ops.one_hot(labels, 10)
        return -picked.sum() / images.shape[0]
    value, (slope,) = tg.value_and_grad(loss, variables=[weights])()
    weights.assign(weights - rate * slope)
    return value

flat = tg.tensor(x.reshape(300, 64))
labels = tg.tensor(y)

def own_loop(steps):
    for i in range(steps):
        loss = step(flat, labels, 0.5 / (1 + i))
    return float(loss)

def measure(train, steps):
    loss = train(steps)
    gc.collect()
    use = realize.engine().memory_use()
    return dict(
        loss=loss, live=use.live, peak=use.peak, capacity=use.capacity, resident=resident()
    )

def resident():
    if os.path.exists("/proc/self/statm"):
        return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    found = subprocess.run(["ps", "-o", "rss=", str(os.getpid())], capture_output=True, check=True)
    return int(found.stdout) * 1024

train = globals()[sys.argv[1]]
measure(train, 1000)
print(json.dumps([measure(train, 100), measure(train, 10_000)]))
"""


def run_here(loop: str) -> tuple[dict[str, Any], dict[str, Any]]:
    command = [sys.executable, "-c", STEPS, loop]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, after = json.loads(done.stdout)
    return before, after


def check(before: dict[str, Any], after: dict[str, Any]) -> None:
    print(f"laptop: {before} -> {after}")
    for name in ("live", "peak", "capacity"):
        assert after[name] == before[name], name
    assert after["resident"] - before["resident"] < 2_000_000


def test_fit_on_the_laptop() -> None:
    before, after = run_here("fit")
    assert after["loss"] < 1e-3
    check(before, after)


def test_train_on_batch_on_the_laptop() -> None:
    check(*run_here("on_batches"))


def test_a_loop_of_one_s_own_on_the_laptop() -> None:
    check(*run_here("own_loop"))
