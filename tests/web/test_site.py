"""Writing a site: the files, their sizes, and the bundled player that is as good as its source."""

from __future__ import annotations

import gzip
import json
import os

import pytest

from tabgrad.formats import safetensors
from tabgrad.web.site import Data, Initial, write_site
from tests.player.linear import PLAYER, build_model, float_array

SCENARIOS = {
    "describe": None,
    "predict": [[[1], [2]], [[0.5]] * 40],
    "inputForms": None,
    "ownership": None,
    "fit": {
        "x": [[i / 8] for i in range(21)],
        "y": [[i / 4] for i in range(21)],
        "options": {"epochs": 3, "validationSplit": 0.2},
    },
    "evaluate": {"x": [[1], [2]], "y": [[3], [4]], "sizes": [1, 8]},
    "functions": None,
    "badInputs": None,
    "trap": None,
    "nan": None,
    "abort": None,
    "saving": None,
    "disposed": None,
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_bundled_player_does_what_its_source_does(javascript, tmp_path, scenario):
    parts = build_model()
    write_site(tmp_path, **parts)
    code = """
        const { scenarios } = await import(value.scenarios);
        const run = async (player) => {
          const { load } = await import(player);
          const start = (options) => load(new URL(value.model), options);
          return scenarios[value.scenario](start, value.given);
        };
        answer = [await run(value.source), await run(value.site)];
    """
    source, site = javascript(
        code,
        {
            "scenarios": (PLAYER.parents[2] / "tests/player/scenarios.js").as_uri(),
            "source": (PLAYER / "tabgrad.js").as_uri(),
            "site": (tmp_path / "tabgrad.js").as_uri(),
            "model": (tmp_path / "model.json").as_uri(),
            "scenario": scenario,
            "given": SCENARIOS[scenario],
        },
    )
    assert source == site


def test_the_bundled_player_runs_in_the_browser(visit, tmp_path):
    write_site(tmp_path, **build_model())
    page = visit(tmp_path)
    found = page.evaluate(
        """async () => {
            const { model } = window.tabgrad;
            const { history } = await model.fit([1, 2, 3], [2, 4, 6], { epochs: 5 });
            const saved = await model.saveWeights();
            const error = await model.predict("x").catch((error) => error);
            const { TabgradError } = await import("./tabgrad.js");
            return {
              worker: model.worker, epochs: history.loss.length, saved: saved.byteLength > 100,
              known: error instanceof TabgradError, code: error.code,
            };
        }"""
    )
    assert found == {"worker": True, "epochs": 5, "saved": True, "known": True, "code": "shape"}


def test_the_bundled_player_runs_without_a_worker(page, visit, tmp_path):
    write_site(tmp_path, **build_model())
    page.add_init_script("delete window.Worker")
    page = visit(tmp_path)
    found = page.evaluate(
        """async () => {
            const { model } = window.tabgrad;
            const { TabgradError } = await import("./tabgrad.js");
            const trap = await model.run("crash").catch((error) => error);
            const known = trap instanceof TabgradError;
            return [model.worker, (await model.predict([1])).tolist(), known, trap.code];
        }"""
    )
    assert found == [False, [[0.75]], True, "trap"]


def test_files_are_described(tmp_path):
    parts = build_model()
    x, y = float_array((3, 1), 1, 2, 3), float_array((3, 1), 4, 5, 6)
    site = write_site(
        tmp_path / "deep" / "site",
        **{**parts, "programs": {**parts["programs"], ("relaxed-simd",): b"\0asm"}},
        initial=Initial(parts["weights"], ["counter"]),
        data=Data([x], [y], [y], [x]),
    )
    model = json.loads((site.folder / "model.json").read_text())
    for part in (*model["weights"], *model["programs"]["wasm"], *model["initial"]["files"]):
        assert (site.folder / part["file"]).stat().st_size == part["nbytes"]
    programs = [(each["features"], each["file"]) for each in model["programs"]["wasm"]]
    assert programs == [(["relaxed-simd"], "kernels.relaxed.wasm"), ([], "kernels.wasm")]
    assert model["initial"]["zeros"] == ["counter"]
    data = model["data"]
    assert (data["x"], data["y"], data["x_test"]) == (["x"], ["y"], ["x_test"])
    stored = safetensors.load(site.folder / data["file"])
    assert bytes(stored["x"].data) == x.data
    assert bytes(stored["y_test"].data) == x.data


def test_sizes_are_those_of_the_files(tmp_path):
    site = write_site(tmp_path, **build_model())
    written = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert site.sizes.keys() == written.keys()
    for path, content in written.items():
        assert site.sizes[path] == (len(content), len(gzip.compress(content, 9)))
    text = str(site)
    assert f"{len(written['model.json']):,} bytes" in text
    assert text.splitlines()[-1].strip().startswith("in all")


def test_a_model_without_training_or_data_says_so(javascript, tmp_path):
    parts = build_model()
    parts["model"]["training"] = None
    write_site(tmp_path, **parts)
    found = javascript(
        """
        const { load } = await import(value + "tabgrad.js");
        const model = await load(new URL("model.json", value));
        const code = (promise) => promise.catch(({ code }) => code);
        answer = [
          await code(model.fit([1], [1])),
          await code(model.evaluate([1], [1])),
          await code(model.data()),
          await code(model.reset()),
        ];
        """,
        tmp_path.as_uri() + "/",
    )
    assert found == ["not_trainable", "not_trainable", "no_data", "no_initial"]


def test_data_and_reset(javascript, tmp_path):
    parts = build_model()
    x, y = float_array((3, 1), 1, 2, 3), float_array((3,), 4, 5, 6)
    fresh = {"linear/kernel": float_array((1, 1), 9)}
    write_site(
        tmp_path, **parts, initial=Initial(fresh, ["counter", "linear/bias"]), data=Data([x], [y])
    )
    found = javascript(
        """
        const { load } = await import(value + "tabgrad.js");
        const model = await load(new URL("model.json", value));
        const { x, y, xTest, yTest } = await model.data();
        await model.fit(x, y, { epochs: 3 });
        await model.run("count");
        await model.reset();
        const weights = await model.weights();
        answer = {
          data: [x.tolist(), y.tolist(), xTest === undefined, yTest === undefined],
          weights: Object.values(weights).map((weight) => weight.tolist()),
          counter: (await model.run("count")).tolist(),
        };
        """,
        tmp_path.as_uri() + "/",
    )
    assert found["data"] == [[[1], [2], [3]], [4, 5, 6], True, True]
    assert found["weights"] == [[[9]], [0]]
    assert found["counter"] == 0


def test_a_new_export_is_not_mixed_with_cached_files(page, site_server, tmp_path):
    """A cache still has model.json of the last export when the new kernels come."""
    site = tmp_path / "site"
    address = site_server(site, {"Cache-Control": "max-age=600"})
    for hour, (burn, kernel) in enumerate(((0, 1.0), (1, 2.0), (12345678, 3.0))):
        write_site(site, **build_model(kernel=kernel, burn=burn))
        for path in site.rglob("*"):  # servers tell files apart by the second
            os.utime(path, (3600 * hour, 3600 * hour))
        page.goto(address)
        page.locator("main[aria-busy=false]").wait_for()
        assert page.inner_text(".answer") == str(kernel + 0.25)
