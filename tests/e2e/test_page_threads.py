"""Threads of an exported page: the bits of one thread, and nothing lost where something fails.

Pages have them where they are cross-origin isolated. That shares of a kernel never meet is tested
with run_part in test_threads.py; here real pages run models on two threads.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad.compiler import frame
from tabgrad.targets.wasm import target
from tabgrad.web.serve import ISOLATION
from tests.e2e.models import digits_data, digits_model, export, for_js, show_session
from tests.e2e.places import SCENARIOS, STRICT

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.conftest import SiteServer

    # play(code, value=None, isolated=True)
    Play = Callable[..., Any]

PLAYER = Path(tg.__file__).parent / "player"

# `start` loads the model; `ready` calls it until its second thread has begun.
TOOLS = """
import { load } from "./tabgrad.js";
import { array, scenarios, toBase64 } from "./places.js";

export const tools = {
  array,
  toBase64,
  start: (threads, options) => load("model.json", { threads, ...options }),
  async ready(model, call) {
    for (let i = 0; model.threads < 2; i++) {
      if (i > 500) throw Error("the second thread did not begin");
      await call(model);
      await new Promise((resume) => setTimeout(resume, 10));
    }
    return model;
  },
  async weights(model) {
    return toBase64(await model.saveWeights());
  },
};
"""


@pytest.fixture
def play(page: Page, site_server: SiteServer, tmp_path: Path) -> Iterator[Play]:
    """play(code, value): what an async function of (tools, value) answers in a page."""
    started: list[str] = []

    def run(code: str, value: Any = None, *, isolated: bool = True) -> Any:
        if not started:
            places = SCENARIOS.read_text().replace("\nconst array ", "\nexport const array ")
            places = places.replace("\nfunction toBase64", "\nexport function toBase64")
            tmp_path.joinpath("places.js").write_text(places)
            tmp_path.joinpath("tools.js").write_text(TOOLS)
            tmp_path.joinpath("empty.html").write_text(
                '<!doctype html><title>empty</title><link rel="icon" href="data:,">'
            )
            headers = STRICT | (ISOLATION if isolated else {})
            started.append(site_server(tmp_path, headers))
            page.goto(started[0] + "empty.html")
            assert page.evaluate("crossOriginIsolated") is isolated
        return page.evaluate(
            f"""async (value) => {{
                const {{ tools }} = await import("/tools.js");
                return ({code})(tools, value);
            }}""",
            value,
        )

    yield run


def digits(folder: Path, rows: int = 96, batch: int = 32) -> dict[str, Any]:
    x, _, y, _ = digits_data()
    export(digits_model(tg.optimizers.Adam()), folder, batch)
    return {"x": for_js(x[:rows]), "y": for_js(y[:rows])}


TRAIN = """async ({ start, ready, array, weights }, { x, y }) => {
    const fit = (model, epochs) =>
        model.fit(array(x), array(y), { epochs, seed: 7, shuffle: true });
    const found = [];
    for (const threads of [1, 2]) {
        const model = await start(threads);
        if (threads > 1) await ready(model, () => model.predict(array(x)));
        const { history } = await fit(model, 3);
        found.push({ history, weights: await weights(model), threads: model.threads });
        model.dispose();
    }
    return found;
}"""


def test_training_has_the_same_bits(play: Play, page: Page, tmp_path: Path) -> None:
    alone, together = play(TRAIN, digits(tmp_path))
    assert (alone.pop("threads"), together.pop("threads")) == (1, 2)
    assert alone == together
    assert alone["history"]["loss"][-1] < alone["history"]["loss"][0]
    # The helpers end with the model, in Chromium after two seconds.
    for _ in range(100):
        page.wait_for_timeout(100)
        if not page.workers:
            break
    assert not page.workers


def inverted_residuals() -> Any:
    """A few blocks like MobileNet's, with weights that are state, so that some are derived."""
    random = np.random.default_rng(3)

    def weight(*shape: int) -> tg.Variable:
        value = random.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))
        return tg.Variable(value.astype(np.float32), name=f"w{shape}")

    made: list[tg.Variable] = []
    for inner in (48, 64):
        made += [weight(1, 1, 16, inner), weight(3, 3, inner, 1), weight(1, 1, inner, 16)]

    def forward(x: tg.Tensor) -> tg.Tensor:
        for expand, depthwise, project in zip(*[iter(made)] * 3, strict=True):
            y = tg.clip(tg.nn.conv(x, expand, padding="same"), 0, 6)
            y = tg.clip(tg.nn.depthwise_conv(y, depthwise, padding="same"), 0, 6)
            x = x + tg.nn.conv(y, project, padding="same")
        return tg.softmax(tg.mean(x, axis=(1, 2)))

    compiled = tg.compile(forward)
    compiled(np.zeros((1, 28, 28, 16), np.float32))
    return compiled


def export_functions(folder: Path, **functions: Any) -> None:
    with redirect_stdout(io.StringIO()):
        tg.export(functions, folder)


def test_inference_has_the_same_bits(play: Play, tmp_path: Path) -> None:
    forward = inverted_residuals()
    export_functions(tmp_path, forward=forward)
    x = np.random.default_rng(4).standard_normal((1, 28, 28, 16)).astype(np.float32)
    found = play(
        """async ({ start, ready, array, toBase64 }, x) => {
            const run = (model) => model.run("forward", array(x));
            const two = await ready(await start(), run);
            const models = [await start(1), two, await start(2, { worker: false })];
            const answers = [];
            for (const model of models) answers.push(toBase64((await run(model)).data.buffer));
            return [answers, models.map((model) => [model.threads, model.worker])];
        }""",
        for_js(x),
    )
    answers, how = found
    assert how == [[1, True], [2, True], [1, False]]
    assert len(set(answers)) == 1
    expected = np.asarray(forward(x))
    got = np.frombuffer(base64.b64decode(answers[0]), np.float32)
    np.testing.assert_allclose(got, expected.ravel(), rtol=1e-5)


@pytest.fixture
def asked(page: Page) -> list[str]:
    """The addresses that the page asks for."""
    found: list[str] = []
    page.on("request", lambda request: found.append(request.url))
    return found


def test_pages_that_are_not_isolated_use_one_thread(
    play: Play, asked: list[str], tmp_path: Path
) -> None:
    value = digits(tmp_path)
    found = play(
        """async ({ start, array }, { x, y }) => {
            const model = await start(2);
            await model.fit(array(x), array(y), { epochs: 2 });
            return [model.threads, model.worker];
        }""",
        value,
        isolated=False,
    )
    assert found == [1, True]
    assert not [url for url in asked if "threads" in url]


def test_one_thread_is_asked_for(play: Play, asked: list[str], tmp_path: Path) -> None:
    value = digits(tmp_path)
    found = play(
        """async ({ start, array }, { x, y }) => {
            const model = await start(1);
            await model.fit(array(x), array(y), { epochs: 2 });
            const codes = [];
            for (const threads of [0, 1.5, -2, "2"]) {
                await start(threads).catch(({ code, message }) => codes.push([code, message]));
            }
            return [model.threads, codes];
        }""",
        value,
    )
    threads, codes = found
    assert threads == 1
    assert [code for code, _ in codes] == ["option"] * 4
    assert "threads: expected a whole number of at least 1, received 1.5" in codes[1][1]
    assert not [url for url in asked if "threads" in url]


def test_small_models_begin_no_threads(play: Play, page: Page, tmp_path: Path) -> None:
    model = tg.Sequential([tg.Input((3,)), tg.layers.Dense(1)])
    model.compile("sgd", "mse")
    export(model, tmp_path, 4)
    rows = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    value = {"x": for_js(rows), "y": for_js(rows[:, :1])}
    found = play(
        """async ({ start, array }, { x, y }) => {
            const model = await start(2);
            await model.fit(array(x), array(y), { epochs: 20 });
            return model.threads;
        }""",
        value,
    )
    assert found == 1
    assert page.workers == []


def test_predictions_and_growth_while_training(play: Play, tmp_path: Path) -> None:
    """The memory grows under helpers that wait, and they see what is new."""
    found = play(
        """async ({ start, ready, array, weights, toBase64 }, { x, y }) => {
            const fit = (model, epochs) =>
                model.fit(array(x), array(y), { epochs, seed: 7, shuffle: true });
            const one = await start(1);
            const two = await ready(await start(2), (model) => model.predict(array(x)));
            const answers = [];
            for (const model of [one, two]) {
                let running = true;
                let during = 0;
                const training = fit(model, 4).finally(() => (running = false));
                const many = { ...array(x) };
                for (let copies = 50; running; copies = 1) {
                    const data = new Float32Array(many.data.length * copies);
                    for (let i = 0; i < copies; i++) data.set(many.data, i * many.data.length);
                    const shape = [many.shape[0] * copies, ...many.shape.slice(1)];
                    await model.predict({ data, shape });
                    during++;
                }
                await training;
                // A dataset that needs more memory than there is.
                const rows = 12000;
                const data = new Float32Array(rows * 64).fill(0.5);
                const large = await model.evaluate(
                    { data, shape: [rows, 8, 8, 1] },
                    { data: new Int32Array(rows), shape: [rows] },
                );
                await fit(model, 1);
                const { data: outputs } = await model.predict(array(x));
                answers.push([await weights(model), toBase64(outputs.buffer), large, during > 0]);
            }
            return [answers, two.threads];
        }""",
        digits(tmp_path),
    )
    (one, two), threads = found
    assert threads == 2
    assert one == two
    assert one[3]


def test_memory_stays_flat(play: Play, page: Page, tmp_path: Path) -> None:
    """2,000 steps of a training step that two threads share."""
    value = digits(tmp_path, 300, 32)
    show_session(tmp_path)
    play(
        """async ({ start, array, ready }, { x, y }) => {
            globalThis.fit = (epochs) => model.fit(array(x), array(y), { epochs });
            const model = await start(2);
            await ready(model, () => fit(1));
            globalThis.model = model;
        }""",
        value,
    )
    worker = next(worker for worker in page.workers if worker.url.endswith("/worker.js"))

    def measure(epochs: int) -> Any:
        page.evaluate("(epochs) => fit(epochs)", epochs)
        return worker.evaluate("() => self.session.engine.memoryUse()")

    before, after = measure(5), measure(200)
    assert before == after
    assert page.evaluate("model.threads") == 2
    assert len(page.workers) == 2


@pytest.mark.parametrize("failing", [0, 1])
def test_a_thread_that_fails(
    failing: int, play: Play, page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run fails, nobody waits for the others for ever, and later runs use one thread."""
    emit = target.contraction.emit
    units_of: list[int] = []

    def trapping(f: Any, kernel: Any, bases: Any, scratch: Any, fma: bool) -> Any:
        begin, end = f.params[-2:]
        if units_of:
            with f.if_(begin if failing else (begin == 0) & (end < units_of[0])):
                f.unreachable()
        units, nbytes = emit(f, kernel, bases, scratch, fma)
        units_of.append(units)
        return units, nbytes

    monkeypatch.setattr(target.contraction, "emit", trapping)
    x = np.random.default_rng(0).standard_normal((160, 160)).astype(np.float32)
    for folder in (tmp_path / "whole", tmp_path):
        product = tg.compile(lambda x: tg.matmul(x, x) * 2)
        product.program(x)
        export_functions(folder, product=product)
    assert len(units_of) > 1
    found = play(
        """async ({ start, ready, array, toBase64 }, x) => {
            const run = async (model) =>
                toBase64((await model.run("product", array(x))).data.buffer);
            const model = await start(2);
            const before = await run(await start(1));
            let failure;
            for (let i = 0; i < 500 && !failure; i++) {
                await run(model).catch((error) => (failure = error));
                await new Promise((resume) => setTimeout(resume, 10));
            }
            const { code, message, name } = failure;
            const same = before === (await run(model));
            return { code, message, name, threads: model.threads, same };
        }""",
        for_js(x),
    )
    message = found.pop("message")
    assert found == {"code": "trap", "name": "TabgradError", "threads": 1, "same": True}
    assert ("thread 2 of 2 failed" if failing else "unreachable") in message
    page.wait_for_timeout(300)
    names = [worker.url for worker in page.workers]
    assert not [name for name in names if name.endswith("/threads.js")]


@pytest.mark.parametrize("missing", ["from the start", "for the helpers"])
def test_threads_that_cannot_begin(missing: str, play: Play, page: Page, tmp_path: Path) -> None:
    """A server without the file, as one that does not send the headers with it: one thread."""
    value = digits(tmp_path)
    code = tmp_path / "tabgrad" / "threads.js"
    if missing == "from the start":
        code.unlink()
    play("async ({ start }) => void (globalThis.model = await start())")
    page.wait_for_timeout(500)
    code.unlink(missing_ok=True)
    found = play(
        """async ({ array, start }, { x, y }) => {
            const answers = [];
            for (const each of [model, await start(1)]) {
                for (let i = 0; i < 5; i++) {
                    await each.predict(array(x));
                    await new Promise((resume) => setTimeout(resume, 50));
                }
                const { history } = await each.fit(array(x), array(y), { epochs: 2, seed: 1 });
                answers.push([history.loss, each.threads, each.worker]);
            }
            return answers;
        }""",
        value,
    )
    assert found[0] == found[1]
    assert found[0][1:] == [1, True]
    assert len(page.workers) == 2  # of two models


def test_the_player_knows_the_target_s_numbers() -> None:
    code = (PLAYER / "tabgrad" / "threads.js").read_text()
    (least,) = re.findall(r"LEAST_FLOPS = ([\d.e]+);", code)
    assert float(least) == target.LEAST_SHARED
    (names,) = re.findall(r"const \[([A-Z_, ]+)\] = \[[\d, ]+\];", code)
    (numbers,) = re.findall(r"const \[[A-Z_, ]+\] = \[([\d, ]+)\];", code)
    words = dict(zip(names.split(", "), map(int, numbers.split(", ")), strict=True))
    for name in ("ENTRY", "STATUS", "SCRATCH", "TURN", "SCRATCH_BYTES"):
        assert frame.FRAME + 4 * words[name] == getattr(frame, name), name
    assert f"FRAME = {frame.FRAME};" in code
    used = {frame.ENTRY, frame.ROWS, frame.STATUS, frame.ARENA, frame.SCRATCH, frame.DERIVED}
    used |= {frame.ARRIVED, frame.TURN, frame.SCRATCH_BYTES}
    for name in ("STARTED", "DONE"):
        assert frame.FRAME + 4 * words[name] not in used
        assert words[name] < 16
