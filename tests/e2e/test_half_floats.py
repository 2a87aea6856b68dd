"""A page whose model computes in float16: which kernels it takes, and that they are right.

SwiftShader has no shader-f16. Where an adapter only says so, its device refuses what it is given,
and WebGL2 takes over: so the choice is seen, and the values are still right.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tests.e2e.gpus import Place
from tests.player.shading import PRETEND_HALVES

RUN = """async ({ start, value }) => {
    const codes = [];
    const { createShaderModule } = GPUDevice.prototype;
    GPUDevice.prototype.createShaderModule = function (options) {
        codes.push(options.code);
        return createShaderModule.call(this, options);
    };
    const model = await start({ engine: "webgpu" });
    const [found] = Object.values(await model.run("scaled", value));
    GPUDevice.prototype.createShaderModule = createShaderModule;
    const { engine, warnings } = model;
    model.dispose();
    return { engine, warnings, codes, found: Array.from(found, Number) };
}"""
X = np.random.default_rng(0).uniform(-1, 1, (9, 7)).astype(np.float16)
W = np.random.default_rng(1).uniform(-1, 1, (7, 5)).astype(np.float16)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("halves")
    weights = tg.Variable(tg.tensor(W, dtype="float16"), name="w")
    scaled = tg.compile(lambda x: tg.relu(x @ weights) * 0.5 + 1)
    scaled(tg.tensor(X, dtype="float16"))
    tg.export({"scaled": scaled}, folder, engines=["webgpu", "webgl"])
    return folder


def check(found: Any) -> None:
    """Sums are of 32 bits; they, products and sums with 1 are rounded once each."""
    product = (X.astype(np.float64) @ W.astype(np.float64)).astype(np.float16)
    want = np.maximum(product, 0) * np.float16(0.5) + np.float16(1)
    assert want.dtype == np.float16
    np.testing.assert_allclose(np.reshape(found, want.shape), want, rtol=2**-10)


def test_adapters_without_shader_f16(place: Place, site: Path) -> None:
    answer = place(RUN, {"x0": X.tolist()})
    assert answer["engine"] == "webgpu" and not answer["warnings"]
    check(answer["found"])
    assert answer["codes"] and not any("enable f16" in code for code in answer["codes"])
    assert "kernels.webgpu.json" in place.requests
    assert "kernels.shader-f16.webgpu.json" not in place.requests
    kinds = json.loads((site / "model.json").read_text())["programs"]
    assert [each["features"] for each in kinds["webgpu"]] == [["shader-f16"], []]


def test_adapters_with_shader_f16(place: Place) -> None:
    place.page.evaluate(f"() => {{ {PRETEND_HALVES} }}")
    answer = place(RUN, {"x0": X.tolist()})
    assert {"halves.js", "kernels.shader-f16.webgpu.json"} <= set(place.requests)
    assert "kernels.webgpu.json" not in place.requests
    assert answer["codes"]
    for code in answer["codes"]:
        assert code.startswith("enable f16;") and "array<f16, 45>" in code
    assert answer["engine"] == "webgl" and "WebGL2" in answer["warnings"][0]
    check(answer["found"])
