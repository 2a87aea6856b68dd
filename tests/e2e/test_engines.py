"""An exported model on each engine of a browser, and what becomes of it when a GPU goes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tabgrad as tg
from tests.e2e import gpus
from tests.e2e.gpus import Place, classifier, exported
from tests.e2e.models import export, for_js, from_js, largest_difference

if TYPE_CHECKING:
    from tests.conftest import SiteServer

GPUS = ["webgpu", "webgl"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(classifier(), tmp_path_factory.mktemp("engines"), 1, 8)


def data(rows: int = 44) -> tuple[Any, Any]:
    x = np.random.default_rng(rows).standard_normal((rows, 6), np.float32)
    return x, (x[:, 0] > 0).astype(np.int32) + (x[:, 1] > 0.5)


def fits(**options: Any) -> dict[str, Any]:
    x, y = data()
    return {
        "fits": [{"x": for_js(x), "y": for_js(y), "options": {"epochs": 4, "seed": 1, **options}}],
        "test": {"x": for_js(x[:13]), "y": for_js(y[:13])},
    }


def assert_close(found: Any, expected: Any) -> None:
    """The same training, up to the rounding of another engine."""
    for mine, theirs in zip(found["histories"], expected["histories"], strict=True):
        assert mine["epoch"] == theirs["epoch"]
        assert mine["history"].keys() == theirs["history"].keys()
        for name, values in theirs["history"].items():
            np.testing.assert_allclose(mine["history"][name], values, rtol=2e-4, atol=2e-5)
    for name, value in expected["evaluated"].items():
        np.testing.assert_allclose(found["evaluated"][name], value, rtol=2e-4, atol=2e-5)
    weights, others = from_js(found["weights"]), from_js(expected["weights"])
    assert largest_difference(weights, others) < 2e-4


@pytest.mark.parametrize("worker", [False, True], ids=["main", "worker"])
@pytest.mark.parametrize("engine", GPUS)
def test_trains_as_on_wasm(place: Place, engine: str, worker: bool) -> None:
    given = fits(validationSplit=0.25)
    found = place.train(engine, given, worker=worker)
    assert found["engines"] == [engine, engine]
    assert found["worker"] == worker
    assert not any(name.endswith(".wasm") for name in place.requests)
    other = "webgl" if engine == "webgpu" else "webgpu"
    assert not any(other in name for name in place.requests)
    expected = place.train("wasm", given, worker=worker)
    assert expected["engines"] == ["wasm", "wasm"]
    assert_close(found, expected)
    assert not place.warnings and not found["warnings"]


# What happens to which engine, what takes over, and what the warning says of it.
FAULTS = {
    "device lost": ("webgpu", gpus.DESTROYED, "webgl", "lost: destroyed"),
    "context lost": ("webgl", gpus.CONTEXT_LOST, "wasm", "the browser took it away"),
    "no adapter": ("webgpu", gpus.NO_ADAPTER, "webgl", "gives no adapter"),
    "no context": ("webgl", gpus.NO_CONTEXT, "wasm", "expected WebGL2"),
    "no GPU at all": ("webgpu", gpus.NO_ADAPTER + gpus.NO_CONTEXT, "wasm", "WebGL2, too"),
    "bad WGSL": ("webgpu", gpus.BAD_WGSL, "webgl", "refused a shader"),
    "bad GLSL": ("webgl", gpus.BAD_GLSL, "wasm", "refused a shader"),
    "out of memory": ("webgpu", gpus.NO_MEMORY, "webgl", "no memory for a buffer"),
    "too small": ("webgpu", gpus.SMALL_BUFFERS, "webgl", "of at most 1,024"),
    "both lost": ("webgpu", gpus.DESTROYED + gpus.CONTEXT_LOST, "wasm", "destroyed"),
}


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Any]:
    """The training that all others are compared with, on WebAssembly."""
    return {}


@pytest.mark.parametrize("fault", FAULTS)
def test_another_engine_takes_over(place: Place, undisturbed: Any, fault: str) -> None:
    engine, script, then, words = FAULTS[fault]
    given = fits(validationSplit=0.25)
    if not undisturbed:
        undisturbed.update(place.train("wasm", given, worker=False))
    place.page.evaluate(f"() => {{ {script} }}")
    found = place.train(engine, given, worker=False)
    assert found["engines"][1] == then
    assert_close(found, undisturbed)
    count = 2 if fault == "both lost" else 1
    assert len(found["warnings"]) == count
    assert words in found["warnings"][0]
    assert place.warnings == [f"tabgrad: {text}" for text in found["warnings"]]
    # Copies after each epoch: at most its five steps, and the two of its validation, are repeated.
    repeated = [re.search("repeated the ([0-9]+) calls", text) for text in found["warnings"]]
    assert all(repeated) or "lost" not in fault
    assert all(0 < int(match[1]) <= 7 for match in repeated if match)


def test_another_engine_takes_over_in_a_worker(place: Place, undisturbed: Any) -> None:
    given = fits(validationSplit=0.25)
    if not undisturbed:
        undisturbed.update(place.train("wasm", given, worker=False))
    place.break_in_worker(gpus.DESTROYED)
    found = place.train("webgpu", given, worker=True)
    assert found["worker"] and found["engines"] == ["webgpu", "webgl"]
    assert_close(found, undisturbed)
    assert place.warnings == [f"tabgrad: {text}" for text in found["warnings"]]
    assert len(found["warnings"]) == 1


EVERYTHING = """async ({ start, value: [options, x, y] }) => {
    const model = await start(options);
    const weights = async () => {
        const all = await model.weights();
        return Object.values(all).flatMap(({ data }) => [...data]);
    };
    const found = { engine: model.engine };
    const predict = async (rows) => (await model.predict(x.slice(0, rows))).tolist();
    found.predicted = [await predict(1), await predict(3), await predict(21)];
    found.first = await weights();
    await model.fit(x, y, { epochs: 1 });
    found.trained = await weights();
    const file = await model.saveWeights();
    await model.fit(x, y, { epochs: 1 });
    found.further = await weights();
    await model.loadWeights(file);
    found.back = await weights();
    found.evaluated = await model.evaluate(x, y);
    found.ran = (await model.run("predict", x.slice(0, 5))).tolist();
    const abort = new AbortController();
    const { signal } = abort;
    const onEpochEnd = (epoch) => void (epoch === 2 && abort.abort());
    const stopped = model.fit(x, y, { epochs: 50, signal, onEpochEnd });
    found.aborted = await stopped.catch(({ code }) => code);
    found.kept = await weights();
    await model.reset();
    found.reset = await weights();
    model.dispose();
    found.disposed = await model.predict(x).catch(({ code }) => code);
    return found;
}"""


@pytest.mark.parametrize("engine", GPUS)
def test_everything_a_model_does(place: Place, engine: str) -> None:
    x, y = data()
    given = [x.tolist(), y.tolist()]
    found = place(EVERYTHING, [{"engine": engine, "worker": False}, *given])
    expected = place(EVERYTHING, [{"engine": "wasm", "worker": False}, *given])
    assert (found.pop("engine"), expected.pop("engine")) == (engine, "wasm")
    assert found["back"] == found["trained"] == found["kept"]
    assert found["aborted"] == "aborted" and found["disposed"] == "disposed"
    for name, value in expected.items():
        if name == "evaluated":
            value, found[name] = list(value.values()), list(found[name].values())
        for mine, theirs in zip(found[name], value, strict=True):
            if not isinstance(theirs, str):
                np.testing.assert_allclose(mine, theirs, rtol=2e-4, atol=2e-5, err_msg=name)
    assert not place.warnings


def test_engines_that_are_not_there(place: Place, tmp_path: Path, site_server: SiteServer) -> None:
    failure = "({ start, failure, value }) => failure(start({ engine: value, worker: false }))"
    place.page.evaluate("() => { delete Navigator.prototype.gpu }")
    error = place(failure, "webgpu")
    assert (error["name"], error["code"]) == ("TabgradError", "unsupported")
    assert 'use engine "wasm"' in error["message"]
    place.page.evaluate("() => { delete globalThis.WebGL2RenderingContext }")
    assert place(failure, "webgl")["code"] == "unsupported"
    other = Place(place.page, site_server, export(classifier(), tmp_path, 8))
    error = other(failure, "webgpu")
    assert error["code"] == "unsupported"
    assert 'engines=["webgpu"]' in error["message"]


def test_a_gpu_that_goes_between_calls(place: Place) -> None:
    """What was learnt is in the copy, and what is asked next is answered from there."""
    x, y = data()
    found = place(
        """async ({ start, value: [x, y] }) => {
            let own;
            const { requestDevice } = GPUAdapter.prototype;
            GPUAdapter.prototype.requestDevice = async function (...args) {
              return (own = await requestDevice.apply(this, args));
            };
            const model = await start({ engine: "webgpu", worker: false });
            await model.fit(x, y, { epochs: 2 });
            const before = (await model.predict(x)).tolist();
            own.destroy();
            await own.lost;
            const after = (await model.predict(x)).tolist();
            const asked = [model.engine, model.warnings.length];
            model.dispose();
            return [before, after, asked];
        }""",
        [x.tolist(), y.tolist()],
    )
    before, after, asked = found
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)
    assert asked == ["webgl", 1]


def test_copies_are_made_every_few_seconds(place: Place) -> None:
    """In an epoch of 44 steps, of which each seems to take a minute."""
    given = fits(epochs=1, batchSize=1)
    place.page.evaluate(
        """() => {
            const now = performance.now.bind(performance);
            performance.now = () => 10_000 * now();
        }"""
    )
    place.page.evaluate(f"() => {{ {gpus.DESTROYED.replace('45', '150')} }}")
    found = place.train("webgpu", given, worker=False)
    (warning,) = found["warnings"]
    match = re.search("repeated the ([0-9]+) calls", warning)
    assert not match or int(match[1]) <= 3
    expected = place.train("wasm", given, worker=False)
    assert_close(found, expected)


@pytest.mark.parametrize("engine", GPUS)
def test_weights_that_come_in_pieces(
    place: Place, engine: str, tmp_path: Path, site_server: SiteServer
) -> None:
    model = tg.Sequential([tg.Input((1100,)), tg.layers.Dense(1100), tg.layers.Dense(3)])
    other = Place(place.page, site_server, exported(model, tmp_path, 4))
    x = np.random.default_rng(1).standard_normal((4, 1100), np.float32)
    found = other(
        """async ({ start, value: [engine, x] }) => {
            const model = await start({ engine, worker: true });
            const results = [await model.predict(x), await model.predict(x)];
            return [results.map((result) => result.tolist()), model.engine];
        }""",
        [engine, x.tolist()],
    )
    expected = np.asarray(model.predict(x, verbose=0))
    for result in found[0]:
        np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-4)
    assert found[1] == engine
