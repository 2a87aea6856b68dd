"""Loading: what is missing, damaged, newer or served oddly; which kernels are taken."""

from __future__ import annotations

import json

import pytest
import wasmtime

from tests.player.conftest import STRICT
from tests.player.linear import build_model, write_bare_model

LOAD = """async (url) => {
    const { load } = await import("/player/tabgrad.js");
    try {
        const model = await load(url);
        const answer = { worker: model.worker, y: (await model.predict([1])).tolist() };
        model.dispose();
        return answer;
    } catch ({ name, code, message }) {
        return { name, code, message };
    }
}"""


@pytest.fixture
def load(page, site_server, model_folder):
    """load(url): the model's prediction, or the error that loading rejects with."""
    page.goto(f"{site_server(model_folder, STRICT)}empty.html")
    return lambda url="model/model.json": page.evaluate(LOAD, url)


@pytest.fixture
def change(model_folder):
    """change(**fields) rewrites fields of model.json."""
    path = write_bare_model(model_folder / "model")

    def rewrite(**fields):
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return rewrite


def test_missing_files(load, model_folder):
    for name in ("kernels.wasm", "weights.safetensors", "model.json"):
        write_bare_model(model_folder / "model")
        model_folder.joinpath("model", name).unlink()
        error = load()
        assert (error["name"], error["code"]) == ("TabgradError", "missing_file")
        assert name in error["message"] and "404" in error["message"]


def test_missing_files_in_node(javascript, tmp_path):
    found = javascript(
        """
        const { load } = await import(player + "/../tabgrad.js");
        answer = await load(value).catch(({ code, message }) => ({ code, message }));
        """,
        (tmp_path / "nowhere.json").as_uri(),
    )
    assert found["code"] == "missing_file"
    assert "nowhere.json" in found["message"]


def test_a_server_that_is_gone(page, load):
    page.route("**/model.json", lambda route: route.abort())
    assert load()["code"] == "missing_file"


@pytest.mark.parametrize("name", ["kernels.wasm", "weights.safetensors"])
def test_truncated_and_longer_files(load, change, model_folder, name):
    path = model_folder / "model" / name
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    error = load()
    assert error["code"] == "truncated"
    assert name in error["message"] and str(len(content)) in error["message"]
    path.write_bytes(content + b"!")
    assert load()["code"] == "corrupt"


def test_other_files_than_a_model(load, change, model_folder):
    path = model_folder / "model" / "model.json"
    for content in ("<!doctype html>", "{}", "null", '{"format": "other"}'):
        path.write_text(content)
        assert load()["code"] == "corrupt"


def test_a_future_schema(load, change):
    change(schema=2)
    error = load()
    assert error["code"] == "version"
    assert "schema 2" in error["message"] and "reads 1" in error["message"]


def test_weights_that_are_not_the_model_s(load, change, model_folder):
    variables = build_model()["model"]["variables"]
    change(variables=[{**variables[0], "shape": [2, 1]}, *variables[1:]])
    error = load()
    assert error["code"] == "weights"
    assert "float32 [1,1], the model needs float32 [2,1]" in error["message"]
    change(variables=[*variables, {**variables[0], "name": "another"}])
    assert '"another" is missing, the model needs float32 [1,1]' in load()["message"]


def test_kernels_that_are_not_webassembly(load, change, model_folder):
    path = model_folder / "model" / "kernels.wasm"
    path.write_bytes(b"x" * path.stat().st_size)
    error = load()
    assert error["code"] == "compile"
    assert "wasm-unsafe-eval" in error["message"]


def test_an_unknown_engine(page, load, change):
    errors = page.evaluate(
        """async () => {
            const { load } = await import("/player/tabgrad.js");
            const fails = (engine) =>
              load("model/model.json", { engine }).catch(({ code, message }) => [code, message]);
            return [await fails("jax"), await fails("webgl")];
        }"""
    )
    error, exported = errors[0][1], errors[1]
    assert exported[0] == "unsupported"
    assert 'try tg.export(..., engines=["webgl"])' in exported[1]
    assert error == "engine: expected one of auto, wasm, webgpu, webgl, received jax"


def test_any_media_type_and_subfolders(page, site_server, model_folder):
    write_bare_model(model_folder / "deep" / "er")
    types = {".wasm": "text/plain", ".json": "text/html", ".safetensors": "image/png"}
    page.goto(f"{site_server(model_folder, STRICT, types)}empty.html")
    assert page.evaluate(LOAD, "deep/er/model.json") == {"worker": True, "y": [[0.75]]}


def test_takes_the_kernels_the_browser_can_run(page, load, change, model_folder):
    """Relaxed kernels where they validate; plain ones elsewhere and for deterministic models."""
    plain = wasmtime.wat2wasm(
        '(module (import "tabgrad" "memory" (memory 1 65536)) (func (export "run")))'
    )
    model_folder.joinpath("model", "kernels.wasm").write_bytes(plain)
    relaxed = write_bare_model(model_folder / "other").parent / "kernels.wasm"
    content = relaxed.read_bytes()
    model_folder.joinpath("model", "kernels.relaxed.wasm").write_bytes(content)
    kernels = [
        {"features": ["unheard-of"], "file": "none.wasm", "nbytes": 1},
        {"features": ["relaxed-simd"], "file": "kernels.relaxed.wasm", "nbytes": len(content)},
        {"features": [], "file": "kernels.wasm", "nbytes": len(plain)},
    ]
    change(programs={"wasm": kernels}, deterministic=False)
    assert load()["y"] == [[0.75]]
    change(programs={"wasm": kernels}, deterministic=True)
    assert load()["y"] == [[0.0]]
    change(programs={"wasm": kernels[:1]})
    assert load()["code"] == "unsupported"


def test_relative_addresses_in_node(javascript, node, tmp_path, monkeypatch):
    write_bare_model(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    found = javascript(
        """
        const { load } = await import(player + "/../tabgrad.js");
        const model = await load("model/model.json");
        answer = { y: (await model.predict([1])).tolist(), worker: model.worker };
        """
    )
    assert found == {"y": [[0.75]], "worker": False}


def test_addresses_of_servers_in_node(javascript, site_server, tmp_path):
    write_bare_model(tmp_path / "model")
    found = javascript(
        """
        const { load } = await import(player + "/../tabgrad.js");
        const model = await load(new URL("model/model.json", value));
        answer = (await model.predict([1])).tolist();
        """,
        site_server(tmp_path),
    )
    assert found == [[0.75]]
