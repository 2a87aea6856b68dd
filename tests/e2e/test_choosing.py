"""engine="auto" in a page: WebAssembly at once, others only where they were found quicker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tabgrad as tg
from examples import seed
from tabgrad import naming
from tests.e2e.gpus import DESTROYED, Place, classifier, exported
from tests.e2e.models import export, for_js, from_js, largest_difference

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.conftest import SiteServer

L = tg.layers
ROWS = 128

# WebAssembly takes 0.4 s longer a call.
SLOW = """{
    const { Instance } = WebAssembly;
    WebAssembly.Instance = function (...args) {
      const { run } = new Instance(...args).exports;
      const slow = () => {
        for (const end = performance.now() + 400; performance.now() < end; );
        run();
      };
      return { exports: { run: slow } };
    };
}"""

# What a model of its own choice answers, and on what, before and after time to choose.
CHOOSE = """async ({ start, value: x }) => {
    const model = await start({ worker: false });
    const predict = async () => (await model.predict(x)).tolist();
    const found = { before: await predict(), engines: [model.engine] };
    for (let i = 0; i < 100 && model.engine === "wasm"; i++) {
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
    found.after = await predict();
    found.engines.push(model.engine);
    model.dispose();
    return found;
}"""
STAY = CHOOSE.replace("i < 100", "i < 25")


def large() -> tg.Sequential:
    """A training step of about 150 million operations."""
    naming.reset()
    tg.random.seed(5)
    model = tg.Sequential(
        [tg.Input((320,)), L.Dense(320, "tanh"), L.Dropout(0.1), L.Dense(320), L.Dense(2)]
    )
    model.compile(tg.optimizers.SGD(0.01, momentum=0.9), "mean_squared_error")
    return model


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wide = tg.Sequential([tg.Input((640,)), L.Dense(640, use_bias=False), L.Dense(640)])
    folder = tmp_path_factory.mktemp("choosing")
    export(wide, folder / "wide", ROWS)
    export(large(), folder / "large", ROWS)
    return folder


@pytest.fixture
def places(browser: Browser, site_server: SiteServer, site: Path) -> Iterator[Any]:
    """places(name): an export in a page; the pages of a test share what browsers keep."""
    context = browser.new_context()

    def place(name: str, budget: int = 20_000) -> Place:
        page = context.new_page()
        place = Place(page, served, site / name)
        # Software and other tests share two cores here: a second may not be enough.
        text = (site / name / "tabgrad" / "choosing.js").read_text()
        patient = text.replace("BUDGET_MS=1000", f"BUDGET_MS={budget}")
        assert patient != text
        answer = {"body": patient, "content_type": "text/javascript"}
        page.route("**/choosing.js", lambda route: route.fulfill(**answer))
        return place

    addresses: dict[Path, str] = {}

    def served(folder: Path, headers: Any) -> str:
        if folder not in addresses:
            addresses[folder] = site_server(folder, headers)
        return addresses[folder]

    yield place
    context.close()


def inputs(columns: int, rows: int = ROWS) -> Any:
    return np.random.default_rng(columns).standard_normal((rows, columns), np.float32)


def of_gpus(place: Place) -> list[str]:
    return [name for name in place.requests if "webg" in name]


def test_a_quicker_engine_takes_over_and_is_remembered(places: Any) -> None:
    place = places("wide")
    place.page.evaluate(f"() => {SLOW}")
    found = place(CHOOSE, inputs(640).tolist())
    first, then = found["engines"]
    assert first == "wasm" and then in ("webgpu", "webgl")
    np.testing.assert_allclose(found["after"], found["before"], rtol=1e-4, atol=1e-5)
    (line,) = place.lines
    assert "from now on, where predict takes" in line and "on WebAssembly it took" in line
    again = places("wide")
    found = again(CHOOSE, inputs(640).tolist())  # WebAssembly is quick now, but who knows
    assert found["engines"] == ["wasm", then]
    (line,) = again.lines
    assert "which was quicker when both were timed" in line
    assert not place.warnings + again.warnings


def test_what_is_quickest_stays(places: Any) -> None:
    place = places("wide")
    found = place(STAY, inputs(640).tolist())
    assert found["engines"] == ["wasm", "wasm"]
    assert found["after"] == found["before"]
    assert of_gpus(place), "nothing was tried"
    again = places("wide")
    assert again(STAY, inputs(640).tolist())["engines"] == ["wasm", "wasm"]
    assert not of_gpus(again), "it was known already"
    assert not place.lines + again.lines


def test_what_takes_too_long_is_left_for_another_time(places: Any) -> None:
    for _ in range(2):
        place = places("wide", budget=5)
        place.page.evaluate(f"() => {SLOW}")
        assert place(STAY, inputs(640).tolist())["engines"] == ["wasm", "wasm"]
        assert of_gpus(place)  # the second time, too: nothing was remembered
        assert not place.lines and not place.warnings


def train(place: Place) -> Any:
    x = inputs(320, 2 * ROWS)
    y = x[:, :2] * x[:, 2:4]
    options = {"epochs": 4, "seed": 2}
    return place.train("auto", {"fits": [{"x": for_js(x), "y": for_js(y), "options": options}]})


@pytest.mark.parametrize("fault", [False, True], ids=["stays", "fails"])
def test_a_training_goes_on_elsewhere(places: Any, fault: bool) -> None:
    expected = train(places("large"))
    place = places("large")
    place.page.evaluate("async () => { await caches.delete('tabgrad') }")
    place.break_in_worker(SLOW + (DESTROYED.replace("45", "30") if fault else ""))
    found = train(place)
    assert found["worker"] and found["engines"][0] == "wasm"
    assert len(place.lines) == 1 and "where train_step takes" in place.lines[0]
    np.testing.assert_allclose(
        found["histories"][0]["history"]["loss"],
        expected["histories"][0]["history"]["loss"],
        rtol=2e-4,
    )
    assert largest_difference(from_js(found["weights"]), from_js(expected["weights"])) < 1e-4


def test_small_models_fetch_nothing_for_gpus(
    browser: Browser, site_server: SiteServer, tmp_path: Path
) -> None:
    model = seed.make_model()
    model.fit(*seed.load_data(), epochs=100, verbose=0)
    export(model, tmp_path / "seed")
    exported(classifier(), tmp_path / "forced", 8)
    export(large(), tmp_path / "same", ROWS, deterministic=True)
    for name in ("seed", "forced", "same"):
        context = browser.new_context()
        place = Place(context.new_page(), site_server, tmp_path / name)
        if name == "seed":
            place.page.goto(place.page.url.replace("empty.html", ""), wait_until="networkidle")
        shape = {"seed": 1, "forced": 6, "same": 320}[name]
        assert place(STAY, inputs(shape, 8).tolist())["engines"] == ["wasm", "wasm"]
        assert not of_gpus(place), name
        assert name == "forced" or "relay.js" not in place.requests
        assert "choosing.js" not in place.requests
        context.close()
