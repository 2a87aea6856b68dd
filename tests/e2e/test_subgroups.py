"""A page whose model folds: devices with subgroups take the kernels that use them.

SwiftShader has subgroups, but as a processor it is given kernels of threads that work alone; so it
says here that it is a real GPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tests.e2e.gpus import Place

REAL = """
    Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", { get: () => false });
"""
WITHOUT = """
    const { get } = Object.getOwnPropertyDescriptor(GPUAdapter.prototype, "features");
    const fewer = function () {
        return new Set([...get.call(this)].filter((each) => each !== "subgroups"));
    };
    Object.defineProperty(GPUAdapter.prototype, "features", { get: fewer });
"""
RUN = """async ({ start, value }) => {
    const model = await start({ engine: "webgpu" });
    const [found] = Object.values(await model.run("rows", value));
    const { engine, warnings } = model;
    model.dispose();
    return { engine, warnings, found: [...found] };
}"""
X = np.random.default_rng(0).uniform(-1, 1, (5, 300)).astype(np.float32)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("subgroups")
    rows = tg.compile(lambda x: tg.exp(x.mean(axis=1)))
    rows(tg.tensor(X))
    tg.export({"rows": rows}, folder, engines=["webgpu"])
    return folder


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        (REAL, "kernels.cooperative.subgroups.webgpu.json"),
        (REAL + WITHOUT, "kernels.cooperative.webgpu.json"),
        ("", "kernels.webgpu.json"),
    ],
    ids=["with", "without", "software"],
)
def test_the_most_demanding_kernels_that_fit(place: Place, script: str, wanted: str) -> None:
    adapter: Any = place.page.evaluate(
        "async () => [...(await navigator.gpu.requestAdapter()).features]"
    )
    if "subgroups" not in adapter:
        pytest.skip("the browser's adapter has no subgroups")
    place.page.evaluate(f"() => {{ {script} }}")
    answer = place(RUN, {"x0": X.tolist()})
    assert [name for name in place.requests if name.endswith("webgpu.json")] == [wanted]
    assert answer["engine"] == "webgpu" and not answer["warnings"]
    want = np.exp(X.astype(np.float64).mean(1))
    np.testing.assert_allclose(answer["found"], want, rtol=1e-6)
