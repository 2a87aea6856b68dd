"""`await model.verify()` in an exported page: right engines pass, wrong kernels are found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import naming
from tabgrad.errors import ArgumentError
from tabgrad.targets.wasm import operations
from tabgrad.web import verification
from tests import verifying
from tests.e2e.gpus import NO_ADAPTER, Place, exported

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.conftest import SiteServer

CASES = [*((name, what) for name in verifying.LAYERS for what in ("forward", "gradient"))]
VERIFY = """async ({ start, failure, value: { trained, ...options } }) => {
    const model = await start({ engine: "wasm", worker: false });
    if (trained) await model.fit(...trained);
    const found = model.verify(options);
    const failed = await failure(found);
    if (failed.code) return failed;
    const { ok, rows, missing } = await found;
    return { ok, rows, missing, text: String(await found) };
}"""


@pytest.fixture
def visit(browser: Browser, site_server: SiteServer) -> Iterator[Any]:
    page = browser.new_context().new_page()
    yield lambda folder: Place(page, site_server, folder)
    page.context.close()


def network() -> tg.Sequential:
    naming.reset()
    model = verifying.network()
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(network(), tmp_path_factory.mktemp("right"), 4, verify=True)


def test_every_layer_on_every_engine(visit: Any, right: Path) -> None:
    found = visit(right)(VERIFY, {})
    assert found["ok"] and not found["missing"], found["text"]
    for engine in ("wasm", "webgpu", "webgl"):
        rows = [row for row in found["rows"] if row["engine"] == engine]
        cases = [(row["layer"], row["what"]) for row in rows]
        assert cases == [*CASES, ("network", "forward")]
        assert all(row["verdict"] == "ok" and row["error"] < 1e-4 for row in rows), found["text"]
        assert any(row["error"] > 0 for row in rows), "something was compared"
    assert "Every layer is right" in found["text"]


def test_it_is_about_what_was_exported(visit: Any, right: Path) -> None:
    """Training in the page changes nothing of it; engines can be chosen."""
    trained = [
        {"data": [0.5] * 256, "shape": [4, 8, 8, 1]},
        [1, 2, 3, 4],
        {"batchSize": 4, "epochs": 2},
    ]
    found = visit(right)(VERIFY, {"trained": trained, "engines": ["wasm"]})
    assert found["ok"] and {row["engine"] for row in found["rows"]} == {"wasm"}


def test_wrong_kernels_are_found(
    visit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """exp a thousandth off on WebAssembly: softmax is in the last layer, and in that alone."""
    exp = operations._OPERATIONS["exp"]
    with monkeypatch.context() as patch:
        patch.setitem(operations._OPERATIONS, "exp", lambda *args: exp(*args) * 1.001 + 1e-3)
        exported(network(), tmp_path, 4, verify=True)
    found = visit(tmp_path)(VERIFY, {})
    wrong = {(row["engine"], row["layer"]) for row in found["rows"] if row["verdict"] != "ok"}
    assert wrong == {("wasm", "dense"), ("wasm", "network")} and not found["ok"]
    assert "are too far off; element" in found["text"]


def test_engines_that_are_not_there(visit: Any, right: Path) -> None:
    place = visit(right)
    place.page.add_init_script(NO_ADAPTER)
    place.page.reload()
    found = place(VERIFY, {"engines": ["wasm", "webgpu"]})
    assert found["ok"] and list(found["missing"]) == ["webgpu"]
    assert "Not checked: webgpu. expected a GPU" in found["text"]


def test_errors(visit: Any, right: Path, tmp_path: Path) -> None:
    failed = visit(right)(VERIFY, {"engines": ["abacus"]})
    assert failed["code"] == "option" and "wasm, webgpu, webgl" in failed["message"]
    without = exported(network(), tmp_path, 4)
    assert not list(tmp_path.rglob("verify*"))
    failed = visit(without)(VERIFY, {})
    assert failed["code"] == "no_verification" and "verify=True" in failed["message"]
    with pytest.raises(ArgumentError, match="expected a model with verify=True"):
        f = tg.compile(lambda x: x + 1)
        f(tg.ones(2))
        tg.export({"f": f}, tmp_path, verify=True)


def test_what_is_drawn() -> None:
    like = {"seed": 7, "mean": 0.5, "spread": 2.0, "low": 0.0, "high": 3.0}
    values = np.frombuffer(verification.draw(like, 10_000), np.float32)
    assert values.min() == 0 and values.max() == 3 and abs(np.median(values) - 0.5) < 0.1
    for size in (5, 512, 513, 4096, 100_003):
        found = verification.places(size)
        assert len(set(found)) == min(size, 512) and 0 <= found.min() and found.max() < size
    assert len({place % 512 for place in verification.places(1 << 20)}) > 200
