"""The seed program in a page with Python in it, held to what it prints on this machine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from examples.live.serve import assemble

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def live(
    tmp_path: Path,
    wheel: Path,
    node_modules: Path,
    page: Page,
    site_server: Callable[..., str],
) -> Page:
    """The example page, ready to run."""
    assemble(tmp_path / "live", wheel, node_modules / "pyodide")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    address = site_server(tmp_path / "live")
    page.goto(address)
    page.wait_for_function("document.querySelector('#state').textContent === 'Ready'")
    assert all(url.startswith((address, "data:")) for url in requests)
    return page


def run(page: Page, program: str | None = None) -> str:
    """Presses Run, perhaps with another program in the editor; what it printed."""
    if program is not None:
        page.fill("#program", program)
    page.click("#run")
    page.wait_for_function("!document.querySelector('#run').disabled", timeout=120_000)
    output = page.text_content("#output") or ""
    state = page.text_content("#state") or ""
    assert state.startswith("Done"), f"{state}: {output}"
    return output


def run_here(program: str) -> str:
    """What the program prints on this machine, where nothing is awaited."""
    program = program.replace("await ", "")
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_prints_what_this_machine_prints(live: Page) -> None:
    program = live.input_value("#program")
    assert "await model.fit" in program
    here = run_here(program)
    assert 8 < float(re.findall(r"\d+\.\d+", here)[0]) < 9  # on its way to 9
    assert run(live) == here
    assert run(live) == here  # a second time in the same page


def test_without_await_never_another_number(live: Page) -> None:
    program = live.input_value("#program")
    here = run_here(program)
    output = run(live, program.replace("await ", ""))
    assert output.endswith(here)
    assert "await model.fit(...)" in output  # the warning that the page stood still

    # Each way to touch the model lets it finish first.
    read_weights = program.replace("await ", "").replace(
        "print(model.predict(tg.tensor([[5.0]])))", "print(float(model.get_weights()[0][0][0]))"
    )
    assert run(live, read_weights).endswith(run_here(read_weights))


def test_without_await_where_python_cannot_wait(
    live_folder: Callable[..., Path], live: Page, page: Page, site_server: Callable[..., str]
) -> None:
    """Python that JavaScript entered by an ordinary call, as event handlers are."""
    program = live.input_value("#program")
    page.goto(f"{site_server(live_folder())}?python")
    sync = program.replace("await ", "").replace("print(", "result = str(")
    code = f"import warnings; warnings.simplefilter('ignore')\n{sync}\nresult"
    answer = page.evaluate("async (code) => (await window.result).runPython(code)", code)
    assert f"{answer}\n" == run_here(program)


def test_errors_are_shown(live: Page) -> None:
    live.fill("#program", "import tabgrad as tg\ntg.tensor([1, 2], shape=(3,))")
    live.click("#run")
    live.wait_for_function("document.querySelector('#state').textContent === 'Failed'")
    assert "ShapeError" in (live.text_content("#output") or "")


MANY_STEPS = """
import gc, json
import tabgrad as tg
from tabgrad import realize

tg.random.seed(0)
model = tg.Sequential([tg.Input((1,)), tg.layers.Dense(1)])
model.compile(optimizer="sgd", loss="mean_squared_error")
xs = tg.tensor([[i / 100] for i in range(100)], dtype="float32")
ys = tg.tensor([[i / 50 - 1] for i in range(100)], dtype="float32")

async def steps(count):
    history = await model.fit(xs, ys, epochs=count // 100, batch_size=1, verbose=0)
    gc.collect()
    return history.history["loss"][-1]
"""
STEPS = """
loss = await steps(COUNT)
use = realize.engine().memory_use()
json.dumps([loss, use.live, use.capacity])
"""


def test_ten_thousand_steps_leave_memory_flat(
    live_folder: Callable[..., Path], page: Page, site_server: Callable[..., str]
) -> None:
    page.goto(f"{site_server(live_folder())}?python")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def measure(count: int) -> dict[str, Any]:
        code = STEPS.replace("COUNT", str(count))
        run = "async (code) => (await window.result).runPythonAsync(code)"
        loss, live, capacity = json.loads(page.evaluate(run, code))
        session.send("HeapProfiler.collectGarbage")
        metrics = session.send("Performance.getMetrics")["metrics"]
        (script,) = (m["value"] for m in metrics if m["name"] == "JSHeapUsedSize")
        python = page.evaluate("async () => (await window.result)._module.HEAP8.length")
        return {
            "loss": loss,
            "live": live,
            "capacity": capacity,
            "python": python,
            "script": script,
        }

    page.evaluate("async (code) => (await window.result).runPythonAsync(code)", MANY_STEPS)
    measure(1000)
    before, after = measure(100), measure(10_000)
    print(before, after)
    assert after["loss"] < 1e-6
    for name in ("live", "capacity", "python"):
        assert after[name] == before[name], name
    assert after["script"] - before["script"] < 500_000


def test_ten_thousand_steps_leave_memory_flat_here() -> None:
    code = f"""
import asyncio
{MANY_STEPS}
import resource, sys

def measure(count):
    loss = asyncio.run(steps(count))
    use = realize.engine().memory_use()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return [loss, use.live, use.capacity, peak * (1 if sys.platform == "darwin" else 1024)]

measure(1000)
print(json.dumps([measure(100), measure(10_000)]))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after = json.loads(done.stdout)
    print(before, after)
    assert after[0] < 1e-6
    assert after[1:3] == before[1:3]
    assert after[3] - before[3] < 2_000_000


CONVOLUTIONAL = """
import hashlib
import time
import tabgrad as tg

tg.set_engine("wasm", deterministic=True)
tg.random.seed(3)
model = tg.Sequential([
    tg.Input((8, 8, 1)),
    tg.layers.Conv2D(4, 3, activation="relu"),
    tg.layers.BatchNormalization(),
    tg.layers.MaxPooling2D(),
    tg.layers.Flatten(),
    tg.layers.Dropout(0.25),
    tg.layers.Dense(10, activation="softmax"),
])
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
x = tg.random.uniform((70, 8, 8, 1), seed=1)
y = tg.tensor([i % 10 for i in range(70)])
history = await model.fit(x, y, epochs=3, batch_size=32, validation_split=0.1, verbose=0)
print(history.history["loss"])
for variable in model.variables:
    values = repr(variable.value.tolist())
    print(variable.path, hashlib.sha256(values.encode()).hexdigest()[:16])
"""


def test_a_convolutional_network_has_the_same_bits(live: Page) -> None:
    """The kernels that Python in the page emits are those that it emits here."""
    here = run_here(CONVOLUTIONAL)
    assert len(here.splitlines()) > 8
    assert run(live, CONVOLUTIONAL) == here
